"""Figures between images at λ = ½, on pairs of training and of held-out images, as measured and after temperature scaling.

`place` is "" for the students' training images and `HELD_OUT` for pairs of test images; `scaled` is "" or `SCALED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vicinal.claims import Number
from vicinal.report.evidence import number_at_half, student_versus_teacher, vicinal_curve_numbers
from vicinal.report.numbers import numbers_of
from vicinal.report.rows import Model, Results, Row

HELD_OUT = "held_out"
KINDS = ("same", "different")  # whether the two images of a pair are of one class


def curve_at_half(results: Results, row: Row, quantity: str, scaled: str = "", place: str = "") -> Number | None:
    """NL, H, D or I_lin at λ = ½ of a row; None where it was not measured."""
    return number_at_half(vicinal_curve_numbers(results, row, quantity, scaled, _path(place, "")))


def gain(results: Results, row: Row, teacher: str, scaled: str = "", place: str = "") -> Number | None:
    """Δ_lin(½) of a student over a teacher, nats; None where it was not measured."""
    beside = student_versus_teacher(results, row, teacher, scaled, _path(place, ""))
    return None if beside is None else number_at_half(beside.gain)


def divergence(results: Results, row: Row, teacher: str, key: str, scaled: str = "", place: str = "") -> Number | None:
    """`kl_real` or `kl_mixed` of a student from a teacher, nats; None where it was not measured."""
    beside = student_versus_teacher(results, row, teacher, scaled, _path(place, ""))
    if beside is None:
        return None
    return {"kl_real": beside.kl_real, "kl_mixed": beside.kl_mixed}[key]


def by_class(results: Results, row: Row, kind: str, quantity: str, scaled: str = "", place: str = "") -> Number | None:
    """NL, H or D at λ = ½ over the pairs of one class (`same`) or of two (`different`); None where they were not told apart."""
    path = _path(place, f"by_class{scaled}.{kind}")

    def part(model: Model) -> Mapping[str, Any]:
        return _inside(model, path) or {}

    found = numbers_of(results).number(
        row, f"{path}.{quantity}", lambda model: part(model).get(quantity),
        lambda model: numbers_of(results).moved(model, f"{path}.{quantity}"),
        lambda model: (part(model).get("intervals") or {}).get(quantity), pooled=False,
    )  # fmt: skip
    return replace(found, log=True) if found is not None and quantity == "dominance" and found.value > 0 else found


def _path(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _inside(model: Model, path: str) -> Mapping[str, Any] | None:
    """What a dotted path names in a model; None where a part of it is missing."""
    found: Any = model
    for key in path.split("."):
        found = (found or {}).get(key)
    return found or None
