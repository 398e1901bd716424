"""A study's rows as numbers that claims, sentences and the recommendation compare, all by the comparator of `vicinal.claims`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from vicinal.claims import (
    MARGINS,
    Comparison,
    Curve,
    Deviations,
    Evidence,
    ModelResults,
    Number,
    StudentVersusTeacher,
    compare,
    constant,
    ratio,
)
from vicinal.config import SEVERITIES
from vicinal.report.degenerate import uninformative
from vicinal.report.numbers import StudyNumbers, less, mean_of_curve, numbers_of
from vicinal.report.rows import (
    SCALED,
    Model,
    Results,
    Row,
    corruption_gain_bounds,
    corruption_values,
    half_position,
    mean_over_lam,
    stored_interval,
    versus_teacher,
)

# key of a ModelResults: key of a model, and the factor to the unit of the former
_SCALARS = {
    "accuracy": ("accuracy", 100.0),
    "confidence": ("confidence", 100.0),
    "fitted_temperature": ("fitted_temperature", 1.0),
    "ece": ("ece", 1.0),
    "ece_scaled": ("ece" + SCALED, 1.0),
    "nll": ("nll", 1.0),
    "nll_scaled": ("nll" + SCALED, 1.0),
    "brier": ("brier", 1.0),
    "brier_scaled": ("brier" + SCALED, 1.0),
}
# The least and the most that a scalar can be.
_POSSIBLE = {
    **dict.fromkeys(("accuracy", "confidence", "ece"), (0.0, 1.0)),
    "brier": (0.0, 2.0),
    "nll": (0.0, math.inf),
    "fitted_temperature": (0.0, math.inf),
}
_LEAST = {"nonlinearity": 0.0, "entropy": 0.0, "kl_real": 0.0, "kl_mixed": 0.0}  # the others may be below 0
_CURVES = ("nonlinearity", "entropy", "linearity_information")
_GAIN = {"": "linearity_gain", SCALED: "linearity_gain" + SCALED}
HELD_OUT = "held_out."  # before every key measured on pairs of test images
_Bounds = Sequence[float | None] | None


# --- comparisons ------------------------------------------------------------------------------------------------------


def compare_rows(
    results: Results, a: Row, b: Row, key_a: str, key_b: str | None = None, factor: float = 1.0
) -> Comparison:
    """Whether a scalar of row a is above one of row b (the same key by default), both times a factor.

    Raises ValueError where a row has no such scalar.
    """
    first, second = scalar(results, a, key_a, factor), scalar(results, b, key_b or key_a, factor)
    if first is None or second is None:
        raise ValueError(f"{a.name} has no {key_a}, or {b.name} has no {key_b or key_a}")
    return compare(first, second)


# --- numbers of a row -------------------------------------------------------------------------------------------------


def scalar(results: Results, row: Row, key: str, factor: float = 1.0) -> Number | None:
    """A scalar of results.json, times a factor; None where no seed has it."""
    numbers, images = numbers_of(results), results.images("test")

    def value(model: Model) -> float | None:
        found = model.get(key)
        return None if found is None else factor * found

    def bounds(model: Model) -> _Bounds:
        found = stored_interval(model, key)
        return None if found is None else [factor * bound for bound in found]

    def moved(model: Model) -> Deviations | None:
        found = numbers.moved(model, key)
        return None if found is None else factor * found

    # As one image more that is answered otherwise (Agresti and Min 2005): answers that are all right show no error.
    least_error = factor / (images + 2) if key == "accuracy" else 0.0
    least, most = _POSSIBLE.get(key.removesuffix(SCALED), (-math.inf, math.inf))
    possible = factor * least, factor * most
    name = f"{key} x {factor:g}"
    return numbers.number(row, name, value, moved, bounds, images or None, least_error, possible=possible)


@lru_cache(maxsize=8192)
def vicinal_curve_numbers(
    results: Results, row: Row, quantity: str, scaled: str = "", held_out: str = ""
) -> dict[float, Number]:
    """A vicinal quantity by λ. Dominance is the ratio of NL and H, as it is of means.

    Args:
        scaled: `SCALED` for the answers after temperature scaling.
        held_out: `HELD_OUT` for pairs of test images.
    """
    if quantity == "dominance":
        below = vicinal_curve_numbers(results, row, "entropy", scaled, held_out)
        above = vicinal_curve_numbers(results, row, "nonlinearity", scaled, held_out)
        return {
            lam: ratio(number, below[lam]) for lam, number in above.items() if lam in below and below[lam].value > 0
        }
    numbers, key = numbers_of(results), f"{held_out}vicinity{scaled}.{quantity}"

    def curves(model: Model) -> Mapping[str, Any]:
        return _curves_of(model, scaled, held_out) or {}

    return _by_lam(
        numbers, row, key, lambda m: curves(m).get(quantity), lambda m, k: numbers.moved(m, key, k),
        lambda m: (curves(m).get("intervals") or {}).get(quantity), _LEAST.get(quantity, -math.inf),
    )  # fmt: skip


def _curves_of(model: Model, scaled: str, held_out: str) -> Mapping[str, Any] | None:
    """The curves of one network on the pairs asked for; None where they were not measured."""
    place = model.get("held_out") or {} if held_out else model
    found: Mapping[str, Any] | None = place.get(f"vicinity{scaled}")
    return found


def _beside(model: Model, teacher: str, held_out: str) -> Mapping[str, Any]:
    """What was measured of a student beside a teacher on the pairs asked for; empty where it was not."""
    found = versus_teacher(model, teacher)
    return (found.get("held_out") or {}) if held_out else found


def number_at_half(curve: Curve) -> Number | None:
    """A curve at λ = 0.5."""
    position = half_position(list(curve))
    return None if position is None else list(curve.values())[position]


@lru_cache(maxsize=8192)
def student_versus_teacher(
    results: Results, row: Row, teacher: str, scaled: str = "", held_out: str = ""
) -> StudentVersusTeacher | None:
    """Gain by λ and alignment of a student beside a teacher. None where that was not measured.

    Args:
        scaled, held_out: as `vicinal_curve_numbers` takes them.
    """
    if not any(_beside(model, teacher, held_out) for model in row.models):
        return None
    numbers, name = numbers_of(results), f"{held_out}{teacher}{scaled}"

    def moved(model: Model, position: int) -> Deviations | None:
        key, beside = f"{held_out}vicinity{scaled}.nonlinearity", teacher_of(results, teacher, model)
        own = numbers.moved(model, key, position)
        return None if beside is None else less(numbers.moved(beside, key, position), own)

    curve = _by_lam(
        numbers, row, f"gain over {name}", lambda m: _beside(m, teacher, held_out).get(_GAIN[scaled]),
        moved, lambda m: _beside(m, teacher, held_out).get(f"{_GAIN[scaled]}_interval"),
    )  # fmt: skip
    kl_real, kl_mixed, response = (
        _alignment(numbers, row, teacher, key, scaled, held_out)
        for key in ("kl_real", "kl_mixed", "independent_response")
    )
    peak = max(curve.values(), key=lambda number: number.value, default=None)
    return StudentVersusTeacher(curve, peak, kl_real, kl_mixed, response)


def teacher_of(results: Results, teacher: str, student: Model) -> Model | None:
    """The teacher of this name that a student stands beside: of its seed, or the one that all seeds share."""
    row = next((row for row in results.teachers if row.label == teacher), None)
    if row is None:
        return None
    return next(
        (model for model in row.models if model["seed"] == student["seed"]),
        row.models[0] if len(row.models) == 1 else None,
    )


def _alignment(numbers: StudyNumbers, row: Row, teacher: str, key: str, scaled: str, held_out: str) -> Number | None:
    def part(model: Model) -> Mapping[str, Any]:
        return _beside(model, teacher, held_out).get(f"alignment{scaled}") or {}

    def moved(model: Model) -> Deviations | None:
        real, mixed = (
            numbers.moved(model, f"versus_teacher.{teacher}.{held_out}{name}{scaled}")
            for name in ("kl_real", "kl_mixed")
        )
        return {"kl_real": real, "kl_mixed": mixed}[key] if key != "independent_response" else less(mixed, real)

    def bounds(model: Model) -> _Bounds:
        found: _Bounds = (part(model).get("intervals") or {}).get(key)
        return found

    name = f"{held_out}{key} to {teacher}{scaled}"
    possible = _LEAST.get(key, -math.inf), math.inf
    return numbers.number(row, name, lambda m: part(m).get(key), moved, bounds, pooled=False, possible=possible)


def _by_lam(
    numbers: StudyNumbers, row: Row, key: str, values: Any, moved: Any, bounds: Any, least: float = -math.inf
) -> dict[float, Number]:
    """Numbers by λ, from functions that give a model's list over λ, the (R,) deviations of a point, and its bounds' lists."""
    curve: dict[float, Number] = {}
    lam = row.models[0]["vicinity"]["lam"]
    lists = [found for model in row.models if (found := values(model)) is not None]
    for k, at in enumerate(lam):
        mirrored = curve.get(float(lam[-1 - k]))
        if mirrored is not None and all(found[k] == found[-1 - k] for found in lists):
            curve[float(at)] = mirrored
            continue
        number = numbers.number(
            row, f"{key} at {at}", partial(_entry, values=values, position=k), partial(_at, moved, k),
            partial(_bounds, bounds=bounds, position=k), pooled=False, possible=(least, math.inf),
        )  # fmt: skip
        if number is not None:
            curve[float(at)] = number
    return curve


def _at(moved: Any, position: int, model: Model) -> Deviations | None:
    found: Deviations | None = moved(model, position)
    return found


def _entry(model: Model, values: Any, position: int) -> float | None:
    found = values(model)
    return None if found is None else found[position]


def _bounds(model: Model, bounds: Any, position: int) -> _Bounds:
    found = bounds(model)
    return None if not found else [found["lower"][position], found["upper"][position]]


# --- all of a study ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def study_evidence(results: Results) -> Evidence:
    """A study's results as the claims want them."""
    teachers = tuple(_teacher(row, results) for row in results.teachers)
    students = tuple(_student(row, results) for row in results.students)
    classes = len(results.data.get("class_names") or []) or None
    return Evidence(results.data_name, teachers, students, classes, margins_of(results))


def margins_of(results: Results) -> dict[str, float]:
    """What counts as no difference, by unit."""
    stated = (results.raw.get("spec") or {}).get("measures", {}).get("margins") or {}
    units = {"points": "accuracy_pp", "ECE": "ece", "nats": "nats"}
    return {unit: float(stated.get(key, MARGINS[unit])) for unit, key in units.items()}


def _teacher(row: Row, results: Results) -> ModelResults:
    own = ModelResults(
        row.label,
        model=row.model_name,
        trained_with_mixup=row.trained_with_mixup,
        logit_scale=row.logit_scale,
        scaled_from=row.scaled_from,
        is_ensemble=bool(row.models[0].get("ensemble")),
        numbers=_numbers(row, results),
        curves=_curves(row, results),
    )
    return replace(
        own, scaled=_elsewhere(own, row, results, SCALED), held_out=_elsewhere(own, row, results, "", HELD_OUT)
    )


def _student(row: Row, results: Results) -> ModelResults:
    own = ModelResults(
        row.label, row.arm, row.teacher, row.temperature, row.model_name, scale_free=row.scale_free,
        uninformative=uninformative(row, results),
        numbers=_numbers(row, results), curves=_curves(row, results), corruption_gain=corruption_gain_numbers(row, results),
        versus_teacher=_beside_teachers(row, results),
    )  # fmt: skip
    return replace(
        own, scaled=_elsewhere(own, row, results, SCALED), held_out=_elsewhere(own, row, results, "", HELD_OUT)
    )


def _elsewhere(own: ModelResults, row: Row, results: Results, scaled: str, held_out: str = "") -> ModelResults | None:
    """The same network with what lies between images after temperature scaling, or on pairs of test images."""
    if not all(_curves_of(model, scaled, held_out) for model in row.models):
        return None
    numbers = {key: number for key, number in own.numbers.items() if key not in ("nl_mean", "nl_peak", "eq11_residual")}
    return replace(
        own, numbers=numbers | _vicinal_numbers(row, results, scaled, held_out),
        curves=_curves(row, results, scaled, held_out), versus_teacher=_beside_teachers(row, results, scaled, held_out),
        scale_free=own.scale_free and not scaled,
    )  # fmt: skip


def _beside_teachers(
    row: Row, results: Results, scaled: str = "", held_out: str = ""
) -> dict[str, StudentVersusTeacher]:
    names = [teacher.label for teacher in results.teachers]
    found = {name: student_versus_teacher(results, row, name, scaled, held_out) for name in names}
    return {name: beside for name, beside in found.items() if beside is not None}


def _numbers(row: Row, results: Results) -> dict[str, Number]:
    found: dict[str, Number | None] = {name: scalar(results, row, *where) for name, where in _SCALARS.items()}
    numbers = numbers_of(results)
    found["v_score"] = numbers.number(
        row, "v_score", lambda m: (m.get("representation") or {}).get("v_score"),
        lambda m: numbers.moved(m, "representation.v_score"), lambda m: (m.get("representation") or {}).get("v_score_interval"),
    )  # fmt: skip
    found["parameters"] = _parameters(row)
    found["eq11_residual"] = numbers.number(
        row, "eq11_residual", _eq11_residual, partial(_eq11_moved, numbers), _eq11_bounds
    )
    found["overconfidence"] = numbers.number(
        row,
        "overconfidence",
        _overconfidence,
        partial(_overconfidence_moved, numbers),
        _overconfidence_bounds,
        images=results.images("test") or None,
    )
    for name, key in (("ece_floor", "ece"), ("ece_scaled_floor", "ece" + SCALED)):
        found[name] = numbers.number(row, name, partial(_floor, key), lambda _: None)
    known = {key: number for key, number in found.items() if number is not None}
    return known | _vicinal_numbers(row, results)


def _overconfidence(model: Model) -> float | None:
    """Confidence less accuracy of one network, points."""
    confidence, accuracy = model.get("confidence"), model.get("accuracy")
    return None if confidence is None or accuracy is None else 100.0 * (confidence - accuracy)


def _overconfidence_bounds(model: Model) -> _Bounds:
    """From the two stored intervals, as if they were independent: used where no resamples are kept."""
    gap, stored = _overconfidence(model), [stored_interval(model, key) for key in ("confidence", "accuracy")]
    known = [bounds for bounds in stored if bounds is not None]
    if gap is None or len(known) < len(stored):
        return None
    half = 50 * math.hypot(*(high - low for low, high in known))
    return gap - half, gap + half


def _overconfidence_moved(numbers: StudyNumbers, model: Model) -> Deviations | None:
    moved = less(numbers.moved(model, "confidence"), numbers.moved(model, "accuracy"))
    return None if moved is None else 100 * moved


def _floor(key: str, model: Model) -> float | None:
    """The ECE that a perfectly calibrated network of the same confidences shows on average."""
    return ((model.get("calibration_tests") or {}).get(key) or {}).get("floor")


def _vicinal_numbers(row: Row, results: Results, scaled: str = "", held_out: str = "") -> dict[str, Number]:
    """nl_mean and nl_peak."""
    numbers, key = numbers_of(results), f"{held_out}vicinity{scaled}.nonlinearity"
    lam = row.models[0]["vicinity"]["lam"]
    average = numbers.number(
        row, f"mean of {key}", lambda m: _mean_over_lam(_curves_of(m, scaled, held_out)),
        lambda m: mean_of_curve(lam, numbers.moved(m, key)), lambda m: _mean_bounds(_curves_of(m, scaled, held_out)),
        pooled=False,
    )  # fmt: skip
    found = {} if average is None else {"nl_mean": average}
    curve = vicinal_curve_numbers(results, row, "nonlinearity", scaled, held_out)
    if curve:
        found["nl_peak"] = max(curve.values(), key=lambda number: number.value)
    return found


def _parameters(row: Row) -> Number | None:
    """A network's size, which is known without error."""
    count = row.models[0].get("parameters")
    return None if count is None else constant(float(count))


def mean_nonlinearity(model: Model) -> float | None:
    """The mean of NL over λ, nats; None where a point of the curve is missing."""
    return _mean_over_lam(model["vicinity"])


def _mean_over_lam(curves: Mapping[str, Any] | None) -> float | None:
    return mean_over_lam(curves["lam"], curves["nonlinearity"]) if curves else None


def _mean_bounds(curves: Mapping[str, Any] | None) -> _Bounds:
    bounds = ((curves or {}).get("intervals") or {}).get("nonlinearity")
    return None if not bounds or not curves else [mean_over_lam(curves["lam"], bounds[s]) for s in ("lower", "upper")]


def _eq11_residual(model: Model) -> float | None:
    """H[p(x̃)] − H[p(x)] − NL at λ = 0.5, nats, as measured."""
    measured = model.get("information")
    position = half_position(measured["lam"]) if measured else None
    return None if measured is None or position is None else measured["residual_eq11"][position]


def _eq11_bounds(model: Model) -> _Bounds:
    """From the terms' intervals, as if they were independent, where no resamples are kept."""
    curves, value = model.get("vicinity") or {}, _eq11_residual(model)
    intervals, position = curves.get("intervals") or {}, half_position(curves.get("lam") or [])
    if value is None or position is None or not {"entropy", "nonlinearity"} <= intervals.keys():
        return None
    widths = [
        [high - low for low, high in zip(bounds["lower"], bounds["upper"], strict=True) if None not in (low, high)]
        for bounds in (intervals["entropy"], intervals["nonlinearity"])
    ]
    if {len(width) for width in widths} != {len(curves["lam"])}:
        return None
    entropy, nonlinearity = widths
    half = math.hypot(entropy[position], nonlinearity[position], (entropy[0] + entropy[-1]) / 2) / 2
    return [value - half, value + half]


def _eq11_moved(numbers: StudyNumbers, model: Model) -> Deviations | None:
    position = half_position((model.get("information") or {}).get("lam") or [])
    return None if position is None else numbers.moved(model, "information.residual_eq11", position)


def _curves(row: Row, results: Results, scaled: str = "", held_out: str = "") -> dict[str, Curve]:
    names = (*_CURVES, "dominance")
    return {name: curve for name in names if (curve := vicinal_curve_numbers(results, row, name, scaled, held_out))}


def corruption_gain_numbers(row: Row, results: Results) -> dict[str, dict[int, Number]]:
    """Percentage points over the baseline by corruption and severity; empty where they were not measured."""
    gains: dict[str, dict[int, Number]] = {}
    numbers = numbers_of(results)
    for name in row.models[0].get("corruptions") or {}:
        for position, severity in enumerate(SEVERITIES):
            number = numbers.number(
                row, f"gain under {name} {severity}", partial(_gain, name, severity),
                partial(_gain_moved, results, name, position), partial(_gain_bounds, name, severity),
                possible=(-100.0, 100.0),
            )  # fmt: skip
            if number is not None:
                gains.setdefault(name, {})[severity] = number
    return gains


def corrupted_accuracy_number(results: Results, row: Row, name: str, severity: int) -> Number | None:
    """Accuracy under one corruption at one severity, percent; None where it was not measured."""
    numbers, position = numbers_of(results), SEVERITIES.index(severity)

    def value(model: Model) -> float | None:
        found = corruption_values(model, name, "accuracy").get(severity)
        return None if found is None else 100 * found

    def moved(model: Model) -> Deviations | None:
        found = numbers.moved(model, f"corruptions.{name}.accuracy", position)
        return None if found is None else 100 * found

    return numbers.number(row, f"accuracy under {name} {severity}", value, moved, possible=(0.0, 100.0))


def _gain(name: str, severity: int, model: Model) -> float | None:
    return corruption_values(model, name, "gain_pp").get(severity)


def _gain_moved(results: Results, name: str, position: int, model: Model) -> Deviations | None:
    numbers, key = numbers_of(results), f"corruptions.{name}.accuracy"
    baseline = next(
        (m for row in results.undistilled if row.arm == "baseline" for m in row.models if m["seed"] == model["seed"]),
        None,
    )
    if baseline is None:
        return None
    apart = less(numbers.moved(model, key, position), numbers.moved(baseline, key, position))
    return None if apart is None else 100 * apart


def _gain_bounds(name: str, severity: int, model: Model) -> _Bounds:
    return corruption_gain_bounds(model, name).get(severity)
