"""Bootstrap intervals by percentiles (Efron 1979), of means and of anything computed from means.

Shapes: N samples or pairs, M quantities, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

NUMBERS_AT_ONCE = 2_000_000  # resamples × samples drawn together: memory does not grow with either


def resampled_means(values: Tensor, resamples: int, seed: int = 0) -> Tensor:
    """Means of (N, M) values over R resamples with replacement: (R, M) float64.

    The resamples depend on N, R and `seed` alone, so two sets of values of the same N are resampled in pairs.
    """
    n = len(values)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, n])))
    double, parts = values.double(), []
    at_once = max(1, NUMBERS_AT_ONCE // n)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = generator.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        parts.append(torch.from_numpy(counts).to(double) @ double / n)
    return torch.cat(parts)


def interval(
    values: Tensor, statistic: Callable[[Tensor], Tensor], resamples: int = 1000, coverage: float = 0.95, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Percentile interval of a statistic of the means of (N, M) values.

    Args:
        statistic: (R, M) means to (R, ...) values.

    Returns:
        lower, upper: (...,) float64.
    """
    drawn = statistic(resampled_means(values, resamples, seed))
    tail = (1 - coverage) / 2
    bounds = torch.quantile(drawn, torch.tensor([tail, 1 - tail], dtype=torch.float64), dim=0)
    return bounds[0], bounds[1]
