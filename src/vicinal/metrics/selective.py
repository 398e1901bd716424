"""Whether confidence is of use: selective prediction, out-of-distribution detection, class-wise ECE, and McNemar's test.

Shapes: N samples, K classes. These go beyond the paper.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vicinal.functional import (
    calibration_bins,
    check_probabilities,
    checked_labels,
    prediction_entropy,
    refuse_probabilities,
)
from vicinal.metrics.bootstrap import NUMBERS_AT_ONCE
from vicinal.metrics.consistency import calibration_test, classwise_calibrated_errors


def confidence_score(logits: Tensor) -> Tensor:
    """log(p / (1 − p)) of the largest probability p of each sample: (N, K) to (N,) float64, K ≥ 2.

    It ranks samples as the confidence does, without the ties that rounding to 1 makes among sure answers.
    """
    # Sorted and relative to the top: the same answer under other class names, or shifted, is exactly a tie.
    z = logits.double().sort(-1, descending=True).values
    return -(z[..., 1:] - z[..., :1]).logsumexp(-1)


def risk_coverage(scores: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """The risk-coverage curve (El-Yaniv and Wiener 2010): the share of errors among the k samples answered with most confidence.

    Samples of one score have no order among themselves: risk is its expectation over all orders of them.

    Args:
        scores: (N,), higher is surer; correct: (N,) 0/1 or bool, N ≥ 1.

    Returns:
        coverage k / N and risk for k = 1 ... N: (N,) float64 each. The last risk is the error rate.
    """
    _paired(scores, correct)
    values, group = (-scores.double()).unique(return_inverse=True)  # ascending, so the surest group is the first
    wrong = torch.zeros(len(values), dtype=torch.float64, device=scores.device)
    wrong.index_add_(0, group, 1 - correct.double())
    size = group.bincount(minlength=len(values))
    # Within a group each further sample is an error at the group's own rate.
    errors = (wrong / size).repeat_interleave(size).cumsum(0)
    answered = torch.arange(1, len(scores) + 1, dtype=torch.float64, device=scores.device)
    return answered / len(scores), errors / answered


def aurc(scores: Tensor, correct: Tensor) -> Tensor:
    """Area under the risk-coverage curve: its mean over k = 1 ... N (Geifman, Uziel and El-Yaniv 2019). () float64."""
    return risk_coverage(scores, correct)[1].mean()


def resampled_aurc(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """AURC of every resample of the samples: (R,) float64.

    Samples of one score have no order, so that each copy of them is an error at their rate in the resample.

    Args:
        logits: (N, K); labels: (N,) int64; counts: (R, N) how often each resample counts each sample, rows with sum N.

    Example:
        >>> import torch
        >>> logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.5]]), torch.tensor([0, 1, 0, 0])
        >>> resampled_aurc(logits, labels, torch.ones(1, 4)).tolist()
        [0.0625]
    """
    scores, correct = confidence_score(logits), logits.argmax(-1) == labels
    order = (-scores).argsort(stable=True)
    group = (-scores[order]).unique_consecutive(return_inverse=True)[1]
    wrong, groups = (~correct[order]).double(), int(group[-1]) + 1
    answered = torch.arange(1, len(scores) + 1, dtype=torch.float64)
    found = []
    for part in counts.split(max(1, NUMBERS_AT_ONCE // len(scores))):
        drawn = part[:, order].double()
        by_group = torch.zeros(2, len(part), groups, dtype=torch.float64)
        by_group[0].index_add_(1, group, drawn * wrong)
        by_group[1].index_add_(1, group, drawn)
        rate = by_group[0] / by_group[1].clamp_min(1)
        errors = rate.flatten().repeat_interleave(by_group[1].flatten().long()).view(len(part), -1)
        found.append((errors.cumsum(1) / answered).mean(1))
    return torch.cat(found)


def selective(logits: Tensor, labels: Tensor, points: int = 50) -> dict[str, Any]:
    """The entry "selective" of results.json: the curve at `points` even coverages (fewer for fewer samples), and the AURC of all.

    Args:
        logits: (N, K); labels: (N,) int64, N ≥ 1.

    Example:
        >>> import torch
        >>> entry = selective(torch.tensor([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.5, 0.0]]), torch.tensor([0, 0, 0, 1]))
        >>> entry["coverage"], entry["risk"], entry["aurc"]
        ([0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.0, 0.25], 0.0625)
    """
    labels = checked_labels(labels, logits.shape[-1])
    refuse_probabilities(logits)
    scores, correct = confidence_score(logits), logits.argmax(-1) == labels
    coverage, risk = risk_coverage(scores, correct)
    count = min(points, len(labels))
    at = [-(-len(labels) * k // count) - 1 for k in range(1, count + 1)]
    return {"coverage": coverage[at].tolist(), "risk": risk[at].tolist(), "aurc": float(risk.mean())}


def ood_auroc(
    logits: Tensor, other_logits: Tensor, score: Literal["max_probability", "entropy"] = "max_probability"
) -> float:
    """How well confidence tells known images from those of another data set (Hendrycks and Gimpel 2017).

    The probability that a known image gets a higher score than another one, ties counting one half: 1 is perfect, 0.5 is chance.

    Args:
        logits: (N, K) answers to test images; other_logits: (M, K) to the other data set's. N, M ≥ 1.
        score: the largest probability, or minus the entropy of the answer.

    Example:
        >>> import torch
        >>> ood_auroc(torch.tensor([[3.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
        0.75
    """
    if score not in ("max_probability", "entropy"):
        raise ValueError(f"score is max_probability or entropy, not {score!r}")
    if len(logits) == 0 or len(other_logits) == 0:
        raise ValueError("both data sets need at least one image")
    if not bool(logits.isfinite().all() and other_logits.isfinite().all()):
        raise ValueError("an answer is not finite")
    refuse_probabilities(logits, other_logits)
    known, other = (
        confidence_score(z) if score == "max_probability" else -prediction_entropy(z.double())
        for z in (logits, other_logits)
    )
    is_known = np.repeat([1, 0], [len(known), len(other)])
    from sklearn.metrics import roc_auc_score  # here: it takes a second to import

    return float(roc_auc_score(is_known, torch.cat([known, other]).detach().cpu().numpy()))


def classwise_expected_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Tensor:
    """Class-wise ECE: the mean over classes of the ECE of "is it class k?" (Kull et al. 2019, section 2).

    Each class's probability, of all samples, is binned by equal widths (lo, hi] and held against how often it is that class.
    ECE asks for the top class only; this asks for all of them. It shrinks with K, so compare within one data set.

    Args:
        probabilities: (N, K); labels: (N,) int64, N ≥ 1.

    Returns:
        () a fraction.

    Example:
        >>> import torch
        >>> float(classwise_expected_calibration_error(torch.tensor([[0.75, 0.25]] * 2), torch.tensor([0, 1])))
        0.25
    """
    by_class = class_expected_calibration_errors(probabilities, labels, bins)
    return by_class.mean().to(probabilities.dtype if probabilities.dtype == torch.float64 else torch.float32)


def class_expected_calibration_errors(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Tensor:
    """The ECE of "is it class k?" of every class: (K,) float64, fractions. Arguments as `classwise_expected_calibration_error`."""
    if probabilities.dim() != 2 or labels.shape != probabilities.shape[:1] or len(labels) == 0:
        raise ValueError(
            f"expected (N, K) probabilities and (N,) labels, N ≥ 1, got {tuple(probabilities.shape)}, {tuple(labels.shape)}"
        )
    labels = checked_labels(labels, probabilities.shape[-1])
    check_probabilities(probabilities)
    p = probabilities if probabilities.dtype == torch.float64 else probabilities.float()
    found = torch.zeros(p.shape[1], dtype=torch.float64, device=p.device)
    for k in range(p.shape[1]):
        _, confidence, members = calibration_bins(p[:, k], labels == k, bins)
        found[k] = (members - confidence).abs().sum() / len(labels)
    return found


def class_calibration(
    probabilities: Tensor, labels: Tensor, bins: int = 15, resamples: int = 1000, seed: int = 0
) -> tuple[dict[str, Any], Tensor]:
    """The entry "class_calibration" of results.json, and class-wise ECE of a calibrated model over resamples: (R',) float64.

    Args:
        probabilities: (N, K); labels: (N,) int64, N ≥ 1; bins: of equal width.
        resamples, seed: of labels drawn from the answers, see `classwise_calibrated_errors`.

    Returns:
        images, ece, floor and p_value, lists of K each: the p of each class stands for itself, so that of 100 calibrated classes
        five are below .05.

    Example:
        >>> import torch
        >>> answers, labels = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).repeat(50, 1), torch.tensor([0, 1]).repeat(50)
        >>> [round(ece, 2) for ece in class_calibration(answers, labels)[0]["ece"]]
        [0.15, 0.15]
    """
    own = class_expected_calibration_errors(probabilities, labels, bins)
    drawn = classwise_calibrated_errors(probabilities, bins, resamples, seed)
    tests = [calibration_test(float(ece), drawn[:, k]) for k, ece in enumerate(own)]
    return {
        "images": labels.bincount(minlength=probabilities.shape[1]).tolist(),
        "ece": own.tolist(),
        "floor": [test["floor"] for test in tests],
        "p_value": [test["p_value"] for test in tests],
    }, drawn.mean(1)


def mcnemar(correct: Tensor, other_correct: Tensor) -> dict[str, Any]:
    """McNemar's exact test that two classifiers are right equally often, on the same samples (McNemar 1947).

    Only samples that one gets right and the other wrong count; under the hypothesis they fall on either side like coins.

    Args:
        correct, other_correct: (N,) 0/1 or bool.

    Returns:
        only_first, only_second: how many; p_value: two-sided, from the binomial distribution.

    Example:
        >>> import torch
        >>> found = mcnemar(torch.tensor([1, 1, 1, 1, 1, 0]), torch.tensor([0, 0, 0, 0, 0, 0]))
        >>> found["only_first"], found["only_second"], round(found["p_value"], 4)
        (5, 0, 0.0625)
    """
    first, second = correct.bool(), other_correct.bool()
    if first.shape != second.shape or first.dim() != 1:
        raise ValueError(f"expected two of one shape (N,), got {tuple(first.shape)} and {tuple(second.shape)}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    from scipy.stats import binomtest  # here: it takes half a second to import

    p_value = float(binomtest(min(only_first, only_second), differing).pvalue) if differing else 1.0
    return {"only_first": only_first, "only_second": only_second, "p_value": p_value}


def _paired(scores: Tensor, correct: Tensor) -> None:
    if scores.shape != correct.shape or scores.dim() != 1 or len(scores) == 0:
        raise ValueError(f"expected two of one shape (N,), N ≥ 1, got {tuple(scores.shape)} and {tuple(correct.shape)}")
    if not bool(scores.isfinite().all()):
        raise ValueError("scores must be finite")
