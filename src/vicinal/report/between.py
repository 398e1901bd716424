"""Figures between images at λ = ½, on pairs of training and of held-out images, as measured and after temperature scaling.

`place` is "" for the students' training images and `HELD_OUT` for pairs of test images; `scaled` is "" or `SCALED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vicinal.claims import Deviations, Number, ratio
from vicinal.report.evidence import teacher_of
from vicinal.report.numbers import less, numbers_of
from vicinal.report.rows import Model, Results, Row, half_position, versus_teacher

HELD_OUT = "held_out"
KINDS = ("same", "different")  # whether the two images of a pair are of one class


def curve_at_half(results: Results, row: Row, quantity: str, scaled: str = "", place: str = "") -> Number | None:
    """NL, H, D or I_lin at λ = ½ of a row; None where it was not measured. D is the ratio of the other two, as of means."""
    if quantity == "dominance":
        above = curve_at_half(results, row, "nonlinearity", scaled, place)
        below = curve_at_half(results, row, "entropy", scaled, place)
        return None if above is None or below is None or below.value <= 0 else ratio(above, below)
    numbers, path = numbers_of(results), _path(place, f"vicinity{scaled}")

    def moved(model: Model) -> Deviations | None:
        position = _half(_inside(model, path))
        return None if position is None else numbers.moved(model, f"{path}.{quantity}", position)

    return numbers.number(
        row, f"{path}.{quantity} at half", lambda model: _at_half(_inside(model, path), quantity), moved,
        lambda model: _bounds_at_half(_inside(model, path), quantity),
    )  # fmt: skip


def gain(results: Results, row: Row, teacher: str, scaled: str = "", place: str = "") -> Number | None:
    """Δ_lin(½) of a student over a teacher, nats; None where it was not measured."""
    numbers, key, path = numbers_of(results), f"linearity_gain{scaled}", _path(place, f"vicinity{scaled}")

    def lam(model: Model) -> int | None:
        return _half(_inside(model, path) or model["vicinity"])

    def value(model: Model) -> float | None:
        position, curve = lam(model), _beside(model, teacher, place).get(key)
        return None if position is None or not curve else curve[position]

    def moved(model: Model) -> Deviations | None:
        position, other = lam(model), teacher_of(results, teacher, model)
        if position is None or other is None:
            return None
        name = f"{path}.nonlinearity"
        return less(numbers.moved(other, name, position), numbers.moved(model, name, position))

    def bounds(model: Model) -> list[float | None] | None:
        position, found = lam(model), _beside(model, teacher, place).get(f"{key}_interval")
        return None if position is None or not found else [found[side][position] for side in ("lower", "upper")]

    return numbers.number(row, f"{place} {key} over {teacher} at half", value, moved, bounds)


def divergence(results: Results, row: Row, teacher: str, key: str, scaled: str = "", place: str = "") -> Number | None:
    """KL real or KL mixed of a student from a teacher, nats; None where it was not measured."""
    numbers = numbers_of(results)

    def part(model: Model) -> Mapping[str, Any]:
        return _beside(model, teacher, place).get(f"alignment{scaled}") or {}

    return numbers.number(
        row, f"{place} {key}{scaled} from {teacher}", lambda model: part(model).get(key),
        lambda model: numbers.moved(model, f"versus_teacher.{teacher}.{_path(place, key)}{scaled}"),
        lambda model: (part(model).get("intervals") or {}).get(key),
    )  # fmt: skip


def by_class(results: Results, row: Row, kind: str, quantity: str, scaled: str = "", place: str = "") -> Number | None:
    """NL, H or D at λ = ½ over the pairs of one class (`same`) or of two (`different`); None where they were not told apart."""
    path = _path(place, f"by_class{scaled}.{kind}")

    def part(model: Model) -> Mapping[str, Any]:
        return _inside(model, path) or {}

    return numbers_of(results).number(
        row, f"{path}.{quantity}", lambda model: part(model).get(quantity),
        lambda model: numbers_of(results).moved(model, f"{path}.{quantity}"),
        lambda model: (part(model).get("intervals") or {}).get(quantity),
    )  # fmt: skip


def _path(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _inside(model: Model, path: str) -> Mapping[str, Any] | None:
    """What a dotted path names in a model; None where a part of it is missing."""
    found: Any = model
    for key in path.split("."):
        found = (found or {}).get(key)
    return found or None


def _beside(model: Model, teacher: str, place: str) -> Mapping[str, Any]:
    found = versus_teacher(model, teacher)
    return (found.get(place) or {}) if place else found


def _half(curves: Mapping[str, Any] | None) -> int | None:
    return half_position(curves["lam"]) if curves else None


def _at_half(curves: Mapping[str, Any] | None, quantity: str) -> float | None:
    position = _half(curves)
    if curves is None or position is None:
        return None
    found: float | None = curves[quantity][position]
    return found


def _bounds_at_half(curves: Mapping[str, Any] | None, quantity: str) -> list[float | None] | None:
    position, bounds = _half(curves), ((curves or {}).get("intervals") or {}).get(quantity)
    return None if position is None or not bounds else [bounds[side][position] for side in ("lower", "upper")]
