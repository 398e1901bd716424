"""`vicinal bank`: fill the banks of a study on one machine, look at them, and prove them by predicting again."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vicinal.distillation import (
    ANSWERS,
    MANIFEST,
    BankLayout,
    FrozenTeacher,
    Manifest,
    TeacherBank,
    frozen_teacher,
)
from vicinal.errors import UsageError, VicinalError
from vicinal.inputs import ImagePipeline, slice_rows
from vicinal.study.checks import check_banks
from vicinal.study.groups import bank_layout, banks_of_study, learns_from_features
from vicinal.study.networks import load_teacher
from vicinal.study.plan import PlannedRun
from vicinal.study.run import Study
from vicinal.training import training_plan
from vicinal.workspace import StudyProgress, format_bytes, hold

# Of the span of a batch's logits, that a second answer may differ by. A float32 forward pass on the same device differs by the
# order of sums alone; another device may compute its products with fewer bits (TF32 has 11), and bf16 has 8.
TOLERANCE_SAME_DEVICE, TOLERANCE_OTHER_DEVICE, TOLERANCE_BF16 = 1e-4, 1e-2, 5e-2
FLOAT16_ROUNDING = 2.0**-11  # of a logit's own size


@dataclass(frozen=True)
class Shard:
    """One of `world` equal parts of every batch."""

    rank: int = 0
    world: int = 1

    def rows(self, images: int) -> slice:
        """The rows of a batch of so many images that are this part's."""
        return slice_rows(images, self.rank, self.world)

    def __str__(self) -> str:
        return f"{self.rank}/{self.world}"


# --- build ------------------------------------------------------------------------------------------------------------


def build_banks(study: Study, part: Shard) -> list[str]:
    """Train the teachers that are not done and fill every bank that the study's students can read; a line for each bank.

    What is stored already stays, so the same command continues where it was stopped. Of several parts, the first trains the
    teachers; then all may work side by side.

    Raises:
        UsageError: no student learns from a teacher, banks exceed the budget or the disk, another process holds the folder, or a bank
            is there without its teacher.
        VicinalError: training fails, or a bank belongs to other weights.
    """
    banks, by_features = banks_of_study(study.plan), _arms_by_features(study)
    if not banks and by_features:
        raise UsageError(
            f"arms.{by_features[0]} learns from its teacher's features, and a bank holds logits alone: run it without one"
        )
    if not banks:
        raise UsageError(f"no student of {study.spec.name} learns from a teacher, so there are no answers to store")
    check_banks(study.plan, study.bank_root)
    _check_room(study, [layout for _, layout in banks.values()])
    teachers = [run for run in study.plan.teachers if not run.folder.is_done]
    if teachers and part.rank:
        raise UsageError(
            f"{teachers[0].spec.name} is not trained yet, which --slice 0/{part.world} does first; start --slice {part} after that"
        )
    lines = []
    with StudyProgress(sum(run.images for run in teachers)) as progress:
        if teachers or part.world == 1:
            with hold(study.out):
                study.train_teachers(progress)
                if part.world == 1:
                    lines = [_fill(study, run, part, progress) for run, _ in banks.values()]
        if not lines:
            with hold(study.out, shared=True):
                lines = [_fill(study, run, part, progress) for run, _ in banks.values()]
    asked = f"{', '.join(by_features)}: features of the teacher are in no bank, so it predicts as the students train"
    return [*lines, *([asked] if by_features else [])]


def _arms_by_features(study: Study) -> list[str]:
    """The arms whose students no bank serves."""
    return list(dict.fromkeys(run.label["arm"] for run in study.plan.students if learns_from_features(run)))


def _check_room(study: Study, layouts: list[BankLayout]) -> None:
    """UsageError, before anything is spent, where the banks are over the budget or do not fit the disk."""
    total, budget = sum(layout.bytes for layout in layouts), study.spec.runtime.bank_gb
    what = f"{len(layouts)} bank{'s' * (len(layouts) > 1)} of {study.spec.name} take{'s' * (len(layouts) == 1)} {format_bytes(total)}"
    smaller = "" if study.spec.answers.dtype == "float16" else ", or answers.dtype=float16 for about half of it"
    if total > budget * 1e9:
        enough = math.ceil(total / 1e8) / 10
        raise UsageError(f"{what}, and runtime.bank_gb allows {budget:g} GB; give runtime.bank_gb={enough:g}{smaller}")
    taken = sum(_disk_bytes(study.bank_root / layout.fingerprint) for layout in layouts)
    there = next(path for path in (study.out.absolute(), *study.out.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if total - taken > free:
        raise UsageError(f"{what}, and {there} has {format_bytes(free)} left; choose another disk with --out{smaller}")


def _fill(study: Study, run: PlannedRun, part: Shard, progress: StudyProgress) -> str:
    """Ask for what a bank lacks of a part of every batch; returns the line about it."""
    with contextlib.closing(study.open_bank(run, bank_layout(run, study.plan))) as bank:
        layout, title = bank.layout, f"bank {_title(bank.layout)}"
        missing = [
            [p for p in range(layout.batches) if not bank.holds(epoch, p, _records(layout, epoch, p, part))]
            for epoch in range(layout.epochs)
        ]
        images = [part.rows(layout.batch_images(p)) for p in range(layout.batches)]
        asked = sum(images[p].stop - images[p].start for positions in missing for p in positions)
        if asked:
            bar = progress.inference(title, asked, "predicting")
            pipeline = study.context.pipeline(run)
            plan = training_plan(run.spec, layout.images, pipeline.labels)
            teacher = _teacher(study, run, bank, pipeline)
            bank.precision = teacher.precision
            for epoch, positions in enumerate(missing):
                planned = (plan.batch(plan.epoch_drawn_as(epoch), p, part.rank, part.world) for p in positions)
                for position, (_, batch) in zip(positions, pipeline.batches(planned), strict=True):
                    shown = batch.mixed if layout.input_kind == "mixed" else batch.clean[: batch.samples]
                    bank.write(epoch, position, teacher(shown), _records(layout, epoch, position, part))
                    bar.advance(images[position].stop - images[position].start)
            bar.finish(f"made {asked:,} answers")
        which = "" if part.world == 1 else f"slice {part}: "
        return f"{bank.path}: {which}{layout.size}, {asked:,} answers made now"


def _records(layout: BankLayout, epoch: int, position: int, part: Shard) -> slice:
    """The answers to a batch that are a part's: to all rows of its images."""
    images = layout.batch_images(position)
    of_each = layout.batch_records(epoch, position)[1] // images
    own = part.rows(images)
    return slice(own.start * of_each, own.stop * of_each)


def _teacher(study: Study, run: PlannedRun, bank: TeacherBank, pipeline: ImagePipeline) -> FrozenTeacher:
    """The teacher as the bank's other answers were made, or as a run would make it."""
    assert run.teacher is not None
    return frozen_teacher(load_teacher(study.context, run.teacher), run.spec, pipeline, bank.precision or "")


# --- info -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BankInfo:
    """A bank as `vicinal bank info` shows it."""

    path: Path
    layout: BankLayout
    whole_epochs: int
    share: float  # of the answers asked for that are stored
    damaged: int  # records that do not fit their checksums
    disk_bytes: int
    precision: str | None
    made: str
    error: str


def list_banks(folder: Path) -> tuple[list[BankInfo], list[str]]:
    """The banks of a study folder, or the one of a bank's folder; and a line for each that cannot be read.

    Raises UsageError where there is no such folder, or no bank in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give that of a study or of a bank")
    root = folder if (folder / MANIFEST).exists() else folder / "banks"
    found = [folder] if root == folder else sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))
    if not found:
        raise UsageError(f"{folder} holds no banks; vicinal bank build STUDY --out {folder} makes them")
    infos, unreadable = [], []
    for path in found:
        try:
            infos.append(_info(path))
        except VicinalError as error:
            unreadable.append(str(error))
    return infos, unreadable


def _info(path: Path) -> BankInfo:
    manifest = Manifest(path)
    layout = manifest.layout
    with contextlib.closing(TeacherBank(path.resolve().parent, layout, create=False)) as bank:
        content = bank.content()
    return BankInfo(
        path=path,
        layout=layout,
        whole_epochs=int(content.stored.all(axis=1).sum()),
        share=content.share,
        damaged=int(content.damaged.sum()),
        disk_bytes=_disk_bytes(path),
        precision=manifest.precision,
        made=f"{manifest.provenance.get('created', '?')} on {manifest.provenance.get('device', '?')}",
        error=_error_text(layout, manifest.error),
    )


def _error_text(layout: BankLayout, error: dict[str, list[float]]) -> str:
    """none, or the mean KL at the first and the last temperature it was measured at."""
    if layout.codec.is_exact:
        return "none"
    if not error.get("kl_mean"):
        return "not measured"
    shown = zip(error["temperatures"], error["kl_mean"], error["kl_max"], strict=True)
    return "\n".join(f"T {t:g}: {mean:.1e}, at most {most:.1e}" for t, mean, most in shown)


# --- verify -----------------------------------------------------------------------------------------------------------


def verify_banks(study: Study, batches: int) -> Iterator[str]:
    """Check every bank of a study that is there: checksums, the teacher's weights, and answers predicted again; a line for each.

    Raises:
        UsageError: there is no bank of this study, or no trained teacher.
        VicinalError: a record is damaged, the teacher's weights are not those of the bank, or an answer differs.
    """
    banks = [run for key, (run, _) in banks_of_study(study.plan).items() if (study.bank_root / key / MANIFEST).exists()]
    if not banks:
        raise UsageError(
            f"{study.out} holds no bank of {study.spec.name} with these values; vicinal bank build makes them, "
            "vicinal bank info shows what is there"
        )
    for run in banks:
        assert run.teacher is not None
        for folder in [one.folder for one in run.teacher.networks]:
            if folder.damage is not None:
                bank_folder = study.bank_root / bank_layout(run, study.plan).fingerprint
                raise VicinalError(f"{folder.damage} by vicinal run, and {bank_folder} can be verified then")
            if not folder.is_done:
                raise UsageError(f"{folder.path} holds no trained teacher; bring the folder along with the banks")
        with contextlib.closing(study.open_bank(run, bank_layout(run, study.plan), create=False)) as bank:
            yield _verified(study, run, bank, batches)


def _verified(study: Study, run: PlannedRun, bank: TeacherBank, batches: int) -> str:
    layout, content = bank.layout, bank.content()
    if content.damaged.any():
        raise VicinalError(
            f"{bank.path} ({_title(layout)}): {int(content.damaged.sum()):,} records are damaged; "
            "vicinal bank build asks for them again"
        )
    starts = np.arange(0, layout.images, layout.batch_size)
    whole = np.argwhere(np.logical_and.reduceat(content.stored, starts, axis=1))  # (batches, 2): epoch and position
    if not len(whole):
        raise VicinalError(
            f"{bank.path} ({_title(layout)}): {100 * content.share:.4g} % is stored and no whole batch, so nothing can be compared; "
            "vicinal bank build fills it"
        )
    chosen = whole[np.unique(np.linspace(0, len(whole) - 1, min(batches, len(whole))).round().astype(int))]
    pipeline = study.context.pipeline(run)
    plan = training_plan(run.spec, layout.images, pipeline.labels)
    teacher = _teacher(study, run, bank, pipeline)
    share = _tolerance(bank, study)
    largest, span = 0.0, 0.0
    for epoch, position in chosen.tolist():
        batch = pipeline.make(plan.batch(plan.epoch_drawn_as(epoch), position))
        again = teacher(batch.mixed if layout.input_kind == "mixed" else batch.clean).cpu()
        kept = bank.read_parts(epoch, position)
        if kept is None:
            raise VicinalError(f"{bank.path} ({_title(layout)}) changed while it was read; give the command again")
        difference, spans = layout.codec.difference(kept, again), float(again.max() - again.min())
        allowed = share * spans
        if layout.answers.dtype == "float16":
            allowed += FLOAT16_ROUNDING * float(again.abs().max())
        if not difference <= allowed:
            raise VicinalError(
                f"{bank.path} ({_title(layout)}): epoch {epoch}, batch {position} predicted again differs by {difference:.2g}, logits "
                f"span {spans:.3g}, more than {allowed:.2g}; delete the folder and build it again"
            )
        largest, span = max(largest, difference), max(span, spans)
    return (
        f"{bank.path} ({_title(layout)}): {100 * content.share:.4g} % of {layout.size}, every record whole; "
        f"{len(chosen)} batches predicted again differ by at most {largest:.2g}, where logits span {span:.3g}"
    )


def _tolerance(bank: TeacherBank, study: Study) -> float:
    """Of the span of the logits."""
    if bank.precision == "bf16":
        return TOLERANCE_BF16
    return TOLERANCE_SAME_DEVICE if bank.was_computed_on(study.context.device) else TOLERANCE_OTHER_DEVICE


# --- shared -----------------------------------------------------------------------------------------------------------


def _title(layout: BankLayout) -> str:
    return f"{layout.teacher}, {layout.input_kind} images of seed {layout.inputs.get('seed')}"


def _disk_bytes(folder: Path) -> int:
    """That the answers take; the holes of a file that is filled in part take nothing."""
    file = folder / ANSWERS
    return file.stat().st_blocks * 512 if file.exists() else 0
