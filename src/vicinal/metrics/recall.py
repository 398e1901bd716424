"""Accuracy beyond the first answer: top five, class by class, and with every class counting alike, with their intervals.

Shapes: N samples, K classes, R resamples.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vicinal.functional import balanced_accuracy, checked_labels, in_top_k, recall_by_class, refuse_probabilities
from vicinal.metrics.base import WAY_OUT, GatheredMetric
from vicinal.metrics.bootstrap import NUMBERS_AT_ONCE
from vicinal.metrics.proportions import mean_proportion_interval, proportion_interval

TOP = 5


class Recall(GatheredMetric):
    """What a classifier gets right of every class, and among its first five answers.

    `update` takes (N, K) logits and (N,) labels. `compute` returns a dict of float64 tensors: accuracy_balanced (), the mean of the
    recall of the classes that have samples; accuracy_top5 (), NaN for five classes or fewer, where it says nothing;
    recall_by_class (K,), NaN for a class without samples. `intervals` has theirs.

    Args:
        only, refuse_probabilities: see `GatheredMetric`.

    Raises:
        ValueError: in `update`, for shapes, labels that are no class, and probabilities in place of logits.

    Example:
        >>> import torch
        >>> metric = Recall()
        >>> metric.update(torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1, 1]))
        >>> metric.compute()["recall_by_class"].tolist(), float(metric.compute()["accuracy_balanced"])
        ([1.0, 0.5], 0.75)
    """

    figures_of_compute = ("accuracy_balanced", "accuracy_top5", "recall_by_class")
    correct: list[Tensor]
    in_top: list[Tensor]
    labels: list[Tensor]
    classes: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("correct", "in_top", "labels"):
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self.add_state("classes", default=torch.tensor(0), dist_reduce_fx="max")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """(N, K) logits and (N,) labels of a batch; K is the same in all."""
        if logits.dim() != 2 or labels.shape != logits.shape[:1]:
            raise ValueError(
                f"expected (N, K) logits and (N,) labels, got {tuple(logits.shape)} and {tuple(labels.shape)}"
            )
        labels = checked_labels(labels, logits.shape[-1])
        if self.refuse_probabilities:
            refuse_probabilities(logits, way_out=WAY_OUT)
        if not bool(logits.isfinite().any(-1).all()) or bool(logits.isnan().any()):
            raise ValueError("an answer is NaN or infinite, so that it is neither right nor wrong")
        self.classes = torch.maximum(self.classes, torch.tensor(logits.shape[-1], device=self.classes.device))
        self.correct.append(logits.detach().argmax(-1) == labels)
        self.in_top.append(in_top_k(logits.detach(), labels, TOP))
        self.labels.append(labels.detach())

    def compute(self) -> Any:
        """The figures over all batches; see the class."""
        correct, labels, classes = self._seen("correct"), self._seen("labels"), int(self.classes)
        top = self._seen("in_top").double().mean() if classes > TOP else torch.tensor(torch.nan, dtype=torch.float64)
        return self._shown(
            {
                "accuracy_balanced": balanced_accuracy(correct, labels, classes),
                "accuracy_top5": top,
                "recall_by_class": recall_by_class(correct, labels, classes),
            }
        )

    def counts(self) -> tuple[list[int], list[int]]:
        """Of every class the samples that are right, and all: two lists of K."""
        with self._gathered():
            correct, labels, classes = self._seen("correct").bool(), self._seen("labels"), int(self.classes)
        right, images = (found.bincount(minlength=classes).tolist() for found in (labels[correct], labels))
        return right, images

    def intervals(self, confidence_level: float = 0.95) -> dict[str, Any]:
        """accuracy_balanced and accuracy_top5 (None where it is NaN) as [lower, upper], recall_by_class as lower and upper, (K,) each.

        Wilson's of accuracy_top5 and of each class (None for one without samples); of the mean `mean_proportion_interval`.
        """
        right, images = self.counts()
        ends = [
            proportion_interval(r, n, confidence_level) if n else (None, None)
            for r, n in zip(right, images, strict=True)
        ]
        with self._gathered():
            top = self._seen("in_top").bool()
        of_top = proportion_interval(int(top.sum()), len(top), confidence_level) if len(images) > TOP else None
        return {
            "accuracy_balanced": list(mean_proportion_interval(right, images, confidence_level)),
            "accuracy_top5": None if of_top is None else list(of_top),
            "recall_by_class": {"lower": [end[0] for end in ends], "upper": [end[1] for end in ends]},
        }

    def deviations(self, counts: Tensor) -> dict[str, Tensor]:
        """What resampling the samples changes in accuracy_balanced and accuracy_top5 (where it is a number): (R,) float64 each.

        Args:
            counts: (R, N) how often each resample counts each sample (`resample_counts`). A class that a resample has no samples of
                is left out of its mean.
        """
        with self._gathered():
            correct, labels, classes = self._seen("correct"), self._seen("labels"), int(self.classes)
            top = self._seen("in_top").double()
        if counts.dim() != 2 or counts.shape[1] != len(labels):
            raise ValueError(f"expected (R, {len(labels)}) counts, got {tuple(counts.shape)}")
        drawn, of_top = [], []
        for part in counts.split(max(1, NUMBERS_AT_ONCE // len(labels))):
            own = part.double()
            images = torch.zeros(len(own), classes, dtype=torch.float64).index_add_(1, labels, own)
            right = torch.zeros_like(images).index_add_(1, labels, own * correct)
            drawn.append((right / images).nanmean(1))
            of_top.append(own @ top / len(labels))
        found = {"accuracy_balanced": torch.cat(drawn) - balanced_accuracy(correct, labels, classes)}
        return found | ({"accuracy_top5": torch.cat(of_top) - top.mean()} if classes > TOP else {})
