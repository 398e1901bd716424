"""The error of a mean over pairs of images, by the images that the pairs are made of.

Shapes: P pairs, M images in them, R resamples, Q quantities.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import torch
from torch import Tensor

from vicinal.metrics.bootstrap import weighted_means


@dataclass(frozen=True, eq=False)
class PairDesign:
    """Which images P pairs are made of, and what that makes of the error of a mean over the pairs.

    Two pairs that share an image are not independent. With e_p a pair's value less the mean, S_a the sum of e_p over the pairs
    that hold image a and d_a their number, the variance of the mean is estimated by

        V = (Σ_a S_a² − Σ_p e_p²) / (κ P²),  κ = 1 − Σ_a d_a² / P² + 1 / P.

    Σ_a S_a² − Σ_p e_p² is the sum of e_p e_q over all p, q that share an image, each p with itself among them: the dyadic-robust
    variance (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015). κ takes out its bias by the estimated mean, exactly so for
    v_ij = μ + a_i + a_j + ε_ij on any design in which all images are in equally many pairs, whatever the variances of a and ε: the
    trace of (B Bᵀ − 1) H Σ H, with B the incidence of images in pairs, H the centring and Σ = σ_a² B Bᵀ + σ_ε², is κ times
    1ᵀ Σ 1. Without shared images it is Σ e_p² / (P (P − 1)).

    Resample r counts image a w_ra times, and moves the mean by c Σ_a (w_ra − 1) S_a / P: of variance V where
    c² = (1 − Σ e² / Σ S²) / κ for each quantity. c² κ is held above 1/2, its value without images' own effects (σ_a = 0) and of pairs
    that share none, which noise falls below where images are few.

    Args:
        images: (P, 2) int64 numbers of the images, whichever they are; no pair twice.

    Example:
        >>> import torch
        >>> PairDesign(torch.tensor([[0, 1], [5, 7], [0, 7]])).numbers.tolist()
        [0, 1, 5, 7]
    """

    images: Tensor

    @cached_property
    def numbers(self) -> Tensor:
        """(M,) numbers of the images in pairs, ascending."""
        found: Tensor = self.images.unique()
        return found

    @cached_property
    def places(self) -> Tensor:
        """(P, 2) positions in `numbers`."""
        return torch.searchsorted(self.numbers, self.images.contiguous())

    @property
    def pairs(self) -> int:
        return len(self.images)

    @cached_property
    def kappa(self) -> float:
        """κ above; 0 or less where the pairs are too few to know an error from, as three images' are."""
        degrees = self.places.flatten().bincount().double()
        return float(1 - degrees.square().sum() / self.pairs**2 + 1 / self.pairs)

    @property
    def degrees_of_freedom(self) -> float:
        """About how many independent values stand behind V: P − 1 without shared images, M − 1 of all pairs.

        Satterthwaite's for σ_ε = 0: tr(F)² / tr(F²) with F = K² − K, K = Bᵀ H B, of a design in which pairs are spread at random.
        """
        count = len(self.numbers)
        d = 2 * self.pairs / count
        share = d**4 / (d**4 + d * (2 * d - 1) ** 2 + d * d - d)
        return max(1.0, count * share - 1)

    def widening(self, confidence_level: float) -> float:
        """Student's quantile over the normal one: what deviations are stretched by for an interval, near 1 of many images."""
        from scipy.stats import t  # slow to import

        tail = 0.5 + confidence_level / 2
        return float(t.ppf(tail, self.degrees_of_freedom)) / NormalDist().inv_cdf(tail)

    @property
    def tells_error(self) -> bool:
        """Whether an error can be known: not from the one pair of two images, nor from all of three."""
        return self.kappa > 1e-9

    def deviations(self, values: Tensor, counts: Tensor, among: Tensor | None = None) -> Tensor:
        """How far the means of (P, Q) values move over resamples of the images: (R, Q) float64.

        Args:
            counts: (R, M) how often each resample counts each of `numbers`, of any dtype.
            among: (P,) bool, where means are over some of the pairs; default: all.
        """
        double = values.double()
        if among is None:
            e, pairs = double - double.mean(0), len(double)
        else:
            e, pairs = (double - double[among].mean(0)) * among[:, None], int(among.sum())
        sums = torch.zeros(len(self.numbers), e.shape[1], dtype=torch.float64)
        for side in (0, 1):
            sums.index_add_(0, self.places[:, side], e)
        share = (1 - e.square().sum(0) / sums.square().sum(0)).nan_to_num(0.5).clamp_min(0.5)
        sums *= (share / self.kappa).sqrt() * (len(sums) / pairs)
        return weighted_means(counts, sums) - sums.mean(0)
