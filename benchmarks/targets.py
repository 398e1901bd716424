"""The targets, and what the stored figures say to each of them. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.results import BenchmarkResult, CaseResult, Spread
from benchmarks.words import WHY

Measured = Spread | str  # or why it was not measured
Measure = Callable[[CaseResult], Measured]


@dataclass(frozen=True)
class Target:
    """One figure that was aimed at: `what` on a case of a benchmark is `sense` `bound` `unit`."""

    benchmark: str
    case: str
    name: str
    what: str
    sense: Literal["at least", "at most"]
    bound: float
    unit: Literal["x", "%", "s", "nats"]
    measure: Measure

    @property
    def key(self) -> str:
        """By which `words.WHY` knows it."""
        return f"{self.benchmark}.{self.case}.{self.name}"

    @property
    def aim(self) -> str:
        return f"{self.sense} {_with_unit(self.bound, self.unit)}"


@dataclass(frozen=True)
class Verdict:
    """A target and what became of it: met is None where nothing was measured."""

    target: Target
    met: bool | None
    sentence: str


def judge(target: Target, results: Mapping[str, BenchmarkResult]) -> Verdict:
    """Whether the median reaches the target, in one sentence. A try (--quick) reaches nothing."""
    result = results.get(target.benchmark)
    case = result.case(target.case) if result is not None else None
    if result is None or case is None:
        return Verdict(target, None, f"not measured yet (`--only {target.benchmark}`)")
    measured = target.measure(case)
    if isinstance(measured, str):
        return Verdict(target, None, f"not measured: {measured}")
    said = _with_unit(measured.median, target.unit)
    if measured.rounds > 1:
        low, high = _number(measured.low, target.unit), _with_unit(measured.high, target.unit)
        said += f" ({low} to {high} over {measured.rounds} rounds)"
    if result.quick:
        return Verdict(target, None, f"not measured: {said} comes from a try of the code (--quick)")
    apart = measured.median - target.bound if target.sense == "at least" else target.bound - measured.median
    if apart >= 0:
        return Verdict(target, True, f"**met**: {said}")
    why = WHY.get(target.key, "Why has not been found out yet.")
    return Verdict(target, False, f"**missed** by {_with_unit(-apart, target.unit)}: {said}. {why}")


def _number(value: float, unit: str) -> str:
    match unit:
        case "%":
            return f"{100 * value:.1f}"
        case "nats":
            return f"{value:.1g}"
        case "s":
            return f"{value:.0f}" if value >= 20 else f"{value:.1f}"
        case _:
            return f"{value:.2f}"


def _with_unit(value: float, unit: str) -> str:
    return f"{_number(value, unit)} {unit}"


# --- what is measured -------------------------------------------------------------------------------------------------


def against(reference: str, *names: str) -> Measure:
    """The throughput of the first of `names` that was timed, over the reference's."""

    def measure(case: CaseResult) -> Measured:
        ratios = (case.ratio(name, reference) for name in names)
        return next((ratio for ratio in ratios if ratio is not None), _left_out(case, names[0]))

    return measure


def against_best(references: tuple[str, ...], name: str) -> Measure:
    """The throughput of `name` over that of whichever of the references it has the least lead on."""

    def measure(case: CaseResult) -> Measured:
        ratios = [ratio for reference in references if (ratio := case.ratio(name, reference)) is not None]
        return min(ratios, key=lambda ratio: ratio.median) if ratios else _left_out(case, name)

    return measure


def figure(name: str) -> Measure:
    """A number that was measured once."""

    def measure(case: CaseResult) -> Measured:
        return Spread.of([case.figures[name]]) if name in case.figures else f"{name} is not among the figures"

    return measure


def preparation(case: CaseResult) -> Measured:
    """Against the fastest step, in which it weighs most."""
    shares = [value for name, value in case.figures.items() if name.startswith("preparation_share_")]
    return Spread.of([max(shares)]) if shares else "no step of the product was timed"


def over_authors(name: str) -> Measure:
    """Images a second, over those of the authors' log."""

    def measure(case: CaseResult) -> Measured:
        timed, authors = case.timed(name), case.figures["authors_images_per_s"]
        if timed is None:
            return _left_out(case, name)
        speed = timed.units_per_s
        return Spread(speed.median / authors, speed.low / authors, speed.high / authors, speed.rounds)

    return measure


def _left_out(case: CaseResult, name: str) -> str:
    return next((e.left_out for e in case.entrants if e.name == name and e.left_out), f"{name} was not timed")


THROUGHPUT = (  # entrant, what, and the targets of tiny, lite and convnext
    ("eager", "eager fp32 against timm.task", (1.5, 1.5, 1.15)),
    ("compiled", "compiled fp32 against timm.task", (1.7, 2.0, 1.25)),
    ("compiled_bf16", "compiled with a bf16 teacher against timm.task", (1.9, None, 1.9)),
)
SWEEP = {"tiny": 2.0, "lite": 2.2, "convnext": 2.6}


def _targets() -> list[Target]:
    pairs = tuple(SWEEP)
    targets = [
        Target("throughput", pair, name, what, "at least", bound, "x", against("timm", name))
        for name, what, bounds in THROUGHPUT
        for pair, bound in zip(pairs, bounds, strict=True)
        if bound is not None
    ]
    what = "preparation of batches, of the fastest step"
    targets += [Target("throughput", pair, "preparation", what, "at most", 0.03, "%", preparation) for pair in pairs]
    what, measure = "seven students against seven separate runs", against("separate", "fastest", "live")
    targets += [Target("sweep", pair, "sweep", what, "at least", bound, "x", measure) for pair, bound in SWEEP.items()]
    what, measure = "from a warm bank against the students alone", against("alone", "banked")
    targets += [Target("sweep", pair, "bank", what, "at least", 0.95, "x", measure) for pair in pairs]
    what, measure = "the curve against three forwards a pair and λ", against("naive", "vicinal")
    targets += [Target("curve", "lite", "speed", what, "at least", 12, "x", measure)]
    targets += [
        Target("curve", "lite", "nl", "its NL off theirs", "at most", 1e-5, "nats", figure("nl_difference_nats"))
    ]
    for name, where in (("folder", "class folders"), ("parquet", "Parquet"), ("shards", "tar shards")):
        what, measure = (
            f"from {where}, against timm's loader, the faster of two",
            against_best(("timm", "timm_plain"), name),
        )
        targets += [Target("loaders", "jpeg", name, what, "at least", 1.5, "x", measure)]
    what = "processors' time of timm's loader, the thriftier of two, over the most that ours takes"
    targets += [Target("loaders", "jpeg", "cpu", what, "at least", 1.5, "x", figure("cpu_ratio"))]
    for name, what, bound in (("run", "`vicinal run quickstart`", 120), ("report", "`vicinal report` on it", 10)):
        targets += [Target("quickstart", "quickstart", name, what, "at most", bound, "s", figure(f"{name}_s"))]
    for name, words, bound in (("compiled", "live", 5), ("banked", "from the bank", 9)):
        what = f"{words}, against the authors' 342 images/s"
        targets += [Target("gpu", "resnet50", name, what, "at least", bound, "x", over_authors(name))]
    for pair in ("resnet50", "mobilenetv2"):
        measure = against("floor", "compiled", "eager")
        targets += [Target("gpu", pair, "floor", "live, of the floor", "at least", 0.9, "%", measure)]
    return targets


TARGETS = tuple(_targets())
