"""What a classifier may promise of images to come: prediction sets of a stated coverage, and answers of a stated risk.

Both hold for images like those that they are calibrated on, which must be others than any that the classifier, its temperature
included, was fitted on. Shapes: N samples, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.functional.labels import check_probabilities, checked_labels

_EXACT = 1e-9  # (n + 1) · coverage is a whole number where it is this close to one


def conformal_scores(probabilities: Tensor, labels: Tensor) -> Tensor:
    """1 − p of the label of each sample, how little it conforms: (N, K), (N,) to (N,) float64 (Sadinle, Lei and Wasserman 2019).

    Raises ValueError for labels that are no class, and for numbers that are no probability.

    Example:
        >>> import torch
        >>> conformal_scores(torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([0, 1])).tolist()
        [0.25, 0.5]
    """
    labels = checked_labels(labels, probabilities.shape[-1])
    check_probabilities(probabilities)
    return 1 - probabilities.double().gather(-1, labels[:, None])[:, 0]


def conformal_quantile(scores: Tensor, coverage: float) -> float:
    """The score that a new sample's does not exceed with a probability of at least `coverage` (split conformal, Vovk et al. 2005).

    The ⌈(n + 1) · coverage⌉-th smallest of n scores; infinite where that is more than n. The promise is a mean over calibration sets
    and samples, and needs no more than that these are exchangeable.

    Args:
        scores: (n,) of samples that nothing was fitted on; coverage: between 0 and 1.

    Raises ValueError for scores that are not finite, or a coverage outside (0, 1).

    Example:
        >>> import torch
        >>> conformal_quantile(torch.arange(1.0, 10.0), 0.9)  # nine of nine
        9.0
        >>> conformal_quantile(torch.arange(1.0, 9.0), 0.9)  # eight are too few to promise that
        inf
    """
    if not 0 < coverage < 1:
        raise ValueError(f"a coverage lies between 0 and 1, both excluded: not {coverage}")
    if scores.dim() != 1 or not bool(scores.isfinite().all()):
        raise ValueError("scores are (n,) finite numbers")
    position = math.ceil((len(scores) + 1) * coverage - _EXACT)
    return float(scores.double().sort().values[position - 1]) if position <= len(scores) else math.inf


def prediction_sets(probabilities: Tensor, quantile: float) -> Tensor:
    """The classes that cannot be ruled out, (N, K) bool: those whose score is at most `quantile`, and the most probable one always.

    With `conformal_quantile` of the scores of other samples, the true class is among them with at least its coverage. The most
    probable class is no part of the rule: it can but raise the coverage, and no set is empty.

    Example:
        >>> import torch
        >>> prediction_sets(torch.tensor([[0.6, 0.3, 0.1], [0.4, 0.35, 0.25]]), 0.7).tolist()
        [[True, True, False], [True, True, False]]
    """
    check_probabilities(probabilities)
    p = probabilities.double()
    top = torch.zeros_like(p, dtype=torch.bool).scatter_(-1, p.argmax(-1, keepdim=True), True)
    return (1 - p <= quantile) | top


def binomial_upper_bound(errors: int, count: int, delta: float) -> float:
    """The largest probability of an error under which so few errors, or fewer, in `count` are not rarer than `delta`.

    Clopper and Pearson's one-sided bound: the true probability is below it with a probability of at least 1 − delta.

    Example:
        >>> round(binomial_upper_bound(0, 58, 0.05), 3)  # the rule of three
        0.05
    """
    if not 0 <= errors <= count or count < 1 or not 0 < delta < 1:
        raise ValueError(f"expected 0 ≤ errors ≤ count, count ≥ 1 and 0 < delta < 1, got {errors}, {count}, {delta}")
    if errors == count:
        return 1.0
    from scipy.special import betaincinv  # here: it takes half a second to import

    return float(betaincinv(errors + 1, count - errors, 1 - delta))


@dataclass(frozen=True)
class SelectiveThreshold:
    """From which confidence on answers are given."""

    threshold: float  # on the confidence; at or above it is answered
    bound: float  # that the risk of an answer is below with a probability of at least 1 − delta
    answered: int  # of the samples calibrated on
    errors: int  # among these


def selective_threshold(
    confidences: Tensor, correct: Tensor, risk: float, delta: float = 0.05
) -> SelectiveThreshold | None:
    """The lowest confidence from which on answers are wrong with a probability below `risk`; None where none is found.

    Selection with guaranteed risk (Geifman and El-Yaniv 2017, algorithm 2): a binary search over the samples by confidence, whose
    ⌈log2 n⌉ bounds share `delta`, so that they hold together with a probability of at least 1 − delta over calibration sets.

    Args:
        confidences: (n,) of samples that nothing was fitted on; correct: (n,) bool or 0/1.
        risk: share of wrong answers among those given, between 0 and 1; delta: likewise.

    Raises ValueError for shapes that differ, or for numbers outside their ranges.

    Example:
        >>> import torch
        >>> sure, right = torch.linspace(0.5, 1, 200), torch.arange(200) > 40
        >>> found = selective_threshold(sure, right, risk=0.1)
        >>> round(found.threshold, 2), found.bound < 0.1
        (0.59, True)
        >>> selective_threshold(sure, right, risk=0.001) is None  # 200 samples cannot promise that
        True
    """
    if confidences.shape != correct.shape or confidences.dim() != 1 or not len(confidences):
        raise ValueError(
            f"expected two of one shape (n,), n ≥ 1, got {tuple(confidences.shape)}, {tuple(correct.shape)}"
        )
    if not 0 < risk < 1 or not 0 < delta < 1:
        raise ValueError(f"risk and delta lie between 0 and 1, both excluded: not {risk}, {delta}")
    order = confidences.double().sort().values
    sure, wrong = confidences.double(), ~correct.bool()
    looks = max(1, math.ceil(math.log2(len(order))))
    low, high, found = 0, len(order) - 1, None
    for _ in range(looks):
        middle = -(-(low + high) // 2)
        threshold = float(order[middle])
        answered = sure >= threshold
        count, errors = int(answered.sum()), int((wrong & answered).sum())
        bound = binomial_upper_bound(errors, count, delta / looks)
        if bound < risk:
            high, found = middle, SelectiveThreshold(threshold, bound, count, errors)
        else:
            low = middle
    return found
