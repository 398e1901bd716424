"""Bootstrap intervals by percentiles (Efron 1979), of means and of anything computed from means; Poisson weights for one pass.

Shapes: N samples or pairs, M quantities, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NUMBERS_AT_ONCE = 2_000_000  # resamples × samples drawn together: memory does not grow with either


def resample_counts(samples: int, resamples: int, seed: int = 0) -> Tensor:
    """How often each of R resamples with replacement counts each of N samples: (R, N) int16, rows with sum N.

    A function of N, R and `seed` alone, so that everything of the same N samples is resampled in pairs.

    Example:
        >>> resample_counts(samples=4, resamples=100).sum(1).unique().tolist()
        [4]
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, samples])))
    counts, at_once = torch.zeros(resamples, samples, dtype=torch.int16), max(1, NUMBERS_AT_ONCE // samples)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = generator.integers(samples, size=(size, samples)) + samples * np.arange(size)[:, None]
        found = np.bincount(drawn.ravel(), minlength=size * samples).reshape(size, samples)
        counts[start : start + size] = torch.from_numpy(found.astype(np.int16))
    return counts


def weighted_means(counts: Tensor, values: Tensor) -> Tensor:
    """Means of (N, M) values over the resamples that (R, N) counts describe, of any dtype: (R, M) float64."""
    double, at_once = values.double(), max(1, NUMBERS_AT_ONCE // max(1, len(values)))
    return torch.cat([part.to(double) @ double / len(values) for part in counts.split(at_once)])


def resampled_means(values: Tensor, resamples: int, seed: int = 0) -> Tensor:
    """Means of (N, M) values over R resamples with replacement, those of `resample_counts`: (R, M) float64."""
    return weighted_means(resample_counts(len(values), resamples, seed), values)


def interval(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor],
    resamples: int = 1000,
    confidence_level: float = 0.95,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Percentile interval of a statistic of the means of (N, M) values.

    Args:
        statistic: (R, M) means to (R, ...) values.

    Returns:
        lower, upper: (...,) float64.

    Example:
        >>> import torch
        >>> lower, upper = interval(torch.tensor([0.0, 1.0]).repeat(50)[:, None], lambda means: means)
        >>> round(float(lower), 2), round(float(upper), 2)
        (0.41, 0.6)
    """
    return percentiles(statistic(resampled_means(values, resamples, seed)), confidence_level)


def percentiles(drawn: Tensor, confidence_level: float = 0.95) -> tuple[Tensor, Tensor]:
    """(lower, upper) that hold the middle `confidence_level` of (R, ...) resampled values: (...,) float64 each.

    Example:
        >>> import torch
        >>> [round(float(bound)) for bound in percentiles(torch.arange(101.0).double(), 0.9)]
        [5, 95]
    """
    tail = (1 - confidence_level) / 2
    bounds = torch.quantile(drawn, torch.tensor([tail, 1 - tail], dtype=torch.float64), dim=0)
    return bounds[0], bounds[1]


# P(Poisson(1) ≤ k) for k = 0, 1, ...: beyond 18 it is 1 in float64.
_POISSON_CDF = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(19)])


def poisson_weights(first: int, count: int, resamples: int, seed: int = 0) -> Tensor:
    """How often each of R resamples counts samples `first` to `first + count − 1`: (count, R) float64, Poisson(1) each.

    The Poisson bootstrap (Hanley and MacGibbon 2006; Chamandy et al. 2012). A weight depends on (seed, number of the sample,
    resample) alone, since the generator is advanced to the sample's place: no batching and no slicing changes it.
    """
    blocks = -(-resamples // 4)  # Philox makes four numbers for each step of its counter
    bits = np.random.Philox(np.random.SeedSequence([seed, resamples]))
    bits.advance(first * blocks)
    return torch.from_numpy(poisson_quantile(np.random.Generator(bits).random((count, 4 * blocks))[:, :resamples]))


def poisson_quantile(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poisson(1) counts by inversion, of uniform numbers in [0, 1): the least k with P(X ≤ k) above each; shape as given."""
    return np.searchsorted(_POISSON_CDF, uniform, side="right").astype(np.float64)


def sample_size(pilot: Tensor, half_width: float, confidence_level: float = 0.95) -> int:
    """How many samples bring the interval of every mean to ± `half_width`, by the normal approximation; at least 2.

    Args:
        pilot: (N, L) values of N ≥ 2 samples; the L means have intervals of their own, of which the widest counts.
        half_width: above 0, in the values' unit.

    Example:
        >>> import torch
        >>> sample_size(torch.tensor([[0.0], [1.0]]).repeat(50, 1), half_width=0.05)
        389
    """
    if len(pilot) < 2 or not half_width > 0:
        raise ValueError(f"a pilot of at least 2 samples and a half-width above 0, got {len(pilot)} and {half_width}")
    deviation = float(pilot.double().std(0).max())
    if not math.isfinite(deviation):
        raise ValueError("a value of the pilot is NaN or infinite, so that no number of samples suffices")
    return max(2, math.ceil((NormalDist().inv_cdf(0.5 + confidence_level / 2) * deviation / half_width) ** 2))
