"""A claim, its cases, and the verdict on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from vicinal.claims.comparison import decide, why_undecided
from vicinal.claims.evidence import Evidence
from vicinal.claims.numbers import Number, Spread
from vicinal.claims.words import listed, p_value_text

Verdict = Literal["supported", "contradicted", "undecided", "no data"]
Unit = Literal["points", "nats", "ECE", "times", "τ"]

DECIMALS: dict[Unit, int] = {"points": 2, "nats": 3, "ECE": 4, "times": 2, "τ": 2}
SIGNED: tuple[Unit, ...] = ("points", "nats", "ECE", "τ")
RULE = (
    "Judged for every teacher, temperature, λ or severity that the claim speaks of: supported where each holds, contradicted where one "
    "clearly fails, undecided otherwise. A difference is clear where all seeds agree; with one seed, where McNemar’s test on the same "
    "images finds one student more accurate, or where the intervals do not meet (or the paired interval excludes 0); for "
    "printed numbers, where rounding cannot hide it."
)
LONG_LIST = 6  # places after the first from which a run of them is shortened


@dataclass(frozen=True)
class Effect:
    """The size of what a claim says, in its unit; a larger one is more in the claim's favour."""

    value: float
    unit: Unit
    interval: tuple[float, float] | None = None
    spread: Spread = "unknown"
    p_value: float | None = None  # of the paired test that decided
    subject: str = ""  # whose, where it is one of many

    @classmethod
    def of(cls, number: Number, unit: Unit) -> Effect:
        """A number's. Where a paired test decides, its p stands for the interval, which is not paired."""
        if number.spread == "paired test" and number.test is not None:
            return cls(number.value, unit, None, number.spread, number.test.p_value)
        return cls(number.value, unit, number.ends, number.spread)

    @property
    def text(self) -> str:
        """As shown: value and interval or p; the interval of a printed number is its rounding and is left out."""
        shown = f"{self._shown(self.value)}{' ' + self.unit if self.unit != 'τ' else ''}"
        if self.unit == "τ":
            shown = f"τ {shown}"
        if self.p_value is not None:
            shown += f" ({p_value_text(self.p_value)})"
        elif self.interval is not None and self.spread in ("seeds", "bootstrap"):
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
    """One instance of a claim: whose, under what condition, and whether it holds (+1), clearly fails (−1) or is not decided (0)."""

    subject: str
    condition: str
    sign: int
    effect: Effect | None = None
    why: str = ""  # for an undecided one
    impossible: bool = False  # rests on a printed entry that cannot be

    @classmethod
    def of(cls, subject: str, condition: str, number: Number, unit: Unit, threshold: float = 0.0) -> Case:
        """A case that holds where the number is above the threshold."""
        sign = decide(number, threshold)
        why = "" if sign else why_undecided(number)
        return cls(subject, condition, sign, Effect.of(number, unit), why, number.impossible)


@dataclass(frozen=True)
class Outcome:
    """What a judge found in one evidence."""

    cases: tuple[Case, ...] = ()
    effect: Effect | None = None  # of the whole, where that is no case's
    remark: str = ""
    missing: str = ""  # what the evidence would have to contain, where there are no cases


@dataclass(frozen=True)
class Claim:
    """A claim of the paper as code."""

    key: str
    sentence: str
    where: str  # in the paper
    statistic: str
    rule: str  # when a case holds
    cases: Callable[[Evidence], Outcome]


@dataclass(frozen=True)
class Judgement:
    """A claim with its verdict on some evidence."""

    claim: Claim
    verdict: Verdict
    effect: Effect | None  # the whole's, or that of the case least in favour
    detail: str
    cases: tuple[Case, ...]

    def count(self, sign: int) -> int:
        """How many cases hold (1), fail (−1) or are not decided (0)."""
        return sum(case.sign == sign for case in self.cases)

    def as_data(self) -> dict[str, Any]:
        """The verdict as plain data, without the claim's own words."""
        return {
            "verdict": self.verdict,
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
    outcomes = [(evidence, claim.cases(evidence)) for evidence in evidences]
    with_cases = [evidence for evidence, outcome in outcomes if outcome.cases]
    several = len(with_cases) > 1
    cases = tuple(
        replace(case, subject=f"{evidence.data} {case.subject}".strip()) if several else case
        for evidence, outcome in outcomes
        for case in outcome.cases
    )
    if not cases:
        missing = next((outcome.missing for _, outcome in outcomes if outcome.missing), "the runs it speaks of")
        return Judgement(claim, "no data", None, f"Needs {missing}.", ())
    signs = {case.sign for case in cases}
    verdict: Verdict = "contradicted" if -1 in signs else "undecided" if 0 in signs else "supported"
    effects = [outcome.effect for _, outcome in outcomes if outcome.effect is not None]
    if not effects:
        effects = [
            replace(case.effect, subject=", ".join(filter(None, (case.subject, case.condition))))
            for case in cases
            if case.effect is not None
        ]
    effect = min(effects, key=lambda found: found.value, default=None)
    remarks = list(dict.fromkeys(outcome.remark for _, outcome in outcomes if outcome.remark and outcome.cases))
    alone = f"{with_cases[0].data}: " if len(evidences) > 1 and not several else ""
    return Judgement(claim, verdict, effect, alone + " ".join([_detail(verdict, cases), *remarks]), cases)


def _detail(verdict: Verdict, cases: Sequence[Case]) -> str:
    """Which cases hold and which fail, in one line: all are counted, and the ones that made the verdict are named."""
    holds, fails, opens = ([case for case in cases if case.sign == sign] for sign in (1, -1, 0))
    total = len(cases)

    def count(found: Sequence[Case]) -> str:
        return f"{len(found)} of {total}" if len(found) < total else f"all {total}" if total > 1 else "the one there is"

    parts = []
    if fails:
        parts.append(f"fails in {count(fails)}: {_names(fails)}")
    if opens:
        reasons = listed(list(dict.fromkeys(case.why for case in opens if case.why)))
        parts.append(f"not decided in {count(opens)}{f' ({reasons})' if reasons else ''}: {_names(opens)}")
    if holds:
        which = f": {_names(holds)}" if verdict == "supported" or len(holds) <= 4 else ""
        parts.append(f"holds in {count(holds)}{which}")
    impossible = sum(case.impossible for case in cases)
    tail = (
        f" {impossible} of {total} rest{'s' if impossible == 1 else ''} on an impossible entry." if impossible else ""
    )
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}.{tail}"


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
