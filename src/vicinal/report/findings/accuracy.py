"""Which student is the most accurate, and which networks answer nothing."""

from __future__ import annotations

from collections.abc import Sequence

from vicinal.claims import POWER, listed
from vicinal.report.budgets import epochs_words
from vicinal.report.comparisons import Compared, compared
from vicinal.report.degenerate import missed_classes, some, uninformative, worse_than_the_prior
from vicinal.report.findings.finding import Finding, Quotes
from vicinal.report.rows import Results, Row, mean_and_spread


def baseline_of(results: Results) -> Row | None:
    """The student that learns from true labels alone."""
    return next((row for row in results.undistilled if row.arm == "baseline"), None)


def mean_of(row: Row, key: str) -> float | None:
    """The mean over seeds of a scalar; None where no seed has it."""
    found = mean_and_spread(row.values(key))
    return found[0] if found else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979): each below α with an error of α for the whole family."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[k]))
        adjusted[k] = largest
    return adjusted


def most_accurate(results: Results) -> Finding | None:
    """Whether any student is more accurate than the baseline; without students, which teacher is the most accurate."""
    # A teacher at another scale of its own logits gives the same answers, only more or less sure.
    plain = [row for row in results.teachers if row.scaled_from is None]
    pool = [row for row in results.students or plain if mean_of(row, "accuracy") is not None]
    if not pool:
        return None
    best = max(pool, key=lambda row: mean_of(row, "accuracy") or 0.0)
    baseline, quotes = baseline_of(results), Quotes(results)
    kind = "students" if results.students else "teachers"
    accuracy = quotes.mean(best, "accuracy", 1, percent=True)
    if len(pool) == 1:
        return quotes.finding("Accuracy", "fact", f"{best.name} reaches an accuracy of {accuracy}.")
    text = f"{best.name} has the highest accuracy of the {kind}{_of_budget(results)}, {accuracy}"
    if not results.students:
        return _against_others(results, best, [row for row in pool if row is not best], text, quotes)
    if baseline is None or mean_of(baseline, "accuracy") is None:
        tail = "The study has no baseline to compare it with."
        return quotes.finding("Which student is the most accurate?", "fact", f"{text}. {tail}")
    others = [row for row in pool if row is not baseline]
    return _against_baseline(results, baseline, others, text, quotes)


def _of_budget(results: Results) -> str:
    """Which students are meant, where they were trained for several budgets."""
    if not results.other_budgets:
        return ""
    return f" trained {epochs_words(results.students[0])} (the study’s first budget)"


def _against_others(results: Results, best: Row, others: Sequence[Row], text: str, quotes: Quotes) -> Finding:
    """The best teacher against each other one, all of them corrected for having been chosen."""
    found = [one for row in others if (one := compared(results, best, row, "accuracy")) is not None]
    adjusted = _adjusted(found)
    parts = [f"{quotes.difference(one)} over {one.second.name}" for one in found]
    clear = all(one.sign > 0 and p < 1 - results.confidence_level for one, p in zip(found, adjusted, strict=True))
    return quotes.finding(
        "Which teacher is the most accurate?", "yes" if clear else "undecided", f"{text}: {'; '.join(parts)}."
    )


def _adjusted(found: Sequence[Compared]) -> list[float]:
    return holm([1.0 if one.inference is None else one.inference.p_value() for one in found])


def _against_baseline(results: Results, baseline: Row, others: Sequence[Row], text: str, quotes: Quotes) -> Finding:
    """Every student against the baseline, Holm's correction over all of them, since the best was looked for."""
    found = [one for row in others if (one := compared(results, row, baseline, "accuracy")) is not None]
    adjusted = dict(zip(found, _adjusted(found), strict=True))
    level = 1 - results.confidence_level
    above = [one for one in found if one.sign > 0 and adjusted[one] < level]
    below = [one for one in found if one.sign < 0 and adjusted[one] < level]
    question = "Is any student more accurate than the baseline?"
    many = f" after Holm’s correction for {len(found)} students" if len(found) > 1 else ""
    top = max(found, key=lambda one: one.effect.value)
    base = quotes.mean(baseline, "accuracy", 1, percent=True)
    who = "Less" if top.effect.value > 0 else f"{top.first.name} less"
    shown = f"{who} the baseline’s {base}: {quotes.difference(top)}"
    if above:
        others_too = [one.first.name for one in above if one is not top]
        also = (
            f" Clearly above it{', too' if top in above else ''}: {some(others_too, kind='students')}."
            if others_too
            else ""
        )
        clear = f"clear{many}" if top in above else f"not clear{many}"
        return quotes.finding(question, "yes", f"{text}. {shown}, {clear}.{also}")
    if len(below) == len(found):
        return quotes.finding(question, "no", f"{text}. {shown}, and every student is clearly below it{many}.")
    return quotes.finding(question, "undecided", f"{text}. {shown}, not clear{many}.{power_words(quotes, top)}")


def power_words(quotes: Quotes, found: Compared) -> str:
    """The smallest difference that runs like these would have shown, as a sentence after another."""
    shown = quotes.detectable(found)
    return f" Runs like these find a difference of {shown} in {100 * POWER:.0f}\u00a0% of cases." if shown else ""


def answering(results: Results) -> Finding | None:
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
