"""Reads `results.json` and arranges it into rows: models that differ by seed only."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vicinal.claims import temperature_text
from vicinal.config import SELECTION_SENTENCES, TermsSpec
from vicinal.errors import UsageError
from vicinal.report.words import inert
from vicinal.results import RESULTS_FILE, Resamples, is_as_written, read_resamples, read_results
from vicinal.workspace import say

Model = dict[str, Any]  # one trained network of results.json with its measures

ARM_LABELS = {
    "baseline": "Baseline",
    "mixup": "Mixup",
    "kd": "KD",
    "kd_mixup": "KD + mixup",
    "linear_target": "Linear target",
    "label_smoothing": "Label smoothing",
}
VICINITY_LABELS = {"cutmix": "CutMix", "regmixup": "RegMixup"}  # others are shown by their name
TERM_LABELS = {
    "cross_entropy": "CE",
    "kd": "KD",
    "linear_target": "linear target",
    "dkd": "DKD",
    "soft_cross_entropy": "soft CE",
    "hard_cross_entropy": "hard CE",
    "confidence_kd": "confidence-weighted KD",
    "feature_regression": "features",
}
SCALED = "_after_temperature_scaling"  # ending of every key measured after temperature scaling


@dataclass(frozen=True, eq=False)  # compared by identity, so that a row can be a key
class Row:
    """One line of the table and one curve of a figure: a teacher, or an arm with its teacher and temperature, over its seeds."""

    label: str
    arm: str | None  # None for a teacher
    teacher: str | None  # the teacher itself, or a student's; None for students without one
    temperature: float | str | None
    temperature_rank: int  # position among the temperatures of its arm, for the dash pattern
    models: tuple[Model, ...]  # by seed
    budget: float = 1.0  # multiple of the study's epochs that it was trained for

    @property
    def is_teacher(self) -> bool:
        """Whether it is a teacher, not a student."""
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
        """The label with the teacher's name, for sentences."""
        return self.label if self.is_teacher or self.teacher is None else f"{self.label} ({self.teacher})"

    @property
    def model_name(self) -> str | None:
        """The name of its architecture."""
        name: str | None = self.models[0].get("model")
        return name

    @property
    def logit_scale(self) -> float:
        """What a teacher's answers are multiplied by; 1 where nothing is."""
        return float(self.models[0].get("logit_scale") or 1.0)

    @property
    def scaled_from(self) -> str | None:
        """The name of the teacher whose network this is at another scale; None for what is no such teacher."""
        return None if self.logit_scale == 1 else self.label.rpartition("@")[0]

    @property
    def trained_with_mixup(self) -> bool:
        """Whether its own objective mixed images by mixup."""
        mixing = (self.models[0].get("objective") or {}).get("mixing") or {}
        return bool(mixing.get("distribution", "none") != "none") and vicinity_of(self.models[0]) == "mixup"

    def values(self, key: str) -> list[float]:
        """The scalar of every seed that has it."""
        return [float(value) for model in self.models if (value := model.get(key)) is not None]

    def by_seed(self, key: str) -> dict[int, float]:
        """The scalar by seed, of every seed that has it."""
        return {model["seed"]: float(value) for model in self.models if (value := model.get(key)) is not None}

    def interval(self, key: str) -> tuple[float, float] | None:
        """The stored interval of a scalar; only where one seed stands in the row."""
        return stored_interval(self.models[0], key) if len(self.models) == 1 else None


@dataclass(frozen=True, eq=False)  # as Row
class Results:
    """All of one study's results, arranged for tables, figures and sentences."""

    raw: dict[str, Any]
    teachers: tuple[Row, ...]
    undistilled: tuple[Row, ...]  # students without a teacher
    distilled: tuple[Row, ...]  # students of a teacher, in the order of the teachers
    other_budgets: tuple[
        Row, ...
    ] = ()  # students of another budget than the study's first, which tables and claims are about
    resamples: Resamples | None = None  # how far each figure moves when the images are drawn again

    @property
    def rows(self) -> tuple[Row, ...]:
        """Teachers, then students."""
        return self.teachers + self.undistilled + self.distilled

    @property
    def students(self) -> tuple[Row, ...]:
        """The students without a teacher, then those of each."""
        return self.undistilled + self.distilled

    @property
    def seeds(self) -> list[int]:
        """The seeds of the students, or of the teachers where there are no students: one teacher may serve all seeds."""
        return sorted({model["seed"] for row in self.students or self.teachers for model in row.models})

    @property
    def selection(self) -> str:
        """How epochs were selected, by the word of the study file."""
        return str(self.raw["selection"])

    @property
    def selected_on_test(self) -> bool:
        """Whether the test images selected the epochs, so that test metrics are optimistic."""
        return self.selection == "paper_best_test"

    @property
    def selection_sentence(self) -> str:
        """What must be said beside every table."""
        return SELECTION_SENTENCES.get(self.selection, f"Selection of epochs: {self.selection}.")

    @property
    def data(self) -> dict[str, Any]:
        """The data set's entry."""
        found: dict[str, Any] = self.raw["data"]
        return found

    def images(self, split: Literal["train", "validation", "test"]) -> int:
        """How many images a split has; 0 where it is not known."""
        return int(self.data.get(split) or 0)

    @property
    def coverage(self) -> str:
        """The coverage of the intervals, as in 95 %."""
        return f"{100 * self.confidence_level:g}\u00a0%"

    @property
    def confidence_level(self) -> float:
        """Of every interval; a test is clear where p is below 1 less this."""
        return float(self.raw["measures"].get("confidence_level", 0.95))

    @property
    def data_name(self) -> str:
        """The name of the data, as shown."""
        return str(self.data.get("name") or self.data.get("source") or "these data")

    def compared_with(self, teacher: str) -> list[Row]:
        """The students set beside a teacher: those without a teacher, then its own."""
        return [*self.undistilled, *(row for row in self.distilled if row.teacher == teacher)]


def load_results(folder: Path) -> Results:
    """The results of a study folder; UsageError in one line where they are missing, damaged or of another schema."""
    results = read_results(folder)
    return arrange(results.to_json(), read_resamples(folder, results, say))


@contextlib.contextmanager
def told_in_a_line(folder: Path) -> Iterator[None]:
    """UsageError in one line for whatever goes wrong with results that do not fit together, where no checksum says that they were
    written so: curves of other lengths than their λ, classes without names and the like."""
    try:
        yield
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        if is_as_written(folder):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UsageError(
            f"{folder / RESULTS_FILE} has no checksum, so it was edited or written by another program, and its parts do not fit "
            f"together ({what}); run the study again with `vicinal run STUDY --out {folder}`, which measures again"
        ) from error


def arrange(raw: dict[str, Any], resamples: Resamples | None = None) -> Results:
    """Group the models of results.json into rows, in the order of the file; its text is `inert` from here on."""
    raw = inert(raw)
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
    grouped = _grouped(raw["students"], lambda m: (m["arm"], m["teacher"], m["temperature"], budget_of(m)))
    budgets = list(dict.fromkeys(key[3] for key, _ in grouped))  # the file's first is the study's
    for (arm, teacher, temperature, budget), models in grouped:
        several, terms = len(temperatures[arm]) > 1, (models[0].get("objective") or {}).get("terms") or {}
        label = student_label(arm, temperature, several, vicinity_of(models[0]), terms)
        label += f" × {budget:g}" if len(budgets) > 1 and budget != budgets[0] else ""
        rank = temperatures[arm].index(temperature)
        students.append(Row(label, arm, teacher, temperature, rank, tuple(models), budget))
    others = tuple(row for row in students if row.budget != budgets[0])
    students = [row for row in students if row.budget == budgets[0]]
    order = [row.teacher for row in teachers]
    distilled = [row for row in students if row.teacher is not None]
    # A stable sort: the file's order stays inside each teacher; a teacher absent from the file comes last.
    distilled.sort(key=lambda row: order.index(row.teacher) if row.teacher in order else len(order))
    undistilled = tuple(row for row in students if row.teacher is None)
    return Results(raw, teachers, undistilled, tuple(distilled), others, resamples)


def budget_of(model: Model) -> float:
    """The multiple of the study's epochs that a student was trained for."""
    return float(model.get("budget") or 1.0)


def _grouped(models: Iterable[Model], key: Any) -> list[tuple[Any, list[Model]]]:
    groups: dict[Any, list[Model]] = {}
    for model in models:
        groups.setdefault(key(model), []).append(model)
    return [(name, sorted(group, key=lambda m: m["seed"])) for name, group in groups.items()]


def vicinity_of(model: Model) -> str:
    """What became of the images that a model was trained on: mixup also where nothing was mixed."""
    return str(((model.get("objective") or {}).get("mixing") or {}).get("vicinity") or "mixup")


def student_label(
    arm: str,
    temperature: float | str | None,
    several: bool,
    vicinity: str = "mixup",
    terms: Mapping[str, float | Mapping[str, Any]] = MappingProxyType({}),
) -> str:
    """How an arm is shown: its temperature is named where the arm has several, and always for the σ variants; its vicinity where
    that is another than mixup, and further loss terms, where the name of the arm does not say so.
    """
    label = ARM_LABELS.get(arm, arm.replace("_", " "))
    label += "".join(f" + {term_label(name, term)}" for name, term in terms.items() if name not in arm)
    if vicinity != "mixup" and vicinity.replace("_", " ").casefold() not in arm.replace("_", " ").casefold():
        label += f" ({VICINITY_LABELS.get(vicinity, vicinity.replace('_', ' '))})"
    if temperature is None or (not several and not isinstance(temperature, str)):
        return label
    return f"{label} · {temperature_label(temperature)}"


def term_label(name: str, term: float | Mapping[str, Any]) -> str:
    """A loss term: its weight where that is not 1, and of its keys those that are not as by default."""
    given = dict(term) if isinstance(term, Mapping) else {"weight": term}
    weight = given.pop("weight")
    usual = getattr(TermsSpec(**{name: {"weight": weight}}), name).model_dump() if given else {}
    other = [f"{key.replace('_', ' ')} {value}" for key, value in given.items() if value != usual.get(key)]
    label = TERM_LABELS.get(name, name.replace("_", " ")) + (f" ({', '.join(other)})" if other else "")
    return label if weight == 1 else f"{weight:g} {label}"


def temperature_label(temperature: float | str | None) -> str:
    """T = 2, T = σ; nothing for none."""
    return "" if temperature is None else f"T = {temperature_text(temperature)}"


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


def stored_interval(model: Model, key: str) -> tuple[float, float] | None:
    """The stored interval of a scalar of one seed; None where it was not stored."""
    bounds = (model.get("intervals") or {}).get(key)
    return (float(bounds[0]), float(bounds[1])) if bounds and None not in bounds else None


def corruption_values(model: Model, corruption: str, key: str) -> dict[int, float]:
    """A quantity of a model under a corruption, by severity; empty where it was not measured."""
    found = (model.get("corruptions") or {}).get(corruption) or {}
    pairs = zip(found.get("severity") or [], found.get(key) or [], strict=False)
    return {int(severity): float(value) for severity, value in pairs if value is not None}


def corruption_gain_bounds(model: Model, corruption: str) -> dict[int, tuple[float, float]]:
    """The paired interval of the gain over the baseline, percentage points, by severity."""
    found = (model.get("corruptions") or {}).get(corruption) or {}
    bounds = found.get("gain_pp_interval") or {}
    triples = zip(found.get("severity") or [], bounds.get("lower") or [], bounds.get("upper") or [], strict=False)
    return {int(s): (float(low), float(high)) for s, low, high in triples if low is not None and high is not None}


def versus_teacher(model: Model, teacher: str) -> dict[str, Any]:
    """Linearity gain, alignment and information of a student beside a teacher; empty where it was not measured."""
    found: dict[str, Any] | None = (model.get("versus_teacher") or {}).get(teacher)
    return found or {}


def gain_at_half(model: Model, teacher: str) -> float | None:
    """Δ_lin(0.5) of a student over a teacher."""
    position = half_position(model["vicinity"]["lam"])
    gain = versus_teacher(model, teacher).get("linearity_gain")
    value = None if gain is None or position is None else gain[position]
    return None if value is None else float(value)


def floats(values: Sequence[float | None]) -> NDArray[np.float64]:
    """A list of results.json as float64, NaN where a value is missing."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def mean_over_lam(lam: Sequence[float], values: Sequence[float | None]) -> float | None:
    """The mean of a curve over λ ~ Uniform(0, 1), by the trapezoidal rule; None where a point is missing."""
    mean = float(np.trapezoid(floats(values), floats(lam)))
    return mean if np.isfinite(mean) else None
