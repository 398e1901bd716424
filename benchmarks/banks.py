"""Teachers' answers to and from the disk: a bank with its checksums against the same bytes in a plain file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.harness import Entrant, Running, Settings, Talk, measure
from benchmarks.proofs import ProofError
from benchmarks.results import CaseResult
from vicinal.distillation import ANSWERS, BankLayout, TeacherBank

CLASSES, BATCH, IMAGES, QUICK_IMAGES = 1000, 200, 20_000, 400  # 80 MB of answers in float32
PROOFS = ("What was read from the bank were the answers that were written, bit for bit.",)


def banks(settings: Settings, talk: Talk) -> list[CaseResult]:
    """Writing until the disk has all, and reading what the system's cache was told to forget; a step is all answers."""
    images = QUICK_IMAGES if settings.quick else IMAGES
    layout = BankLayout({"input_kind": "mixed"}, 1, images, BATCH, CLASSES)
    cases = []
    with tempfile.TemporaryDirectory(prefix="vicinal-bench-", dir=Path.cwd()) as folder:  # a disk: /tmp may be memory
        root = Path(folder)
        for name, title, ways in (
            ("write", "Writing", (_write_file, _write_bank)),
            ("read", "Reading", (_read_file, _read_bank)),
        ):
            entrants = [
                Entrant(entrant, said, _maker(way, root / f"{name}-{entrant}", layout), learns=False)
                for entrant, said, way in zip(("disk", "bank"), ("plain file", "vicinal's bank"), ways, strict=True)
            ]
            results = measure(f"banks, {name}", entrants, settings, talk)
            said = f"{title} {images:,} answers of {CLASSES:,} classes, {layout.record_bytes:,} B each, B = {BATCH}"
            case = CaseResult(name=name, title=said, unit="answers", reference="disk", entrants=results)
            rates = {
                f"{e.name}_MB_per_s": e.units_per_s.median * layout.record_bytes / 1e6 for e in results if e.seconds
            }
            cases.append(case.model_copy(update={"figures": rates, "proofs": PROOFS if name == "read" else ()}))
    return cases


Way = Callable[[Path, BankLayout], Callable[[], None]]  # makes what does a step


def _maker(way: Way, folder: Path, layout: BankLayout) -> Callable[[], Running]:
    def make() -> Running:
        folder.mkdir()
        step = way(folder, layout)

        def steps() -> Iterator[int]:
            while True:
                step()
                yield layout.images

        return Running(steps(), layout.images)

    return make


def _answers(layout: BankLayout, position: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(position % 8)
    return torch.randn(layout.batch_images(position), layout.classes, generator=generator)


def _write_file(folder: Path, layout: BankLayout) -> Callable[[], None]:
    # As long as a bank's records.
    parts = [
        os.urandom(layout.batch_images(position) * layout.record_bytes) for position in range(min(8, layout.batches))
    ]
    file = os.open(folder / "plain", os.O_RDWR | os.O_CREAT)

    def step() -> None:
        for position in range(layout.batches):
            os.pwrite(file, parts[position % 8], position * layout.batch_size * layout.record_bytes)
        os.fsync(file)

    return step


def _write_bank(folder: Path, layout: BankLayout) -> Callable[[], None]:
    bank = TeacherBank(folder, layout)
    answers = [_answers(layout, position) for position in range(min(8, layout.batches))]
    file = os.open(folder / layout.fingerprint / ANSWERS, os.O_RDONLY)

    def step() -> None:
        for position in range(layout.batches):
            bank.write(0, position, answers[position % 8])
        os.fsync(file)

    return step


def _read_file(folder: Path, layout: BankLayout) -> Callable[[], None]:
    _write_file(folder, layout)()
    file = os.open(folder / "plain", os.O_RDONLY)

    def step() -> None:
        _forget(file)
        size = layout.batch_size * layout.record_bytes
        for position in range(layout.batches):
            os.pread(file, size, position * size)

    return step


def _read_bank(folder: Path, layout: BankLayout) -> Callable[[], None]:
    _write_bank(folder, layout)()
    bank = TeacherBank(folder, layout, create=False)
    file = os.open(folder / layout.fingerprint / ANSWERS, os.O_RDONLY)
    for position in (0, layout.batches - 1):
        read = bank.read(0, position)
        if read is None or not torch.equal(read, _answers(layout, position)):
            raise ProofError(f"the bank gave other answers to batch {position} than were written")

    def step() -> None:
        _forget(file)
        for position in range(layout.batches):
            if bank.read(0, position) is None:
                raise ProofError(f"the bank lacks batch {position}")

    return step


def _forget(file: int) -> None:
    """Where a system can be told so; elsewhere both read from its cache."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
