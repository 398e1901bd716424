"""Reads `results.json` and arranges it into rows: models that differ by seed only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from vicinal.config import SELECTION_SENTENCES
from vicinal.results import read_results

Model = dict[str, Any]  # one trained network of results.json with its measures

ARM_LABELS = {
    "baseline": "Baseline",
    "mixup": "Mixup",
    "kd": "KD",
    "kd_mixup": "KD + mixup",
    "linear_target": "Linear target",
    "label_smoothing": "Label smoothing",
}
TEMPERATURE_SYMBOLS = {"sigma": "σ", "teacher_sigma": "σ_t"}
SCALED = "_after_temperature_scaling"  # ending of every key measured after temperature scaling


@dataclass(frozen=True, eq=False)  # compared by identity, so that a row can be a key
class Row:
    """One line of the table and one curve of a figure: a teacher, or an arm with its teacher and temperature."""

    label: str
    arm: str | None  # None for a teacher
    teacher: str | None  # the teacher itself, or the one asked; None for students that ask none
    temperature: float | str | None
    temperature_rank: int  # position among the temperatures of its arm, for the dash pattern
    models: tuple[Model, ...]  # by seed

    @property
    def is_teacher(self) -> bool:
        return self.arm is None

    @property
    def scale_free(self) -> bool:
        """Whether the scale of the logits is arbitrary, so that raw confidence, ECE and NL mean nothing by themselves."""
        return any(model.get("scale_free") for model in self.models)

    @property
    def shown_scaled(self) -> bool:
        """Whether figures show it after temperature scaling: a scale-free student, where that was measured."""
        return self.scale_free and all(model.get("vicinity" + SCALED) for model in self.models)

    @property
    def name(self) -> str:
        """The label with the teacher asked, for sentences."""
        return self.label if self.is_teacher or self.teacher is None else f"{self.label} ({self.teacher})"

    def values(self, key: str) -> list[float]:
        """The scalar of every seed that has it."""
        return [float(value) for model in self.models if (value := model.get(key)) is not None]

    def by_seed(self, key: str) -> dict[int, float]:
        return {model["seed"]: float(value) for model in self.models if (value := model.get(key)) is not None}

    def interval(self, key: str) -> tuple[float, float] | None:
        """The bootstrap interval of a scalar; only where one seed stands in the row."""
        bounds = (self.models[0].get("intervals") or {}).get(key) if len(self.models) == 1 else None
        return (float(bounds[0]), float(bounds[1])) if bounds and None not in bounds else None


@dataclass(frozen=True)
class Results:
    """All of one study's results, arranged for tables, figures and sentences."""

    raw: dict[str, Any]
    teachers: tuple[Row, ...]
    unguided: tuple[Row, ...]  # students that ask no teacher
    guided: tuple[Row, ...]  # students that ask one, in the order of the teachers

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.teachers + self.unguided + self.guided

    @property
    def students(self) -> tuple[Row, ...]:
        return self.unguided + self.guided

    @property
    def seeds(self) -> list[int]:
        """The seeds of the students, or of the teachers where there are no students: one teacher may serve all seeds."""
        return sorted({model["seed"] for row in self.students or self.teachers for model in row.models})

    @property
    def selection_sentence(self) -> str:
        selection = self.raw["selection"]
        return SELECTION_SENTENCES.get(selection, f"Selection of epochs: {selection}.")

    @property
    def coverage(self) -> str:
        """The coverage of the intervals, as in 95 %."""
        return f"{100 * self.raw['measures'].get('interval', 0.95):g}\u00a0%"

    def asked_by(self, teacher: str) -> list[Row]:
        """The students compared with a teacher: those that ask none, then those that ask it."""
        return [*self.unguided, *(row for row in self.guided if row.teacher == teacher)]


def load_results(folder: Path) -> Results:
    """The results of a study folder; UsageError in one line where they are missing, damaged or of another schema."""
    return arrange(read_results(folder).to_json())


def arrange(raw: dict[str, Any]) -> Results:
    """Group the models of results.json into rows, in the order of the file."""
    teachers = tuple(
        Row(str(name), None, str(name), None, 0, tuple(models))
        for name, models in _grouped(raw["teachers"], lambda m: m["name"])
    )
    temperatures: dict[str, list[Any]] = {}
    for model in raw["students"]:
        known = temperatures.setdefault(model["arm"], [])
        if model["temperature"] not in known:
            known.append(model["temperature"])
    students = []
    for key, models in _grouped(raw["students"], lambda m: (m["arm"], m["teacher"], m["temperature"])):
        arm, teacher, temperature = key
        label = student_label(arm, temperature, several=len(temperatures[arm]) > 1)
        students.append(Row(label, arm, teacher, temperature, temperatures[arm].index(temperature), tuple(models)))
    order = [row.teacher for row in teachers]
    guided = [row for row in students if row.teacher is not None]
    # A stable sort: the file's order stays inside each teacher; a teacher absent from the file comes last.
    guided.sort(key=lambda row: order.index(row.teacher) if row.teacher in order else len(order))
    return Results(raw, teachers, tuple(row for row in students if row.teacher is None), tuple(guided))


def _grouped(models: Iterable[Model], key: Any) -> list[tuple[Any, list[Model]]]:
    groups: dict[Any, list[Model]] = {}
    for model in models:
        groups.setdefault(key(model), []).append(model)
    return [(name, sorted(group, key=lambda m: m["seed"])) for name, group in groups.items()]


def student_label(arm: str, temperature: float | str | None, several: bool) -> str:
    """How an arm is shown: its temperature is named where the arm has several, and always for the σ variants."""
    label = ARM_LABELS.get(arm, arm.replace("_", " "))
    if temperature is None or (not several and temperature not in TEMPERATURE_SYMBOLS):
        return label
    shown = TEMPERATURE_SYMBOLS[temperature] if isinstance(temperature, str) else f"{temperature:g}"
    return f"{label} · T = {shown}"


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None] | None:
    """Mean and sample standard deviation; no spread for one value, None for none."""
    if not values:
        return None
    return fmean(values), stdev(values) if len(values) > 1 else None


def half_position(lam: Sequence[float]) -> int | None:
    """Where λ = 0.5 stands on the grid."""
    return next((k for k, value in enumerate(lam) if math.isclose(value, 0.5, abs_tol=1e-9)), None)


def at_half(model: Model, quantity: str, curves: str = "vicinity") -> float | None:
    """A vicinal quantity of a model at λ = 0.5."""
    vicinity = model.get(curves)
    position = half_position(vicinity["lam"]) if vicinity else None
    value = None if vicinity is None or position is None else vicinity[quantity][position]
    return None if value is None else float(value)


def interval_at_half(model: Model, quantity: str) -> tuple[float, float] | None:
    """The bootstrap interval of a vicinal quantity at λ = 0.5."""
    position = half_position(model["vicinity"]["lam"])
    bounds = (model["vicinity"].get("intervals") or {}).get(quantity)
    if position is None or not bounds:
        return None
    lower, upper = bounds["lower"][position], bounds["upper"][position]
    return None if lower is None or upper is None else (float(lower), float(upper))


def against(model: Model, teacher: str) -> dict[str, Any] | None:
    """Linearity gain and alignment of a student against a teacher: the one it asked, or any it was measured against."""
    if model.get("teacher") == teacher and model.get("linearity_gain") is not None:
        return model
    found: dict[str, Any] | None = (model.get("versus_teacher") or {}).get(teacher)
    return found


def gain_at_half(model: Model, teacher: str) -> float | None:
    """Δ_lin(0.5) of a student against a teacher."""
    position = half_position(model["vicinity"]["lam"])
    measured = against(model, teacher)
    gain = (measured or {}).get("linearity_gain")
    value = None if gain is None or position is None else gain[position]
    return None if value is None else float(value)
