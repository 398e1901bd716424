"""Consistency resampling: what ECE a perfectly calibrated model of the same probabilities would show (Bröcker and Smith 2007).

Labels are drawn from the model's own probabilities, again and again. Shapes: N samples, K classes, B bins, R resamples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.functional import bin_of

_WIDTH = 256  # cells of confidence in which samples share their mean: their sum is then binomial
_DRAWS = 20_000_000  # labels that are drawn at most for class-wise ECE: fewer resamples beyond
_AT_ONCE = 4_000_000  # numbers held together

Array = NDArray[np.float64]


def calibrated_gaps(confidences: Tensor, shares: Tensor, resamples: int, seed: int = 0) -> Tensor:
    """Σ (correct − confidence) / N by bin, over resamples in which each sample is right as often as it is sure: (R, B) float64.

    Samples whose confidences differ by less than 1/256, in the same bins, are drawn together from a binomial distribution: its
    variance is theirs but for 4e-6 a sample, and the time does not depend on N.

    Args:
        confidences: (N,) in [0, 1]; shares: (N, B) of each sample in each bin, rows with sum 1.
        resamples: R; the draws depend on `seed` and N.

    Example:
        >>> import torch
        >>> gaps = calibrated_gaps(torch.full((100,), 0.5), torch.ones(100, 1), resamples=4000)
        >>> round(float(gaps.std()), 3)  # sqrt(0.5 · 0.5 / 100)
        0.05
    """
    conf = confidences.detach().cpu().double().clamp(0, 1)
    cells = (conf * _WIDTH).long().clamp_max(_WIDTH - 1)
    home = shares.argmax(1)
    # A sample on two bins has its cell to itself and its equals: there the share is of one confidence.
    divided = shares.amax(1) < 1
    _, alike = conf.unique(return_inverse=True)
    key = torch.where(divided, -1 - alike, cells * shares.shape[1] + home)
    _, unit = key.unique(return_inverse=True)
    count = unit.bincount()
    mean = torch.zeros(len(count), dtype=torch.float64).index_add_(0, unit, conf) / count
    of_unit = torch.zeros(len(count), shares.shape[1], dtype=torch.float64)
    of_unit[unit] = shares.double()  # equal for all samples of a unit
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, len(conf)])))
    drawn = generator.binomial(count.numpy(), mean.clamp(0, 1).numpy(), size=(resamples, len(count)))
    gaps: Tensor = (torch.from_numpy(drawn).double() - count * mean) @ of_unit / len(conf)
    return gaps


def calibration_test(observed: float, drawn: Tensor, confidence_level: float = 0.95) -> dict[str, float]:
    """A figure held against what it would be for a calibrated model: the entry of `calibration_tests` in results.json.

    Args:
        observed: of the model; drawn: (R,) of resamples.

    Returns:
        floor, the mean over resamples; floor_upper, their quantile `confidence_level`; p_value (1 + #{drawn ≥ observed}) / (R + 1),
        one-sided.

    Example:
        >>> import torch
        >>> calibration_test(0.3, torch.tensor([0.1, 0.2, 0.4]))["p_value"]
        0.5
    """
    reached = int((drawn >= observed - 1e-12).sum())
    return {
        "floor": float(drawn.mean()),
        "floor_upper": float(torch.quantile(drawn.double(), confidence_level)),
        "p_value": (1 + reached) / (len(drawn) + 1),
    }


def classwise_calibrated_errors(probabilities: Tensor, bins: int, resamples: int, seed: int = 0) -> Tensor:
    """ECE of "is it class k?" of labels drawn from the whole answers: (R', K) float64, R' ≤ R for many samples.

    Args:
        probabilities: (N, K), rows with sum 1; bins: of equal width.
        resamples: R, fewer where N · R is above 20 million, at least 99.

    Example:
        >>> import torch
        >>> drawn = classwise_calibrated_errors(torch.tensor([[0.5, 0.5]]).repeat(100, 1), 15, 1000)
        >>> drawn.shape, round(float(drawn.mean()), 2)  # E|Binomial(100, ½) / 100 − ½|
        (torch.Size([1000, 2]), 0.04)
    """
    p = probabilities.detach().cpu().double()
    samples, classes = p.shape
    resamples = min(resamples, max(99, _DRAWS // samples))
    cells = classes * bins
    cell = torch.arange(classes) * bins + bin_of(p.flatten(), bins).view(p.shape)  # (N, K)
    expected = torch.zeros(cells, dtype=torch.float64).index_add_(0, cell.flatten(), p.flatten())
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, samples, classes])))
    parts = []
    together = max(1, _AT_ONCE // cells)
    for start in range(0, resamples, together):
        size = min(together, resamples - start)
        counts = np.zeros(size * cells, dtype=np.int64)
        rows = max(1, _AT_ONCE // max(size, classes))
        for first in range(0, samples, rows):
            some = p[first : first + rows]
            bounds = some.cumsum(1)
            bounds /= bounds[:, -1:].clone()  # so that rounding leaves no number beyond the last class
            uniform = torch.from_numpy(generator.random((len(some), size)))
            label = torch.searchsorted(bounds, uniform, right=True).clamp_max(classes - 1)
            where = cell[first : first + rows].gather(1, label) + torch.arange(size) * cells
            counts += np.bincount(where.flatten().numpy(), minlength=size * cells)
        found = torch.from_numpy(counts).view(size, cells).double()
        parts.append((found - expected).abs().view(size, classes, bins).sum(2) / samples)
    return torch.cat(parts)


def bars(gaps: Tensor, count: Tensor, confidence_mean: Tensor, level: float = 0.95) -> dict[str, list[Any]]:
    """Consistency bars of a reliability diagram: where a calibrated model's accuracy of each bin lies, as plain lists.

    Args:
        gaps: (R, B) of `calibrated_gaps`, over N = Σ count samples; count, confidence_mean: (B,) of the bins.
        level: share of the resamples inside a bar.

    Returns:
        lower, upper: (B,) fractions, None for an empty bin.
    """
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    ends = torch.quantile(gaps, tails, dim=0) * count.sum() / count.clamp_min(1) + confidence_mean
    some = (count > 0).tolist()
    lower, upper = (
        [min(1.0, max(0.0, x)) if full else None for x, full in zip(end.tolist(), some, strict=True)] for end in ends
    )
    return {"lower": lower, "upper": upper}
