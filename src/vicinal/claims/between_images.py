"""Claims about the way between two training images: NL, dominance, linearity gain, alignment, and eq. 11."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from vicinal.claims.cases import pairs_of, same_order, unless_uninformative, whole
from vicinal.claims.comparison import decide, infer, why_undecided
from vicinal.claims.evidence import Evidence
from vicinal.claims.judge import Case, Effect, Outcome
from vicinal.claims.numbers import Curve, Number, combine, constant, difference, ratio
from vicinal.claims.words import listed

NEAR_HALF = 0.25  # how far from λ = 0.5 still counts as near it
IDENTITY_TOLERANCE = 0.05  # share of NL by which the two sides of eq. 11 may differ and still count as equal
EPSILON_LAM = 1e-9
SYMMETRY = (
    "Its symmetry is not testable: a pair at λ, exchanged, is one at 1 − λ, so over pairs in both orders NL(λ) = NL(1 − λ) for any "
    "network; the two are counted once."
)
UNMIXED_ARMS = ("baseline", "kd")


def dominance(evidence: Evidence) -> Outcome:
    """D(0.5) of each teacher above 1; bounded from below where the entropy is not given."""
    cases, bounded, over_all = [], False, []
    for teacher in evidence.plain_teachers:
        number = _near_half(teacher.curves.get("dominance", {}))
        peak = teacher.numbers.get("nl_peak")
        if number is not None:
            cases.append(Case.of(teacher.name, "", number, "times", 1.0))
        elif peak is not None and evidence.classes:
            bounded = True
            cases.append(_bounded_dominance(teacher.name, peak, evidence.classes))
            if {"nl_mean", "entropy_mean"} <= teacher.numbers.keys():
                whole = ratio(teacher.numbers["nl_mean"], teacher.numbers["entropy_mean"])
                over_all.append(
                    f"{teacher.name}’s mean NL over its mean entropy is {whole.value:.2f}, so D is that large at some λ."
                )
    remark = (
        f"H(0.5) is not given; it is at most ln {evidence.classes}, and so D is at least peak NL / ln {evidence.classes}."
        if bounded
        else ""
    )
    return Outcome(
        tuple(cases),
        remark=" ".join([remark, *over_all]).strip(),
        missing="vicinal curves of a teacher, with λ = 0.5 among them",
    )


def _bounded_dominance(name: str, peak: Number, classes: int) -> Case:
    """D from below, where only NL is known: an entropy is at most ln of the number of classes."""
    least = combine(lambda x, y: x / y, peak, constant(math.log(classes), peak.printed))
    sign = max(decide(least, 1.0), 0)  # a lower bound below 1 says nothing
    why = "" if sign else "the bound stays below 1"
    return Case(name, "", sign, Effect.of(least, "times"), why, peak.impossible, peak.printed)


def _near_half(curve: Curve) -> Number | None:
    return next((number for lam, number in curve.items() if math.isclose(lam, 0.5, abs_tol=EPSILON_LAM)), None)


def once(points: Sequence[tuple[float, Number]]) -> list[tuple[float, Number]]:
    """Points of a curve without the mirror images: a mean over both orders of a pair has one value at λ and at 1 − λ."""
    values = {round(lam, 9): number.value for lam, number in points}
    return [
        (lam, number)
        for lam, number in points
        if lam <= 0.5 + EPSILON_LAM
        or not math.isclose(values.get(round(1 - lam, 9), math.inf), number.value, rel_tol=1e-9, abs_tol=1e-12)
    ]


def nl_peaks_at_half(evidence: Evidence) -> Outcome:
    """NL of each teacher at λ = 0.5 above every one at least `NEAR_HALF` away; of the symmetry nothing is left to test."""
    cases = []
    for teacher in evidence.plain_teachers:
        curve = teacher.curves.get("nonlinearity", {})
        half = _near_half(curve)
        far = [(lam, number) for lam, number in once(_inner(curve)) if abs(lam - 0.5) >= NEAR_HALF - EPSILON_LAM]
        if half is not None:
            cases += [Case.of(teacher.name, f"λ = {lam:g}", difference(half, number), "nats") for lam, number in far]
    return Outcome(tuple(cases), remark=SYMMETRY, missing="vicinal curves of a teacher, with λ = 0.5 among them")


def gain_is_information(evidence: Evidence) -> Outcome:
    """I_lin of the student above its teacher’s at every λ where Δ_lin is clearly above 0."""
    cases = []
    for teacher, student, versus_teacher in pairs_of(evidence):
        own, other = (model.curves.get("linearity_information", {}) for model in (student, teacher))
        cases += [
            unless_uninformative(
                Case.of(teacher.name, f"λ = {lam:g}", difference(own[lam], other[lam]), "nats"), student
            )
            for lam, gain in once(_inner(versus_teacher.gain))
            if lam in own and lam in other and decide(gain) > 0
        ]
    return Outcome(tuple(cases), missing="KD + mixup students with I_lin and a linearity gain that is clearly above 0")


def _inner(curve: Curve) -> list[tuple[float, Number]]:
    return [(lam, number) for lam, number in sorted(curve.items()) if 0 < lam < 1]


def gain_positive(evidence: Evidence) -> Outcome:
    """Δ_lin above 0 at every λ between 0 and 1."""
    cases = []
    for teacher, student, versus_teacher in pairs_of(evidence):
        inner = once(_inner(versus_teacher.gain))
        if inner:
            cases += [
                unless_uninformative(Case.of(teacher.name, f"λ = {lam:g}", number, "nats"), student)
                for lam, number in inner
            ]
        elif versus_teacher.gain_peak is not None:
            sign = min(decide(versus_teacher.gain_peak), 0)  # a positive peak says nothing of the other λ
            effect = Effect.of(versus_teacher.gain_peak, "nats")
            why, peak = "" if sign else "only the peak is given, not the curve", versus_teacher.gain_peak
            cases.append(Case(teacher.name, "peak", sign, effect, why, peak.impossible, peak.printed))
    return Outcome(tuple(cases), missing="KD + mixup students with a linearity gain")


def gain_largest_near_half(evidence: Evidence) -> Outcome:
    """Δ_lin at λ = 0.5 above every one at least `NEAR_HALF` away."""
    cases = []
    for teacher, student, versus_teacher in pairs_of(evidence):
        half = _near_half(versus_teacher.gain)
        far = [
            (lam, number) for lam, number in _inner(versus_teacher.gain) if abs(lam - 0.5) >= NEAR_HALF - EPSILON_LAM
        ]
        if half is None or not far:
            continue
        gaps = [(lam, difference(half, number)) for lam, number in once(far)]
        lam, closest = min(gaps, key=lambda pair: pair[1].value)
        found = [inferred for _, gap in gaps if (inferred := infer(gap)) is not None]
        p_for = max((one.p_above() for one in found), default=None)
        p_against = min((min(1.0, len(gaps) * one.p_below()) for one in found), default=None)
        case = whole(teacher.name, f"least over λ = {lam:g}", closest, "nats", p_for, p_against)
        cases.append(unless_uninformative(case, student))
    return Outcome(tuple(cases), missing="KD + mixup students with a linearity gain over λ, 0.5 included")


def gain_order(evidence: Evidence) -> Outcome:
    """Peak Δ_lin in the order of the teachers’ peak NL."""
    items = [
        (teacher.name, teacher.numbers["nl_peak"], versus_teacher.gain_peak)
        for teacher, _, versus_teacher in pairs_of(evidence)
        if "nl_peak" in teacher.numbers and versus_teacher.gain_peak is not None
    ]
    return same_order(items, "two teachers or more, each with NL and the linearity gain of its KD + mixup student")


def kl_mixed(evidence: Evidence) -> Outcome:
    """KL mixed above KL real; the remark says whether it is so without mixup too."""
    cases = [
        unless_uninformative(Case.of(teacher.name, "", versus_teacher.independent_response, "nats"), student)
        for teacher, student, versus_teacher in pairs_of(evidence)
        if versus_teacher.independent_response is not None
    ]
    remark = (
        _without_mixup(evidence) if all(case.sign > 0 for case in cases) else ""
    )  # else there is nothing to explain
    return Outcome(tuple(cases), remark=remark, missing="KD + mixup students with KL to their teacher")


def _without_mixup(evidence: Evidence) -> str:
    """Whether the same inequality holds for arms that never saw a mixed image: if so, it shows nothing about mixup."""
    found: list[tuple[str, int]] = []
    for student in evidence.students:
        if student.arm in UNMIXED_ARMS and not student.scale_free:
            responses = [
                versus_teacher.independent_response
                for name, versus_teacher in student.versus_teacher.items()
                if student.teacher in (None, name) and versus_teacher.independent_response is not None
            ]
            found += [(student.arm, 1 if response.value > 0 else -1) for response in responses]
    if not found:
        return "No arm that never saw mixed images is at hand, so nothing tells a response to mixup from one to unusual inputs."
    above = sum(sign > 0 for _, sign in found)
    arms = listed(
        [
            {"baseline": "baseline", "kd": "KD"}[arm]
            for arm in UNMIXED_ARMS
            if any(found_arm == arm for found_arm, _ in found)
        ]
    )
    of_them = f"arms that never saw mixed images ({arms})"
    if above == len(found):
        return (
            f"The same holds for {of_them}, {above} of {above}, so by itself it is no evidence of what mixup teaches."
        )
    if above == 0:
        return f"It holds in 0 of {len(found)} for {of_them}, so it goes with mixup."
    return f"It also holds in {above} of {len(found)} for {of_them}, so it is weak evidence of what mixup teaches."


def nl_follows_calibration(evidence: Evidence) -> Outcome:
    """Mean NL over λ in the order of the teachers’ ECE."""
    items = [
        (t.name, t.numbers["ece"], t.numbers["nl_mean"])
        for t in evidence.plain_teachers
        if {"ece", "nl_mean"} <= t.numbers.keys()
    ]
    return same_order(items, "two teachers or more with ECE and vicinal curves")


def eq11(evidence: Evidence) -> Outcome:
    """Equality within a tolerance; the effect is minus the distance of the two sides, so that larger is again in favour."""
    cases, bounded = [], False
    for teacher in evidence.plain_teachers:
        residual, half = teacher.numbers.get("eq11_residual"), _near_half(teacher.curves.get("nonlinearity", {}))
        peak = teacher.numbers.get("nl_peak")
        if residual is not None and half is not None:
            cases.append(_identity(teacher.name, residual, IDENTITY_TOLERANCE * half.value))
        elif {"nl_mean", "entropy_mean"} <= teacher.numbers.keys():
            room = difference(teacher.numbers["entropy_mean"], teacher.numbers["nl_mean"])
            sign = min(decide(room), 0)
            why = "" if sign else "H[p(x)] is not given"
            cases.append(
                Case(teacher.name, "mean over λ", sign, Effect.of(room, "nats"), why, room.impossible, room.printed)
            )
        elif peak is not None and evidence.classes and "entropy" not in teacher.curves:
            bounded = True
            most = math.log(evidence.classes)
            room = difference(constant(most, peak.printed), peak)
            sign = min(decide(room), 0)  # a possible value is no equality
            why = "" if sign else "H is not given"
            cases.append(Case(teacher.name, "", sign, Effect.of(room, "nats"), why, peak.impossible, peak.printed))
    remark = "The equation needs D ≤ 1, and the same paper claims D(0.5) > 1."
    if bounded:
        limit = f"ln {evidence.classes} = {math.log(evidence.classes or 1):.2f} nats"
        remark = f"Where no entropy is given it is at most {limit}; eq. 11 needs NL below H[p(x̃)]."
    return Outcome(
        tuple(cases),
        remark=remark,
        missing="vicinal curves of a teacher at λ = 0.5 and both sides of eq. 11",
    )


def _identity(name: str, residual: Number, tolerance: float) -> Case:
    """Whether the two sides of eq. 11 lie within the tolerance of each other."""
    found, distance = infer(residual), residual if residual.value < 0 else -residual
    if found is not None:
        against = min(1.0, 2 * min(found.p_above(tolerance), found.p_below(-tolerance)))
        return whole(name, "", distance, "nats", found.p_outside(tolerance), against)
    above, below = decide(residual, tolerance), decide(residual, -tolerance)
    sign = -1 if above > 0 or below < 0 else 1 if above < 0 < below else 0
    return replace(Case.of(name, "", distance, "nats"), sign=sign, why="" if sign else why_undecided(residual))
