"""What a study found, as results.json has it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vicinal.config import SCHEMA
from vicinal.data import SIDES_PX, STRENGTHS_OF, Strengths
from vicinal.evaluation import Measured
from vicinal.metrics import mcnemar
from vicinal.study.context import StudyContext
from vicinal.study.costs import DeploymentCost
from vicinal.study.plan import PlannedRun, StudyPlan
from vicinal.study.predict import OptionalMeasures, StudyPredictions
from vicinal.version import __version__
from vicinal.workspace import environment

# What a student's entry repeats of `versus_teacher`, of the teacher that it learned from.
OWN_TEACHER = (
    "linearity_gain",
    "linearity_gain_interval",
    "linearity_gain_after_temperature_scaling",
    "linearity_gain_after_temperature_scaling_interval",
    "alignment",
    "alignment_after_temperature_scaling",
)


def build_results(
    context: StudyContext,
    plan: StudyPlan,
    predicted: StudyPredictions,
    measured: Mapping[Path, Measured],
    optional: OptionalMeasures,
    command: str,
    costs: Mapping[str, DeploymentCost],
) -> tuple[dict[str, Any], list[dict[str, NDArray[np.floating]]]]:
    """The value of results.json, but for the time that the study took, and the deviations of resamples.npz.

    Args:
        measured, optional: of every run, by `PlannedRun.place`.
        command: that gives this study.
        costs: of its networks, by dotted path.
    """
    spec, data = context.spec, context.data
    deviations = {path: {**own.deviations(), **optional.deviations[path]} for path, own in measured.items()}
    selected_on = "test" if spec.selection == "paper_best_test" else "validation"
    entries = optional.entries
    value = {
        "schema": SCHEMA,
        "study": spec.name,
        "title": spec.title or spec.name,
        "description": spec.description,
        "version": __version__,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(context.device),
        "selection": spec.selection,
        "selection_images": selected_on if len(context.selection_images) else None,
        "data": _data(context),
        "measures": {
            "ece_bins": spec.measures.ece_bins,
            **predicted.inputs.pair_counts,
            "pairs_from": "student's training images" if spec.student is not None else "teacher's training images",
            "pair_images_hash": predicted.inputs.pair_images.content_hash(),
            "lam_points": spec.measures.vicinity.lam_points,
            "path": spec.measures.vicinity.path,
            "confidence_level": spec.measures.confidence_level,
            "bootstrap_resamples": spec.measures.bootstrap_resamples,
            "corruption_strengths": _strengths(predicted),
            "calibrated_on": "validation" if len(data.validation) else None,
        },
        "spec": spec.model_dump(mode="json"),
        "notes": [*_notes(predicted), *_partner_notes(plan)],
        "teachers": [
            {
                **(_together(run, costs) if run.members else _common(run, costs)),
                "ensemble": [one.spec.name for one in run.members] or None,
                **measured[run.place].numbers(scale_free=False),
                **entries[run.place],
            }
            for run in plan.teacher_variants
        ],
        "students": [
            {**_common(run, costs), **_student_entry(plan, run, measured, deviations), **entries[run.folder.path]}
            for run in plan.students
        ],
        "mcnemar": _mutual_tests(plan, measured),
    }
    moved = [deviations[run.place] for run in (*plan.teacher_variants, *plan.students)]
    return value, [{key: values.numpy() for key, values in own.items()} for own in moved]


def _data(context: StudyContext) -> dict[str, Any]:
    spec, data = context.spec, context.data
    return {
        "name": spec.data.name or data.name,
        "source": data.source,
        "content_hash": data.content_hash,
        "test_hash": data.test.content_hash(),
        "class_names": list(data.class_names),
        "image_shape": list(data.train.images.shape[1:]),
        "image_size": spec.data.image_size,
        "train": len(data.train),
        "validation": len(data.validation),
        "test": len(data.test),
        "images_by_class": {
            name: images.labels.bincount(minlength=context.classes).tolist()
            for name, images in (("train", data.train), ("validation", data.validation), ("test", data.test))
        },
        "class_order": data.class_order,
        "stored_side": context.stored_side,
        "remembered_hashes": data.remembered_hashes,
        "notes": list(context.notes),
    }


def _notes(predicted: StudyPredictions) -> list[str]:
    """What was done otherwise than a reader expects."""
    spec = predicted.context.spec
    stated, needed, notes = spec.measures.vicinity, predicted.pairs_needed, []
    if needed is not None:
        apart = len(predicted.inputs.pair_images) // 2
        binds = needed > stated.pairs
        shared = f"; of more than {apart:,} some share an image, which may widen the interval" if needed > apart else ""
        notes.append(
            f"NL to ± {stated.precision_nats:g} nats at every λ needs {needed:,} pairs by the first teacher's pilot"
            + (f", more than the {stated.pairs:,} allowed: its interval is wider than asked for" if binds else "")
            + f"{shared}."
        )
    if stated.path != "mixup":
        notes.append(
            "The vicinal measures walk along CutMix’s path (a rectangle that grows about a fixed centre), not along mixup’s line: NL, "
            "H, D, I_lin, Δ_lin and KL mixed are of other images than the paper’s."
        )
    notes += predicted.inputs.pair_notes
    notes += [f"{key}: {note}" for key, own in predicted.context.network_notes.items() for note in own]
    if predicted.corrupted is not None:
        whose = _strengths(predicted)
        notes.append(
            f"Corruptions are those of the published files in {Path(str(predicted.corrupted.spec.published)).name}."
            if whose is None
            else f"Corruptions have the strengths of {STRENGTHS_OF[whose]}, chosen for images of {SIDES_PX[whose]} px."
        )
    for key, network in spec.networks().items():
        repeats = network.repeat_inputs_after_epochs
        if repeats is not None and repeats < network.epochs:
            notes.append(
                f"{key}: the input stream repeats after {repeats:,} of {network.epochs:,} epochs, so each "
                "mixed image is seen several times: other sampling than fresh inputs every epoch."
            )
    return notes


def _partner_notes(plan: StudyPlan) -> list[str]:
    """How many images found none of the class asked for to be mixed with; one note for an arm or a teacher."""
    whose = {"same_class": "of their own class", "other_class": "of another class"}
    notes: dict[str, str] = {}
    for run in plan.unique_runs:
        share = run.folder.summary().get("without_partner")
        if share is not None:
            name, kind = run.label.get("arm") or run.label["name"], whose[run.spec.objective.mixing.partners]
            said = f"{name}: {100 * share:.1f} % of an epoch's images found none {kind} in their batch and were left unmixed."
            notes.setdefault(name, said)
    return list(notes.values())


def _strengths(predicted: StudyPredictions) -> Strengths | None:
    """Whose strengths the corrupted images of the study's main network have; None without any made here."""
    view = predicted.context.preparation(predicted.context.main_network).view
    return None if predicted.corrupted is None else predicted.corrupted.strengths_seen(view)


def _common(run: PlannedRun, costs: Mapping[str, DeploymentCost]) -> dict[str, Any]:
    summary, network, cost = run.folder.summary(), run.spec.network, costs.get(run.network_key)
    keys = (
        "parameters",
        "train_images",
        "selected_epoch",
        "training_s",
        "images_per_second",
        "precision",
        "teacher_precision",
    )
    return {
        **run.label,
        "run": run.folder.path.name,
        "model": network.model,
        "head": network.head,
        "epochs": network.epochs,
        "objective": run.spec.objective.model_dump(mode="json"),
        "history": _history(summary["log"]),
        **{key: summary[key] for key in keys},
        "without_partner": summary.get("without_partner"),
        "weights_bytes": run.folder.weights.stat().st_size,
        "forward_flops": None if cost is None else cost.forward_flops,
        "predicted_per_second": None if cost is None else cost.predicted_per_second,
    }


def _together(run: PlannedRun, costs: Mapping[str, DeploymentCost]) -> dict[str, Any]:
    """Of an ensemble: what its members take together. It was trained by nobody and has no folder."""
    members = [_common(one, costs) for one in run.members]
    total = {
        key: sum(own[key] for own in members) if all(own[key] is not None for own in members) else None
        for key in ("parameters", "weights_bytes", "forward_flops", "training_s")
    }
    speeds = [own["predicted_per_second"] for own in members]
    train_images = {own["train_images"] for own in members}
    alone = ("head", "epochs", "objective", "history", "selected_epoch", "images_per_second", "precision")
    return {
        **run.label,
        "run": None,
        "model": f"ensemble of {', '.join(one.spec.name for one in run.members)}",
        **dict.fromkeys((*alone, "teacher_precision")),
        **total,
        "train_images": train_images.pop() if len(train_images) == 1 else None,
        "predicted_per_second": round(1 / sum(1 / own for own in speeds), 1) if all(speeds) else None,
    }


def _history(log: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Loss, selection accuracy and selection loss along the epochs, without the head's warm-up."""
    epochs = [entry for entry in log if entry.get("phase") == "train" and "epoch" in entry]
    return {
        key: [entry.get(key) for entry in epochs] for key in ("epoch", "loss", "selection_accuracy", "selection_loss")
    }


def _student_entry(
    plan: StudyPlan,
    run: PlannedRun,
    measured: Mapping[Path, Measured],
    deviations: dict[Path, dict[str, Tensor]],
) -> dict[str, Any]:
    """A student's entry; what it moves against its teachers is added to its deviations."""
    student, baseline = measured[run.folder.path], plan.baseline_of(run)
    versus = {}
    for name, teacher in plan.teachers_of(run).items():
        versus[name], moved = student.versus_teacher(measured[teacher.place], run.label["temperature"])
        deviations[run.folder.path] |= {f"versus_teacher.{name}.{key}": values for key, values in moved.items()}
    own = {key: versus.get(run.label["teacher"] or "", {}).get(key) for key in OWN_TEACHER}
    other = measured[baseline.folder.path] if baseline is not None else None
    return {
        **student.numbers(is_scale_free(run)),
        **own,
        "versus_teacher": versus,
        "minus_baseline": student.minus_baseline(other) if other is not None else None,
        "mcnemar_versus_baseline": mcnemar(student.correct, other.correct) if other is not None else None,
    }


def is_scale_free(run: PlannedRun) -> bool:
    """Whether a run's loss leaves the scale of its logits open, so that its raw confidence means nothing by itself."""
    return run.spec.objective.leaves_scale_open


def _mutual_tests(plan: StudyPlan, measured: Mapping[Path, Measured]) -> list[dict[str, Any]]:
    """McNemar's test of every two students of a seed, as matrices over their positions in `students`."""
    tests = []
    for seed in plan.spec.seeds if plan.students else ():
        positions = [k for k, run in enumerate(plan.students) if run.spec.seed == seed]
        correct = [measured[plan.students[k].folder.path].correct for k in positions]
        pairs = [[mcnemar(a, b) for b in correct] for a in correct]
        matrices = {key: [[pair[key] for pair in row] for row in pairs] for key in ("only_first", "p_value")}
        tests.append({"seed": seed, "students": positions, **matrices})
    return tests
