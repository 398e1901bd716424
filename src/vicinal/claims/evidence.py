"""What a claim is judged on: numbers with what is known about their spread, of teachers and students.

The one rule by which two numbers are told apart is `decide`: several seeds have to agree, one seed needs bootstrap intervals
(paired ones where they were stored), printed numbers count as printed and differ where rounding cannot hide it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

Spread = Literal["rounding", "seeds", "bootstrap", "unknown"]
Curve = Mapping[float, "Number"]  # by λ
EPSILON = 1e-9  # printed decimals are binary fractions here


@dataclass(frozen=True)
class Number:
    """A value, and either its values by seed, a bootstrap interval (one seed), or the interval that rounding leaves (printed)."""

    value: float
    by_seed: Mapping[int, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    printed: bool = False
    doubtful: bool = False  # printed in an entry that is arithmetically impossible, or computed from one

    @property
    def spread(self) -> Spread:
        if self.printed:
            return "rounding"
        if len(self.by_seed) > 1:
            return "seeds"
        return "unknown" if self.interval is None else "bootstrap"

    @property
    def ends(self) -> tuple[float, float] | None:
        """Lowest and highest value that the spread allows; None where nothing is known about it."""
        if self.spread == "seeds":
            return min(self.by_seed.values()), max(self.by_seed.values())
        return self.interval

    def __neg__(self) -> Number:
        return combine(lambda zero, own: zero - own, Number(0.0, printed=self.printed, interval=(0.0, 0.0)), self)


def decide(number: Number, threshold: float = 0.0) -> int:
    """+1 where the number is above the threshold, -1 where it is below, 0 where its spread does not decide."""
    ends = number.ends
    if ends is None:
        return 0
    low, high = ends
    if number.printed:
        # Rounded values a whole digit apart cannot have been equal, although their rounding intervals touch.
        if abs(number.value - threshold) < EPSILON:
            return 0
        return 1 if low >= threshold - EPSILON else -1 if high <= threshold + EPSILON else 0
    return 1 if low > threshold else -1 if high < threshold else 0


def why_undecided(number: Number) -> str:
    """What keeps `decide` from an answer, in a few words."""
    words: dict[Spread, str] = {
        "rounding": "within rounding",
        "seeds": "the seeds disagree",
        "bootstrap": "within the bootstrap interval",
        "unknown": "one seed and no interval stored",
    }
    return words[number.spread]


def combine(function: Callable[[float, float], float], a: Number, b: Number) -> Number:
    """`function(a, b)`, which must rise with a and fall with b.

    Seeds that both hold are paired; a number of one seed, such as that of a shared teacher, is set against every seed of the
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
    return Number(value, by_seed, interval, a.printed and b.printed, a.doubtful or b.doubtful)


def difference(a: Number, b: Number) -> Number:
    """a − b."""
    return combine(lambda x, y: x - y, a, b)


def ratio(a: Number, b: Number) -> Number:
    """a / b for numbers that are not negative; infinite where b is 0."""
    return combine(lambda x, y: x / y if y > 0 else math.inf, a, b)


def mean(numbers: Sequence[Number]) -> Number:
    """The mean of several numbers over the seeds that all of them hold; intervals are averaged, which is wide."""
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
    return Number(value, by_seed, interval, printed, any(number.doubtful for number in numbers))


def kendall_tau(pairs: Sequence[tuple[float, float]]) -> float:
    """Kendall's τ_a: concordant less discordant pairs over all pairs; a tie counts for neither. Needs two points or more."""
    score = count = 0
    for position, (x, y) in enumerate(pairs):
        for other_x, other_y in pairs[:position]:
            product = (x - other_x) * (y - other_y)
            score += (product > 0) - (product < 0)
            count += 1
    return score / count


@dataclass(frozen=True)
class Toward:
    """A student seen from one teacher: linearity gain by λ and at its peak, and alignment, all in nats."""

    gain: Curve = field(default_factory=dict)
    gain_peak: Number | None = None
    kl_real: Number | None = None
    kl_mixed: Number | None = None
    independent_response: Number | None = None


@dataclass(frozen=True)
class Subject:
    """A teacher, or a student arm with the teacher it asked and its temperature.

    `numbers`: accuracy and confidence in percent, ece, ece_scaled (after temperature scaling), nl_mean and nl_peak in nats,
    v_score. `curves`: nonlinearity, entropy, dominance. `corruption_gain`: percentage points over the baseline student, by
    corruption and severity.
    """

    name: str
    arm: str | None = None  # None for a teacher
    teacher: str | None = None
    temperature: float | str | None = None
    model: str | None = None
    trained_with_mixup: bool = False  # of a teacher
    scale_free: bool = False  # its logits have no scale of their own, so raw ECE, NL, Δ_lin and KL mean nothing
    numbers: Mapping[str, Number] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    toward: Mapping[str, Toward] = field(default_factory=dict)
    corruption_gain: Mapping[str, Mapping[int, Number]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """Everything known about one data set: a study's results or the paper's tables."""

    data: str  # as shown, for example CIFAR-100
    teachers: tuple[Subject, ...] = ()
    students: tuple[Subject, ...] = ()
    classes: int | None = None

    def teacher(self, name: str | None) -> Subject | None:
        return next((teacher for teacher in self.teachers if teacher.name == name), None)

    @property
    def plain_teachers(self) -> tuple[Subject, ...]:
        """The teachers the claims are about: those that never saw mixed images in training."""
        return tuple(teacher for teacher in self.teachers if not teacher.trained_with_mixup)

    def unguided(self, arm: str) -> Subject | None:
        """The student of an arm that asks no teacher."""
        return next((s for s in self.students if s.arm == arm and s.teacher is None), None)

    def guided(self, arm: str, teacher: Subject) -> list[Subject]:
        """The students of an arm that asks a teacher, fixed temperatures rising, then the σ variants."""
        found = [s for s in self.students if s.arm == arm and s.teacher == teacher.name]
        return sorted(
            found, key=lambda s: (not is_fixed(s), float(s.temperature or 0) if is_fixed(s) else 0, str(s.temperature))
        )

    def reference(self, arm: str, teacher: Subject) -> Subject | None:
        """The student that stands for an arm: T = 2 as in the paper, else the lowest fixed T, else what there is."""
        found = self.guided(arm, teacher)
        return next((s for s in found if s.temperature == 2), found[0] if found else None)


def is_fixed(student: Subject) -> bool:
    """Whether its temperature is a number, not a σ variant."""
    return not isinstance(student.temperature, str)
