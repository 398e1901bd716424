"""`TeacherBank`: a teacher's answers along a plan, asked once and read by every arm that shares teacher and plan.

A plan makes every mixed input a pure function of (seed, epoch, position), so a stored answer is the answer to exactly the batch
in hand, crops and flips included. An `AnswerCodec` says how an answer is stored: whole and exact (a run that reads such answers
has the same weights, bit for bit, as one that asks), or smaller, and then live answers pass through the codec too.

`answers.bin` holds a record of fixed size for every image of the plan, in the plan's order: the coded answer and a checksum.
Any process may fill any records, in any order. Files are read and written by pread and pwrite: the kernel's page cache does what
a memory map would, and a file that was cut short gives a short read instead of SIGBUS. Nothing is forced to the disk; what a
crash tears, the checksums notice. Shapes: N images, B of a batch, K classes, k largest logits.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.distillation.bank.checksums import CHECK_BYTES, checksums, fits
from vicinal.distillation.bank.codec import AnswerParts
from vicinal.distillation.bank.manifest import ANSWERS, MANIFEST, BankLayout, device_name, read_manifest
from vicinal.errors import UsageError, VicinalError
from vicinal.functional import kl_divergence
from vicinal.version import __version__
from vicinal.workspace import cannot_write, locked, write_json

ERROR_TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
ERROR_ANSWERS = 2000  # that the error of a codec is measured on, from the first on
_CHUNK_BYTES = 2**22  # read at a time where a whole bank is looked through

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class BankContent:
    """Which records of a bank are there."""

    stored: NDArray[np.bool_]  # (epochs, N): whole
    damaged: NDArray[np.bool_]  # (epochs, N): something is there that does not fit its checksum

    @property
    def share(self) -> float:
        return float(self.stored.mean()) if self.stored.size else 1.0


class TeacherBank:
    """Answers on disk in fixed-size records, one for each image of the plan; filled by whoever asks first.

    A batch counts as stored only if every record of it fits its checksum, so a process killed while writing costs one batch.

    Args:
        root: folder of all banks of a study; the bank lies in a folder of its layout's fingerprint.
        teacher_weights: SHA-256 of the file of the teacher's weights; None where nobody can say, and then it is not compared.
        device: that the answers come from, as it is kept in bank.json.
        create: False for a bank that must be there and is only read.

    Raises:
        VicinalError: the folder holds another bank, or answers of other weights, or cannot be written.
        UsageError: `create` is False and there is no such bank.
    """

    def __init__(
        self,
        root: Path,
        layout: BankLayout,
        teacher_weights: str | None = None,
        device: torch.device | str = "cpu",
        create: bool = True,
    ) -> None:
        self.layout, self.path, self.codec = layout, root / layout.fingerprint, layout.codec
        if not create and not (self.path / MANIFEST).exists():
            raise UsageError(f"{self.path} holds no bank; vicinal bank build makes it")
        try:
            if create:
                self.path.mkdir(parents=True, exist_ok=True)
            self._answers = os.open(self.path / ANSWERS, os.O_RDWR | os.O_CREAT if create else os.O_RDONLY, 0o644)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        try:
            self._manifest = self._opened(teacher_weights, device) if create else self._checked(teacher_weights)
        except BaseException:
            os.close(self._answers)
            raise

    def close(self) -> None:
        """Give the file back; the bank is of no use afterwards."""
        os.close(self._answers)

    @property
    def precision(self) -> Precision | None:
        """What its answers were asked in; set once, by the first to write, and the same for all. None before.

        Raises VicinalError where it is set and differs.
        """
        if self._manifest["precision"] is None:
            self._manifest = read_manifest(self.path)
        return cast(Precision | None, self._manifest["precision"])

    @precision.setter
    def precision(self, value: Precision) -> None:
        if self._manifest["precision"] != value:
            with self._changing() as manifest:
                if manifest["precision"] not in (None, value):
                    raise VicinalError(
                        f"{self.path} holds answers asked in {manifest['precision']}, not in {value}; ask in {manifest['precision']}, "
                        "or delete the folder"
                    )
                manifest["precision"] = value

    def was_computed_on(self, device: torch.device) -> bool:
        """Whether its answers come from such a device."""
        return bool(self._manifest["provenance"].get("device") == device_name(device))

    def read(self, epoch: int, position: int, rows: slice | None = None) -> Tensor | None:
        """(B, K) float32 answers to a batch, or to `rows` of it; None where they are not stored, or not whole."""
        records = self._records(epoch, position, rows)
        return None if records is None else self.codec.decode(records)

    def read_parts(self, epoch: int, position: int) -> AnswerParts | None:
        """What is kept of the answers to a batch, or None as in `read`."""
        records = self._records(epoch, position, None)
        return None if records is None else self.codec.unpacked(records)

    def holds(self, epoch: int, position: int, rows: slice | None = None) -> bool:
        """Whether `read` would give answers."""
        return self._records(epoch, position, rows) is not None

    def write(self, epoch: int, position: int, answers: Tensor, rows: slice | None = None) -> None:
        """Store the (B, K) answers, as the teacher gave them, to a batch or to `rows` of it.

        Raises VicinalError where the disk is full, or where the form kept cannot hold the answers.
        """
        first, count = self._place(epoch, position, rows)
        if tuple(answers.shape) != (count, self.layout.classes):
            raise ValueError(
                f"batch {position} has {count} images of {self.layout.classes} classes there, not {tuple(answers.shape)}"
            )
        if not count:
            return
        records = self.codec.encode(answers)
        checks = checksums(records, first).view(np.uint8).reshape(count, CHECK_BYTES)
        try:
            _write(self._answers, np.concatenate([records, checks], axis=1).tobytes(), first * self.layout.record_bytes)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        if not self.codec.is_exact and self._manifest["error"]["answers"] < ERROR_ANSWERS:
            self._add_error(answers)

    def content(self) -> BankContent:
        """Which records are there, from reading them all."""
        size, total = self.layout.record_bytes, self.layout.epochs * self.layout.images
        stored, damaged = np.zeros(total, dtype=bool), np.zeros(total, dtype=bool)
        step = max(_CHUNK_BYTES // size, 1)
        for first in range(0, total, step):
            data = os.pread(self._answers, min(step, total - first) * size, first * size)
            if not data:
                break
            whole = np.frombuffer(data, dtype=np.uint8)[: len(data) // size * size].reshape(-1, size)
            part = slice(first, first + len(whole))
            stored[part] = fits(whole, first)
            damaged[part] = whole.any(axis=1) & ~stored[part]
        shape = (self.layout.epochs, self.layout.images)
        return BankContent(stored.reshape(shape), damaged.reshape(shape))

    def _records(self, epoch: int, position: int, rows: slice | None) -> NDArray[np.uint8] | None:
        """(B, bytes) coded answers, if each fits its checksum."""
        first, count = self._place(epoch, position, rows)
        size = self.layout.record_bytes
        data = os.pread(self._answers, count * size, first * size)
        if len(data) < count * size:
            return None
        whole = np.frombuffer(data, dtype=np.uint8).reshape(count, size)
        return whole[:, :-CHECK_BYTES] if fits(whole, first).all() else None

    def _place(self, epoch: int, position: int, rows: slice | None) -> tuple[int, int]:
        """The first record of (rows of) a batch, and how many there are."""
        layout = self.layout
        if not (0 <= epoch < layout.epochs and 0 <= position < layout.batches):
            raise IndexError(
                f"epoch {epoch}, batch {position}: the bank has {layout.epochs} epochs of {layout.batches} batches"
            )
        start, stop, step = (rows or slice(None)).indices(layout.batch_images(position))
        if step != 1:
            raise ValueError(f"rows of a batch are neighbours, so a slice has no step; got {rows}")
        return epoch * layout.images + position * layout.batch_size + start, max(stop - start, 0)

    def _opened(self, weights: str | None, device: torch.device | str) -> dict[str, Any]:
        """What bank.json says, written now where the bank is new."""
        with locked(self._answers):
            if (self.path / MANIFEST).exists():
                manifest = self._checked(weights)
                if manifest["epochs"] < self.layout.epochs:
                    manifest["epochs"] = self.layout.epochs
                    write_json(self.path / MANIFEST, manifest)
                return manifest
            if os.fstat(self._answers).st_size:
                raise VicinalError(
                    f"{self.path} holds answers but no {MANIFEST} that says whose; delete the folder and give the command again"
                )
            manifest = {
                **self.layout.description,
                "epochs": self.layout.epochs,
                "teacher": self.layout.teacher,
                "teacher_weights": weights,
                "precision": None,
                "provenance": {
                    "vicinal": __version__,
                    "torch": torch.__version__,
                    "device": device_name(torch.device(device)),
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                },
                "error": {"answers": 0, "temperatures": list(ERROR_TEMPERATURES), "kl_mean": None, "kl_max": None},
            }
            write_json(self.path / MANIFEST, manifest)
            return manifest

    def _checked(self, weights: str | None) -> dict[str, Any]:
        manifest = read_manifest(self.path)
        described = json.loads(json.dumps(self.layout.description))
        if {key: manifest.get(key) for key in described} != described:
            raise VicinalError(f"{self.path} holds another bank; delete the folder and give the command again")
        if weights is not None and manifest["teacher_weights"] != weights:
            whose = (
                f"of other weights ({str(manifest['teacher_weights'])[:12]}...)"
                if manifest["teacher_weights"]
                else "of unknown weights"
            )
            raise VicinalError(
                f"{self.path} holds answers {whose}, not of this teacher's ({weights[:12]}...); put the teacher's run that it was made "
                "with in its place, or delete the bank's folder"
            )
        return manifest

    def _add_error(self, answers: Tensor) -> None:
        """Add the error of what is stored of these answers to what bank.json says of it."""
        exact = answers.detach().float().cpu()
        kept = self.codec.roundtrip(exact).double()
        kl = torch.stack([kl_divergence(exact.double() / t, kept / t) for t in ERROR_TEMPERATURES])  # (temperatures, B)
        with self._changing() as manifest:
            error, count = manifest["error"], kl.shape[1]
            seen = error["answers"]
            before = zip(error["kl_mean"] or [0.0] * len(kl), error["kl_max"] or [0.0] * len(kl), kl, strict=True)
            merged = [
                ((mean * seen + float(k.sum())) / (seen + count), max(most, float(k.max()))) for mean, most, k in before
            ]
            error |= {"answers": seen + count, "kl_mean": [m for m, _ in merged], "kl_max": [m for _, m in merged]}

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """bank.json to change, with the other processes that fill this bank kept out meanwhile."""
        with locked(self._answers):
            manifest = read_manifest(self.path)
            yield manifest
            write_json(self.path / MANIFEST, manifest)
            self._manifest = manifest


def _write(file: int, data: bytes, place: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(file, data[written:], place + written)
