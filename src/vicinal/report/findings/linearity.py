"""Whether students are more linear than their teacher, and whether mismatch dominates, as measured and after temperature scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vicinal.claims import Case, Curve, after_holm, decide, infer, once
from vicinal.report.between import curve_at_half, gain
from vicinal.report.degenerate import uninformative, what_it_tells
from vicinal.report.evidence import student_versus_teacher
from vicinal.report.findings.finding import SCALE_WORDS, Finding, Quotes, Verdict, scale_sentence
from vicinal.report.rows import SCALED, Results, Row


@dataclass(frozen=True)
class AllAlong:
    """What a gain is over the λ between 0 and 1."""

    verdict: Verdict
    words: str
    known: bool  # whether its error is


def all_along(results: Results, curve: Curve) -> AllAlong | None:
    """Whether Δ_lin is above 0 at every λ between 0 and 1: yes where it is clearly so at each, no where it is clearly below at one
    after Holm's correction for all, as the claim has it. λ and 1 − λ count once. None without such λ."""
    inner = [number for _, number in once([(lam, number) for lam, number in sorted(curve.items()) if 0 < lam < 1])]
    if not inner:
        return None
    cases = after_holm([Case.of("", "", replace(number, of_arm=False), "nats") for number in inner])
    count, above, below = len(cases), sum(case.sign > 0 for case in cases), sum(case.sign < 0 for case in cases)
    known, among = (
        any(infer(number) is not None for number in inner),
        "λ between 0 and 1" if len(inner) > len(curve) / 2 else "λ up to ½",
    )
    if above == count:
        return AllAlong("yes", f"above 0 at every λ between 0 and 1, its {results.coverage} interval included", True)
    if below == count:
        return AllAlong("no", f"below 0 at every λ between 0 and 1, its {results.coverage} interval included", True)
    rest = count - above - below
    left = f"; at the other {rest} it is not decided" if known else "; no interval was stored"
    if below:
        words = f"below 0 at {below} of {count} {among}"
        words += f", above 0 at {above} of {count} λ" if above else ""
        return AllAlong("no", words + (left if rest else ""), True)
    return AllAlong("undecided", f"above 0 at {above} of {count} {among}{left}", known)


def gains(results: Results, teacher: Row, rows: Sequence[Row]) -> list[Finding | None]:
    """A finding for each student of a teacher, or one for all where many temperatures would make a long list."""
    each = [_gain(results, teacher, row) for row in rows]
    if len(rows) <= 2:
        return list(each)
    answers: dict[tuple[Verdict, str], list[str]] = {}
    for row, finding in zip(rows, each, strict=True):
        if finding is not None:
            scale = f", {SCALE_WORDS}" if SCALE_WORDS in finding.text else ""
            scale = f", which may be {SCALE_WORDS}" if f"may be {SCALE_WORDS}" in finding.text else scale
            answers.setdefault((finding.verdict, scale), []).append(row.label)
    words: dict[Verdict, str] = {
        "yes": "above 0 at every λ between 0 and 1, interval included, for",
        "no": "clearly below 0 at some or all λ for",
        "undecided": "not decided for",
    }
    clauses = [f"{words[verdict]} {', '.join(labels)}{scale}" for (verdict, scale), labels in answers.items()]
    if not clauses:
        return []
    verdicts = {verdict for verdict, _ in answers}
    verdict: Verdict = "undecided" if len(verdicts) > 1 else verdicts.pop()
    question = f"Teacher {teacher.label}: are its students more linear?"
    return [Quotes(results).finding(question, verdict, f"Δ_lin is {'; '.join(clauses)}.")]


def _gain(results: Results, teacher: Row, row: Row) -> Finding | None:
    """Whether Δ_lin is above 0 at every λ between 0 and 1, as measured and after temperature scaling."""
    question = f"Teacher {teacher.label}: is {row.label} more linear?"
    quotes = Quotes(results)
    if reason := uninformative(row, results):
        text = (
            f"Not said for {row.name}: it {reason}, and what answers nothing is linear for want of anything to bend. "
            f"{what_it_tells(row)}"
        )
        return Finding(question, "undecided", text)
    raw, scaled = (
        all_along(results, beside.gain) if beside is not None else None
        for beside in (student_versus_teacher(results, row, teacher.label, after) for after in ("", SCALED))
    )
    if row.scale_free:
        if scaled is None:
            text = (
                f"Not said for {row.name}: Δ_lin of raw answers means nothing where logits have no scale of their own."
            )
            return Finding(question, "undecided", text)
        half = _at_half(results, teacher, row, SCALED, quotes)
        return quotes.finding(
            question, scaled.verdict, f"{row.name}, after temperature scaling: Δ_lin is {scaled.words}.{half}"
        )
    if raw is None:
        return None
    text = f"{row.name}: Δ_lin is {raw.words}.{_at_half(results, teacher, row, '', quotes)}"
    after = scaled.verdict if scaled is not None and scaled.known else raw.verdict
    if scaled is not None:
        text += f" After temperature scaling it is {scaled.words}.{_at_half(results, teacher, row, SCALED, quotes)}"
    return quotes.finding(question, raw.verdict, text + scale_sentence(raw.verdict, after))


def _at_half(results: Results, teacher: Row, row: Row, scaled: str, quotes: Quotes) -> str:
    """Δ_lin(½) with its interval as a sentence after another, and mixup without a teacher beside it."""
    own = gain(results, row, teacher.label, scaled)
    if own is None:
        return ""
    quantity = f"gain{scaled}_0.5"
    text = f" At λ = 0.5 it is {quotes.between(row, teacher.label, quantity, own, signed=True)} nats"
    mixup = next((other for other in results.undistilled if other.arm == "mixup"), None)
    other = gain(results, mixup, teacher.label, scaled) if mixup is not None else None
    if mixup is None or other is None:
        return f"{text}."
    return f"{text}; Mixup, without a teacher, stands at {quotes.between(mixup, teacher.label, quantity, other, signed=True)}."


def dominance(results: Results, teacher: Row) -> Finding | None:
    """Whether D(½) of a teacher is above 1, as measured and after temperature scaling."""
    quotes = Quotes(results)
    raw = curve_at_half(results, teacher, "dominance")
    if raw is None:
        return None
    words = {
        1: "above 1: halfway between two images, mismatch outweighs the entropy of its answers",
        -1: "below 1: halfway between two images, mismatch does not outweigh the entropy of its answers",
        0: "not told apart from 1",
    }
    verdicts: dict[int, Verdict] = {1: "yes", -1: "no", 0: "undecided"}
    sign = decide(raw, 1.0)
    shown = quotes.between(teacher, "", "dominance_0.5", raw)
    text = f"D(0.5) of {teacher.label} is {shown}, {words[sign]}."
    scaled = curve_at_half(results, teacher, "dominance", SCALED)
    if scaled is not None:
        after = decide(scaled, 1.0)
        text += f" After temperature scaling it is {quotes.between(teacher, '', f'dominance{SCALED}_0.5', scaled)}"
        text += "." if after == sign else f", {words[after]}.{scale_sentence(verdicts[sign], verdicts[after])}"
    return quotes.finding(f"Teacher {teacher.label}: does mismatch dominate (D > 1)?", verdicts[sign], text)
