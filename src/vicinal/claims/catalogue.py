"""The paper's claims, in one list: what it says, where, by which figure that is judged, and the judging itself.

Every claim is judged as it is written, that is for each teacher, temperature, λ or severity it speaks of. A judge turns an
`Evidence` into cases; `judge` turns cases into a verdict, the same way for all: supported where every case holds, contradicted
where one clearly fails, undecided in between, not held where the runs are missing. What "holds" means for two numbers is
`evidence.decide`. Students of teachers that were trained with mixup count for the one claim about them only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise

from vicinal.claims.evidence import (
    Curve,
    Evidence,
    Number,
    Subject,
    Toward,
    combine,
    decide,
    difference,
    is_fixed,
    kendall_tau,
    mean,
    ratio,
    why_undecided,
)
from vicinal.claims.judge import Case, Claim, Effect, Judgement, Outcome, Unit, judge, listed

TEMPERATURE_SYMBOLS = {"sigma": "σ", "teacher_sigma": "σ_t"}

ORDER_OF_MAGNITUDE = 10.0
NEAR_HALF = 0.25  # how far from λ = 0.5 still counts as near it
IDENTITY_TOLERANCE = 0.05  # share of NL by which the two sides of eq. 11 may differ and still count as equal
HIGH_SEVERITIES = (4, 5)
EPSILON_LAM = 1e-9
SMOOTH_CORRUPTIONS = ("fog", "contrast")
UNMIXED_ARMS = ("baseline", "kd")


def judge_all(*evidences: Evidence) -> list[Judgement]:
    """Every claim of the paper, in its order."""
    return [judge(claim, *evidences) for claim in CLAIMS]


def _case(of: str, at: str, number: Number, unit: Unit, threshold: float = 0.0) -> Case:
    """A case that holds where the number is above the threshold."""
    sign = decide(number, threshold)
    effect = Effect(number.value, unit, number.ends, number.spread)
    return Case(of, at, sign, effect, "" if sign else why_undecided(number), number.doubtful)


def _at(student: Subject, name: str = "T") -> str:
    if student.temperature is None:
        return ""
    return f"{name} = {temperature_text(student.temperature)}"


def temperature_text(temperature: float | str) -> str:
    """2.0 as 2, sigma as σ."""
    return TEMPERATURE_SYMBOLS.get(temperature, temperature) if isinstance(temperature, str) else f"{temperature:g}"


def _ece_pair(a: Subject, b: Subject) -> tuple[Number, Number] | None:
    """The calibration errors of two subjects; after temperature scaling where the raw one of either means nothing."""
    key = "ece_scaled" if a.scale_free or b.scale_free else "ece"
    first, second = a.numbers.get(key), b.numbers.get(key)
    return None if first is None or second is None else (first, second)


def _scaled(a: Subject, b: Subject) -> str:
    return " after temperature scaling" if a.scale_free or b.scale_free else ""


def _is_meaningful(student: Subject) -> bool:
    return not student.scale_free


def _pairs(evidence: Evidence, arm: str = "kd_mixup") -> Iterator[tuple[Subject, Subject, Toward]]:
    """Each plain teacher with the student that stands for an arm, and that student as seen from it."""
    for teacher in evidence.plain_teachers:
        student = evidence.reference(arm, teacher)
        if student is not None and _is_meaningful(student) and teacher.name in student.toward:
            yield teacher, student, student.toward[teacher.name]


def _taught(evidence: Evidence, arm: str = "kd_mixup") -> Iterator[tuple[Subject, Subject]]:
    """Each plain teacher with every student of an arm, over all temperatures."""
    for teacher in evidence.plain_teachers:
        for student in evidence.guided(arm, teacher):
            yield teacher, student


def _same_order(items: Sequence[tuple[str, Number, Number]], lacking: str) -> Outcome:
    """Whether two numbers order the items alike: every pair is a case, the effect is Kendall's τ."""
    if len(items) < 2:
        return Outcome(lacking=lacking)
    cases = []
    for (name, x, y), (other, other_x, other_y) in combinations(sorted(items, key=lambda item: item[0]), 2):
        first, second = difference(x, other_x), difference(y, other_y)
        sign = decide(first) * decide(second)
        why = "" if sign else why_undecided(first if decide(first) == 0 else second)
        cases.append(Case("", f"{name} and {other}", sign, None, why, first.doubtful or second.doubtful))
    tau = kendall_tau([(x.value, y.value) for _, x, y in items])
    return Outcome(tuple(cases), Effect(tau, "τ"))


def _dominance(evidence: Evidence) -> Outcome:
    cases, bounded = [], False
    for teacher in evidence.plain_teachers:
        number = _near_half(teacher.curves.get("dominance", {}))
        peak = teacher.numbers.get("nl_peak")
        if number is not None:
            cases.append(_case(teacher.name, "", number, "times", 1.0))
        elif peak is not None and evidence.classes:
            bounded = True
            cases.append(_bounded_dominance(teacher.name, peak, evidence.classes))
    remark = (
        f"No entropy is given; it is at most ln {evidence.classes}, and so D is at least peak NL / ln {evidence.classes}."
        if bounded
        else ""
    )
    return Outcome(tuple(cases), remark=remark, lacking="vicinal curves of a teacher, with λ = 0.5 among them")


def _bounded_dominance(name: str, peak: Number, classes: int) -> Case:
    """D from below, where only NL is known: an entropy is at most ln of the number of classes."""
    least = combine(
        lambda x, y: x / y, peak, Number(math.log(classes), interval=(math.log(classes),) * 2, printed=peak.printed)
    )
    sign = max(decide(least, 1.0), 0)  # a lower bound below 1 says nothing
    return Case(
        name,
        "",
        sign,
        Effect(least.value, "times", least.ends, least.spread),
        "" if sign else "the bound stays below 1",
        peak.doubtful,
    )


def _near_half(curve: Curve) -> Number | None:
    return next((number for lam, number in curve.items() if math.isclose(lam, 0.5, abs_tol=EPSILON_LAM)), None)


def _inner(curve: Curve) -> list[tuple[float, Number]]:
    return [(lam, number) for lam, number in sorted(curve.items()) if 0 < lam < 1]


def _gain_positive(evidence: Evidence) -> Outcome:
    cases = []
    for teacher, _, toward in _pairs(evidence):
        inner = _inner(toward.gain)
        if inner:
            cases += [_case(teacher.name, f"λ = {lam:g}", number, "nats") for lam, number in inner]
        elif toward.gain_peak is not None:
            sign = min(decide(toward.gain_peak), 0)  # a positive peak says nothing of the other λ
            effect = Effect(toward.gain_peak.value, "nats", toward.gain_peak.ends, toward.gain_peak.spread)
            cases.append(
                Case(teacher.name, "peak", sign, effect, "" if sign else "only the peak is given, not the curve")
            )
    return Outcome(tuple(cases), lacking="KD + mixup students with a linearity gain")


def _gain_largest_near_half(evidence: Evidence) -> Outcome:
    cases = []
    for teacher, _, toward in _pairs(evidence):
        half = _near_half(toward.gain)
        far = [(lam, number) for lam, number in _inner(toward.gain) if abs(lam - 0.5) >= NEAR_HALF - EPSILON_LAM]
        if half is None or not far:
            continue
        gaps = [(lam, difference(half, number)) for lam, number in far]
        lam, closest = min(gaps, key=lambda pair: pair[1].value)
        sign = min(decide(number) for _, number in gaps)
        why = "" if sign else why_undecided(closest)
        cases.append(
            Case(
                teacher.name,
                f"least over λ = {lam:g}",
                sign,
                Effect(closest.value, "nats", closest.ends, closest.spread),
                why,
            )
        )
    return Outcome(tuple(cases), lacking="KD + mixup students with a linearity gain over λ, 0.5 included")


def _gain_order(evidence: Evidence) -> Outcome:
    items = [
        (teacher.name, teacher.numbers["nl_peak"], toward.gain_peak)
        for teacher, _, toward in _pairs(evidence)
        if "nl_peak" in teacher.numbers and toward.gain_peak is not None
    ]
    return _same_order(items, "two teachers or more, each with NL and the linearity gain of its KD + mixup student")


def _kl_mixed(evidence: Evidence) -> Outcome:
    cases = [
        _case(teacher.name, "", toward.independent_response, "nats")
        for teacher, _, toward in _pairs(evidence)
        if toward.independent_response is not None
    ]
    return Outcome(
        tuple(cases), remark=_without_mixup(evidence), lacking="KD + mixup students with KL to their teacher"
    )


def _without_mixup(evidence: Evidence) -> str:
    """Whether the same inequality holds for arms that never saw a mixed image: if so, it shows nothing about mixup."""
    found: list[tuple[str, int]] = []
    for student in evidence.students:
        if student.arm in UNMIXED_ARMS and _is_meaningful(student):
            responses = [
                toward.independent_response
                for name, toward in student.toward.items()
                if student.teacher in (None, name) and toward.independent_response is not None
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


def _more_accurate_than(arm: str, words: str) -> Callable[[Evidence], Outcome]:
    def cases(evidence: Evidence) -> Outcome:
        found = []
        for teacher, student in _taught(evidence):
            other = evidence.reference(arm, teacher) if arm == "kd" else evidence.unguided(arm)
            if other is not None and "accuracy" in other.numbers and "accuracy" in student.numbers:
                gap = difference(student.numbers["accuracy"], other.numbers["accuracy"])
                found.append(_case(teacher.name, _at(student), gap, "points"))
        return Outcome(tuple(found), lacking=f"KD + mixup students and {words}")

    return cases


def _order_of_magnitude(evidence: Evidence) -> Outcome:
    baseline, cases = evidence.unguided("baseline"), []
    for teacher in evidence.plain_teachers:
        student = evidence.reference("kd_mixup", teacher)
        pair = _ece_pair(baseline, student) if baseline is not None and student is not None else None
        if pair is not None and baseline is not None and student is not None:
            cases.append(
                _case(teacher.name, _scaled(baseline, student).strip(), ratio(*pair), "times", ORDER_OF_MAGNITUDE)
            )
    return Outcome(tuple(cases), lacking="KD + mixup students and the baseline")


def _falls_with_temperature(key: str, unit: Unit) -> Callable[[Evidence], Outcome]:
    def cases(evidence: Evidence) -> Outcome:
        found = []
        for teacher in evidence.plain_teachers:
            students = [
                s
                for s in evidence.guided("kd_mixup", teacher)
                if is_fixed(s) and s.temperature is not None and key in s.numbers
            ]
            for lower, higher in pairwise(students):
                fall = difference(lower.numbers[key], higher.numbers[key])
                step = f"T = {temperature_text(lower.temperature or 0)}→{temperature_text(higher.temperature or 0)}"
                found.append(_case(teacher.name, step, fall, unit))
        return Outcome(tuple(found), lacking="KD + mixup students of one teacher at two fixed temperatures or more")

    return cases


def _calibrated_better_than_kd(evidence: Evidence) -> Outcome:
    cases = []
    for teacher, student in _taught(evidence):
        other = evidence.reference("kd", teacher)
        pair = _ece_pair(other, student) if other is not None else None
        if pair is not None and other is not None:
            cases.append(_case(teacher.name, _at(student) + _scaled(other, student), difference(*pair), "ECE"))
    return Outcome(tuple(cases), lacking="KD + mixup and KD students of one teacher")


def _two_is_best(evidence: Evidence) -> Outcome:
    cases = []
    for teacher in evidence.plain_teachers:
        students = [s for s in evidence.guided("kd_mixup", teacher) if "accuracy" in s.numbers]
        two = next((s for s in students if s.temperature == 2), None)
        for other in students if two is not None else ():
            if two is not None and other is not two:
                gap = difference(two.numbers["accuracy"], other.numbers["accuracy"])
                cases.append(_case(teacher.name, _at(other, "over T"), gap, "points"))
    return Outcome(tuple(cases), lacking="KD + mixup students of one teacher at T = 2 and at another temperature")


def _sigma_is_worst(evidence: Evidence) -> Outcome:
    cases = []
    for teacher in evidence.plain_teachers:
        students = evidence.guided("kd_mixup", teacher)
        for sigma in (s for s in students if not is_fixed(s)):
            for other in (s for s in students if is_fixed(s)):
                pair = _ece_pair(sigma, other)
                if pair is not None:
                    at = f"{temperature_text(sigma.temperature or '')} over T = {temperature_text(other.temperature or 0)}"
                    cases.append(_case(teacher.name, at + _scaled(sigma, other), difference(*pair), "ECE"))
    return Outcome(tuple(cases), lacking="KD + mixup students of one teacher with T = σ and with a fixed temperature")


def _calibration_follows(evidence: Evidence) -> Outcome:
    items = []
    for teacher in evidence.plain_teachers:
        student = evidence.reference("kd_mixup", teacher)
        if student is not None and _is_meaningful(student) and "ece" in teacher.numbers and "ece" in student.numbers:
            items.append((teacher.name, teacher.numbers["ece"], student.numbers["ece"]))
    return _same_order(items, "two teachers or more with KD + mixup students")


def _nl_follows_calibration(evidence: Evidence) -> Outcome:
    items = [
        (t.name, t.numbers["ece"], t.numbers["nl_mean"])
        for t in evidence.plain_teachers
        if {"ece", "nl_mean"} <= t.numbers.keys()
    ]
    return _same_order(items, "two teachers or more with ECE and vicinal curves")


def _robust(evidence: Evidence) -> list[tuple[Subject, Subject]]:
    """The plain teachers whose KD + mixup student was measured on corruptions."""
    found = []
    for teacher in evidence.plain_teachers:
        student = evidence.reference("kd_mixup", teacher)
        if student is not None and student.corruption_gain:
            found.append((teacher, student))
    return found


CORRUPTED = "KD + mixup students measured on corrupted images, and the baseline"


def mean_robustness_gain(student: Subject) -> Number:
    """The mean gain over all corruptions and severities, percentage points."""
    return mean([number for by_severity in student.corruption_gain.values() for number in by_severity.values()])


def _robustness_order(evidence: Evidence) -> Outcome:
    items = []
    for teacher, student in _robust(evidence):
        toward = student.toward.get(teacher.name)
        if toward is not None and toward.gain_peak is not None and _is_meaningful(student):
            items.append((teacher.name, toward.gain_peak, mean_robustness_gain(student)))
    return _same_order(items, f"two teachers or more, each with {CORRUPTED} and a linearity gain")


def mean_gain_by_corruption(students: Sequence[Subject]) -> dict[str, Number]:
    """The mean gain over students and severities of every corruption that all of them hold, percentage points."""
    names = (
        [name for name in students[0].corruption_gain if all(name in s.corruption_gain for s in students)]
        if students
        else []
    )
    return {name: mean([number for s in students for number in s.corruption_gain[name].values()]) for name in names}


def corruption_text(name: str) -> str:
    """motion_blur as motion blur."""
    return name.replace("_", " ").replace("jpeg", "JPEG")


def _smooth_gain_most(evidence: Evidence) -> Outcome:
    gains = mean_gain_by_corruption([student for _, student in _robust(evidence)])
    cases = [
        _case(
            "",
            f"{corruption_text(smooth)} over {corruption_text(other)}",
            difference(gains[smooth], gains[other]),
            "points",
        )
        for smooth in SMOOTH_CORRUPTIONS
        if smooth in gains
        for other in gains
        if other not in SMOOTH_CORRUPTIONS
    ]
    return Outcome(tuple(cases), lacking=f"{CORRUPTED}, with fog, contrast and others among the corruptions")


def _pixelate_loses(evidence: Evidence) -> Outcome:
    cases = []
    for teacher, student in _robust(evidence):
        gains = student.corruption_gain.get("pixelate", {})
        cases += [_case(teacher.name, f"severity = {s}", -gains[s], "points") for s in HIGH_SEVERITIES if s in gains]
    return Outcome(tuple(cases), lacking=f"{CORRUPTED}, with pixelate at severity 4 or 5 among them")


def _mixup_teacher_hurts(evidence: Evidence) -> Outcome:
    cases, clusters = [], []
    for teacher in evidence.teachers:
        sibling = next((t for t in evidence.plain_teachers if t.model is not None and t.model == teacher.model), None)
        if not teacher.trained_with_mixup or sibling is None:
            continue
        own, plain = evidence.reference("kd_mixup", teacher), evidence.reference("kd_mixup", sibling)
        if own is None or plain is None or "accuracy" not in own.numbers or "accuracy" not in plain.numbers:
            continue
        cases.append(_case(sibling.name, "", difference(plain.numbers["accuracy"], own.numbers["accuracy"]), "points"))
        if "v_score" in own.numbers and "v_score" in plain.numbers:
            clusters.append(
                f"{sibling.name} {plain.numbers['v_score'].value:.3f} to {own.numbers['v_score'].value:.3f}"
            )
    remark = f"V-score of the student: {', '.join(clusters)}." if clusters else ""
    return Outcome(
        tuple(cases),
        remark=remark,
        lacking="KD + mixup students of a teacher trained with mixup and of the same model without",
    )


def eq11_residual(teacher: Subject) -> Number | None:
    """H[p(x̃)] − H[p(x)] − NL at λ = 0.5, nats: the left side of eq. 11 less the right one, from the vicinal curves alone.

    H[p(x)] is the mean entropy at the two clean ends, λ = 0 and λ = 1. Intervals are combined at their far ends.
    """
    entropy, nonlinearity = teacher.curves.get("entropy", {}), teacher.curves.get("nonlinearity", {})
    mixed, residual = _near_half(entropy), _near_half(nonlinearity)
    ends = [number for lam, number in entropy.items() if lam in (0.0, 1.0)]
    if mixed is None or residual is None or len(ends) != 2:
        return None
    return difference(difference(mixed, mean(ends)), residual)


def _eq11(evidence: Evidence) -> Outcome:
    """Equality within a tolerance; the effect is minus the distance of the two sides, so that larger is again in favour."""
    cases, bounded = [], False
    for teacher in evidence.plain_teachers:
        residual, half = eq11_residual(teacher), _near_half(teacher.curves.get("nonlinearity", {}))
        peak = teacher.numbers.get("nl_peak")
        if residual is not None and half is not None:
            tolerance = IDENTITY_TOLERANCE * half.value
            above, below = decide(residual, tolerance), decide(residual, -tolerance)
            sign = -1 if above > 0 or below < 0 else 1 if above < 0 < below else 0
            distance = residual if residual.value < 0 else -residual
            effect = Effect(distance.value, "nats", distance.ends, distance.spread)
            cases.append(Case(teacher.name, "", sign, effect, "" if sign else why_undecided(residual)))
        elif peak is not None and evidence.classes:
            bounded = True
            most = math.log(evidence.classes)
            room = difference(Number(most, interval=(most, most), printed=peak.printed), peak)
            sign = min(decide(room), 0)  # a possible value is no equality
            cases.append(
                Case(
                    teacher.name,
                    "",
                    sign,
                    Effect(room.value, "nats", room.ends, room.spread),
                    "" if sign else "H is not given",
                )
            )
    remark = "The equation needs D ≤ 1, and the same paper claims D(0.5) > 1."
    if bounded:
        limit = f"ln {evidence.classes} = {math.log(evidence.classes or 1):.2f} nats"
        remark = f"No entropy is given; it is at most {limit}, and eq. 11 needs NL below that."
    return Outcome(tuple(cases), remark=remark, lacking="vicinal curves of a teacher, with λ = 0, 0.5 and 1 among them")


CLAIMS: tuple[Claim, ...] = (
    Claim("dominance", "Halfway between two images, mismatch dominates the teacher’s answer: D(0.5) > 1.", "§7.3, §7.6, fig. 4",
          "dominance ratio D(0.5) of each teacher", "above 1", _dominance),
    Claim("gain_positive", "The student is more linear than its teacher at every λ: Δ_lin(λ) > 0.", "§7.4, §7.6, fig. 5",
          "Δ_lin of each teacher’s KD + mixup student at every λ between 0 and 1", "above 0", _gain_positive),
    Claim("gain_near_half", "The linearity gain is largest near λ = 0.5.", "§7.4, §7.6, fig. 5",
          "Δ_lin(0.5) less the largest Δ_lin at λ ≤ 0.25 or ≥ 0.75", "above 0", _gain_largest_near_half),
    Claim("gain_order", "The linearity gain follows the order of the teachers’ NL.", "§7.4, fig. 5, tables 5 and 6",
          "Kendall’s τ over teachers, peak NL and peak Δ_lin", "each pair of teachers stands in the same order", _gain_order),
    Claim("kl_mixed", "The student departs from its teacher on mixed inputs: KL mixed > KL real.", "§7.4, table 6",
          "KL mixed less KL real of each teacher’s KD + mixup student", "above 0", _kl_mixed),
    Claim("beats_kd", "KD + mixup is more accurate than KD.", "§6.1 (2), table 1",
          "accuracy of KD + mixup, every temperature, less that of KD", "above 0",
          _more_accurate_than("kd", "KD students of one teacher")),
    Claim("beats_mixup", "KD + mixup is more accurate than mixup.", "§6.1 (2), table 1",
          "accuracy of KD + mixup, every temperature, less that of mixup", "above 0", _more_accurate_than("mixup", "the mixup arm")),
    Claim("beats_baseline", "KD + mixup is more accurate than the baseline.", "abstract, §6.1 to §6.4, tables 1 to 4",
          "accuracy of KD + mixup, every temperature, less that of the baseline", "above 0",
          _more_accurate_than("baseline", "the baseline")),
    Claim("ece_order", "KD + mixup’s ECE is an order of magnitude below the baseline’s.", "abstract, §6.2, tables 2 to 4",
          "ECE of the baseline over that of KD + mixup", "10 or more", _order_of_magnitude),
    Claim("ece_falls", "ECE falls with temperature, monotonically.", "§6.1 (5), table 1",
          "ECE of KD + mixup at a temperature less that at the next higher one", "above 0", _falls_with_temperature("ece", "ECE")),
    Claim("accuracy_falls", "Accuracy falls with temperature, monotonically.", "§6.1 (5), appendix B, table 1",
          "accuracy of KD + mixup at a temperature less that at the next higher one", "above 0",
          _falls_with_temperature("accuracy", "points")),
    Claim("ece_below_kd", "At every temperature KD + mixup has a lower ECE than KD.", "§6.1 (4), table 1",
          "ECE of KD less that of KD + mixup, every temperature", "above 0", _calibrated_better_than_kd),
    Claim("two_best", "T = 2 is the most accurate temperature.", "§6.1 (3), appendix B, table 1",
          "accuracy of KD + mixup at T = 2 less that at every other temperature", "above 0", _two_is_best),
    Claim("sigma_worst", "T = σ has the worst ECE.", "§6.1 (5), table 1",
          "ECE of KD + mixup at T = σ less that at every fixed temperature", "above 0", _sigma_is_worst),
    Claim("calibration_follows", "The student’s calibration follows its teacher’s.", "§6.2, §6.3, tables 2 to 4",
          "Kendall’s τ over teachers, ECE of the teacher and of its KD + mixup student",
          "each pair of teachers stands in the same order", _calibration_follows),
    Claim("nl_follows_ece", "A teacher’s NL follows its ECE.", "§7.2, table 5",
          "Kendall’s τ over teachers, ECE and mean NL over λ", "each pair of teachers stands in the same order",
          _nl_follows_calibration),
    Claim("robustness_order", "The gain on corrupted images follows the order of the linearity gain.", "§7.5, §7.6, table 7, fig. 6",
          "Kendall’s τ over teachers, peak Δ_lin and mean accuracy gain over corruptions and severities",
          "each pair of teachers stands in the same order", _robustness_order),
    Claim("smooth_most", "Fog and contrast gain most of all corruptions.", "§7.5, fig. 6",
          "mean gain over teachers and severities of fog and of contrast, less that of every other corruption", "above 0",
          _smooth_gain_most),
    Claim("pixelate_loses", "Pixelate at high severity puts every distilled student below the baseline.", "§7.5, §7.6, table 7",
          "loss of each teacher’s student under pixelate at severities 4 and 5", "above 0", _pixelate_loses),
    Claim("mixup_teacher", "A teacher trained with mixup makes a worse student.", "appendix A.1, fig. 8",
          "accuracy of KD + mixup from a teacher trained without mixup, less that from one trained with it", "above 0",
          _mixup_teacher_hurts),
    Claim("eq11", "H[p(x̃)] = H[p(x)] + NL (eq. 11).", "§4.2.1, eq. 11",
          "minus the distance of the two sides at λ = 0.5", "within 5 % of NL(0.5)", _eq11),
)  # fmt: skip
