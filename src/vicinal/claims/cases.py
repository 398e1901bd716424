"""How cases of a claim are made: whose students are set beside what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from vicinal.claims.comparison import decide, why_undecided
from vicinal.claims.evidence import Evidence, ModelResults, StudentVersusTeacher
from vicinal.claims.judge import Case, Effect, Outcome
from vicinal.claims.numbers import Number, difference, kendall_tau
from vicinal.claims.words import temperature_text


def at_temperature(student: ModelResults, name: str = "T") -> str:
    """A student's temperature as a condition, as in T = 2; nothing where it has none."""
    if student.temperature is None:
        return ""
    return f"{name} = {temperature_text(student.temperature)}"


def ece_pair(a: ModelResults, b: ModelResults) -> tuple[Number, Number] | None:
    """The calibration errors of two networks; after temperature scaling where the raw one of either means nothing."""
    key = "ece_scaled" if a.scale_free or b.scale_free else "ece"
    first, second = a.numbers.get(key), b.numbers.get(key)
    return None if first is None or second is None else (first, second)


def scaled_words(a: ModelResults, b: ModelResults) -> str:
    """What `ece_pair` did, to follow a condition."""
    return " after temperature scaling" if a.scale_free or b.scale_free else ""


def unless_uninformative(case: Case, student: ModelResults) -> Case:
    """A case that does not hold for a student that answers nothing: what is linear or calibrated so is no virtue of its."""
    if case.sign <= 0 or not student.uninformative:
        return case
    return replace(case, sign=0, why=f"the student {student.uninformative}")


def pairs_of(evidence: Evidence) -> Iterator[tuple[ModelResults, ModelResults, StudentVersusTeacher]]:
    """Each plain teacher with the student that stands for KD + mixup, and that student beside it; scale-free ones are left out."""
    for teacher in evidence.plain_teachers:
        student = evidence.reference("kd_mixup", teacher)
        if student is not None and not student.scale_free and teacher.name in student.versus_teacher:
            yield teacher, student, student.versus_teacher[teacher.name]


def taught(evidence: Evidence) -> Iterator[tuple[ModelResults, ModelResults]]:
    """Each plain teacher with every KD + mixup student of it, over all temperatures."""
    for teacher in evidence.plain_teachers:
        for student in evidence.distilled("kd_mixup", teacher):
            yield teacher, student


def same_order(items: Sequence[tuple[str, Number, Number]], missing: str) -> Outcome:
    """Whether two numbers order the items alike: every pair is a case, the effect is Kendall's τ."""
    if len(items) < 2:
        return Outcome(missing=missing)
    cases = []
    for (name, x, y), (other, other_x, other_y) in combinations(sorted(items, key=lambda item: item[0]), 2):
        first, second = difference(x, other_x), difference(y, other_y)
        sign = decide(first) * decide(second)
        why = "" if sign else why_undecided(first if decide(first) == 0 else second)
        cases.append(Case("", f"{name} and {other}", sign, None, why, first.impossible or second.impossible))
    tau = kendall_tau([(x.value, y.value) for _, x, y in items])
    return Outcome(tuple(cases), Effect(tau, "τ"))
