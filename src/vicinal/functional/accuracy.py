"""Which answers are right: the first five, class by class, and with every class counting alike.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def in_top_k(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether the true class is among the k that get the largest logits: (N,) bool.

    Of equal logits the class that comes first counts as the larger, as in `argmax`.

    Args:
        logits: (N, K), or probabilities; labels: (N,) int64; k: at least 1.

    Example:
        >>> import torch
        >>> in_top_k(torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), torch.tensor([1, 2]), k=2).tolist()
        [True, False]
    """
    if k < 1:
        raise ValueError(f"k is at least 1, not {k}")
    own = logits.gather(-1, labels[:, None])
    places = torch.arange(logits.shape[-1], device=logits.device)
    before = (logits > own) | ((logits == own) & (places < labels[:, None]))
    return before.sum(-1) < k


def recall_by_class(correct: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The share of every class's samples that are classified correctly: (K,) float64, NaN for a class without samples.

    Args:
        correct: (N,) bool; labels: (N,) int64, 0 to K − 1; classes: K.

    Example:
        >>> import torch
        >>> recall_by_class(torch.tensor([True, False, True]), torch.tensor([0, 0, 1]), classes=2).tolist()
        [0.5, 1.0]
    """
    right, samples = (found.bincount(minlength=classes).double() for found in (labels[correct.bool()], labels))
    return right / samples


def balanced_accuracy(correct: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The mean of `recall_by_class` over the classes that have samples: () float64, NaN without samples.

    Example:
        >>> import torch
        >>> float(balanced_accuracy(torch.tensor([True, False, True]), torch.tensor([0, 0, 1]), classes=3))
        0.75
    """
    return recall_by_class(correct, labels, classes).nanmean()
