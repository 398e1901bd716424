"""How cases of a claim are made: whose students are set beside what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from vicinal.claims.comparison import decide, infer, why_undecided
from vicinal.claims.evidence import Evidence, ModelResults, StudentVersusTeacher
from vicinal.claims.judge import ONE_SEED, Case, Effect, Outcome, Unit
from vicinal.claims.numbers import Number, difference, kendall_tau
from vicinal.claims.words import temperature_text

LEAST_OF_AN_ORDER = 4
FEW_FOR_AN_ORDER = "two or three stand in one order by chance too often, so it takes four teachers"


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


def as_sure_as(case: Case, condition: Number | None) -> Case:
    """A case that rests on another number's sign as well: no surer than that is."""
    found = infer(condition) if condition is not None else None
    if found is None or case.p_for is None or case.p_against is None:
        return case
    least = min(found.p_above(), found.p_below())
    p_for, p_against, level = max(case.p_for, least), max(case.p_against, least), (1 - found.level) / 2
    return replace(case, p_for=p_for, p_against=p_against, sign=1 if p_for < level else -1 if p_against < level else 0)


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


def mixed_and_plain(evidence: Evidence) -> Iterator[tuple[ModelResults, ModelResults]]:
    """Each teacher trained with mixup, with the teacher of the same model that was trained without."""
    for teacher in evidence.teachers:
        plain = next((t for t in evidence.plain_teachers if t.model is not None and t.model == teacher.model), None)
        if teacher.trained_with_mixup and not teacher.scaled_from and plain is not None:
            yield teacher, plain


def same_order(items: Sequence[tuple[str, Number, Number]], missing: str) -> Outcome:
    """Whether two numbers order the items alike: every pair is a case, the effect is Kendall's τ.

    Of fewer than `LEAST_OF_AN_ORDER` nothing is judged: two unrelated orders of two or three agree with probability 1/2 or 1/6, of four
    with 1/24.
    """
    if len(items) < 2:
        return Outcome(missing=missing)
    printed = all(x.printed and y.printed for _, x, y in items)
    barrier = "" if printed or len(items) >= LEAST_OF_AN_ORDER else FEW_FOR_AN_ORDER
    cases = []
    for (name, x, y), (other, other_x, other_y) in combinations(sorted(items, key=lambda item: item[0]), 2):
        cases.append(_pair_in_order(f"{name} and {other}", difference(x, other_x), difference(y, other_y), barrier))
    tau = kendall_tau([(x.value, y.value) for _, x, y in items])
    return Outcome(tuple(cases), Effect(tau, "τ"))


def _pair_in_order(names: str, first: Number, second: Number, barrier: str) -> Case:
    """Whether two differences have one sign: as sure as the less sure of the two."""
    sign = decide(first) * decide(second)
    why = "" if sign else why_undecided(first if decide(first) == 0 else second)
    impossible, printed = first.impossible or second.impossible, first.printed and second.printed
    inferred = [found for number in (first, second) if (found := infer(number)) is not None]
    p_value = max((min(found.p_above(), found.p_below()) for found in inferred), default=1.0)
    alike = first.value * second.value > 0
    if any(found.of_networks for found in inferred):
        barrier = barrier or ONE_SEED
    return Case(
        "", names, sign, None, why, impossible, printed,
        p_value if alike else 1.0, 1.0 if alike else p_value, barrier=barrier,
    )  # fmt: skip


def whole(name: str, condition: str, number: Number, unit: Unit, p_for: float | None, p_against: float | None) -> Case:
    """A case made of several comparisons, with p-values of its own; `number` is shown as its effect."""
    shown = Case.of(name, condition, number, unit)
    if p_for is None or p_against is None:
        return shown
    level = (1 - number.level) / 2
    sign = 1 if p_for < level else -1 if p_against < level else 0
    why = "" if sign else why_undecided(number)
    return replace(shown, sign=sign, why=why, p_for=p_for, p_against=p_against, inference=None)
