"""Information over λ (section 4.2.1): both sides of eq. 11 for one network, both readings of eq. 10 for two.

Shapes: P pairs, L values of λ, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vicinal.functional import (
    cross_entropy_with_teacher,
    entropy_decomposition,
    information_bound_from_means,
    information_bound_per_sample,
    log_mean_prediction,
    refuse_probabilities,
)
from vicinal.metrics.base import WAY_OUT, GatheredMetric
from vicinal.metrics.grid import along_pairs, symmetric_grid

_CURVES = ("entropy_mixed", "entropy_clean", "nonlinearity", "residual_eq11")


class Information(GatheredMetric):
    """H[p(x̃)], H[p(x)], NL and what eq. 11 leaves over, of one classifier along λ, in nats.

    `update(logits_i, logits_j, logits_mixed)` takes (P, K), (P, K) and (P, L, K), as `VicinalCurves` does. `compute` returns
    lam, entropy_mixed, entropy_clean, nonlinearity and residual_eq11 = entropy_mixed − entropy_clean − nonlinearity.

    Args:
        lam: (L,) grid. With `both_orders` it must be symmetric about 0.5.
        both_orders: each pair counts as (i, j) and as (j, i), which makes the curves symmetric.

    Example:
        >>> import torch
        >>> metric = Information(torch.tensor([0.0, 0.5, 1.0]))
        >>> dog, cat, flat = torch.tensor([[30.0, 0.0]]), torch.tensor([[0.0, 30.0]]), torch.zeros(1, 2)
        >>> metric.update(dog, cat, torch.stack([cat, flat, dog], 1))
        >>> [round(value, 3) for value in metric.compute()["residual_eq11"].abs().tolist()]
        [0.0, 0.693, 0.0]
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    figures_of_compute = ("lam", *_CURVES)
    entropy_mixed: list[Tensor]
    entropy_clean: list[Tensor]
    nonlinearity: list[Tensor]
    residual_eq11: list[Tensor]

    def __init__(self, lam: Tensor | None = None, both_orders: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lam, self.both_orders = symmetric_grid(lam, both_orders), both_orders
        for name in _CURVES:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, logits_i: Tensor, logits_j: Tensor, logits_mixed: Tensor) -> None:
        """The answers to a batch of pairs; see the class."""
        pairs, points = logits_mixed.shape[:2]
        if self.refuse_probabilities:
            refuse_probabilities(logits_i, logits_j, logits_mixed, way_out=WAY_OUT)
        parts = entropy_decomposition(*along_pairs(logits_i, logits_j, logits_mixed, self.lam))
        for name, values in zip(_CURVES, parts, strict=True):
            getattr(self, name).append(values.detach().view(pairs, points))

    def per_pair(self, name: str) -> Tensor:
        """(P, L) float64 values of one of the curves, averaged over both orders."""
        with self._gathered():
            values = self._seen(name)
        return (values + values.flip(1)) / 2 if self.both_orders else values

    def compute(self) -> Any:
        """lam and the four curves: (L,) float64 each."""
        return self._shown({"lam": self.lam, **{name: self.per_pair(name).mean(0) for name in _CURVES}})


class InformationBound(GatheredMetric):
    """The bound of eq. 10 on what a student's answers tell of its teacher's, in both readings, along λ, in nats.

    `update(teacher_mixed, student_mixed)` takes (P, L, K) answers to the same inputs; λ = 0 and 1 are the clean images. `compute`
    returns lam, bound_per_sample (= −KL, H as the mean entropy) and bound_of_mean (H as the entropy of the mean answer).

    Args:
        lam, both_orders: as `Information`.

    Example:
        >>> import torch
        >>> metric = InformationBound(torch.tensor([0.0, 0.5, 1.0]))
        >>> teacher = torch.tensor([[[4.0, 0.0]] * 3, [[0.0, 4.0]] * 3])  # two pairs, three values of λ, two classes
        >>> metric.update(teacher, 0 * teacher)
        >>> [round(value, 3) + 0.0 for value in metric.compute()["bound_per_sample"].tolist()]
        [-0.603, -0.603, -0.603]
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    figures_of_compute = ("lam", "bound_per_sample", "bound_of_mean")
    per_sample: list[Tensor]
    cross_entropy: list[Tensor]
    log_mean: list[Tensor]
    count: list[Tensor]

    def __init__(self, lam: Tensor | None = None, both_orders: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lam, self.both_orders = symmetric_grid(lam, both_orders), both_orders
        for name in ("per_sample", "cross_entropy", "log_mean", "count"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, teacher_mixed: Tensor, student_mixed: Tensor) -> None:
        """Both networks' answers to a batch of pairs; see the class."""
        if (
            teacher_mixed.shape != student_mixed.shape
            or teacher_mixed.dim() != 3
            or teacher_mixed.shape[1] != len(self.lam)
        ):
            raise ValueError(
                f"expected two of one shape (P, {len(self.lam)}, K), got {tuple(teacher_mixed.shape)} and {tuple(student_mixed.shape)}"
            )
        if self.refuse_probabilities:
            refuse_probabilities(teacher_mixed, student_mixed, way_out=WAY_OUT)
        teacher, student = teacher_mixed.detach().double(), student_mixed.detach().double()
        self.per_sample.append(information_bound_per_sample(teacher, student))
        self.cross_entropy.append(cross_entropy_with_teacher(teacher, student))
        # Only the batch's mean answer is kept, with its weight, since the entropy is taken of the mean of all.
        self.log_mean.append(log_mean_prediction(teacher)[None])
        self.count.append(torch.tensor([float(len(teacher))], dtype=torch.float64, device=teacher.device))

    def compute(self) -> Any:
        """lam, bound_per_sample and bound_of_mean: (L,) float64 each."""
        per_sample, cross_entropy = self._seen("per_sample").mean(0), self._seen("cross_entropy").mean(0)
        count = self._seen("count")
        log_mean = (self._seen("log_mean") + (count / count.sum()).log()[:, None, None]).logsumexp(0)
        if self.both_orders:
            per_sample, cross_entropy = ((curve + curve.flip(0)) / 2 for curve in (per_sample, cross_entropy))
            log_mean = torch.logaddexp(log_mean, log_mean.flip(0))  # an added constant changes no entropy
        return self._shown(
            {
                "lam": self.lam,
                "bound_per_sample": per_sample,
                "bound_of_mean": information_bound_from_means(log_mean, cross_entropy),
            }
        )
