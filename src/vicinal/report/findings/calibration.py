"""Whether distilled students' probabilities are better than the baseline's, as measured and beside one fitted temperature."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from vicinal.report.comparisons import Compared, compared
from vicinal.report.degenerate import uninformative
from vicinal.report.findings.accuracy import baseline_of, mean_of, power_words
from vicinal.report.findings.finding import Finding, Quotes, Verdict, scale_sentence
from vicinal.report.rows import SCALED, Results, Row

MANY = 2  # students of one teacher above which they are told in groups


def verdict_of(signs: Sequence[int]) -> Verdict:
    """Yes where every sign is +1, no where every sign is -1, else undecided."""
    if signs and all(sign > 0 for sign in signs):
        return "yes"
    return "no" if signs and all(sign < 0 for sign in signs) else "undecided"


def better_probabilities(results: Results, teacher: Row, rows: Sequence[Row]) -> Finding | None:
    """NLL of one teacher's students against the baseline's, as measured and both after temperature scaling; ECE beside it.

    The answer is by NLL, whose difference is paired image by image; a difference of two ECEs has no interval that covers.
    """
    baseline, quotes = baseline_of(results), Quotes(results)
    if baseline is None or mean_of(baseline, "nll") is None or not rows:
        return None
    own = Quotes(results) if len(rows) > MANY else quotes  # what many rows say is not shown one by one
    answers = [_against(results, row, baseline, own) for row in rows]
    start = f"The baseline has NLL {quotes.mean(baseline, 'nll')} and ECE {ece_words(quotes, baseline)}"
    if len(rows) > MANY:
        raw = [compared(results, row, baseline, "nll") for row in rows if not row.scale_free]
        after = [compared(results, row, baseline, "nll" + SCALED) for row in rows]
        words = f"{of_many(quotes, raw)} After temperature scaling of both: {of_many(quotes, after)}"
    else:
        words = " ".join(words for words, _, _ in answers)
    text = f"{start}. {words}"
    verdict = verdict_of([raw for _, raw, _ in answers])
    scaled = [sign for _, _, sign in answers if sign is not None]
    if len(scaled) == len(rows):
        text += scale_sentence(verdict, verdict_of(scaled))
    return quotes.finding(
        f"Teacher {teacher.label}: are its student’s probabilities better than the baseline’s?", verdict, text
    )


def of_many(quotes: Quotes, found: Sequence[Compared | None]) -> str:
    """Students by the sign of their difference in NLL, each group with its smallest and largest difference."""
    known = [one for one in found if one is not None]
    clauses = []
    for sign, word in ((-1, "clearly lower for"), (1, "clearly higher for"), (0, "not told apart for")):
        group = sorted((one for one in known if one.sign == sign), key=lambda one: one.effect.value)
        if not group:
            continue
        ends = [group[0]] if len(group) == 1 else [group[0], group[-1]]
        shown = " to ".join(quotes.difference(one) for one in ends)
        labels = [one.first.label + (" (scaled too)" if one.first.scale_free else "") for one in group]
        clauses.append(f"{word} {', '.join(labels)} ({shown})")
    return f"NLL is {'; '.join(clauses)}." if clauses else "Nothing is known of the students’ NLL."


def _against(results: Results, row: Row, baseline: Row, quotes: Quotes) -> tuple[str, int, int | None]:
    """A sentence on one student, and the signs of its differences in NLL, turned so that +1 is better.

    The signs are as measured (of a scale-free student after temperature scaling) and scaled (None where that was not measured).
    """
    if reason := uninformative(row, results):
        return f"{row.label} does not count, since it {reason}.", 0, None
    scaled = compared(results, row, baseline, "nll" + SCALED)
    parts = []
    raw = None if row.scale_free else compared(results, row, baseline, "nll")
    if raw is not None:
        parts.append(f"{row.label}: NLL {quotes.mean(row, 'nll')}, {quotes.difference(raw)}")
        parts.append(f"ECE {ece_words(quotes, row)}")
    elif scaled is None:
        return f"{row.label} cannot be judged: its raw confidence means nothing and no temperature was fitted.", 0, None
    if scaled is not None:
        start = "both after temperature scaling" if raw is not None else f"{row.label}, both after temperature scaling"
        parts.append(f"{start} {quotes.difference(scaled)}")
    shown = raw or scaled
    assert shown is not None
    power = power_words(quotes, shown) if shown.sign == 0 else ""
    return (
        f"{'; '.join(parts)}.{power}",
        -shown.sign,
        None if scaled is None or scaled.inference is None else -scaled.sign,
    )


def ece_words(quotes: Quotes, row: Row, key: str = "ece") -> str:
    """A row's ECE, and in brackets what a perfectly calibrated network of the same confidences would show, where it was measured."""
    found = [((model.get("calibration_tests") or {}).get(key) or {}).get("floor") for model in row.models]
    shown = quotes.mean(row, key)
    floors = [float(floor) for floor in found if floor is not None]
    if not floors or len(floors) < len(row.models):
        return shown
    return f"{shown} (noise alone: {quotes.value(row, f'{key}_floor', fmean(floors))})"


def beyond_one_number(results: Results, teacher: Row, rows: Sequence[Row]) -> Finding | None:
    """Whether a student as it is has better probabilities than the baseline divided by one fitted temperature; by NLL."""
    baseline, quotes = baseline_of(results), Quotes(results)
    key = "nll" + SCALED
    if baseline is None or mean_of(baseline, key) is None or not rows:
        return None
    found: list[Compared] = []
    parts = []
    own = Quotes(results) if len(rows) > MANY else quotes
    for row in rows:
        one = compared(results, row, baseline, key if row.scale_free else "nll", key)
        if one is None or uninformative(row, results):
            continue
        found.append(one)
        scaled = ", scaled too," if row.scale_free else ""
        parts.append(f"{row.label}{scaled} against that {own.difference(one)}")
    if not found:
        return None
    text = (
        f"One temperature fitted on validation images brings the baseline to NLL {quotes.mean(baseline, key)} and ECE "
        f"{ece_words(quotes, baseline, 'ece' + SCALED)}. "
    )
    text += of_many(quotes, found) if len(rows) > MANY else f"NLL of {'; '.join(parts)}."
    open_ones = [one for one in found if one.sign == 0]
    if open_ones:
        text += power_words(quotes, open_ones[0])
    verdict = verdict_of([-one.sign for one in found])
    return quotes.finding(f"Teacher {teacher.label}: does it beat temperature scaling?", verdict, text)


def calibration_follows(results: Results, studied: Sequence[Row]) -> Finding | None:
    """With two plain teachers or more: their ECE beside that of their students. What that shows of cause is another question."""
    pairs = []
    for teacher in results.teachers:
        students = [row for row in studied if row.teacher == teacher.label]
        if teacher.scaled_from is not None or teacher.trained_with_mixup:
            continue
        # Choosing among temperatures by test metrics would favour one side, so this is answered only where there is one student.
        if len(students) != 1 or students[0].scale_free:
            return None
        pairs.append((teacher, students[0]))
    pairs = [pair for pair in pairs if all(mean_of(row, "ece") is not None for row in pair)]
    if len(pairs) < 2:
        return None
    ordered = sorted(pairs, key=lambda pair: mean_of(pair[0], "ece") or 0.0)
    (best, best_student), (worst, worst_student) = ordered[0], ordered[-1]
    quotes = Quotes(results)
    text = (
        f"Teacher ECE goes from {ece_words(quotes, best)} of {best.label} to {ece_words(quotes, worst)} of {worst.label}, that of "
        f"their {best_student.label} students from {ece_words(quotes, best_student)} to {ece_words(quotes, worst_student)}."
    )
    if len(ordered) < 4:
        text += " So few teachers stand in one order by chance too often to show more; the test of it is one teacher at several scales."
    return quotes.finding("Do better calibrated teachers have better calibrated students?", "fact", text)


def own_calibration(results: Results, teacher: Row) -> Finding | None:
    """Over- or underconfidence of a teacher, for studies without students."""
    accuracy, confidence = mean_of(teacher, "accuracy"), mean_of(teacher, "confidence")
    if accuracy is None or confidence is None or mean_of(teacher, "ece") is None:
        return None
    quotes = Quotes(results)
    word = "above" if confidence > accuracy else "below"
    scaled = mean_of(teacher, "ece" + SCALED)
    tail = f", {ece_words(quotes, teacher, 'ece' + SCALED)} after temperature scaling" if scaled is not None else ""
    text = (
        f"Teacher {teacher.label}: mean confidence {quotes.mean(teacher, 'confidence', 1, percent=True)} lies {word} the accuracy, "
        f"{quotes.mean(teacher, 'accuracy', 1, percent=True)}; ECE {ece_words(quotes, teacher)}{tail}."
    )
    return quotes.finding(f"How well calibrated is {teacher.label}?", "fact", text)
