"""The one comparator: is a number above another one, or above a threshold, and how sure is that?

Claims, the report's sentences, its tables and the recommendation all compare here, so that one page never says two things.

Model of a figure of an arm a, seed s, image i: figure = arm + seed + image + rest, with differences paired by seed and by image, since
all networks of a study answer the same images. So the squared error of a difference of two arms is

    SE² = s²_seed / S + s²_image / N,

s_seed learned from all arms of the study (`SeedPool`), s_image from resampling the images, less the part of it that the seeds
have shown already. This is the variance that Owen's pigeonhole bootstrap (2007, "The pigeonhole bootstrap", Annals of Applied
Statistics) of seeds and images estimates, without its factor (S − 1) / S. Degrees of freedom by Satterthwaite 1946. A ratio is
compared by its logarithm. Printed numbers are compared by what their rounding leaves.

With one seed a number speaks of these networks, not of the arms that made them: `Inference.of_networks` says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import fdtrc, stdtr, stdtrit

from vicinal.claims.numbers import EPSILON, Deviations, Number, difference

POWER = 0.8  # of the smallest effect that is said to be detectable
LARGEST_LOGARITHM = 300.0  # of a factor: what is that uncertain is not known at all
LARGE = 1e6  # degrees of freedom of what is as good as known
RESAMPLES_FREEDOM = 1e5
OWN_SPREAD_LEVEL = 0.01  # of the F test below which a number's seeds spread more than the pool of all arms says


@dataclass(frozen=True)
class Inference:
    """What a number's errors allow to be said of it: Student's t with `freedom` degrees on its scale (or its logarithm's).

    Args:
        value: the number.
        error: standard error; of the logarithm where `log`.
        of_networks: one seed: the error is that of the images alone, and another training is another number.
        possible: the least and the most that it can be.
    """

    value: float
    error: float
    freedom: float
    log: bool
    of_networks: bool
    level: float
    possible: tuple[float, float] = (-math.inf, math.inf)

    @property
    def interval(self) -> tuple[float, float]:
        """The two-sided interval at `level`, of what is possible."""
        half = _quantile(0.5 + self.level / 2, self.freedom) * self.error
        if self.log:
            half = min(half, LARGEST_LOGARITHM)
            return self.value * math.exp(-half), self.value * math.exp(half)
        least, most = self.possible
        return max(self.value - half, min(least, self.value)), min(self.value + half, max(most, self.value))

    @property
    def could_be_found(self) -> bool:
        """Whether the smallest effect that would have been found (`detectable`) is one that there can be."""
        return self.detectable <= max(abs(bound) for bound in self.possible)

    def p_above(self, threshold: float = 0.0) -> float:
        """One-sided p of "it is at most the threshold": small where the number is clearly above."""
        return _tail(self._distance(threshold), self.error, self.freedom)

    def p_below(self, threshold: float = 0.0) -> float:
        """One-sided p of "it is at least the threshold": small where the number is clearly below."""
        return _tail(-self._distance(threshold), self.error, self.freedom)

    def p_value(self, threshold: float = 0.0) -> float:
        """Two-sided p of "it is the threshold"."""
        return min(1.0, 2 * min(self.p_above(threshold), self.p_below(threshold)))

    def p_outside(self, margin: float, threshold: float = 0.0) -> float:
        """p of "it is further than the margin from the threshold": Schuirmann's two one-sided tests (1987)."""
        return max(self.p_above(threshold - margin), self.p_below(threshold + margin))

    def sign(self, threshold: float = 0.0) -> int:
        """+1 above, −1 below, 0 where the interval holds the threshold."""
        tail = (1 - self.level) / 2
        return 1 if self.p_above(threshold) < tail else -1 if self.p_below(threshold) < tail else 0

    @property
    def detectable(self) -> float:
        """The smallest effect that would have been found in `POWER` of repetitions: in the number's unit; of a ratio a factor."""
        quantiles = _quantile(0.5 + self.level / 2, self.freedom) + _quantile(POWER, self.freedom)
        return math.exp(min(quantiles * self.error, LARGEST_LOGARITHM)) if self.log else quantiles * self.error

    def _distance(self, threshold: float) -> float:
        if not self.log:
            return self.value - threshold
        return math.log(self.value / threshold) if threshold > 0 else math.inf


def _tail(distance: float, error: float, freedom: float) -> float:
    if error == 0 or not math.isfinite(distance):
        return 0.5 if distance == 0 else 0.0 if distance > 0 else 1.0
    return float(stdtr(freedom, -distance / error))


@lru_cache(maxsize=4096)
def _quantile(share: float, freedom: float) -> float:
    return float(stdtrit(freedom, share))


def infer(number: Number) -> Inference | None:
    """What the errors of a number say; None for a printed one, and where nothing is known of them."""
    if number.printed or not math.isfinite(number.value):
        return None
    images = _image_part(number)
    seeds = _seed_parts(number)
    if images is None and seeds is None:
        return None
    parts = [*(images or []), *(seeds or [])]
    variance = sum(part for part, _ in parts) + number.least_error**2
    squares = sum(part**2 / freedom for part, freedom in parts)
    freedom = min(LARGE, variance**2 / squares) if squares > 0 else LARGE
    error = math.sqrt(variance)
    one_seed = number.of_arm and len(number.by_seed) < 2
    if number.log:
        error /= number.value
    return Inference(number.value, error, freedom, number.log, one_seed, number.level, number.possible)


def _seed_parts(number: Number) -> list[tuple[float, float]] | None:
    """(variance, degrees of freedom) of the seeds' part; None where one seed tells nothing of them.

    From the pools of its arms; from its own seeds where it has none, or where these spread clearly more than the pools say.
    """
    seeds = len(number.by_seed)
    if seeds < 2:
        return None
    own = [(float(np.var(list(number.by_seed.values()), ddof=1)) / seeds, seeds - 1.0)]
    if number.loads is None or not all(
        load.arm in load.pool.arms and load.pool.seeds == seeds for load in number.loads
    ):
        return own
    parts: list[tuple[float, float]] = []
    for pool in {load.pool for load in number.loads}:
        parts += pool.parts({load.arm: load.weight for load in number.loads if load.pool is pool})
    variance, squares = sum(part for part, _ in parts), sum(part**2 / freedom for part, freedom in parts)
    if variance > 0 and fdtrc(seeds - 1, variance**2 / squares, own[0][0] / variance) < OWN_SPREAD_LEVEL:
        return own
    return parts


def _image_part(number: Number) -> list[tuple[float, float]] | None:
    """The images' part, without what the seeds show already: (variance, degrees of freedom)."""
    freedom = RESAMPLES_FREEDOM if number.images is None else max(1.0, number.images - 1.0)
    if number.deviations is not None:
        return [(_image_variance(_on_scale(number), len(number.by_seed)), freedom)]
    if number.interval is None:
        return None
    low, high = number.interval
    half = _quantile(0.5 + number.level / 2, freedom)
    return [(((high - low) / 2 / half) ** 2, freedom)]


def _on_scale(number: Number) -> Deviations:
    """The deviations; of a ratio those of its logarithm, times its value."""
    assert number.deviations is not None
    if not number.log:
        return number.deviations
    by_seed = np.array(list(number.by_seed.values()) if len(number.deviations) > 1 else [number.value])[:, None]
    moved = np.maximum(by_seed + number.deviations, 1e-12 * number.value)
    return np.asarray(number.value * np.log(moved / by_seed), dtype=np.float64)


def _image_variance(deviations: Deviations, seeds: int) -> float:
    """s²_image / N: the variance of the mean over seeds, less a seed's own share of it, which its spread between seeds holds."""
    of_mean = float(deviations.mean(0).var())
    if seeds < 2 or len(deviations) < 2:
        return of_mean
    count = len(deviations)
    rest = max(0.0, (float(deviations.var(1).mean()) - of_mean) * count / (count - 1))
    return max(0.0, of_mean - rest / count)


@dataclass(frozen=True)
class Comparison:
    """Whether one number is above another, and the difference that this rests on."""

    sign: int  # +1 above, -1 below, 0 undecided
    difference: Number

    @property
    def inference(self) -> Inference | None:
        """Interval, p-value and smallest detectable effect of the difference; None where nothing is known of its errors."""
        return infer(self.difference)


def compare(a: Number, b: Number) -> Comparison:
    """Whether a is above b."""
    gap = difference(a, b)
    return Comparison(decide(gap), gap)


def decide(number: Number, threshold: float = 0.0) -> int:
    """+1 where the number is above the threshold, -1 where it is below, 0 where its errors leave it open."""
    if not number.printed:
        inferred = infer(number)
        return 0 if inferred is None else inferred.sign(threshold)
    if number.interval is None or abs(number.value - threshold) < EPSILON:
        return 0
    # Rounded values a whole digit apart cannot have been equal, although their rounding intervals touch.
    low, high = number.interval
    return 1 if low >= threshold - EPSILON else -1 if high <= threshold + EPSILON else 0


def why_undecided(number: Number) -> str:
    """What keeps `decide` from an answer, in a few words."""
    if number.printed:
        return "within rounding"
    return "within the interval" if infer(number) is not None else "one seed and no interval stored"
