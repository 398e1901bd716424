"""A study's rows as numbers that claims, sentences and the recommendation compare, all by the comparator of `vicinal.claims`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from statistics import fmean
from typing import Any

from vicinal.claims import (
    Comparison,
    Curve,
    Evidence,
    ModelResults,
    Number,
    PairedTest,
    StudentVersusTeacher,
    compare,
    difference,
    mean,
    p_value_text,
)
from vicinal.config import SEVERITIES
from vicinal.report.degenerate import uninformative
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
    "ece": ("ece", 1.0),
    "ece_scaled": ("ece" + SCALED, 1.0),
}
_CURVES = ("nonlinearity", "entropy", "dominance")
_Bounds = Sequence[float | None] | None


# --- comparisons ------------------------------------------------------------------------------------------------------


def compare_rows(results: Results, a: Row, b: Row, key_a: str, key_b: str | None = None) -> Comparison:
    """Whether a scalar of row a is above one of row b (the same key by default).

    Raises ValueError where a row has no such scalar.
    """
    first, second = scalar(a, key_a), scalar(b, key_b or key_a)
    if first is None or second is None:
        raise ValueError(f"{a.name} has no {key_a}, or {b.name} has no {key_b or key_a}")
    test = paired_test(results, a, b) if key_a == "accuracy" and key_b in (None, "accuracy") else None
    return compare(first, second, test)


def comparison_words(results: Results, comparison: Comparison) -> str:
    """How a comparison is known, or why it is not, in words."""
    gap, decided = comparison.difference, comparison.sign != 0
    if gap.spread == "seeds":
        if decided:
            return f"the same in each of the {len(gap.by_seed)} seeds"
        above = sum(value > 0 for value in gap.by_seed.values())
        return f"undecided: higher in {above} of {len(gap.by_seed)} seeds"
    if gap.test is not None:
        words = f"McNemar’s test on the same images, {p_value_text(gap.test.p_value)}"
        return words if decided else f"undecided: {words}, and one seed gives no spread"
    if gap.interval is None:
        return "undecided: one seed gives no spread, and no interval was stored"
    if decided:
        return f"{results.coverage} intervals apart"
    return f"undecided: {results.coverage} intervals overlap, and one seed gives no spread"


def paired_test(results: Results, a: Row, b: Row) -> PairedTest | None:
    """McNemar's test of two students of one seed each, on the same test images; None where it was not stored."""
    if len(a.models) != 1 or len(b.models) != 1:
        return None
    students = results.raw["students"]
    places = [next((k for k, m in enumerate(students) if m is row.models[0]), None) for row in (a, b)]
    for test in results.raw.get("mcnemar") or ():
        if all(place in test["students"] for place in places):
            i, j = (test["students"].index(place) for place in places)
            only = test["only_first"]
            return PairedTest(only[i][j], only[j][i], test["p_value"][i][j], 1 - results.confidence_level)
    return None


# --- numbers of a row -------------------------------------------------------------------------------------------------


def _number(row: Row, value: Callable[[Model], float | None], interval: Callable[[Model], _Bounds]) -> Number | None:
    """A quantity of a row over its seeds; the interval counts where there is one seed. None where no seed has it."""
    by_seed = {
        model["seed"]: float(found)
        for model in row.models
        if (found := value(model)) is not None and math.isfinite(found)
    }
    if not by_seed:
        return None
    bounds = interval(row.models[0]) if len(row.models) == 1 else None
    low, high = bounds if bounds is not None else (None, None)
    return Number(fmean(by_seed.values()), by_seed, None if low is None or high is None else (float(low), float(high)))


def scalar(row: Row, key: str, factor: float = 1.0) -> Number | None:
    """A scalar of results.json, times a factor; None where no seed has it."""

    def value(model: Model) -> float | None:
        found = model.get(key)
        return None if found is None else factor * found

    def bounds(model: Model) -> _Bounds:
        found = stored_interval(model, key)
        return None if found is None else [factor * bound for bound in found]

    return _number(row, value, bounds)


def vicinal_curve_numbers(row: Row, quantity: str) -> dict[float, Number]:
    """A vicinal quantity by λ."""
    return _by_lam(row, lambda m: m["vicinity"][quantity], partial(_vicinal_bounds, quantity=quantity))


def number_at_half(curve: Curve) -> Number | None:
    """A curve at λ = 0.5."""
    position = half_position(list(curve))
    return None if position is None else list(curve.values())[position]


def _vicinal_bounds(model: Model, quantity: str) -> Mapping[str, Sequence[float | None]] | None:
    found: Mapping[str, Sequence[float | None]] | None = (model["vicinity"].get("intervals") or {}).get(quantity)
    return found


def student_versus_teacher(row: Row, teacher: str) -> StudentVersusTeacher | None:
    """Gain by λ and alignment of a student beside a teacher. None where that was not measured."""
    if not any(versus_teacher(model, teacher) for model in row.models):
        return None

    def alignment(key: str) -> Number | None:
        def part(model: Model) -> Mapping[str, Any]:
            return versus_teacher(model, teacher).get("alignment") or {}

        return _number(row, lambda m: part(m).get(key), lambda m: (part(m).get("intervals") or {}).get(key))

    curve = _by_lam(
        row,
        lambda m: versus_teacher(m, teacher).get("linearity_gain"),
        lambda m: versus_teacher(m, teacher).get("linearity_gain_interval"),
    )
    peak = max(curve.values(), key=lambda number: number.value, default=None)
    return StudentVersusTeacher(
        curve, peak, alignment("kl_real"), alignment("kl_mixed"), alignment("independent_response")
    )


def _by_lam(row: Row, values: Callable[[Model], Any], bounds: Callable[[Model], Any]) -> dict[float, Number]:
    """Numbers by λ, from functions that give a model's list over λ and its `lower` and `upper` lists, or None."""
    curve = {
        float(lam): _number(
            row, partial(_entry, values=values, position=k), partial(_bounds, bounds=bounds, position=k)
        )
        for k, lam in enumerate(row.models[0]["vicinity"]["lam"])
    }
    return {lam: number for lam, number in curve.items() if number is not None}


def _entry(model: Model, values: Callable[[Model], Any], position: int) -> float | None:
    found = values(model)
    return None if found is None else found[position]


def _bounds(model: Model, bounds: Callable[[Model], Any], position: int) -> _Bounds:
    found = bounds(model)
    return None if not found else [found["lower"][position], found["upper"][position]]


# --- all of a study ---------------------------------------------------------------------------------------------------


def study_evidence(results: Results) -> Evidence:
    """A study's results as the claims want them: numbers by seed, or with their bootstrap interval where there is one seed."""
    teachers = tuple(_teacher(row) for row in results.teachers)
    students = {row: _student(row, results) for row in results.students}
    tests = {
        (students[a].key, students[b].key): test
        for a, b in combinations(students, 2)
        if (test := paired_test(results, a, b)) is not None
    }
    classes = len(results.data.get("class_names") or []) or None
    return Evidence(results.data_name, teachers, tuple(students.values()), classes, tests)


def _teacher(row: Row) -> ModelResults:
    return ModelResults(
        row.label,
        model=row.model_name,
        trained_with_mixup=row.trained_with_mixup,
        logit_scale=row.logit_scale,
        scaled_from=row.scaled_from,
        numbers=_numbers(row),
        curves=_curves(row),
    )


def _student(row: Row, results: Results) -> ModelResults:
    names = [teacher.label for teacher in results.teachers]
    return ModelResults(
        row.label, row.arm, row.teacher, row.temperature, row.model_name, scale_free=row.scale_free,
        uninformative=uninformative(row, results),
        numbers=_numbers(row), curves=_curves(row), corruption_gain=_corruption_gain(row),
        versus_teacher={name: found for name in names if (found := student_versus_teacher(row, name)) is not None},
    )  # fmt: skip


def _numbers(row: Row) -> dict[str, Number]:
    found: dict[str, Number | None] = {name: scalar(row, *where) for name, where in _SCALARS.items()}
    found["v_score"] = _number(row, lambda m: (m.get("representation") or {}).get("v_score"), lambda _: None)
    found["nl_mean"] = _number(row, mean_nonlinearity, _mean_nonlinearity_bounds)
    curve = vicinal_curve_numbers(row, "nonlinearity")
    if curve:
        found["nl_peak"] = max(curve.values(), key=lambda number: number.value)
    found["eq11_residual"] = _number(row, _eq11_residual, partial(_eq11_bounds, row))
    return {key: number for key, number in found.items() if number is not None}


def mean_nonlinearity(model: Model) -> float | None:
    """The mean of NL over λ, nats; None where a point of the curve is missing."""
    return mean_over_lam(model["vicinity"]["lam"], model["vicinity"]["nonlinearity"])


def _mean_nonlinearity_bounds(model: Model) -> _Bounds:
    bounds = _vicinal_bounds(model, "nonlinearity")
    return None if not bounds else [mean_over_lam(model["vicinity"]["lam"], bounds[s]) for s in ("lower", "upper")]


def _eq11_residual(model: Model) -> float | None:
    """H[p(x̃)] − H[p(x)] − NL at λ = 0.5, nats, as measured."""
    measured = model.get("information")
    position = half_position(measured["lam"]) if measured else None
    return None if measured is None or position is None else measured["residual_eq11"][position]


def _eq11_bounds(row: Row, _: Model) -> _Bounds:
    """The far ends of the terms' intervals: none is stored of the residual itself."""
    entropy, nonlinearity = (vicinal_curve_numbers(row, quantity) for quantity in ("entropy", "nonlinearity"))
    mixed, departure = number_at_half(entropy), number_at_half(nonlinearity)
    if mixed is None or departure is None or not {0.0, 1.0} <= entropy.keys():
        return None
    return difference(difference(mixed, mean([entropy[0.0], entropy[1.0]])), departure).interval


def _curves(row: Row) -> dict[str, Curve]:
    return {quantity: curve for quantity in _CURVES if (curve := vicinal_curve_numbers(row, quantity))}


def _corruption_gain(row: Row) -> dict[str, dict[int, Number]]:
    """Percentage points over the baseline by corruption and severity; empty where they were not measured."""
    gains: dict[str, dict[int, Number]] = {}
    for name in row.models[0].get("corruptions") or {}:
        for severity in SEVERITIES:
            number = _number(row, partial(_gain, name, severity), partial(_gain_bounds, name, severity))
            if number is not None:
                gains.setdefault(name, {})[severity] = number
    return gains


def _gain(name: str, severity: int, model: Model) -> float | None:
    return corruption_values(model, name, "gain_pp").get(severity)


def _gain_bounds(name: str, severity: int, model: Model) -> _Bounds:
    return corruption_gain_bounds(model, name).get(severity)
