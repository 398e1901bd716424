"""A claim, its cases, and the verdict on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from vicinal.claims.comparison import POWER, Inference, decide, infer, why_undecided
from vicinal.claims.evidence import Evidence
from vicinal.claims.numbers import Number
from vicinal.claims.words import listed

Verdict = Literal[
    "supported", "contradicted", "no difference", "undecided", "holds as printed", "fails as printed", "open as printed",
    "not testable", "no data",
]  # fmt: skip
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Unit = Literal["points", "nats", "ECE", "Brier", "V-score", "times", "τ"]
Spread = Literal["rounding", "seeds and images", "seeds", "images", "unknown"]

DECIMALS: dict[Unit, int] = {"points": 2, "nats": 3, "ECE": 4, "Brier": 4, "V-score": 3, "times": 2, "τ": 2}
SIGNED: tuple[Unit, ...] = ("points", "nats", "ECE", "Brier", "V-score", "τ")
LEVEL = 0.025  # one-sided, of every verdict
EQUIVALENCE_LEVEL = 0.05  # of each of Schuirmann's two tests
RULE = (
    "Judged for every teacher, temperature, λ or severity that the claim speaks of, each by a one-sided test over seeds and images "
    "together: supported where every p is below .025; contradicted where one fails with p below .025 after Holm’s correction; no "
    "difference where every one is shown to lie within a margin; not testable with one seed, where a claim is about arms and not about "
    "two networks, and for an order of fewer than four teachers; undecided otherwise. Printed numbers hold or fail as printed, where "
    "rounding cannot hide the difference: that says nothing beyond the digits."
)
LONG_LIST = 6  # places after the first from which a run of them is shortened
ONE_SEED = "one seed says nothing about arms, only about these networks"


@dataclass(frozen=True)
class Effect:
    """The size of what a claim says, in its unit; a larger one is more in the claim's favour."""

    value: float
    unit: Unit
    interval: tuple[float, float] | None = None  # at the study's confidence level; of a printed number its rounding
    spread: Spread = "unknown"  # what the interval is over
    p_value: float | None = None  # two-sided, of the threshold
    subject: str = ""  # whose, where it is one of many

    @classmethod
    def of(cls, number: Number, unit: Unit, threshold: float = 0.0) -> Effect:
        """A number's."""
        if number.printed:
            return cls(number.value, unit, number.interval, "rounding")
        inferred = infer(number)
        if inferred is None:
            return cls(number.value, unit)
        seeds = len(number.by_seed) > 1
        images = number.deviations is not None or number.interval is not None
        spread: Spread = "seeds and images" if seeds and images else "seeds" if seeds else "images"
        return cls(number.value, unit, inferred.interval, spread, inferred.p_value(threshold))

    @property
    def text(self) -> str:
        """As shown: value and interval; the interval of a printed number is its rounding and is left out."""
        shown = f"{self._shown(self.value)}{' ' + self.unit if self.unit != 'τ' else ''}"
        if self.unit == "τ":
            shown = f"τ {shown}"
        if self.interval is not None and self.spread != "rounding":
            shown += f" ({self._shown(self.interval[0])} to {self._shown(self.interval[1])})"
        return shown

    def _shown(self, value: float) -> str:
        return f"{value:{'+' if self.unit in SIGNED else ''}.{DECIMALS[self.unit]}f}".replace("-", "−")

    def as_data(self) -> dict[str, Any]:
        """As plain data; what is not finite is None."""
        return {
            "value": _finite(self.value),
            "unit": self.unit,
            "interval": None if self.interval is None else [_finite(bound) for bound in self.interval],
            "spread": self.spread,
            "p_value": self.p_value,
            "subject": self.subject,
        }


@dataclass(frozen=True)
class Case:
    """One instance of a claim: whose, under what condition, and whether it holds (+1), fails (−1) or is not decided (0).

    `p_for` and `p_against` are one-sided: small where it clearly holds, or clearly fails. Without them the sign is taken as certain.
    `bounds` is the interval of TOST, and `detectable` the smallest effect that would have been found, in the effect's unit.
    """

    subject: str
    condition: str
    sign: int
    effect: Effect | None = None
    why: str = ""  # for an undecided one
    impossible: bool = False  # rests on a printed entry that cannot be
    printed: bool = False
    p_for: float | None = None
    p_against: float | None = None
    inference: Inference | None = None
    threshold: float = 0.0
    barrier: str = ""  # why it cannot be tested

    @classmethod
    def of(cls, subject: str, condition: str, number: Number, unit: Unit, threshold: float = 0.0) -> Case:
        """A case that holds where the number is above the threshold."""
        sign, found = decide(number, threshold), infer(number)
        why = "" if sign else why_undecided(number)
        return cls(
            subject, condition, sign, Effect.of(number, unit, threshold), why, number.impossible, number.printed,
            found.p_above(threshold) if found is not None else None,
            found.p_below(threshold) if found is not None else None,
            found, threshold, ONE_SEED if found is not None and found.of_networks else "",
        )  # fmt: skip

    def is_within(self, margin: float | None) -> bool:
        """Whether it is shown to lie within the margin of its threshold (two one-sided tests)."""
        if margin is None or self.inference is None or self.inference.log:
            return False
        return self.inference.p_outside(margin, self.threshold) < EQUIVALENCE_LEVEL


def _is_within(number: Number, margin: float | None) -> bool:
    found = infer(number)
    return margin is not None and found is not None and found.p_outside(margin) < EQUIVALENCE_LEVEL


@dataclass(frozen=True)
class Outcome:
    """What a judge found in one evidence."""

    cases: tuple[Case, ...] = ()
    effect: Effect | None = None  # of the whole, where that is no case's
    remark: str = ""
    missing: str = ""  # what the evidence would have to contain, where there are no cases
    spans: tuple[
        Number, ...
    ] = ()  # what has to lie within the margin as well for "no difference": many small steps are a large one


@dataclass(frozen=True)
class Claim:
    """A claim of the paper as code."""

    key: str
    sentence: str
    where: str  # in the paper
    statistic: str
    rule: str  # when a case holds
    cases: Callable[[Evidence], Outcome]
    by_scale: bool = (
        False  # about answers that change with the scale of the logits, and so judged after temperature scaling too
    )


@dataclass(frozen=True)
class Judgement:
    """A claim with its verdict on some evidence."""

    claim: Claim
    verdict: Verdict
    effect: Effect | None  # the whole's, or that of the case least in favour
    detail: str
    cases: tuple[Case, ...]
    scaled: Verdict | None = None  # after temperature scaling; None where that changes nothing, or was not measured
    held_out: Verdict | None = None  # on pairs of test images; None where they do not matter, or were not measured

    def count(self, sign: int) -> int:
        """How many cases hold (1), fail (−1) or are not decided (0), as those are that cannot be tested."""
        return sum((0 if case.barrier else case.sign) == sign for case in self.cases)

    def as_data(self) -> dict[str, Any]:
        """The verdict as plain data, without the claim's own words."""
        return {
            "verdict": self.verdict,
            "verdict_after_temperature_scaling": self.scaled,
            "verdict_on_held_out_pairs": self.held_out,
            "effect": self.effect.as_data() if self.effect is not None else None,
            "detail": self.detail,
            "holds": self.count(1),
            "fails": self.count(-1),
            "undecided": self.count(0),
            "cases": [
                {
                    "subject": case.subject,
                    "condition": case.condition,
                    "holds": {1: True, -1: False, 0: None}[case.sign],
                    "effect": case.effect.as_data() if case.effect is not None else None,
                }
                for case in self.cases
            ],
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def judge(claim: Claim, *evidences: Evidence) -> Judgement:
    """The verdict on a claim over one or several data sets; with several, cases are named with theirs."""
    judged = _judge(claim, evidences)
    if not claim.by_scale or judged.verdict == "no data":
        return judged
    scaled = _judge(claim, [evidence.after_temperature_scaling() for evidence in evidences]).verdict
    held_out = _judge(claim, [evidence.on_held_out_pairs() for evidence in evidences]).verdict
    words = [
        _words_where_it_differs(judged.verdict, scaled, "After temperature scaling", "confidence scale"),
        _words_where_it_differs(
            judged.verdict, held_out, "On pairs of test images", "having been trained on the images"
        ),
    ]
    return replace(
        judged,
        detail=" ".join([judged.detail, *filter(None, words)]),
        scaled=None if scaled == "no data" else scaled,
        held_out=None if held_out == "no data" else held_out,
    )


def _words_where_it_differs(verdict: Verdict, other: Verdict, where: str, cause: str) -> str:
    """What another verdict on the same claim says of its own."""
    decided = ("supported", "contradicted", "no difference")
    if verdict == other or verdict not in decided or other == "no data":
        return ""
    if other in decided:
        return f"{where} it is {other}: an effect of {cause}."
    return f"{where} it is {other}, so it may be an effect of {cause}."


def _judge(claim: Claim, evidences: Sequence[Evidence]) -> Judgement:
    outcomes = [(evidence, claim.cases(evidence)) for evidence in evidences]
    with_cases = [evidence for evidence, outcome in outcomes if outcome.cases]
    several = len(with_cases) > 1
    found = [
        (replace(case, subject=f"{evidence.data} {case.subject}".strip()) if several else case, evidence)
        for evidence, outcome in outcomes
        for case in outcome.cases
    ]
    if not found:
        missing = next((outcome.missing for _, outcome in outcomes if outcome.missing), "the runs it speaks of")
        return Judgement(claim, "no data", None, f"Needs {missing}.", ())
    margins = [evidence.margins.get(case.effect.unit) if case.effect is not None else None for case, evidence in found]
    cases = tuple(after_holm([case for case, _ in found]))
    within = [case.is_within(margin) for case, margin in zip(cases, margins, strict=True)]
    within += [_is_within(span, margins[0]) for _, outcome in outcomes for span in outcome.spans]
    verdict = _verdict(cases, within)
    margin = f"{margins[0]:g} {cases[0].effect.unit}" if margins[0] is not None and cases[0].effect is not None else ""
    effects = [outcome.effect for _, outcome in outcomes if outcome.effect is not None]
    if not effects:
        effects = [
            replace(case.effect, subject=", ".join(filter(None, (case.subject, case.condition))))
            for case in cases
            if case.effect is not None
        ]
    effect = min(effects, key=lambda found: (found.value, found.subject), default=None)
    remarks = list(dict.fromkeys(outcome.remark for _, outcome in outcomes if outcome.remark and outcome.cases))
    alone = f"{with_cases[0].data}: " if len(evidences) > 1 and not several else ""
    return Judgement(claim, verdict, effect, alone + " ".join([_detail(verdict, cases, margin), *remarks]), cases)


def _verdict(cases: Sequence[Case], within: Sequence[bool]) -> Verdict:
    """Of cases after Holm's correction."""
    signs = {case.sign for case in cases}
    if all(case.printed for case in cases):
        return "fails as printed" if -1 in signs else "open as printed" if 0 in signs else "holds as printed"
    testable = [case for case in cases if not case.barrier]
    if not testable:
        return "not testable"
    if any(case.sign < 0 for case in testable):
        return "contradicted"
    if signs == {1} and len(testable) == len(cases):
        return "supported"
    return "no difference" if all(within) and len(testable) == len(cases) else "undecided"


def _level(case: Case) -> float:
    return (1 - case.inference.level) / 2 if case.inference is not None else LEVEL


def after_holm(cases: Sequence[Case]) -> list[Case]:
    """The cases with those that fail only before Holm's correction (1979) for the number of testable cases left undecided."""
    testable = sorted(
        (case.p_against if case.p_against is not None else float(case.sign >= 0), position)
        for position, case in enumerate(cases)
        if not case.barrier and not case.printed
    )
    changed = list(cases)
    failing = True
    for rank, (p_value, position) in enumerate(testable):
        failing = failing and p_value * (len(testable) - rank) < _level(changed[position])
        if changed[position].sign < 0 and not failing:
            why = f"within chance for {len(testable)} comparisons"
            changed[position] = replace(changed[position], sign=0, why=why)
    return changed


def _detail(verdict: Verdict, cases: Sequence[Case], margin: str) -> str:
    """Which cases hold and which fail, in one line: all are counted, and the ones that made the verdict are named."""
    holds, fails, opens = ([case for case in cases if case.sign == sign and not case.barrier] for sign in (1, -1, 0))
    total = len(cases)

    def count(found: Sequence[Case]) -> str:
        return f"{len(found)} of {total}" if len(found) < total else f"all {total}" if total > 1 else "the one there is"

    parts = []
    barred = [case for case in cases if case.barrier]
    if barred:
        parts.append(_barred(barred, total))
        if verdict == "not testable":
            if one_seed := [case for case in cases if case.barrier == ONE_SEED]:
                parts.append(_of_networks(one_seed))
            return _sentence(parts, cases)
    if verdict == "no difference":
        parts.append(f"shown to lie within {margin} of none in {count(cases)}: {_names(cases)}")
        return _sentence(parts, cases)
    if fails:
        parts.append(f"fails in {count(fails)}: {_names(fails)}")
    if opens:
        reasons = listed(list(dict.fromkeys(case.why for case in opens if case.why)))
        parts.append(f"not decided in {count(opens)}{f' ({reasons})' if reasons else ''}: {_names(opens)}")
    if holds:
        which = f": {_names(holds)}" if verdict in ("supported", "holds as printed") or len(holds) <= 4 else ""
        parts.append(f"holds in {count(holds)}{which}")
    if verdict == "undecided" and (effect := _detectable(opens)):
        parts.append(effect)
    return _sentence(parts, cases)


def _sentence(parts: Sequence[str], cases: Sequence[Case]) -> str:
    impossible, total = sum(case.impossible for case in cases), len(cases)
    tail = (
        f" {impossible} of {total} rest{'s' if impossible == 1 else ''} on an impossible entry." if impossible else ""
    )
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}.{tail}"


def _barred(barred: Sequence[Case], total: int) -> str:
    """Why cases cannot be tested."""
    reasons = listed(list(dict.fromkeys(case.barrier for case in barred)))
    return reasons if len(barred) == total else f"not testable in {len(barred)} of {total} ({reasons})"


def _of_networks(cases: Sequence[Case]) -> str:
    """What one seed's networks show, by the test images alone."""
    words = {1: "it holds for", -1: "it fails for", 0: "not decided for"}
    parts = []
    for sign, said in words.items():
        if found := [case for case in cases if case.sign == sign]:
            why = listed(list(dict.fromkeys(case.why for case in found if case.why)))
            parts.append(f"{said} {_names(found) or f'{len(found)} of {len(cases)}'}{f' ({why})' if why else ''}")
    return f"of these networks, by the images alone, {', '.join(parts)}"


def _detectable(opens: Sequence[Case]) -> str:
    """The smallest effect that the runs would have shown, the least able case's."""
    known = [(case.inference, case.effect) for case in opens if case.inference is not None and case.effect]
    able = [
        (inference.detectable, effect)
        for inference, effect in known
        if math.isfinite(inference.detectable) and inference.could_be_found
    ]
    if not able:
        return ""
    size, effect = max(able, key=lambda pair: pair[0])
    shown = f"{size:.{DECIMALS[effect.unit]}f} {effect.unit}"
    return f"one such comparison finds an effect of {shown} in {100 * POWER:.0f} % of repetitions"


def _names(cases: Iterable[Case]) -> str:
    """Cases by name, with everything they stand at in brackets: ResNet (T = 2, 4)."""
    groups: dict[str, list[str]] = {}
    for case in cases:
        groups.setdefault(case.subject, []).append(case.condition)
    shown = []
    for name, places in groups.items():
        first, *others = [place for place in places if place] or [""]
        prefix = first[: first.rfind(" = ") + 3] if " = " in first else ""
        inside = ", ".join([first, *(other.removeprefix(prefix) if prefix else other for other in others)])
        if prefix and len(others) >= LONG_LIST:
            inside = f"{first} to {others[-1].removeprefix(prefix)}, {1 + len(others)} of them"
        shown.append(f"{name} ({inside})" if name and inside else name or inside)
    return ", ".join(shown)
