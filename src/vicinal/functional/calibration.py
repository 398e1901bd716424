"""Confidence against accuracy: ECE in both binnings, NLL, Brier score, temperature scaling.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.functional.divergences import loud, precise
from vicinal.functional.labels import check_probabilities, checked_labels, refuse_probabilities

COLDEST, HOTTEST = 0.001, 1000.0  # temperatures that are looked for


def confidence(probabilities: Tensor) -> Tensor:
    """The largest probability of each sample: (N, K) to (N,). NaN stays NaN. Raises ValueError for a largest outside [0, 1].

    Example:
        >>> import torch
        >>> confidence(torch.tensor([[0.75, 0.25], [0.5, 0.5]])).tolist()
        [0.75, 0.5]
    """
    largest = probabilities.amax(-1)
    if bool(((largest < 0) | (largest > 1 + 1e-2)).any()):  # half precision rounds above 1
        raise ValueError("probabilities must lie in [0, 1]; give the softmax of logits")
    return largest


def bin_of(confidences: Tensor, bins: int = 15) -> Tensor:
    """Which of the equal-width bins (lo, hi] of [0, 1] each confidence falls in: (N,) to (N,) int64.

    Example:
        >>> import torch
        >>> bin_of(torch.tensor([0.0, 0.5, 0.51, 1.0]), bins=2).tolist()
        [0, 0, 1, 1]
    """
    # k / bins rounded once: linspace accumulates, and its edges lie an ulp off.
    edges = (torch.arange(1, bins, dtype=torch.float64) / bins).to(confidences)
    return torch.bucketize(confidences.contiguous(), edges, right=False)


def calibration_bins(confidences: Tensor, correct: Tensor, bins: int = 15) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over equal-width bins (lo, hi] of [0, 1]; confidence 0 falls in the first bin, 1 in the last.

    Args:
        confidences: (N,) in [0, 1]; correct: (N,) 0/1 or bool.

    Returns:
        count, sum of confidence, number correct: each (bins,) in float64.

    Example:
        >>> import torch
        >>> count, total, right = calibration_bins(torch.tensor([0.25, 0.75, 1.0]), torch.tensor([1, 1, 0]), bins=2)
        >>> count.tolist(), total.tolist(), right.tolist()
        ([1.0, 2.0], [0.25, 1.75], [1.0, 1.0])
    """
    if confidences.numel() and not (confidences.amin() >= 0 and confidences.amax() <= 1 + 1e-6):
        raise ValueError("confidences must lie in [0, 1]")
    where = bin_of(confidences, bins)
    count = torch.zeros(bins, dtype=torch.float64, device=confidences.device)
    total, right = count.clone(), count.clone()
    count.index_add_(0, where, torch.ones_like(confidences, dtype=torch.float64))
    total.index_add_(0, where, confidences.double())
    right.index_add_(0, where, correct.double())
    return count, total, right


def expected_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Tensor:
    """ECE with equal-width bins (eq. 16), of all samples together.

    Args:
        probabilities: (N, K); labels: (N,) int64.

    Returns:
        () a fraction. NaN for no samples.

    Raises:
        ValueError: shapes, labels that are no class, or numbers that are no probability, NaN among them.

    Example:
        >>> import torch
        >>> probabilities = torch.tensor([[0.75, 0.25], [0.75, 0.25]])
        >>> float(expected_calibration_error(probabilities, torch.tensor([0, 1])))  # sure by 0.75, right half the time
        0.25
    """
    conf, correct = _confidence_and_correct(probabilities, labels)
    count, total, right = calibration_bins(conf, correct, bins)
    return ((right - total).abs().sum() / count.sum()).to(conf.dtype)


def equal_mass_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Tensor:
    """ECE with bins that hold equally many samples (sizes differ by one at most), of all samples together.

    Arguments and result as `expected_calibration_error`. Samples of one confidence that fall on two bins are shared out
    evenly, so that the order of the data changes nothing.

    Example:
        >>> import torch
        >>> probabilities = torch.tensor([[0.75, 0.25], [0.75, 0.25]])
        >>> float(equal_mass_calibration_error(probabilities, torch.tensor([0, 1])))
        0.25
    """
    conf, correct = _confidence_and_correct(probabilities, labels)
    gaps = (equal_mass_shares(conf, bins) * (correct.double() - conf.double())[:, None]).sum(0)
    return (gaps.abs().sum() / len(conf)).to(conf.dtype)


def equal_mass_shares(confidences: Tensor, bins: int = 15) -> Tensor:
    """How much of each sample lies in each of the bins of equally many samples: (N,) to (N, B) float64, B = min(bins, N).

    Samples of one confidence are shared out evenly over the bins that they fall on; sizes of bins differ by one at most.

    Example:
        >>> import torch
        >>> equal_mass_shares(torch.tensor([0.9, 0.6, 0.9, 0.9]), bins=2)[:, 0].round(decimals=2).tolist()
        [0.33, 1.0, 0.33, 0.33]
    """
    bins = min(bins, max(len(confidences), 1))
    _, group, size = confidences.unique(return_inverse=True, return_counts=True)
    of_place = torch.arange(len(size), device=size.device).repeat_interleave(size)
    parts = [len(part) for part in of_place.tensor_split(bins)]
    bin_of_place = torch.arange(bins, device=size.device).repeat_interleave(torch.tensor(parts, device=size.device))
    shares = torch.zeros(len(size), bins, dtype=torch.float64, device=size.device)
    shares.index_put_(
        (of_place, bin_of_place), torch.ones((), dtype=torch.float64, device=size.device), accumulate=True
    )
    shared: Tensor = (shares / size[:, None])[group]
    return shared


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """−log p of the label for each sample, in nats: (N, K), (N,) to (N,). Infinite where the label's logit is −inf.

    Raises ValueError for labels that are no class.

    Example:
        >>> import torch
        >>> negative_log_likelihood(torch.zeros(1, 4), torch.tensor([2])).exp().round().tolist()  # one of four, by chance
        [4.0]
    """
    return loud(F.cross_entropy(precise(logits), checked_labels(labels, logits.shape[-1]), reduction="none"))


def brier_score(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Σ_k (p_k − y_k)² for each sample, between 0 and 2: (N, K), (N,) to (N,).

    Raises ValueError for labels that are no class, and for numbers that are no probability.

    Example:
        >>> import torch
        >>> brier_score(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([0, 0])).tolist()
        [0.0, 0.5]
    """
    probabilities, labels = precise(probabilities), checked_labels(labels, probabilities.shape[-1])
    check_probabilities(probabilities)
    return (probabilities - F.one_hot(labels, probabilities.shape[-1]).to(probabilities.dtype)).square().sum(-1)


def fit_temperature(logits: Tensor, labels: Tensor) -> float | None:
    """The T > 0 with the lowest NLL of softmax(logits / T) (temperature scaling, Guo et al. 2017); None where no finite T has it.

    NLL is convex in 1/T, so bisection on its derivative finds the one minimum. Looked for between 0.001 and 1000; beyond, as of
    answers that are all right, nothing is fitted: see `temperature_limit`. A class whose logit is −inf stays impossible.

    Args:
        logits: (N, K); labels: (N,) integers, N ≥ 1.

    Raises:
        ValueError: no sample, a label that is no class or has a logit of −inf, logits that are NaN, +inf or probabilities.

    Example:
        >>> import torch
        >>> logits = torch.tensor([4.0, 0.0]).repeat(4, 1)  # sure by 0.98, right three times in four
        >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 3)
        3.641
        >>> fit_temperature(logits, torch.tensor([0, 0, 0, 0]))  # all right: the surer the better
    """
    best = temperature_limit(logits, labels)
    return best if 0 < best < math.inf else None


def temperature_limit(logits: Tensor, labels: Tensor) -> float:
    """`fit_temperature`, and where that is None, what T tends to.

    0 where sharper answers are better down to 0.001, as where all are right; infinity where flatter ones are up to 1000, so that
    the logits say less than nothing or are too large by far; NaN where T changes no answer. Arguments and errors as there.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
        >>> [temperature_limit(logits, torch.tensor(labels)) for labels in ([0, 1], [1, 0])]
        [0.0, inf]
    """
    if len(logits) == 0:
        raise ValueError("fitting a temperature needs at least one sample")
    labels = checked_labels(labels, logits.shape[-1])
    refuse_probabilities(logits)
    z = logits.detach().double()
    if bool((z.isnan() | (z == math.inf)).any()):
        raise ValueError("a temperature cannot be fitted to logits that are NaN or infinite")
    z = z - z.amax(-1, keepdim=True)
    chosen = z.gather(-1, labels[:, None]).mean()
    if not bool(chosen.isfinite()):
        raise ValueError("a label is a class whose logit is −inf, so no temperature makes it likely")
    possible = z > -math.inf
    finite = z.masked_fill(~possible, 0.0)  # 0 · −inf is 0 in the mean below
    if bool((finite == 0).all()):
        return math.nan

    def slope(scale: float) -> float:
        """d NLL / d (1/T) at 1/T = scale."""
        return float(((z * scale).softmax(-1) * finite).sum(-1).mean() - chosen)

    if slope(1 / COLDEST) <= 0:
        return 0.0
    if slope(1 / HOTTEST) >= 0:
        return math.inf
    low, high = -math.log(HOTTEST), -math.log(COLDEST)  # of 1/T
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(math.exp(middle)) > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def _confidence_and_correct(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if probabilities.dim() != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(
            f"expected (N, K) probabilities and (N,) labels, got {tuple(probabilities.shape)}, {tuple(labels.shape)}"
        )
    labels = checked_labels(labels, probabilities.shape[-1])
    check_probabilities(probabilities)
    conf, predicted = precise(probabilities).max(-1)
    return conf, predicted == labels
