"""The causal test of "calibration passes from teacher to student": one teacher at several scales of its own logits.

Such teachers differ in nothing but their confidence: they classify every image alike. So what differs between their students, of one
seed, temperature and input stream, is caused by it. The paper's own evidence is that teachers and students stand in one order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from vicinal.claims.by_arm import overconfidence
from vicinal.claims.comparison import infer
from vicinal.claims.evidence import Evidence, ModelResults
from vicinal.claims.judge import Case, Outcome
from vicinal.claims.numbers import Number, combine, difference
from vicinal.claims.words import temperature_text

_Taught = tuple[ModelResults, ModelResults]  # a teacher at a scale, and its student


def calibration_passes(evidence: Evidence) -> Outcome:
    """The student of the teacher with the larger scale surer for its accuracy than that of the next smaller scale."""
    cases, remarks = [], []
    for name, taught in _families(evidence):
        for (lower, low), (higher, high) in pairwise(taught):
            above, below = overconfidence(high), overconfidence(low)
            if above is not None and below is not None:
                step = f"logits × {lower.logit_scale:g}→{higher.logit_scale:g}"
                cases.append(Case.of(name, step, difference(above, below), "points"))
        if remark := _how_far(name, taught):
            remarks.append(remark)
    missing = "one teacher at several scales of its logits (teachers.NAME.logit_scale) with KD + mixup students"
    return Outcome(tuple(cases), remark=" ".join(remarks), missing=missing)


def _families(evidence: Evidence) -> list[tuple[str, list[_Taught]]]:
    """Every network that is a teacher at several scales, by rising scale, with students of one temperature."""
    by_network: dict[str, list[ModelResults]] = {}
    for teacher in evidence.teachers:
        by_network.setdefault(teacher.scaled_from or teacher.name, []).append(teacher)
    families = []
    for name, teachers in by_network.items():
        teachers = sorted(teachers, key=lambda teacher: teacher.logit_scale)
        students = [[s for s in evidence.distilled("kd_mixup", t) if s.has_fixed_temperature] for t in teachers]
        taught = [(teacher, own) for teacher, own in zip(teachers, students, strict=True) if own]
        shared = set.intersection(*({s.temperature for s in own} for _, own in taught)) if taught else set()
        if len(taught) < 2 or not shared:
            continue
        chosen = 2.0 if 2.0 in shared else min(float(t or 0) for t in shared)
        families.append((name, [(t, next(s for s in own if s.temperature == chosen)) for t, own in taught]))
    return families


def _how_far(name: str, taught: Sequence[_Taught]) -> str:
    """The slope of the logarithm of the students' fitted temperature on that of the scale, in words; empty where none was fitted."""
    fitted = [student.numbers.get("fitted_temperature") for _, student in taught]
    known = [number for number in fitted if number is not None]
    if len(known) < len(taught):
        return ""
    slope = log_slope([teacher.logit_scale for teacher, _ in taught], known)
    found = infer(slope)
    bounds = "" if found is None else " ({:.2f} to {:.2f})".format(*found.interval)
    at = temperature_text(taught[0][1].temperature or 0)
    return (
        f"How far, {name} at T = {at}: the temperature that calibrates the student goes as the power {slope.value:.2f}{bounds} of the "
        "scale; 1 would be all of the teacher’s confidence, 0 none."
    ).replace("-", "−")


def log_slope(scales: Sequence[float], values: Sequence[Number]) -> Number:
    """The least-squares slope of log values on log scales. Raises ValueError for fewer than two scales, or all alike."""
    x = np.log(np.asarray(scales, dtype=np.float64))
    square = float(((x - x.mean()) ** 2).sum())
    if len(x) < 2 or math.isclose(square, 0.0):
        raise ValueError("a slope needs two different scales")
    weights = (x - x.mean()) / square

    def slope(*numbers: Any) -> Any:
        return sum(weight * np.log(number) for weight, number in zip(weights, numbers, strict=True))

    return combine(slope, *values)
