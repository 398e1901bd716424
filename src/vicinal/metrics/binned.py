"""Calibration error that is told from noise: intervals of ECE and of a debiased squared error, from the gaps of bins.

Shapes: N samples, B bins; `...` leading dimensions, one data set each. Everything is float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

_LEAST_QUANTILE = 0.1  # a figure below this quantile of a calibrated model's counts as it for the upper end
_NODES = 15  # of Gauss and Hermite's rule over the fitted temperature
_HALVINGS = 60
_PARTS, _FEW = (
    32,
    256,
)  # of an interval that are looked at together, where there are few data sets: calls cost more than numbers


@dataclass(frozen=True)
class BinnedGaps:
    """Accuracy less confidence in bins of confidence, (..., B) each but for `samples`.

    Example:
        >>> import torch
        >>> one_bin = torch.ones(4, 1)
        >>> BinnedGaps.of(torch.full((4,), 0.5), torch.tensor([1, 1, 1, 0]), one_bin).gap.tolist()
        [0.25]
    """

    samples: int  # N
    share: Tensor  # of the samples, p_b
    gap: Tensor  # d_b; 0 in an empty bin
    variance: Tensor  # of d_b, s_b² / n_b without bias
    confidence: Tensor  # mean of the bin, c_b
    promised: Tensor  # mean of c (1 − c)
    drift: Tensor  # d d_b / d log T

    @classmethod
    def of(cls, confidences: Tensor, correct: Tensor, shares: Tensor, drift: Tensor | None = None) -> BinnedGaps:
        """From samples: (..., N) confidences, 0/1 or bool, `shares` (..., N, B) of each sample in each bin, (..., N) drift."""
        c, y, w = confidences.double(), correct.double(), shares.double()
        gap, promised = y - c, c * (1 - c)
        moved = torch.zeros_like(c) if drift is None else drift.double()
        columns = torch.stack([torch.ones_like(c), gap, gap.square(), c, promised, moved], -2)
        count, total, squares, sure, promise, moves = (columns @ w).unbind(-2)
        some = torch.where(count > 0, count, 1.0)
        mean = total / some
        spread = (squares - total * mean).clamp_min(0)  # Σ (gap − mean)²
        own = torch.where(count > 1, spread / (count - 1).clamp_min(1e-9), promise / some)
        n = c.shape[-1]
        return cls(n, count / n, mean, own / some, sure / some, promise / some, moves / some)

    def variance_at(self, size: Tensor) -> Tensor:
        """Variance of d_b where the gaps truly are ± `size` (broadcast against (..., B)): that of a share of n_b samples.

        As in Wilson's interval it is that of the truth asked about, not of the sample: answers that are all right, and sure of
        it, would have none. The sign is the sample's, or the other one where accuracy would leave [0, 1].
        """
        signed = torch.where(self.gap < 0, -size, size)
        accuracy = self.confidence + signed
        inside = (accuracy >= 0) & (accuracy <= 1)
        accuracy = torch.where(inside, accuracy, self.confidence - signed).clamp(0, 1)
        c = self.confidence
        one = accuracy * (1 - accuracy) - c * (1 - c) + self.promised
        return one.clamp_min(0) / (self.share * self.samples).clamp_min(1e-9)

    @property
    def error(self) -> Tensor:
        """Σ p_b |d_b|: the ECE, (...)."""
        return (self.share * self.gap.abs()).sum(-1)

    @property
    def squared_error(self) -> Tensor:
        """Σ p_b (d_b² − s_b² / n_b): the squared ℓ2 calibration error without the bias of noise, (...); below 0 by chance.

        Kumar, Liang and Ma 2019, "Verified uncertainty calibration", section 4; Bröcker 2012, Ferro and Fricker 2012 for the
        same in the Brier score.
        """
        return (self.share * (self.gap.square() - self.variance)).sum(-1)


def gap_drift(logits: Tensor) -> Tensor:
    """How fast correct − confidence grows with log T, of each sample: (N, K) logits after scaling by T to (N,), at least 0."""
    relative = logits - logits.amax(-1, keepdim=True)
    p = relative.softmax(-1)
    mean: Tensor = (p * relative.masked_fill(p == 0, 0.0)).sum(-1)  # a class of probability 0 weighs nothing
    sure: Tensor = p.amax(-1)
    return -sure * mean


def error_interval(
    binned: BinnedGaps, confidence_level: float = 0.95, log_temperature_deviation: float = 0.0
) -> tuple[Tensor, Tensor]:
    """(lower, upper) of the population's ECE in these bins, (...) each.

    Resampled ECE is biased upwards, the more the smaller the error is, so that its percentiles miss. Here the distribution of
    ECE is inverted: gaps are normal, d_b ~ N(t u_b, σ_b²), so that |d_b| is folded normal with known mean and variance; t is the
    ECE that the sample is compatible with, and u_b its shape over bins. The shape is not known: t is taken over two, that of the
    sample's gaps and equal gaps, and the interval holds both. The variance has the shares' multinomial part.

    By simulation it covers 0.93 to 0.98, more where the true ECE is 0 or far below what noise makes. A sample whose ECE is less
    than the tenth percentile of a calibrated model's has the upper end of that percentile.

    Args:
        binned: the gaps.
        confidence_level: coverage.
        log_temperature_deviation: standard deviation of log T where the confidences were scaled by a fitted T: gaps move
            together by their `drift`.
    """
    z = NormalDist().inv_cdf(0.5 + confidence_level / 2)
    occupied = (binned.share > 0).double()
    ends = [_error_ends(binned, shape, z, log_temperature_deviation) for shape in (binned.gap.abs(), occupied)]
    lower, upper = (torch.stack(parts) for parts in zip(*ends, strict=True))
    return lower.amin(0), upper.amax(0)


def squared_error_interval(
    binned: BinnedGaps, confidence_level: float = 0.95, log_temperature_deviation: float = 0.0
) -> tuple[Tensor, Tensor]:
    """(lower, upper) of the population's squared ℓ2 calibration error in these bins, (...) each, from 0 up.

    Q = Σ p_b d_b² of normal gaps is a sum of noncentral χ²; with the gaps' shape that of the sample, its mean and variance follow
    from θ alone, and Q is taken to be gamma distributed with them (Satterthwaite's matching). The interval is the θ at which Q is
    no less likely than its tails. Sun, Chen, Song and Hooker 2023, "Minimum-risk recalibration" and "Lee et al. 2023, T-Cal" test
    θ = 0 by the same Q. By simulation it covers 0.93 to 0.98.

    Arguments as `error_interval`.
    """
    tail, tau = (1 - confidence_level) / 2, log_temperature_deviation
    p, moved = binned.share, (tau * binned.drift).square()
    observed = (p * binned.gap.square()).sum(-1)
    shape = binned.gap / observed.clamp_min(1e-300).sqrt()[..., None]
    together = (p * moved).sum(-1)
    along_fit = (tau * (p * binned.drift * shape).sum(-1)).square()
    fourth = ((p * shape.square().square()).sum(-1) - 1).clamp_min(0) / binned.samples

    def below(theta: Tensor, figure: Tensor) -> Tensor:
        """P(Q ≤ figure) at θ."""
        s2 = binned.variance_at(theta.sqrt()[..., None] * shape.abs())
        mean = theta + (p * s2).sum(-1) + together
        noise = (p * s2).square() + 2 * p.square() * s2 * moved
        along = (p.square() * s2 * shape.square()).sum(-1) + along_fit
        variance = 2 * noise.sum(-1) + 2 * together.square() + 4 * theta * along + theta.square() * fourth
        variance = variance.clamp_min(1e-300)
        share: Tensor = torch.special.gammainc(mean.square() / variance, figure.clamp_min(0) * mean / variance)
        return share

    zero, one = torch.zeros_like(observed), torch.ones_like(observed)
    likely = _root(lambda q: below(zero, q) - _LEAST_QUANTILE, one)
    lower = _root(lambda theta: (1 - tail) - below(theta, observed), one)
    upper = _root(lambda theta: tail - below(theta, torch.maximum(observed, likely)), one)
    z2 = NormalDist().inv_cdf(1 - tail) ** 2
    # Answers that are sure and all right do not exclude errors in z² / N of others: Wilson's upper end for none.
    return lower, upper.clamp_min((z2 / (binned.samples + z2)) ** 2)


def _error_ends(binned: BinnedGaps, size: Tensor, z: float, tau: float) -> tuple[Tensor, Tensor]:
    """Where the distribution of ECE, of gaps of the relative `size`, has the sample's at its ends."""
    p = binned.share
    shape = size / (p * size).sum(-1, keepdim=True).clamp_min(1e-300)
    signed = torch.where(binned.gap < 0, -shape, shape)
    # Without a fitted temperature there is one node.
    points, weights = np.polynomial.hermite_e.hermegauss(_NODES) if tau > 0 else (np.zeros(1), np.ones(1))
    shift = tau * torch.from_numpy(points)[:, None] * binned.drift[..., None, :]
    weight = torch.from_numpy(weights / weights.sum())

    def moments(t: Tensor) -> tuple[Tensor, Tensor]:
        sigma = binned.variance_at(t[..., None] * shape).sqrt().clamp_min(1e-12)
        mean, variance = _folded(t[..., None, None] * signed[..., None, :] + shift, sigma[..., None, :])
        by_node = (p[..., None, :] * mean).sum(-1)
        whole = (weight * by_node).sum(-1)
        inside = (weight * (p.square()[..., None, :] * variance).sum(-1)).sum(-1)
        between = (weight * (by_node - whole[..., None]).square()).sum(-1)
        shares = t.square() * ((p * shape.square()).sum(-1) - 1).clamp_min(0) / binned.samples
        return whole, (inside + between + shares).sqrt()

    error = binned.error
    floor, floor_deviation = moments(torch.zeros_like(error))
    likely = floor + NormalDist().inv_cdf(_LEAST_QUANTILE) * floor_deviation

    def above(t: Tensor) -> Tensor:
        mean, deviation = moments(t)
        return mean + z * deviation - error

    def under(t: Tensor) -> Tensor:
        mean, deviation = moments(t)
        return mean - z * deviation - torch.maximum(error, likely)

    return _root(above, torch.ones_like(error)), _root(under, torch.ones_like(error))


def _folded(mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of |N(mean, deviation²)| (Leone, Nelson and Nottingham 1961)."""
    ratio = mean / deviation
    first = deviation * math.sqrt(2 / math.pi) * (-ratio.square() / 2).exp() + mean * torch.erf(ratio / math.sqrt(2))
    return first, (mean.square() + deviation.square() - first.square()).clamp_min(0)


def _root(rising: Callable[[Tensor], Tensor], most: Tensor) -> Tensor:
    """Where a rising function crosses 0 between 0 and `most`, (...) each: 0 where it starts above, by cutting into equal parts.

    Args:
        rising: of (G, ...) values at once as well.
    """
    low, width = torch.zeros_like(most), most
    start = rising(low) >= 0
    parts = _PARTS if most.numel() <= _FEW else 2
    inner = torch.arange(1, parts, dtype=most.dtype).reshape(-1, *[1] * most.dim()) / parts
    for _ in range(round(_HALVINGS / math.log2(parts))):
        before = (rising(low + width * inner) < 0).sum(0)
        width = width / parts
        low = low + width * before
    return torch.where(start, torch.zeros_like(most), low + width / 2)
