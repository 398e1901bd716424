"""The vicinal curves NL, H, D and I_lin over λ, and the alignment of a student with its teacher.

Shapes: P pairs, L values of λ, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vicinal.functional import (
    dominance_ratio,
    kl_divergence,
    linearity_information,
    nonlinearity_residual,
    prediction_entropy,
    refuse_probabilities,
)
from vicinal.metrics.base import WAY_OUT, GatheredMetric
from vicinal.metrics.bootstrap import interval, percentiles, poisson_weights, resample_counts
from vicinal.metrics.dyadic import PairDesign
from vicinal.metrics.grid import along_pairs, lam_grid, symmetric_grid

_CURVES = ("nonlinearity", "entropy", "linearity_information")


class VicinalCurves(GatheredMetric):
    """NL(λ), H(λ), D(λ) and I_lin(λ) of a classifier (eq. 12, 13, 14), each with a bootstrap interval over pairs.

    `update(logits_i, logits_j, logits_mixed)` takes (P, K), (P, K) and (P, L, K): the answers to x_i, x_j and
    λ x_i + (1 − λ) x_j along the grid. `compute` returns a dict of (L,) float64 tensors.

    Without `keep_pairs` only sums are kept, of a size that does not depend on the number of pairs, and several processes'
    are added. Intervals then come from the same pass by a Poisson bootstrap: every resample counts a pair Poisson(1)
    times, a function of (seed, number of the pair) alone, so neither batches nor processes change them. They hold where no image
    is in two pairs.

    Args:
        lam: (L,) grid. With `both_orders` it must be symmetric about 0.5.
        both_orders: each pair counts as (i, j) and as (j, i). NL(λ; i, j) = NL(1 − λ; j, i), so this costs nothing and
            makes the curves symmetric, as their expectation is.
        keep_pairs: keep the values of each pair (`per_pair`), or sums only.
        resamples, seed: of the Poisson bootstrap, drawn along with the sums.

    Example:
        >>> import torch
        >>> curves = VicinalCurves(lam_grid(3))
        >>> dog, cat = torch.tensor([[30.0, 0.0]]), torch.tensor([[0.0, 30.0]])
        >>> curves.update(dog, cat, torch.stack([cat, torch.zeros(1, 2), dog], 1))  # linear: one half each at λ = 0.5
        >>> [round(value, 3) for value in curves.compute()["nonlinearity"].tolist()]
        [0.0, 0.0, 0.0]
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    figures_of_compute = ("lam", "nonlinearity", "entropy", "dominance", "linearity_information")
    nonlinearity: list[Tensor]
    entropy: list[Tensor]
    linearity_information: list[Tensor]
    count: Tensor  # () int64: pairs
    sums: Tensor  # (3 L,) float64
    resampled_count: Tensor  # (R, 1) float64
    resampled_sums: Tensor  # (R, 3 L) float64

    def __init__(
        self,
        lam: Tensor | None = None,
        both_orders: bool = True,
        *,
        keep_pairs: bool = True,
        resamples: int = 1000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.lam, self.both_orders = symmetric_grid(lam, both_orders), both_orders
        self.keep_pairs, self.resamples, self.seed = keep_pairs, resamples, seed
        if keep_pairs:
            for name in _CURVES:
                self.add_state(name, default=[], dist_reduce_fx="cat")
            return
        size = len(_CURVES) * len(self.lam)
        self.add_state("count", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        for name, shape in (
            ("sums", [size]),
            ("resampled_count", [resamples, 1]),
            ("resampled_sums", [resamples, size]),
        ):
            self.add_state(name, default=torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def forward(self, *args: Any, first_pair: int | None = None, **kwargs: Any) -> Any:
        """`update`, and the figures of this batch alone."""
        return super().forward(*args, first_pair=self._first(first_pair), **kwargs)

    def update(
        self, logits_i: Tensor, logits_j: Tensor, logits_mixed: Tensor, *, first_pair: int | None = None
    ) -> None:
        """The answers to a batch of pairs; see the class.

        Args:
            first_pair: number of the first of these pairs among all, which a process that sees a slice of them must say;
                default: they follow those seen before. Of no meaning where pairs are kept.
        """
        pairs, points = logits_mixed.shape[:2]
        if self.refuse_probabilities:
            refuse_probabilities(logits_i, logits_j, logits_mixed, way_out=WAY_OUT)
        i, j, mixed, lam = along_pairs(logits_i.detach(), logits_j.detach(), logits_mixed.detach(), self.lam)
        values = {
            "nonlinearity": nonlinearity_residual(i, j, mixed, lam).view(pairs, points),
            "entropy": prediction_entropy(mixed).view(pairs, points),
            "linearity_information": linearity_information(i, j, mixed, lam).view(pairs, points),
        }
        if self.keep_pairs:
            for name in _CURVES:
                getattr(self, name).append(values[name])
            return
        flat = torch.cat([values[name] for name in _CURVES], 1).to(self.sums.device)
        weights = poisson_weights(self._first(first_pair) or 0, pairs, self.resamples, self.seed).to(flat.device)
        self.count = self.count + pairs
        self.sums = self.sums + flat.sum(0)
        self.resampled_count = self.resampled_count + weights.sum(0)[:, None]
        self.resampled_sums = self.resampled_sums + weights.T @ flat

    def _first(self, first_pair: int | None) -> int | None:
        return first_pair if first_pair is not None or self.keep_pairs else int(self.count)

    def per_pair(self, name: str) -> Tensor:
        """(P, L) float64 values of "nonlinearity", "entropy" or "linearity_information", averaged over both orders.

        Raises ValueError where pairs are not kept.
        """
        if not self.keep_pairs:
            raise ValueError("values of each pair are not kept: make the metric with keep_pairs=True")
        with self._gathered():
            values = self._seen(name)
        return (values + values.flip(1)) / 2 if self.both_orders else values

    def compute(self) -> Any:
        """lam, nonlinearity, entropy, dominance and linearity_information: (L,) each."""
        if self.keep_pairs:
            nonlinearity, entropy, information = (self.per_pair(name).mean(0) for name in _CURVES)
        else:
            if not int(self.count):
                raise ValueError("nothing to compute: call update first")
            nonlinearity, entropy, information = self._means(self.sums[None], self.count)[0].split(len(self.lam))
        return self._shown(
            {
                "lam": self.lam,
                "nonlinearity": nonlinearity,
                "entropy": entropy,
                "dominance": dominance_ratio(nonlinearity[None], entropy[None]),
                "linearity_information": information,
            }
        )

    def intervals(
        self, resamples: int = 1000, confidence_level: float = 0.95, seed: int = 0, images: Tensor | None = None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """(lower, upper) of each curve of `compute`: percentiles over resampled pairs, or over the images that they are made of.

        Args:
            images: (P, 2) numbers of the images of each pair, in the order of the updates, for pairs that share images (see
                `PairDesign`). Without them no image may be in two pairs, or the intervals are too narrow.

        Raises ValueError where pairs are not kept and `resamples` and `seed` are not those that the metric was made with, or images
        are given; and for images of another number of pairs, or of fewer than four images.
        """
        points = len(self.lam)

        def statistic(means: Tensor) -> Tensor:
            return torch.cat([means, means[:, :points] / means[:, points : 2 * points]], 1)

        if self.keep_pairs:
            with self._gathered():
                values = torch.cat([self.per_pair(name) for name in _CURVES], 1)
            if images is None:
                lower, upper = interval(values, statistic, resamples, confidence_level, seed)
            else:
                moved = _moved(values, images, resamples, confidence_level, seed)
                lower, upper = percentiles(statistic(values.mean(0) + moved), confidence_level)
        else:
            if images is not None:
                raise ValueError(
                    "the images of pairs say nothing where pairs are not kept: make the metric with keep_pairs=True"
                )
            if (resamples, seed) != (self.resamples, self.seed):
                raise ValueError(
                    f"sums were resampled {self.resamples} times from seed {self.seed} while they were formed, "
                    f"not {resamples} times from seed {seed}"
                )
            with self._gathered():
                if not int(self.count):
                    raise ValueError("nothing to compute: call update first")
                drawn = self.resampled_count.cpu().squeeze(1) > 0  # of very few pairs a resample may hold none
                means = self._means(self.resampled_sums, self.resampled_count)[drawn]
            lower, upper = percentiles(statistic(means), confidence_level)
        order = (*_CURVES, "dominance")
        return {
            name: (low, high) for name, low, high in zip(order, lower.split(points), upper.split(points), strict=True)
        }

    def _means(self, sums: Tensor, count: Tensor) -> Tensor:
        """(R, 3 L) sums to means, averaged over both orders."""
        means = (sums / count).cpu().view(len(sums), len(_CURVES), len(self.lam))
        return ((means + means.flip(2)) / 2 if self.both_orders else means).flatten(1)


def _moved(values: Tensor, images: Tensor, resamples: int, confidence_level: float, seed: int) -> Tensor:
    """(R, M) how far means of (P, M) values move over resamples of the images of the pairs, as wide as an interval needs them."""
    if images.shape != (len(values), 2):
        raise ValueError(f"expected ({len(values)}, 2) numbers of images, got {tuple(images.shape)}")
    design = PairDesign(images.cpu())
    if not design.tells_error:
        raise ValueError(f"{len(design.numbers)} images are too few for an interval; four are the least")
    counts = resample_counts(len(design.numbers), resamples, seed)
    return design.widening(confidence_level) * design.deviations(values, counts)


class Alignment(GatheredMetric):
    """KL(teacher ‖ student) on clean inputs, on mixed inputs, and the difference (section 7.4, table 6), in nats.

    `update(teacher_logits, student_logits, teacher_mixed, student_mixed)` takes (P, K), (P, K), (P, L, K) and (P, L, K);
    the mixed answers lie along `lam`. `compute` returns kl_real, kl_mixed (the mean over λ ~ Uniform(0, 1), by the
    trapezoidal rule along the grid), independent_response = kl_mixed − kl_real, and kl_mixed_by_lam (L,).

    Example:
        >>> import torch
        >>> alignment = Alignment(lam_grid(3))
        >>> teacher, student = torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2)
        >>> alignment.update(teacher, student, teacher.expand(1, 3, 2), student.expand(1, 3, 2))
        >>> round(float(alignment.compute()["kl_real"]), 3), round(float(alignment.compute()["independent_response"]), 3)
        (0.328, 0.0)
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    figures_of_compute = ("kl_real", "kl_mixed", "independent_response", "kl_mixed_by_lam")
    real: list[Tensor]
    mixed: list[Tensor]
    real_of_pair: list[Tensor]  # mean over a pair's clean answers, of updates where they belong together

    def __init__(self, lam: Tensor | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lam = lam_grid() if lam is None else lam.double()
        self.add_state("real", default=[], dist_reduce_fx="cat")
        self.add_state("mixed", default=[], dist_reduce_fx="cat")
        self.add_state("real_of_pair", default=[], dist_reduce_fx="cat")

    def update(
        self, teacher_logits: Tensor, student_logits: Tensor, teacher_mixed: Tensor, student_mixed: Tensor
    ) -> None:
        """Both networks' answers to the same inputs; see the class."""
        expected = (len(teacher_logits), len(self.lam), teacher_logits.shape[-1])
        paired = (len(student_mixed), len(self.lam), student_logits.shape[-1])
        if (
            teacher_mixed.shape[1:] != expected[1:]
            or student_mixed.shape != teacher_mixed.shape
            or paired[1:] != expected[1:]
        ):
            raise ValueError(
                f"expected mixed answers of shape (P, {len(self.lam)}, {expected[2]}), got "
                f"{tuple(teacher_mixed.shape)} and {tuple(student_mixed.shape)}"
            )
        given = (teacher_logits, student_logits, teacher_mixed, student_mixed)
        if self.refuse_probabilities:
            refuse_probabilities(*given, way_out=WAY_OUT)
        teacher, student, teacher_mixed, student_mixed = (z.detach().double() for z in given)
        real, pairs = kl_divergence(teacher, student), len(teacher_mixed)
        self.real.append(real)
        self.mixed.append(kl_divergence(teacher_mixed, student_mixed))
        if len(real) in (pairs, 2 * pairs):
            self.real_of_pair.append(real.view(-1, pairs).mean(0))

    def compute(self) -> Any:
        """kl_real, kl_mixed, independent_response: (); kl_mixed_by_lam: (L,)."""
        kl_real, by_lam = self._seen("real").mean(), self._seen("mixed").mean(0)
        kl_mixed = torch.trapezoid(by_lam, self.lam)
        return self._shown(
            {
                "kl_real": kl_real,
                "kl_mixed": kl_mixed,
                "independent_response": kl_mixed - kl_real,
                "kl_mixed_by_lam": by_lam,
            }
        )

    def per_pair(self) -> tuple[Tensor, Tensor]:
        """KL of each pair: (P,) on its clean images, their mean, and (P, L) on the mixed ones; float64, nats.

        Raises ValueError where clean and mixed answers are not of the same pairs: P clean ones in every update, or 2 P in every
        update (the first of every pair, then the second of every pair), go with P mixed ones.
        """
        with self._gathered():
            by_lam, real = self._seen("mixed"), self._seen("real")
            of_pair = self._seen("real_of_pair") if len(self.real_of_pair) else real[:0]
        if len(of_pair) != len(by_lam) or len(real) not in (len(by_lam), 2 * len(by_lam)):
            raise ValueError(f"{len(real)} clean answers do not go with {len(by_lam)} pairs")
        return of_pair, by_lam

    def interval(self, resamples: int = 1000, confidence_level: float = 0.95, seed: int = 0) -> tuple[Tensor, Tensor]:
        """(lower, upper) of independent_response, () each: percentiles over resampled pairs. Raises ValueError as `per_pair`."""
        of_pair, by_lam = self.per_pair()
        difference = torch.trapezoid(by_lam, self.lam) - of_pair
        lower, upper = interval(difference[:, None], lambda means: means[:, 0], resamples, confidence_level, seed)
        return lower, upper
