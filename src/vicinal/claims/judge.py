"""A claim, its cases, and the verdict on it: the one comparator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from vicinal.claims.evidence import Evidence, Spread

Verdict = Literal["supported", "contradicted", "undecided", "not held"]
Unit = Literal["points", "nats", "ECE", "times", "τ"]

DECIMALS: dict[Unit, int] = {"points": 2, "nats": 3, "ECE": 4, "times": 2, "τ": 2}
SIGNED: tuple[Unit, ...] = ("points", "nats", "ECE", "τ")
RULE = (
    "Judged for every teacher, temperature, λ or severity that the claim speaks of: supported where each holds, contradicted where one "
    "clearly fails, undecided otherwise. A difference is clear where all seeds agree; with one seed, where the bootstrap intervals do "
    "not meet (or the paired interval excludes 0); for printed numbers, where rounding cannot hide it."
)
LONG_LIST = 6  # places after the first from which a run of them is shortened


@dataclass(frozen=True)
class Effect:
    """The size of what a claim says, in its unit; a larger one is more in the claim's favour."""

    value: float
    unit: Unit
    interval: tuple[float, float] | None = None
    spread: Spread = "unknown"
    of: str = ""  # whose, where it is one of many

    @property
    def text(self) -> str:
        """As shown: value and interval; the interval of a printed number is its rounding and is left out."""
        shown = f"{self._shown(self.value)}{' ' + self.unit if self.unit != 'τ' else ''}"
        if self.unit == "τ":
            shown = f"τ {shown}"
        if self.interval is not None and self.spread in ("seeds", "bootstrap"):
            shown += f" ({self._shown(self.interval[0])} to {self._shown(self.interval[1])})"
        return shown

    def _shown(self, value: float) -> str:
        return f"{value:{'+' if self.unit in SIGNED else ''}.{DECIMALS[self.unit]}f}".replace("-", "−")


@dataclass(frozen=True)
class Case:
    """One instance of a claim: whose, at what, whether it holds (+1), clearly fails (−1) or is not decided (0), and why."""

    of: str
    at: str
    sign: int
    effect: Effect | None = None
    why: str = ""  # for an undecided one
    doubtful: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a judge found in one evidence."""

    cases: tuple[Case, ...] = ()
    effect: Effect | None = None  # of the whole, where that is no case's
    remark: str = ""
    lacking: str = ""  # what the evidence would have to hold, where there are no cases


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
        return sum(case.sign == sign for case in self.cases)

    def as_data(self) -> dict[str, Any]:
        """The verdict as plain data, without the claim's own words."""
        return {
            "verdict": self.verdict,
            "effect": _effect_data(self.effect),
            "detail": self.detail,
            "holds": self.count(1),
            "fails": self.count(-1),
            "undecided": self.count(0),
            "cases": [
                {
                    "of": c.of,
                    "at": c.at,
                    "holds": {1: True, -1: False, 0: None}[c.sign],
                    "effect": _effect_data(c.effect),
                }
                for c in self.cases
            ],
        }


def _effect_data(effect: Effect | None) -> dict[str, Any] | None:
    if effect is None:
        return None
    interval = None if effect.interval is None else [_finite(bound) for bound in effect.interval]
    return {
        "value": _finite(effect.value),
        "unit": effect.unit,
        "interval": interval,
        "spread": effect.spread,
        "of": effect.of,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def judge(claim: Claim, *evidences: Evidence) -> Judgement:
    """The verdict on a claim over one or several data sets; with several, cases are named with theirs."""
    outcomes = [(evidence, claim.cases(evidence)) for evidence in evidences]
    holding = [evidence for evidence, outcome in outcomes if outcome.cases]
    several = len(holding) > 1
    cases = tuple(
        replace(case, of=f"{evidence.data} {case.of}".strip()) if several else case
        for evidence, outcome in outcomes
        for case in outcome.cases
    )
    if not cases:
        lacking = next((outcome.lacking for _, outcome in outcomes if outcome.lacking), "the runs it speaks of")
        return Judgement(claim, "not held", None, f"Needs {lacking}.", ())
    signs = {case.sign for case in cases}
    verdict: Verdict = "contradicted" if -1 in signs else "undecided" if 0 in signs else "supported"
    effects = [outcome.effect for _, outcome in outcomes if outcome.effect is not None]
    if not effects:
        effects = [name_pair(case) for case in cases if case.effect is not None]
    effect = min(effects, key=lambda found: found.value, default=None)
    remarks = list(dict.fromkeys(outcome.remark for _, outcome in outcomes if outcome.remark and outcome.cases))
    alone = f"{holding[0].data}: " if len(evidences) > 1 and not several else ""
    return Judgement(claim, verdict, effect, alone + " ".join([_detail(verdict, cases), *remarks]), cases)


def name_pair(case: Case) -> Effect:
    assert case.effect is not None
    return Effect(
        case.effect.value,
        case.effect.unit,
        case.effect.interval,
        case.effect.spread,
        ", ".join(filter(None, (case.of, case.at))),
    )


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
    doubtful = sum(case.doubtful for case in cases)
    tail = f" {doubtful} of {total} rest{'s' if doubtful == 1 else ''} on an impossible entry." if doubtful else ""
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}.{tail}"


def _names(cases: Iterable[Case]) -> str:
    """Cases by name, with everything they stand at in brackets: ResNet (T = 2, 4)."""
    groups: dict[str, list[str]] = {}
    for case in cases:
        groups.setdefault(case.of, []).append(case.at)
    shown = []
    for name, places in groups.items():
        first, *others = [place for place in places if place] or [""]
        prefix = first[: first.rfind(" = ") + 3] if " = " in first else ""
        inside = ", ".join([first, *(other.removeprefix(prefix) if prefix else other for other in others)])
        if prefix and len(others) >= LONG_LIST:
            inside = f"{first} to {others[-1].removeprefix(prefix)}, {1 + len(others)} of them"
        shown.append(f"{name} ({inside})" if name and inside else name or inside)
    return ", ".join(shown)


def listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
