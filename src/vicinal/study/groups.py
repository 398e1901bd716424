"""Who is stepped together, and which bank of answers serves whom: pure functions of the plan and of what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from vicinal.distillation import BankLayout, objective_needs
from vicinal.inputs import Preparation
from vicinal.study.plan import PlannedRun, StudyPlan
from vicinal.training import training_plan

OPTIMIZED_VALUE_BYTES = 16  # a float32 weight, its gradient and two moments

Group = tuple[PlannedRun, ...]


def groups_of(plan: StudyPlan, students_at_once: int) -> list[Group]:
    """All runs in the order of their training; students whom one answer of their teacher serves stand together.

    Students stepped together prepare each batch once, predict once and write nothing, so this never costs more than reading a bank.
    Runs that are done stand alone.
    """
    together: dict[Any, list[PlannedRun]] = {}
    for run in plan.unique_runs:
        key: Any = run.folder.path
        if run.teacher is not None and not run.folder.is_done:
            objective = run.spec.objective
            inputs = bank_layout(run, plan).fingerprint
            key = inputs, run.spec.network.epochs, str(objective.mixing), objective.target, learns_from_features(run)
        together.setdefault(key, []).append(run)
    groups = [
        tuple(group[start : start + students_at_once])
        for group in together.values()
        for start in range(0, len(group), students_at_once)
    ]
    # Classifiers that are taken as they are come first: one whose classes stand in another order stops the study before it trains.
    return sorted(groups, key=lambda group: group[0].spec.network.epochs > 0)


def students_at_once(plan: StudyPlan, parameters: int, free_bytes: int) -> int:
    """Students stepped together: as asked for, or as many as take a quarter of free memory with their optimizers."""
    stated = plan.spec.runtime.students_at_once
    if stated is not None or plan.spec.student is None:
        return stated or 1
    return max(1, int(free_bytes / 4 / (OPTIMIZED_VALUE_BYTES * parameters)))


def bank_layout(run: PlannedRun, plan: StudyPlan) -> BankLayout:
    """All that decides the teacher's answers along a run's plan. Not the device: a bank serves where there is no GPU, too."""
    assert run.teacher is not None
    network, objective = run.spec.network, run.spec.objective
    stream = training_plan(run.spec, run.train_images)
    mixed = stream.mixes and objective.target != "linear"
    rows = (
        stream.rows_per_image if mixed or not stream.mixes else 1
    )  # the linear target is made of answers to clean images
    return BankLayout(
        inputs={
            "teacher": run.spec.teacher,
            "precision": run.spec.teacher_precision,
            "input_kind": "mixed" if mixed else "clean",
            "seed": run.spec.input_seed,
            "mixing": objective.mixing.model_dump(mode="json") if mixed else None,
            "preparation": Preparation(network.augment, plan.spec.data.image_size).fingerprint(),
            "train": run.spec.data["train"],
            **({} if network.order is None else {"order": network.model_dump(mode="json")["order"]}),
            **({} if stream.mixed_batches is None else {"mixed_batches": stream.mixed_batches}),
            **({"crops": run.spec.data["crops"]} if "crops" in run.spec.data else {}),
        },
        epochs=stream.drawn_epochs(network.epochs),
        images=run.train_images,
        batch_size=network.batch_size,
        classes=len(run.spec.data["classes"]),
        answers=plan.spec.answers,
        rows_per_image=rows,
        mixed_images=stream.drawn_mixed_images if rows > 1 else None,
        teacher=f"{run.teacher.spec.name}, seed {run.teacher.spec.seed}",
    )


def banks_of_study(plan: StudyPlan) -> dict[str, tuple[PlannedRun, BankLayout]]:
    """Every bank that a student of this study could read, by fingerprint, with the student that reads the most epochs of it."""
    found: dict[str, tuple[PlannedRun, BankLayout]] = {}
    for run in plan.unique_runs:
        if run.teacher is not None and run.spec.network.epochs and not learns_from_features(run):
            layout = bank_layout(run, plan)
            if layout.fingerprint not in found or layout.epochs > found[layout.fingerprint][1].epochs:
                found[layout.fingerprint] = run, layout
    return found


def banks_of_groups(plan: StudyPlan, groups: Sequence[Group], existing: Collection[str]) -> dict[Path, BankLayout]:
    """The bank of every run to do, by run folder: one that exists, or one that several groups share, within the budget.

    One that exists costs no more disk, and serves a single run too.
    """
    to_do = [(group, bank_layout(group[0], plan)) for group in groups if _reads_banks(group[0])]
    shared = Counter(layout.fingerprint for _, layout in to_do)
    sizes: dict[str, int] = {}  # when the reader of the most epochs is done
    for _, layout in to_do:
        sizes[layout.fingerprint] = max(layout.bytes, sizes.get(layout.fingerprint, 0))
    left, taken = plan.spec.runtime.bank_gb * 1e9, set[str]()
    chosen: dict[Path, BankLayout] = {}
    for group, layout in to_do:
        exists = plan.spec.runtime.bank_gb > 0 and layout.fingerprint in existing
        if not exists and layout.fingerprint not in taken:
            if shared[layout.fingerprint] < 2 or sizes[layout.fingerprint] > left:
                continue
            taken.add(layout.fingerprint)
            left -= sizes[layout.fingerprint]
        chosen |= {run.folder.path: layout for run in group}
    return chosen


def existing_banks(root: Path) -> frozenset[str]:
    """The fingerprints of the banks in a folder of banks."""
    return frozenset(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else frozenset()


def learns_from_features(run: PlannedRun) -> bool:
    """Whether a run's teacher is asked for features, which no bank holds, so that it is asked itself."""
    return run.teacher is not None and "teacher_features" in objective_needs(run.spec.objective)


def _reads_banks(run: PlannedRun) -> bool:
    return run.teacher is not None and not run.folder.is_done and not learns_from_features(run)
