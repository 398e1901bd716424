"""Numbers with what is known about their spread, and how they are combined."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

Spread = Literal["rounding", "seeds", "paired test", "bootstrap", "unknown"]
Curve = Mapping[float, "Number"]  # by λ
EPSILON = 1e-9  # printed decimals are binary fractions here


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test of two students of one seed on the same test images (`vicinal.metrics.mcnemar`)."""

    only_first: int  # images that only the first one classifies correctly
    only_second: int
    p_value: float
    level: float  # below which it is clear: 1 − the study's confidence level

    @property
    def sign(self) -> int:
        """+1 where the first is clearly the more accurate, -1 where the second is, 0 where the test does not tell."""
        if self.p_value >= self.level:
            return 0
        return (self.only_first > self.only_second) - (self.only_first < self.only_second)

    def swapped(self) -> PairedTest:
        """The same test with the two the other way round."""
        return PairedTest(self.only_second, self.only_first, self.p_value, self.level)


@dataclass(frozen=True)
class Number:
    """A value, and either its values by seed, a bootstrap interval (one seed), or the interval that rounding leaves (printed)."""

    value: float
    by_seed: Mapping[int, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    printed: bool = False
    impossible: bool = False  # printed in an entry that is arithmetically impossible, or computed from one
    test: PairedTest | None = None  # of a difference of two accuracies

    @property
    def spread(self) -> Spread:
        """What is known of it; with several seeds only the seeds count."""
        if self.printed:
            return "rounding"
        if len(self.by_seed) > 1:
            return "seeds"
        if self.test is not None:
            return "paired test"
        return "unknown" if self.interval is None else "bootstrap"

    @property
    def ends(self) -> tuple[float, float] | None:
        """Lowest and highest value that the spread allows; None where nothing is known about it."""
        if self.spread == "seeds":
            return min(self.by_seed.values()), max(self.by_seed.values())
        return self.interval

    def __neg__(self) -> Number:
        return combine(lambda zero, own: zero - own, Number(0.0, printed=self.printed, interval=(0.0, 0.0)), self)


def combine(function: Callable[[float, float], float], a: Number, b: Number) -> Number:
    """`function(a, b)`, which must rise with a and fall with b.

    Seeds that both have are paired; a number of one seed, such as that of a shared teacher, is set against every seed of the
    other. Intervals are combined at their far ends, which is wider than a paired interval.
    """
    by_seed: dict[int, float] = {}
    if len(a.by_seed) > 1 and len(b.by_seed) <= 1:
        by_seed = {seed: function(value, b.value) for seed, value in a.by_seed.items()}
    elif len(b.by_seed) > 1 and len(a.by_seed) <= 1:
        by_seed = {seed: function(a.value, value) for seed, value in b.by_seed.items()}
    else:
        by_seed = {seed: function(a.by_seed[seed], b.by_seed[seed]) for seed in a.by_seed if seed in b.by_seed}
    value = fmean(by_seed.values()) if len(by_seed) > 1 else function(a.value, b.value)
    interval = None
    if a.interval is not None and b.interval is not None:
        interval = (function(a.interval[0], b.interval[1]), function(a.interval[1], b.interval[0]))
    return Number(value, by_seed, interval, a.printed and b.printed, a.impossible or b.impossible)


def difference(a: Number, b: Number) -> Number:
    """a − b."""
    return combine(lambda x, y: x - y, a, b)


def ratio(a: Number, b: Number) -> Number:
    """a / b for numbers that are not negative; infinite where b is 0."""
    return combine(lambda x, y: x / y if y > 0 else math.inf, a, b)


def mean(numbers: Sequence[Number]) -> Number:
    """The mean of several numbers over the seeds that all of them have; intervals are averaged, which is wide.

    Raises:
        ValueError: there are no numbers.
    """
    if not numbers:
        raise ValueError("the mean of no numbers")
    seeds = [seed for seed in numbers[0].by_seed if all(seed in number.by_seed for number in numbers)]
    by_seed = {seed: fmean(number.by_seed[seed] for number in numbers) for seed in seeds}
    value = fmean(by_seed.values()) if len(by_seed) > 1 else fmean(number.value for number in numbers)
    bounds = [number.interval for number in numbers if number.interval is not None]
    interval = None
    if len(bounds) == len(numbers):
        interval = (fmean(low for low, _ in bounds), fmean(high for _, high in bounds))
    printed = all(number.printed for number in numbers)
    return Number(value, by_seed, interval, printed, any(number.impossible for number in numbers))


def kendall_tau(pairs: Sequence[tuple[float, float]]) -> float:
    """Kendall's τ_a: concordant less discordant pairs over all pairs; a tie counts for neither. Needs two points or more."""
    score = count = 0
    for position, (x, y) in enumerate(pairs):
        for other_x, other_y in pairs[:position]:
            product = (x - other_x) * (y - other_y)
            score += (product > 0) - (product < 0)
            count += 1
    return score / count
