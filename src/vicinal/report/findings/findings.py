"""What came out, in sentences computed from the numbers, whichever way they point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vicinal.claims import decide, infer, listed, why_undecided
from vicinal.report.degenerate import missed_classes, some, uninformative, what_it_tells, worse_than_the_prior
from vicinal.report.evidence import (
    compare_rows,
    comparison_words,
    number_at_half,
    student_versus_teacher,
    vicinal_curve_numbers,
)
from vicinal.report.rows import SCALED, Results, Row, gain_at_half, half_position, mean_and_spread, versus_teacher

Verdict = Literal["yes", "no", "undecided", "fact"]


@dataclass(frozen=True)
class Finding:
    """One sentence or two, the question they answer and the answer."""

    question: str
    verdict: Verdict
    text: str


def findings(results: Results) -> list[Finding]:
    """Everything that the results at hand can answer."""
    found: list[Finding | None] = [_accuracy(results), _degenerate(results)]
    studied = _studied(results)
    for teacher in results.teachers:
        rows = [row for row in studied if row.teacher == teacher.label]
        found.append(_calibration(results, teacher, rows))
        found.append(_beyond_one_number(results, teacher, rows))
        found += _gains(results, teacher, rows)
    found.append(_calibration_follows(results, studied))
    found += [_dominance(results, teacher) for teacher in results.teachers]
    if not results.students:
        found += [_own_calibration(teacher) for teacher in results.teachers]
    if len(results.seeds) == 1:
        found.append(
            Finding(
                "How sure is this?",
                "fact",
                "One seed gives no spread between trainings: the intervals come from test images and pairs alone, so a difference "
                "between arms can change with another seed.",
            )
        )
    return [finding for finding in found if finding is not None]


def _studied(results: Results) -> list[Row]:
    """The students that the questions are about: KD + mixup, or else every arm with a teacher."""
    rows = [row for row in results.distilled if row.arm == "kd_mixup"]
    return rows or list(results.distilled)


def _baseline(results: Results) -> Row | None:
    return next((row for row in results.undistilled if row.arm == "baseline"), None)


def _mean(row: Row, key: str) -> float | None:
    found = mean_and_spread(row.values(key))
    return found[0] if found else None


def _ece_key(row: Row) -> str:
    """The calibration error that means something: after temperature scaling for a scale-free student."""
    return "ece" + SCALED if row.scale_free else "ece"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.2f} to {bounds[1]:.2f}"


def _ratio(high: float, low: float) -> str:
    return f"{high / low:.1f} times" if low > 0 else "without a ratio, since the lower one is 0"


def _accuracy(results: Results) -> Finding | None:
    """The most accurate student, against the baseline."""
    pool = results.students or results.teachers
    scored = [(value, row) for row in pool if (value := _mean(row, "accuracy")) is not None]
    if not scored:
        return None
    best_value, best = max(scored, key=lambda pair: pair[0])
    baseline = _baseline(results)
    if not results.students:
        others = [row for _, row in scored if row is not best]
        text = f"Teacher {best.label} has the highest accuracy, {_percent(best_value)}"
        verdicts = [compare_rows(results, best, row, "accuracy", factor=100.0) for row in others]
        if not others:
            return Finding("Accuracy", "fact", f"Teacher {best.label} reaches an accuracy of {_percent(best_value)}.")
        undecided = [row.label for row, comparison in zip(others, verdicts, strict=True) if comparison.sign <= 0]
        tail = (
            f"; undecided against {', '.join(undecided)}."
            if undecided
            else f" ({comparison_words(results, verdicts[0], 1)})."
        )
        return Finding("Which teacher is the most accurate?", "undecided" if undecided else "fact", text + tail)
    text = f"{best.name} has the highest accuracy of the students, {_percent(best_value)}"
    if baseline is None:
        return Finding(
            "Which student is the most accurate?", "fact", f"{text}. The study has no baseline to compare it with."
        )
    question = "Is any student more accurate than the baseline?"
    base_value = _mean(baseline, "accuracy")
    if best is baseline or base_value is None:
        return Finding(
            question, "no", f"No: the baseline has the highest accuracy of the students, {_percent(best_value)}."
        )
    comparison = compare_rows(results, best, baseline, "accuracy", factor=100.0)
    verdict: Verdict = "yes" if comparison.sign > 0 else "undecided"
    points = 100 * (best_value - base_value)
    return Finding(
        question,
        verdict,
        f"{text}: {points:.1f} points above the baseline at {_percent(base_value)} ({comparison_words(results, comparison, 1)}).",
    )


def _degenerate(results: Results) -> Finding | None:
    """The networks that answer nothing or miss a class, and those whose NLL is no better than that of the class shares."""
    nothing = [f"{row.name} {reason}" for row in results.rows if (reason := uninformative(row, results))]
    missed = [
        f"{row.name} never recognises {some(classes)}"
        for row in results.rows
        if (classes := missed_classes(row, results)) and "always answers" not in uninformative(row, results)
    ]
    worse = [
        f"{row.name}{' after temperature scaling' if row.scale_free else ''} ({pair[0]:.3f} against {pair[1]:.3f})"
        for row in results.rows
        if (pair := worse_than_the_prior(row)) is not None
    ]
    sentences = [f"{'; '.join(part)}." for part in (nothing, missed) if part]
    if worse:
        sentences.append(f"NLL is no better than that of the class shares alone for {listed(worse)}.")
    if not sentences:
        return None
    if nothing:
        sentences.append(
            "Nothing good is said below of a network that answers nothing: a constant is calibrated and linear too."
        )
    return Finding(
        "Does every network tell the classes apart?", "no" if nothing or missed else "fact", " ".join(sentences)
    )


def _calibration(results: Results, teacher: Row, rows: list[Row]) -> Finding | None:
    """ECE of the baseline against the distilled students of one teacher."""
    baseline = _baseline(results)
    before = _mean(baseline, "ece") if baseline else None
    if baseline is None or before is None or not rows:
        return None
    answers, signs = [], []
    for row in rows:
        key = _ece_key(row)
        after = _mean(row, key)
        if after is None:
            answers.append(
                ("", f"{row.label} cannot be judged: its raw confidence means nothing and no temperature was fitted")
            )
            signs.append(0)
            continue
        reason = uninformative(row, results)
        if reason:
            answers.append(("", f"{after:.3f} for {row.label}, which does not count, since it {reason}"))
            signs.append(0)
            continue
        comparison = compare_rows(results, row, baseline, key, "ece")
        signs.append(comparison.sign)
        scaled = " after temperature scaling" if row.scale_free else ""
        word = f"{_ratio(before, after)} lower" if after < before else f"{_ratio(after, before)} higher"
        answers.append(
            (
                comparison_words(results, comparison),
                f"{after:.3f} for {row.label}{scaled}, {word if after != before else 'the same'}",
            )
        )
    text = f"ECE is {before:.3f} for the baseline and {_by_reason(answers)}."
    return Finding(
        f"Teacher {teacher.label}: student’s ECE below the baseline’s?", _all_signs([-s for s in signs]), text
    )


def _by_reason(answers: list[tuple[str, str]]) -> str:
    """Clauses that share a reason, with the reason said once."""
    groups = []
    for reason in dict.fromkeys(reason for reason, _ in answers):
        text = ", ".join(what for known, what in answers if known == reason)
        groups.append(f"{text} ({reason})" if reason else text)
    return "; ".join(groups)


def _all_signs(signs: list[int]) -> Verdict:
    """Yes where every sign is +1, no where every sign is -1, else undecided."""
    if all(sign > 0 for sign in signs):
        return "yes"
    return "no" if all(sign < 0 for sign in signs) else "undecided"


def _beyond_one_number(results: Results, teacher: Row, rows: list[Row]) -> Finding | None:
    """Whether the baseline after temperature scaling is calibrated as well as the distilled student."""
    baseline = _baseline(results)
    key = "ece" + SCALED
    scaled = _mean(baseline, key) if baseline else None
    if baseline is None or scaled is None or not rows:
        return None
    answers, signs = [], []
    for row in rows:
        own_key = _ece_key(row)
        own = _mean(row, own_key)
        if own is None:
            continue
        if reason := uninformative(row, results):
            answers.append((f"it is not held against|it {reason}", f"the {own:.3f} of {row.label}"))
            signs.append(0)
            continue
        comparison = compare_rows(results, baseline, row, key, own_key)
        signs.append(comparison.sign)
        after = _mean(row, key)
        also = f" ({after:.3f} when it is scaled too)" if after is not None and not row.scale_free else ""
        relation = {1: "it does not reach", -1: "it goes below", 0: "it is not told apart from"}[comparison.sign]
        answers.append(
            (
                f"{relation}|{comparison_words(results, comparison).removeprefix('undecided: ')}",
                f"the {own:.3f} of {row.label}{also}",
            )
        )
    if not answers:
        return None
    clauses = []
    for reason in dict.fromkeys(reason for reason, _ in answers):
        relation, _, why = reason.partition("|")
        clauses.append(f"{relation} {', '.join(what for known, what in answers if known == reason)}: {why}")
    text = (
        f"One temperature fitted on validation images brings the baseline’s ECE to {scaled:.3f}; "
        + "; ".join(clauses)
        + "."
    )
    return Finding(f"Teacher {teacher.label}: does it beat temperature scaling?", _all_signs(signs), text)


def _gains(results: Results, teacher: Row, rows: list[Row]) -> list[Finding | None]:
    """A finding for each student of a teacher, or one for all where many temperatures would make a long list."""
    each = [_gain(results, teacher, row) for row in rows]
    if len(rows) <= 2:
        return each
    answers: dict[Verdict, list[str]] = {"yes": [], "no": [], "undecided": []}
    for row, finding in zip(rows, each, strict=True):
        if finding is not None:
            answers[finding.verdict].append(row.label)
    words: dict[Verdict, str] = {
        "yes": "above 0 at every λ between 0 and 1, interval included, for",
        "no": "below 0 at some or all λ for",
        "undecided": "not decided for",
    }
    clauses = [f"{words[verdict]} {', '.join(labels)}" for verdict, labels in answers.items() if labels]
    if not clauses:
        return []
    verdicts = [verdict for verdict, labels in answers.items() if labels]
    verdict: Verdict = "undecided" if len(verdicts) > 1 else verdicts[0]
    return [
        Finding(f"Teacher {teacher.label}: are its students more linear?", verdict, f"Δ_lin is {'; '.join(clauses)}.")
    ]


def _gain(results: Results, teacher: Row, row: Row) -> Finding | None:
    """Whether Δ_lin is above 0 at every λ between 0 and 1."""
    question = f"Teacher {teacher.label}: is {row.label} more linear?"
    if row.scale_free:
        return Finding(
            question,
            "undecided",
            f"Not said for {row.name}: Δ_lin of raw answers means nothing where logits have no scale of their own.",
        )
    if reason := uninformative(row, results):
        return Finding(
            question,
            "undecided",
            f"Not said for {row.name}: it {reason}, and what answers nothing is linear for want of anything to bend. "
            f"{what_it_tells(row)}",
        )
    beside = student_versus_teacher(results, row, teacher.label)
    inner = [number for lam, number in beside.gain.items() if 0 < lam < 1] if beside is not None else []
    if not inner:
        return None
    signs = [decide(number) for number in inner]
    count, above, below = len(signs), signs.count(1), signs.count(-1)
    several = len(row.models) > 1
    seeds = f" over {len(row.models)} seeds" if several else ""
    known = f", its {results.coverage} interval included" if all(infer(number) for number in inner) else ""
    undecided = "its interval includes 0" if known else "no interval was stored"
    verdict: Verdict
    if above == count:
        verdict, text = "yes", f"Δ_lin is above 0 at every λ between 0 and 1{known}{seeds}"
    elif below == count:
        verdict, text = (
            "no",
            f"Δ_lin is below 0 at every λ between 0 and 1{known}{seeds}: the student is less linear than its teacher",
        )
    elif below:
        verdict = "no"
        rest = count - above - below
        text = f"Δ_lin is below 0 at {below} of {count} λ between 0 and 1, above 0 at {above} and undecided at {rest}{seeds}"
    else:
        verdict = "undecided"
        text = f"Δ_lin is above 0 at {above} of {count} λ between 0 and 1; at the other {count - above} {undecided}"
    return Finding(question, verdict, f"{row.name}: {text}. {_gain_at_half_sentence(results, teacher, row)}".strip())


def _gain_at_half_sentence(results: Results, teacher: Row, row: Row) -> str:
    """Δ_lin(0.5) with its interval or spread, and mixup without a teacher beside it."""

    def mean_gain(of: Row) -> tuple[float, float | None] | None:
        return mean_and_spread([v for model in of.models if (v := gain_at_half(model, teacher.label)) is not None])

    own = mean_gain(row)
    if own is None:
        return ""
    text = f"At λ = 0.5 it is {_signed(own[0])} nats"
    position = half_position(row.models[0]["vicinity"]["lam"])
    bounds = versus_teacher(row.models[0], teacher.label).get("linearity_gain_interval")
    if own[1] is not None:
        text += f" ± {own[1]:.3f} over {len(row.models)} seeds"
    elif bounds and position is not None:
        text += f" ({_signed(bounds['lower'][position])} to {_signed(bounds['upper'][position])})"
    mixup = next((other for other in results.undistilled if other.arm == "mixup"), None)
    other = mean_gain(mixup) if mixup else None
    return f"{text}; Mixup, without a teacher, stands at {_signed(other[0])}." if other else f"{text}."


def _calibration_follows(results: Results, studied: list[Row]) -> Finding | None:
    """With two teachers or more: whether the better calibrated teacher has the better calibrated student."""
    pairs = []
    for teacher in results.teachers:
        students = [row for row in studied if row.teacher == teacher.label]
        # Choosing among temperatures by test metrics would favour one side, so this is answered only where there is one student.
        if len(students) != 1 or students[0].scale_free:
            return None
        ece, own = _mean(teacher, "ece"), _mean(students[0], "ece")
        if ece is None or own is None:
            return None
        pairs.append((ece, own, teacher, students[0]))
    if len(pairs) < 2:
        return None
    ordered = sorted(pairs, key=lambda pair: pair[0])
    best, worst = ordered[0], ordered[-1]
    of_teachers = compare_rows(results, worst[2], best[2], "ece")
    of_students = compare_rows(results, worst[3], best[3], "ece")
    text = (
        f"Teacher ECE goes from {best[0]:.3f} ({best[2].label}) to {worst[0]:.3f} ({worst[2].label}), that of their {best[3].label} "
        f"students from {best[1]:.3f} to {worst[1]:.3f}"
    )
    if len(pairs) > 2:
        same = [p[1] for p in ordered] == sorted(p[1] for p in ordered)
        text += f"; the order of all {len(pairs)} is {'the same' if same else 'not the same'}"
    if of_teachers.sign == 0 or of_students.sign == 0:
        reason = comparison_words(results, of_teachers if of_teachers.sign == 0 else of_students)
        return Finding("Does calibration pass from teacher to student?", "undecided", f"{text} ({reason}).")
    return Finding(
        "Does calibration pass from teacher to student?",
        "yes" if of_students.sign > 0 else "no",
        f"{text} ({comparison_words(results, of_students)}).",
    )


def _dominance(results: Results, teacher: Row) -> Finding | None:
    """Whether D(0.5) of a teacher is above 1."""
    number = number_at_half(vicinal_curve_numbers(results, teacher, "dominance"))
    if number is None:
        return None
    text, found = f"D(0.5) of {teacher.label} is {number.value:.2f}", infer(number)
    if found is not None:
        text += f" ({results.coverage} interval {_range(found.interval)})"
    verdict: Verdict
    sign = decide(number, 1.0)
    if sign > 0:
        verdict, tail = "yes", "above 1: halfway between two images, mismatch outweighs the entropy of its answers"
    elif sign < 0:
        verdict, tail = (
            "no",
            "below 1: halfway between two images, mismatch does not outweigh the entropy of its answers",
        )
    else:
        verdict, tail = "undecided", f"not told apart from 1: {why_undecided(number)}"
    return Finding(f"Teacher {teacher.label}: does mismatch dominate (D > 1)?", verdict, f"{text}, {tail}.")


def _own_calibration(teacher: Row) -> Finding | None:
    """Over- or underconfidence of a teacher, for studies without students."""
    accuracy, confidence, ece = (_mean(teacher, key) for key in ("accuracy", "confidence", "ece"))
    if accuracy is None or confidence is None or ece is None:
        return None
    gap = 100 * (confidence - accuracy)
    word = "above" if gap > 0 else "below"
    scaled = _mean(teacher, "ece" + SCALED)
    tail = f", {scaled:.3f} after temperature scaling" if scaled is not None else ""
    return Finding(
        f"How well calibrated is {teacher.label}?",
        "fact",
        f"Teacher {teacher.label}: mean confidence lies {abs(gap):.1f} points {word} accuracy; ECE {ece:.3f}{tail}.",
    )
