"""Numbers with what is known about their spread, and how they are combined.

Shapes: S seeds, R resamples of the images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicinal.claims.pool import SeedPool

Curve = Mapping[float, "Number"]  # by λ
Deviations = NDArray[np.float64]
EPSILON = 1e-9  # printed decimals are binary fractions here
_STEP = 1e-4  # of a slope, as a share of the number


@dataclass(frozen=True)
class Load:
    """How far a number rests on one arm of a pool: its slope with respect to that arm's mean over seeds."""

    pool: SeedPool
    arm: str
    weight: float


@dataclass(frozen=True)
class Number:
    """A value and what is known of its error: its values by seed, and how it moves when the images are resampled.

    Args:
        value: the mean over seeds.
        by_seed: of each seed; of one seed nothing is known about trainings.
        interval: of a printed number what its rounding leaves; else the stored one, used where there are no `deviations`.
        deviations: (S, R) resampled figure less figure, by seed in the order of `by_seed`, or (1, R) of one network for all seeds.
            Resample r is the same images for every network of a study.
        loads: the arms behind it, whose spread between seeds a pool knows; None: its own values by seed have to do.
        of_arm: whether another seed would make another network; a teacher that all seeds share is no such number.
        images: how many images it rests on, where it is known.
        least_error: what its error over images is at least, in its unit: resamples of answers that are all right show none.
        log: whether its interval is symmetric in its logarithm (ratios).
        level: of its interval.
        possible: the least and the most that it can be, so that no interval goes beyond.
    """

    value: float
    by_seed: Mapping[int, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    printed: bool = False
    impossible: bool = False  # printed in an entry that is arithmetically impossible, or computed from one
    deviations: Deviations | None = field(default=None, compare=False, repr=False)
    loads: tuple[Load, ...] | None = None
    of_arm: bool = False
    images: int | None = None
    least_error: float = 0.0
    log: bool = False
    level: float = 0.95
    possible: tuple[float, float] = (-math.inf, math.inf)

    def __neg__(self) -> Number:
        return combine(lambda own: -own, self)


def constant(value: float, printed: bool = False) -> Number:
    """A number without error."""
    return Number(value, interval=(value, value), printed=printed, possible=(value, value))


def combine(function: Callable[..., Any], *numbers: Number) -> Number:
    """A smooth function of numbers, which it is also given as arrays; it must rise or fall in each of them throughout.

    Seeds that all have are paired; a number of one seed, such as that of a shared teacher, is set against every seed of the
    others. Deviations go through the function, loads by its slopes; of printed numbers the far ends are combined.
    """
    values = [number.value for number in numbers]
    slopes = _slopes(function, values)
    seeds = _seeds(numbers)
    by_seed = {seed: float(function(*(_of_seed(n, seed) for n in numbers))) for seed in seeds}
    value = fmean(by_seed.values()) if len(by_seed) > 1 else float(function(*values))
    images = [number.images for number in numbers if number.images is not None]
    return Number(
        value,
        by_seed,
        _interval(function, numbers, value, slopes),
        all(number.printed for number in numbers),
        any(number.impossible for number in numbers),
        _deviations(function, numbers, seeds),
        _loads(numbers, slopes),
        any(number.of_arm for number in numbers),
        min(images, default=None),
        max((abs(slope) * number.least_error for slope, number in zip(slopes, numbers, strict=True)), default=0.0),
        level=max((number.level for number in numbers if number.by_seed), default=0.95),
        possible=_possible(function, numbers, slopes),
    )


def _possible(function: Callable[..., Any], numbers: Sequence[Number], slopes: Sequence[float]) -> tuple[float, float]:
    """The least and the most that a combination can be; what is not known has no end."""
    ends = []
    for side in (0, 1):
        at = [n.possible[side if slope >= 0 else 1 - side] for n, slope in zip(numbers, slopes, strict=True)]
        ends.append(float(function(*at)) if all(map(math.isfinite, at)) else math.nan)
    low, high = ends
    return -math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high


def _seeds(numbers: Sequence[Number]) -> list[int]:
    """The seeds of a combination: those that all numbers of several have; else the one that there is.

    An arm of one seed leaves that one: set against every seed of another arm, its own training would look like no chance at all.
    """
    lone = [seed for number in numbers if number.of_arm and len(number.by_seed) == 1 for seed in number.by_seed]
    if lone:
        return lone[:1]
    several = [number.by_seed for number in numbers if len(number.by_seed) > 1]
    if several:
        return [seed for seed in several[0] if all(seed in by_seed for by_seed in several)]
    single = [number.by_seed for number in sorted(numbers, key=lambda number: not number.of_arm) if number.by_seed]
    return list(single[0]) if single else []


def _of_seed(number: Number, seed: int) -> float:
    return number.by_seed.get(seed, number.value) if len(number.by_seed) > 1 else number.value


def _slopes(function: Callable[..., Any], values: Sequence[float]) -> list[float]:
    """The derivatives of a function in each place; 0 where they are not finite."""
    found = []
    for position, value in enumerate(values):
        step = _STEP * max(abs(value), 1e-3)
        above, below = (
            float(function(*values[:position], value + move, *values[position + 1 :])) for move in (step, -step)
        )
        slope = (above - below) / (2 * step)
        found.append(slope if math.isfinite(slope) else 0.0)
    return found


def _deviations(function: Callable[..., Any], numbers: Sequence[Number], seeds: Sequence[int]) -> Deviations | None:
    """Those of a combination; None where a number has none and is no constant."""
    if all(number.deviations is None for number in numbers) or any(
        number.deviations is None and not _is_constant(number) for number in numbers
    ):
        return None
    rows = []
    for seed in seeds:
        at = [_of_seed(number, seed) for number in numbers]
        moved = [value + _moves(number, seed) for value, number in zip(at, numbers, strict=True)]
        with np.errstate(all="ignore"):
            rows.append(np.asarray(function(*moved), dtype=np.float64) - float(function(*at)))
    found = np.stack(rows)
    return found if bool(np.isfinite(found).all()) else None


def _is_constant(number: Number) -> bool:
    return not number.by_seed and number.interval is not None and number.interval[0] == number.interval[1]


def _moves(number: Number, seed: int) -> Deviations:
    """(R,) deviations of one seed."""
    if number.deviations is None:
        return np.zeros(1)
    seeds = list(number.by_seed)
    found: Deviations = number.deviations[seeds.index(seed) if len(number.deviations) > 1 and seed in seeds else 0]
    return found


def _loads(numbers: Sequence[Number], slopes: Sequence[float]) -> tuple[Load, ...] | None:
    """The loads of a combination; None where two figures of one kind of network meet, whose seeds move together unknown how."""
    found: dict[tuple[SeedPool, str], float] = {}
    for number, slope in zip(numbers, slopes, strict=True):
        if number.loads is None and len(number.by_seed) > 1:
            return None
        for load in number.loads or ():
            key = (load.pool, load.arm)
            found[key] = found.get(key, 0.0) + slope * load.weight
    pools = {pool for pool, _ in found}
    if len(pools) > len({pool.role for pool in pools}):
        return None
    return tuple(Load(pool, arm, weight) for (pool, arm), weight in found.items() if weight != 0)


def _interval(
    function: Callable[..., Any], numbers: Sequence[Number], value: float, slopes: Sequence[float]
) -> tuple[float, float] | None:
    """Of printed numbers the far ends; else from the half-widths: those of one side add up, and the two sides are independent."""
    bounds = [number.interval for number in numbers if number.interval is not None]
    if len(bounds) < len(numbers):
        return None
    if any(number.printed for number in numbers):
        ends = [
            float(
                function(
                    *(bound[side if slope >= 0 else 1 - side] for bound, slope in zip(bounds, slopes, strict=True))
                )
            )
            for side in (0, 1)
        ]
        return ends[0], ends[1]
    halves = [slope * (high - low) / 2 for slope, (low, high) in zip(slopes, bounds, strict=True)]
    half = math.hypot(sum(part for part in halves if part > 0), sum(part for part in halves if part < 0))
    return value - half, value + half


def difference(a: Number, b: Number) -> Number:
    """a − b."""
    return combine(lambda x, y: x - y, a, b)


def ratio(a: Number, b: Number) -> Number:
    """a / b for numbers that are not negative, judged by its logarithm; infinite where b is 0."""

    def quotient(x: Any, y: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.where(np.asarray(y) > 0, np.divide(x, np.maximum(y, 1e-300)), math.inf)

    found = combine(quotient, a, b)
    return replace(found, log=True) if not found.printed and 0 < found.value < math.inf else found


def mean(numbers: Sequence[Number]) -> Number:
    """The mean of several numbers over the seeds that all of them have.

    Raises:
        ValueError: there are no numbers.
    """
    if not numbers:
        raise ValueError("the mean of no numbers")
    return combine(lambda *values: _sum(values) / len(values), *numbers)


def _sum(values: Sequence[Any]) -> Any:
    """Of floats without rounding, so that their order does not matter; of arrays as it comes."""
    return math.fsum(values) if all(isinstance(value, float | int) for value in values) else sum(values)


def kendall_tau(pairs: Sequence[tuple[float, float]]) -> float:
    """Kendall's τ_a: concordant less discordant pairs over all pairs; a tie counts for neither. Needs two points or more."""
    score = count = 0
    for position, (x, y) in enumerate(pairs):
        for other_x, other_y in pairs[:position]:
            product = (x - other_x) * (y - other_y)
            score += (product > 0) - (product < 0)
            count += 1
    return score / count
