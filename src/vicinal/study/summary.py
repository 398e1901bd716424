"""What `vicinal plan` says of a study: its runs, and what they take on this device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vicinal.data import count_lines
from vicinal.results import frame_of
from vicinal.study.groups import bank_layout
from vicinal.study.plan import PlannedRun
from vicinal.study.run import Study
from vicinal.workspace import format_bytes, format_seconds

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunSummary:
    """A run as a plan lists it."""

    run: str
    learns_from: str  # labels, or a teacher's name
    model: str
    status: str
    seed: int
    parameters: int
    gflops_per_image: float
    epochs: int
    images: int  # that it passes through in training
    time_s: float  # estimated, its measures included


@dataclass(frozen=True)
class PlanSummary:
    """What a study would do."""

    title: str
    out: Path
    runs: tuple[RunSummary, ...]
    lines: tuple[str, ...]  # what else there is to say, a sentence or two each
    time_s: float
    storage_bytes: int

    def to_frame(self) -> pd.DataFrame:
        """A row for each run. Raises UsageError without pandas."""
        return frame_of([asdict(run) for run in self.runs])

    def __str__(self) -> str:
        return "\n".join([f"{self.title}: {len(self.runs)} runs in {self.out}", *self.lines])


def summarize(study: Study) -> PlanSummary:
    """Estimate a study; takes a few seconds for each of its networks."""
    spec, estimate, runs = study.spec, study.estimate, study.plan.unique_runs
    rows = tuple(_summary(study, run) for run in runs)
    time_s, storage = sum(row.time_s for row in rows), sum(map(estimate.storage_bytes, runs))
    lines = [
        *_of_data(study),
        *_of_networks(study),
        *_ensembles(study),
        *_together(study),
        *_banks(study),
        *_compiled(study),
    ]
    lines.append(
        f"Estimated on {study.context.device}, from a few steps of each network: {format_seconds(time_s)} and "
        f"{storage / 1e9:.2g} GB in {study.out}."
    )
    return PlanSummary(spec.title or spec.name, study.out, rows, tuple(lines), time_s, storage)


def _summary(study: Study, run: PlannedRun) -> RunSummary:
    network = study.networks[run.network_key]
    return RunSummary(
        run=run.spec.name,
        learns_from="labels" if run.teacher is None else run.label["teacher"],
        model=run.spec.network.model,
        status=run.status,
        seed=run.spec.seed,
        parameters=network.parameters,
        gflops_per_image=network.forward_flops / 1e9,
        epochs=run.spec.network.epochs,
        images=run.images,
        time_s=study.estimate.run_s(run),
    )


def _of_data(study: Study) -> list[str]:
    data, predictions, runs = study.context.data, study.predictions, study.plan.unique_runs
    left = [run for run in runs if run.status != "done"]
    most = "" if predictions.pairs_are_chosen else (
        f" (at most {predictions.vicinity.pairs:,} pairs: a pilot chooses how many)"
    )  # fmt: skip
    return [
        f"{study.spec.data.name or data.name}: {len(data.train):,} training, {len(data.validation):,} validation, "
        f"{len(data.test):,} test images, {study.context.classes} classes.",
        f"{len(left)} of {len(runs)} runs to do, {sum(run.images for run in left):,} images in training; then every network predicts "
        f"{study.estimate.images_predicted:,} images{most}.",
        *count_lines(data),
        *(run.folder.damage for run in left if run.folder.damage),
        *(f"Note: {note}" for note in study.notes),
    ]


def _of_networks(study: Study) -> list[str]:
    """On what was decided in the making of its networks."""
    return [f"{key}: {note}" for key, notes in study.context.network_notes.items() for note in notes]


def _ensembles(study: Study) -> list[str]:
    """On teachers that are several together, if there are any."""
    named = [f"{name} (of {', '.join(members)})" for name, members in study.spec.ensembles.items()]
    return [f"Ensembles, which train nothing of their own: {', '.join(named)}."] if named else []


def _together(study: Study) -> list[str]:
    """On students who are stepped together, if there are any."""
    shared = [group for group in study.groups if len(group) > 1]
    if not shared:
        return []
    passes = "one pass" if len(shared) == 1 else f"{len(shared)} passes"
    unbanked = [group[0] for group in shared if group[0].folder.path not in study.banks]
    sizes = {layout.fingerprint: layout.bytes for layout in (bank_layout(run, study.plan) for run in unbanked)}
    stored = f" (vicinal bank build would store them in {format_bytes(sum(sizes.values()))})" if sizes else ""
    runs = sum(map(len, shared))
    return [f"{runs} runs are stepped together on {passes} of their teachers: each answer is asked for once{stored}."]


def _banks(study: Study) -> list[str]:
    """On teachers' answers that are stored, if there are any."""
    banks = {layout.fingerprint: layout for layout in study.banks.values()}
    if not banks:
        return []
    runs, many = len(study.banks), len(banks) > 1
    sharing = (
        f"{runs} run{'s' * (runs > 1)} share{'s' * (runs == 1)} {len(banks)} bank{'s' * many} of teachers' answers"
    )
    sizes = dict.fromkeys(layout.size for layout in banks.values())
    total = f"; {format_bytes(sum(layout.bytes for layout in banks.values()))} in all" if many else ""
    each = "each " * (many and len(sizes) == 1)
    return [f"{sharing}, {each}{'; '.join(sizes)}{total}: each answer is asked for once."]


def _compiled(study: Study) -> list[str]:
    """On networks that are called through torch.compile, if there are any."""
    models = {run.spec.network.model: None for run in study.plan.unique_runs if study.compiles(run)}
    return [f"Called through torch.compile: {', '.join(models)}."] if models else []
