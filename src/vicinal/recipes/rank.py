"""`vicinal rank`: which of several teachers to distil from, before any student is trained."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vicinal.claims import Inference, Number, difference, infer
from vicinal.config import DataSpec, StudySpec
from vicinal.data import Glance, glance
from vicinal.errors import UsageError
from vicinal.recipes.decide import LAM_POINTS, PAIRS, study_name
from vicinal.recipes.evidence import CRITERION, Expected, expected_gap, sentences
from vicinal.recipes.practice import SMALL_SIDE, validation_share
from vicinal.recipes.sheet import Sheet
from vicinal.recipes.teachers import Teacher, look_at_teacher
from vicinal.results import Resamples, StudyResults, read_resamples
from vicinal.results import Teacher as Measured
from vicinal.study import Study, execute
from vicinal.workspace import check_out_folder, check_place, write_atomically

RANKING_FILE = "ranking.json"
_ENDINGS = re.compile(r"(\.(pth|tar|pt|th|ckpt|bin|safetensors|onnx))+$")
SIDE = 224  # px of images whose teachers state no side


@dataclass(frozen=True)
class Ranked:
    """A teacher in its place. Fractions and nats; NL, D and H at λ = 1/2 on pairs of test images, after temperature scaling."""

    name: str
    model: str
    accuracy: float
    accuracy_interval: tuple[float, float] | None
    nll: float
    nll_interval: tuple[float, float] | None
    nll_after_scaling: float | None
    gap: float  # mean confidence less accuracy, before scaling
    nonlinearity: float | None
    dominance: float | None
    entropy: float | None
    student_gap: Expected
    reason: str


@dataclass(frozen=True)
class Ranking:
    """Teachers, the one to learn from first, and what such a ranking is worth."""

    teachers: tuple[Ranked, ...]
    evidence: tuple[str, ...]
    notes: tuple[str, ...]
    out: Path


def rank(
    models: Sequence[str],
    data: str,
    out: Path | None,
    overrides: Sequence[str],
    command: str,
    prepare_process: Callable[[StudySpec], None],
) -> Ranking:
    """Measure teachers on the same images and put them in order.

    Args:
        models: as `look_at_teacher` takes them; data: as `data.source`.
        out: folder that keeps what was predicted and measured; default: runs/rank-<name of the data>.
        overrides: KEY=VALUE of the study that measures them, such as data.image_size=64.
        command: as results.json states it.
        prepare_process: is given the study before anything is predicted.

    Raises UsageError where a teacher or the data cannot be used, or a teacher's classes are not the data's.
    """
    if len(models) < 2:
        raise UsageError("give at least two teachers: one alone has no rank (vicinal measure MODEL DATA measures it)")
    name = f"rank-{study_name(data)}"
    folder = out if out is not None else Path("runs") / name
    check_place(folder)
    check_out_folder(folder, name)
    seen = glance(DataSpec(source=data, on_error="skip"))
    sheet = _sheet(seen, _named(models), name)
    sheet.override(overrides)
    spec = sheet.spec("the ranking")
    prepare_process(spec)
    study = Study(spec, folder)
    results = execute(study, command)
    ranked = _in_order(results, read_resamples(folder, results))
    ranking = Ranking(ranked, tuple(sentences()), tuple(study.notes), folder)
    value = {
        "criterion": CRITERION,
        "teachers": [asdict(own) for own in ranking.teachers],
        "evidence": ranking.evidence,
    }
    write_atomically(folder / RANKING_FILE, json.dumps(value, indent=1) + "\n")
    return ranking


def _named(models: Sequence[str]) -> dict[str, str]:
    """Models by the names that the table calls them: the ends of their paths, with a number where two are alike."""
    named: dict[str, str] = {}
    for model in models:
        if model in named.values():
            raise UsageError(f"the teacher {model} is given twice")
        path = Path(model.partition("=")[2] or model)
        own = path.parent.name if path.name.startswith(("model_best", "weights", "checkpoint", "last")) else path.name
        base = study_name(_ENDINGS.sub("", own)).replace(".", "-")  # a dot would part a key of the study
        name, number = base, 2
        while name in named:
            name, number = f"{base}-{number}", number + 1
        named[name] = model
    return named


def _sheet(seen: Glance, models: Mapping[str, str], name: str) -> Sheet:
    """The study that measures the teachers as they are. Raises UsageError for one whose classes are not the data's."""
    channels, teachers = 1 if seen.grey else 3, dict[str, Teacher]()
    for own, model in models.items():
        teachers[own] = look_at_teacher(model, seen.class_names, channels)
        if not teachers[own].keeps:
            raise UsageError(
                f"the teacher {model} cannot be ranked as it is: {teachers[own].why}; rank what was trained on the data's classes"
            )
    sheet = Sheet()
    sheet.values = {"name": name}
    sheet.put("data.source", seen.source)
    if seen.natural_differs and all(teacher.natural_order for teacher in teachers.values()):
        sheet.put("data.class_order", "natural")
    side = seen.short_side
    if not (seen.one_size and side is not None and side <= SMALL_SIDE):
        side = max([teacher.keys.get("image_size") or 0 for teacher in teachers.values()]) or SIDE
    sheet.put("data.image_size", side)
    if "validation" not in seen.images or "test" not in seen.images:
        sheet.put("data.validation", validation_share(seen.images["train"]).value)
    sheet.put("data.on_error", "skip")
    for own, teacher in teachers.items():
        sheet.put(f"teachers.{own}", {**teacher.keys, "head": "keep", "epochs": 0})
    sheet.put("measures.vicinity", {"pairs": PAIRS, "lam_points": LAM_POINTS})
    return sheet


def _in_order(results: StudyResults, resamples: Resamples | None) -> tuple[Ranked, ...]:
    """The lowest NLL first; each with what tells it from the first one."""
    order = sorted(range(len(results.teachers)), key=lambda position: results.teachers[position].nll)
    level, images = results.measures.confidence_level, results.data.test
    first = order[0]
    ranked = []
    for place, position in enumerate(order):
        found = _compared(results.teachers[position], results.teachers[first], position, first, resamples, level)
        ranked.append(_ranked(results.teachers[position], place, found, images))
    return tuple(ranked)


def _compared(
    own: Measured, best: Measured, position: int, first: int, resamples: Resamples | None, level: float
) -> Inference | None:
    """NLL of a teacher less that of the first one, on the same test images."""
    if position == first or resamples is None:
        return None
    numbers = []
    for teacher, at in ((own, position), (best, first)):
        moved = resamples.of(at, "nll")
        if moved is None:
            return None
        numbers.append(Number(teacher.nll, {0: teacher.nll}, deviations=moved[None], level=level))
    return infer(difference(*numbers))


def _ranked(own: Measured, place: int, versus_first: Inference | None, images: int) -> Ranked:
    scaled = own.held_out.vicinity_after_temperature_scaling if own.held_out is not None else None
    if scaled is None:
        scaled = own.vicinity_after_temperature_scaling or own.vicinity
    half = len(scaled.lam) // 2
    gap, intervals = own.confidence - own.accuracy, own.intervals
    return Ranked(
        name=own.name,
        model=own.model or "",
        accuracy=own.accuracy,
        accuracy_interval=_pair(intervals.accuracy if intervals else None),
        nll=own.nll,
        nll_interval=_pair(intervals.nll if intervals else None),
        nll_after_scaling=own.nll_after_temperature_scaling,
        gap=gap,
        nonlinearity=scaled.nonlinearity[half],
        dominance=scaled.dominance[half],
        entropy=scaled.entropy[half],
        student_gap=expected_gap(gap),
        reason=_reason(place, versus_first, images),
    )


def _pair(bounds: Any) -> tuple[float, float] | None:
    return None if bounds is None else (float(bounds[0]), float(bounds[1]))


def _reason(place: int, versus_first: Inference | None, images: int) -> str:
    if place == 0:
        return f"lowest NLL on {images:,} test images"
    if versus_first is None:
        return "higher NLL than the first one"
    low, high = versus_first.interval
    told = "told from the first one" if versus_first.sign() else "not told from the first one"
    return f"{told}: {versus_first.value:+.3f} nats ({low:+.3f} to {high:+.3f})"
