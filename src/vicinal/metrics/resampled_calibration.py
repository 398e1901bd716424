"""The figures of calibration over resamples of the samples, also with the temperature fitted anew to each resample.

Shapes: N samples, K classes, R resamples, B bins, Q columns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vicinal.functional import bin_of, brier_score, confidence, equal_mass_shares, negative_log_likelihood
from vicinal.metrics.bootstrap import weighted_means

_TEMPERATURES = 7  # that figures are interpolated between
MEANS = ("accuracy", "confidence", "nll", "brier")
FIGURES = (*MEANS, "ece", "ece_equal_mass")


def resampled_figures(
    logits: Tensor, labels: Tensor, bins: int, counts: Tensor, log_temperatures: Tensor | None = None
) -> dict[str, Tensor]:
    """Accuracy, confidence, NLL (nats), Brier score and ECE in both binnings, of every resample: (R,) float64 each.

    The bins of equal mass stay those of the samples. With temperatures the figures of a resample are those of its own
    temperature, interpolated between 7 temperatures: by the polynomial through all of them, ECE by the straight line between
    two, since it has kinks.

    Args:
        logits: (N, K) float64; labels: (N,) int64.
        counts: (R, N) how often each resample counts each sample, rows with sum N, of any dtype.
        log_temperatures: (R,) log of what each resample's logits are divided by; None for 1.

    Raises ValueError for shapes that do not fit, and answers that are NaN.

    Example:
        >>> import torch
        >>> logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).double(), torch.tensor([0, 0])
        >>> resampled_figures(logits, labels, 10, torch.tensor([[1, 1], [2, 0]]))["accuracy"].tolist()
        [0.5, 1.0]
    """
    if counts.dim() != 2 or counts.shape[1] != len(logits):
        raise ValueError(f"expected (R, {len(logits)}) counts, got {tuple(counts.shape)}")
    if log_temperatures is None:
        return _figures(weighted_means(counts, calibration_terms(logits, labels, bins)), bins)
    if log_temperatures.shape != counts.shape[:1]:
        raise ValueError(f"expected {len(counts)} temperatures, one a resample, got {tuple(log_temperatures.shape)}")
    nodes = _nodes(log_temperatures)
    parts = [
        _figures(weighted_means(counts, calibration_terms(logits / math.exp(node), labels, bins)), bins)
        for node in nodes.tolist()
    ]
    smooth, straight = _polynomial(nodes, log_temperatures), _between(nodes, log_temperatures)
    return {
        name: ((smooth if name in MEANS else straight) * torch.stack([part[name] for part in parts], 1)).sum(1)
        for name in FIGURES
    }


def calibration_terms(logits: Tensor, labels: Tensor, bins: int) -> Tensor:
    """What the figures are made of, by sample: (N, 4 + 2 B) float64; `bins` of equal width, at most as many of equal mass."""
    probabilities = logits.softmax(-1)
    conf, correct = confidence(probabilities), logits.argmax(-1) == labels
    if not bool(conf.isfinite().all()):  # the largest of NaN is a class like any other
        raise ValueError("an answer is NaN or infinite, so that it is neither right nor wrong")
    gap = (correct.double() - conf)[:, None]
    means = [correct.double(), conf, negative_log_likelihood(logits, labels), brier_score(probabilities, labels)]
    in_bin = torch.nn.functional.one_hot(bin_of(conf, bins), bins)
    return torch.cat([torch.stack(means, 1), in_bin * gap, equal_mass_shares(conf, bins) * gap], 1)


def _figures(means: Tensor, bins: int) -> dict[str, Tensor]:
    figures = {name: means[:, k] for k, name in enumerate(MEANS)}
    equal_mass = means[:, len(MEANS) + bins :].abs().sum(1)
    return figures | {"ece": ece_of_means(means, bins), "ece_equal_mass": equal_mass}


def ece_of_means(means: Tensor, bins: int) -> Tensor:
    """ECE in bins of equal width, (...) from (..., 4 + 2 B) means of `calibration_terms`."""
    return means[..., len(MEANS) : len(MEANS) + bins].abs().sum(-1)


def _nodes(log_temperatures: Tensor) -> Tensor:
    """Chebyshev's points of the second kind over the range, both ends included, ascending."""
    low, high = log_temperatures.aminmax()
    angle = torch.linspace(math.pi, 0, _TEMPERATURES, dtype=torch.float64)
    nodes: Tensor = ((low + high) / 2 + (high - low) / 2 * angle.cos()).unique()
    return nodes


def _polynomial(nodes: Tensor, x: Tensor) -> Tensor:
    """(R, L) weights of the polynomial through the values at L nodes, at each x (Lagrange's form)."""
    weights = torch.ones(len(x), len(nodes), dtype=torch.float64)
    for k, node in enumerate(nodes):
        for other in nodes[torch.arange(len(nodes)) != k]:
            weights[:, k] *= (x - other) / (node - other)
    return weights


def _between(nodes: Tensor, x: Tensor) -> Tensor:
    """(R, L) weights of the straight line between the two nodes about each x."""
    if len(nodes) == 1:
        return torch.ones(len(x), 1, dtype=torch.float64)
    right = torch.searchsorted(nodes, x.contiguous()).clamp(1, len(nodes) - 1)
    share = ((x - nodes[right - 1]) / (nodes[right] - nodes[right - 1])).clamp(0, 1)
    weights = torch.zeros(len(x), len(nodes), dtype=torch.float64)
    weights.scatter_(1, right[:, None] - 1, 1 - share[:, None])
    return weights.scatter_(1, right[:, None], share[:, None])
