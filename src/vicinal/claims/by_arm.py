"""Claims about accuracy and calibration of arms, temperatures and teachers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, pairwise

from vicinal.claims.cases import (
    as_sure_as,
    at_temperature,
    ece_pair,
    mixed_and_plain,
    same_order,
    scaled_words,
    taught,
    unless_uninformative,
)
from vicinal.claims.comparison import decide
from vicinal.claims.evidence import Evidence, ModelResults
from vicinal.claims.judge import Case, Outcome, Unit
from vicinal.claims.numbers import Number, difference, ratio
from vicinal.claims.words import listed, temperature_text

ORDER_OF_MAGNITUDE = 10.0


def more_accurate_than(arm: str, words: str) -> Callable[[Evidence], Outcome]:
    """KD + mixup, at every temperature, more accurate than another arm."""

    def cases(evidence: Evidence) -> Outcome:
        found = []
        for teacher, student in taught(evidence):
            other = evidence.reference(arm, teacher) if arm == "kd" else evidence.undistilled(arm)
            gap = evidence.gap("accuracy", student, other) if other is not None else None
            if gap is not None:
                found.append(Case.of(teacher.name, at_temperature(student), gap, "points"))
        return Outcome(tuple(found), missing=f"KD + mixup students and {words}")

    return cases


def mixup_improves(evidence: Evidence) -> Outcome:
    """The mixup student more accurate than the baseline, neither with a teacher."""
    mixed, baseline = evidence.undistilled("mixup"), evidence.undistilled("baseline")
    gap = evidence.gap("accuracy", mixed, baseline) if mixed is not None and baseline is not None else None
    cases = () if gap is None else (Case.of("the student", "", gap, "points"),)
    return Outcome(cases, missing="the mixup arm and the baseline")


def gain_follows_accuracy(evidence: Evidence) -> Outcome:
    """Accuracy of KD + mixup students in the order of their teachers’: the gain over one baseline has the students’ order."""
    items = []
    for teacher in evidence.plain_teachers:
        student = evidence.reference("kd_mixup", teacher)
        if student is not None and "accuracy" in teacher.numbers and "accuracy" in student.numbers:
            items.append((teacher.name, teacher.numbers["accuracy"], student.numbers["accuracy"]))
    return same_order(items, "two teachers or more with KD + mixup students")


def overconfidence(model: ModelResults) -> Number | None:
    """Confidence less accuracy, percentage points; as one figure where that was measured. None where either is missing."""
    if "overconfidence" in model.numbers:
        return model.numbers["overconfidence"]
    if not {"confidence", "accuracy"} <= model.numbers.keys():
        return None
    return difference(model.numbers["confidence"], model.numbers["accuracy"])


def _sides(evidence: Evidence) -> tuple[list[tuple[ModelResults, ModelResults, int]], str]:
    """Teachers clearly over- (+1) or underconfident (−1) with their KD + mixup students, and a remark on the others."""
    found, neither = [], []
    for teacher in evidence.plain_teachers:
        gap, student = overconfidence(teacher), evidence.reference("kd_mixup", teacher)
        if gap is None or student is None:
            continue
        if decide(gap):
            found.append((teacher, student, decide(gap)))
        else:
            neither.append(teacher.name)
    verb = "is" if len(neither) == 1 else "are"
    return (
        found,
        f"Left out: {listed(neither)}, which {verb} neither clearly over- nor underconfident." if neither else "",
    )


def confidence_passes(evidence: Evidence) -> Outcome:
    """A student on its teacher’s side of confidence = accuracy."""
    cases, (sides, remark) = [], _sides(evidence)
    for teacher, student, side in sides:
        gap = overconfidence(student)
        if gap is not None and not student.scale_free:
            words = "overconfident" if side > 0 else "underconfident"
            case = Case.of(teacher.name, words, gap if side > 0 else -gap, "points")
            cases.append(unless_uninformative(as_sure_as(case, overconfidence(teacher)), student))
    return Outcome(
        tuple(cases), remark=remark, missing="teachers clearly over- or underconfident and KD + mixup students"
    )


def overconfidence_corrected(evidence: Evidence) -> Outcome:
    """ECE of a KD + mixup student below its overconfident teacher’s."""
    cases = []
    for teacher, student, side in _sides(evidence)[0]:
        if side > 0 and not student.scale_free and {"ece"} <= teacher.numbers.keys() & student.numbers.keys():
            gap = difference(teacher.numbers["ece"], student.numbers["ece"])
            cases.append(unless_uninformative(Case.of(teacher.name, "", gap, "ECE"), student))
    return Outcome(tuple(cases), missing="clearly overconfident teachers and KD + mixup students")


def order_of_magnitude(evidence: Evidence) -> Outcome:
    """ECE of the baseline at least ten times that of KD + mixup."""
    baseline, cases = evidence.undistilled("baseline"), []
    for teacher in evidence.plain_teachers:
        student = evidence.reference("kd_mixup", teacher)
        pair = ece_pair(baseline, student) if baseline is not None and student is not None else None
        if pair is not None and baseline is not None and student is not None:
            where = scaled_words(baseline, student).strip()
            case = Case.of(teacher.name, where, ratio(*pair), "times", ORDER_OF_MAGNITUDE)
            floor = student.numbers.get("ece_scaled_floor" if where else "ece_floor")
            cases.append(unless_uninformative(_above_the_floor(case, pair[0], floor), student))
    return Outcome(tuple(cases), missing="KD + mixup students and the baseline")


def _above_the_floor(case: Case, baseline: Number, floor: Number | None) -> Case:
    """A case that cannot be tested where a tenth of the baseline's ECE is less than a perfectly calibrated student would show."""
    if floor is None or baseline.value >= ORDER_OF_MAGNITUDE * floor.value:
        return case
    barrier = (
        f"a tenth of the baseline’s ECE, {baseline.value / ORDER_OF_MAGNITUDE:.4f}, lies below the {floor.value:.4f} that a perfectly "
        "calibrated student shows on so many images"
    )
    return replace(case, barrier=barrier)


def falls_with_temperature(key: str, unit: Unit) -> Callable[[Evidence], Outcome]:
    """A number falls from each fixed temperature to the next."""

    def cases(evidence: Evidence) -> Outcome:
        found, spans = [], []
        for teacher in evidence.plain_teachers:
            students = [
                s
                for s in evidence.distilled("kd_mixup", teacher)
                if s.has_fixed_temperature and s.temperature is not None and key in s.numbers
            ]
            spans += [difference(a.numbers[key], b.numbers[key]) for a, b in combinations(students, 2)]
            for lower, higher in pairwise(students):
                fall = evidence.gap(key, lower, higher)
                assert fall is not None
                step = f"T = {temperature_text(lower.temperature or 0)}→{temperature_text(higher.temperature or 0)}"
                found.append(Case.of(teacher.name, step, fall, unit))
        return Outcome(
            tuple(found),
            missing="KD + mixup students of one teacher at two fixed temperatures or more",
            spans=tuple(spans),
        )

    return cases


def calibrated_better_than_kd(evidence: Evidence) -> Outcome:
    """ECE of KD + mixup, at every temperature, below that of KD."""
    cases = []
    for teacher, student in taught(evidence):
        other = evidence.reference("kd", teacher)
        pair = ece_pair(other, student) if other is not None else None
        if pair is not None and other is not None:
            where = at_temperature(student) + scaled_words(other, student)
            cases.append(unless_uninformative(Case.of(teacher.name, where, difference(*pair), "ECE"), student))
    return Outcome(tuple(cases), missing="KD + mixup and KD students of one teacher")


def two_is_best(evidence: Evidence) -> Outcome:
    """Accuracy at T = 2 above that at every other temperature; the remark says by how many images."""
    cases, leads = [], []
    for teacher in evidence.plain_teachers:
        students = evidence.distilled("kd_mixup", teacher)
        two = next((s for s in students if s.temperature == 2), None)
        for other in students:
            gap = evidence.gap("accuracy", two, other) if two is not None and other is not two else None
            if gap is not None:
                cases.append(Case.of(teacher.name, at_temperature(other, "over T"), gap, "points"))
                if gap.images:
                    ahead = round(gap.value / 100 * gap.images)
                    shown = f"{ahead} of {gap.images:,} images".replace("-", "−")
                    leads.append((ahead, f"{shown} ({teacher.name}, {at_temperature(other, 'over T')})"))
    remark = f"The least lead is {min(leads)[1]}." if leads else ""
    return Outcome(
        tuple(cases), remark=remark, missing="KD + mixup students of one teacher at T = 2 and at another temperature"
    )


def sigma_is_worst(evidence: Evidence) -> Outcome:
    """ECE with T = σ above that at every fixed temperature."""
    cases = []
    for teacher in evidence.plain_teachers:
        students = evidence.distilled("kd_mixup", teacher)
        for sigma in (s for s in students if not s.has_fixed_temperature):
            for other in (s for s in students if s.has_fixed_temperature):
                pair = ece_pair(sigma, other)
                if pair is not None:
                    condition = f"{temperature_text(sigma.temperature or '')} over T = {temperature_text(other.temperature or 0)}"
                    cases.append(
                        Case.of(teacher.name, condition + scaled_words(sigma, other), difference(*pair), "ECE")
                    )
    return Outcome(tuple(cases), missing="KD + mixup students of one teacher with T = σ and with a fixed temperature")


def calibration_follows(evidence: Evidence) -> Outcome:
    """ECE of KD + mixup students in the order of their teachers’ ECE."""
    items = []
    for teacher in evidence.plain_teachers:
        student = evidence.reference("kd_mixup", teacher)
        if student is not None and not student.scale_free and "ece" in teacher.numbers and "ece" in student.numbers:
            items.append((teacher.name, teacher.numbers["ece"], student.numbers["ece"]))
    return same_order(items, "two teachers or more with KD + mixup students")


def mixup_teacher_hurts(evidence: Evidence) -> Outcome:
    """Students of a teacher trained with mixup less accurate than those of the same model trained without."""
    cases, clusters = [], []
    for teacher, sibling in mixed_and_plain(evidence):
        own, plain = evidence.reference("kd_mixup", teacher), evidence.reference("kd_mixup", sibling)
        gap = evidence.gap("accuracy", plain, own) if own is not None and plain is not None else None
        if own is None or plain is None or gap is None:
            continue
        cases.append(Case.of(sibling.name, "", gap, "points"))
        if "v_score" in own.numbers and "v_score" in plain.numbers:
            clusters.append(
                f"{sibling.name} {plain.numbers['v_score'].value:.3f} to {own.numbers['v_score'].value:.3f}"
            )
    remark = f"V-score of the student: {', '.join(clusters)}." if clusters else ""
    return Outcome(
        tuple(cases),
        remark=remark,
        missing="KD + mixup students of a teacher trained with mixup and of the same model without",
    )
