"""What resampled validation images make of a fitted temperature, so that figures after scaling carry its error.

Shapes: N validation images, K classes, R resamples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vicinal.functional import COLDEST, HOTTEST, checked_labels
from vicinal.metrics.bootstrap import weighted_means

_NODES = torch.linspace(-6, 6, 25, dtype=torch.float64)  # in standard deviations of log T


def fitted_log_temperatures(logits: Tensor, labels: Tensor, temperature: float, weights: Tensor) -> Tensor:
    """log of the temperature that each of R resamples of the validation images would be fitted: (R,) float64.

    The slope of NLL in log T, a mean over images, is taken at 25 temperatures about T, resampled there, and its root found by
    interpolation: what a refit finds but for some 1 % of its deviation, also where one Newton step overshoots. The temperatures
    reach six standard deviations (of the sandwich form) to either side; a resample without a root there, as one in which all
    images are right, gets the end that its slope points to.

    Args:
        logits: (N, K); labels: (N,) int64.
        temperature: the T that `fit_temperature` gives for them.
        weights: (R, N) how often each resample counts each image, of any dtype.

    Raises ValueError for shapes that do not fit, and labels that are no class.

    Example:
        >>> import torch
        >>> logits = torch.tensor([4.0, 0.0]).repeat(4, 1)  # sure by 0.98
        >>> weights = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 2]])  # right three times in four, and half the time
        >>> fitted_log_temperatures(logits, torch.tensor([0, 0, 0, 1]), 3.641, weights)[0].exp().round(decimals=2).item()
        3.64
    """
    if weights.dim() != 2 or logits.dim() != 2 or not weights.shape[1] == len(logits) == len(labels) > 0:
        raise ValueError(
            f"expected (N, K) logits, (N,) labels and (R, N) weights, got {tuple(logits.shape)}, {tuple(labels.shape)} and "
            f"{tuple(weights.shape)}"
        )
    labels = checked_labels(labels, logits.shape[-1])
    z = logits.detach().double()
    z = z - z.amax(-1, keepdim=True)
    z = z.masked_fill(z == -math.inf, -1e30)  # impossible stays so, and 0 · −1e30 is 0
    chosen = z.gather(-1, labels[:, None])[:, 0]
    centre = math.log(temperature)

    def slopes(log_t: float) -> tuple[Tensor, Tensor]:
        """d NLL / d log T of each image, and d² NLL / d log T², (N,) each."""
        scale = math.exp(-log_t)
        p = (z * scale).softmax(-1)
        mean = (p * z).sum(-1)
        first = scale * (chosen - mean)
        return first, -first + scale**2 * ((p * z.square()).sum(-1) - mean.square())

    first, second = slopes(centre)
    deviation = float(first.square().sum().sqrt() / second.sum().clamp_min(1e-300))
    least, most = math.log(COLDEST), math.log(HOTTEST)
    nodes = (centre + _NODES * min(deviation, 1.0)).clamp(least, most).unique()
    # The slope in log T is −(1/T) times that in 1/T, which falls along T (NLL is convex in 1/T): so it rises through one root.
    along = weighted_means(weights, torch.stack([slopes(float(node))[0] for node in nodes], 1))
    return _roots(nodes, along)


def _roots(nodes: Tensor, values: Tensor) -> Tensor:
    """Where each row of (R, L) values crosses 0 upwards along (L,) ascending nodes; the end it points to where it does not."""
    if len(nodes) == 1:
        return nodes.expand(len(values)).clone()
    after = (values > 0).double().argmax(1)  # the first node above 0; 0 where there is none
    none = ~(values > 0).any(1)
    right = after.clamp(1, len(nodes) - 1)
    low, high = (values.gather(1, at[:, None])[:, 0] for at in (right - 1, right))
    share = (low / (low - high)).nan_to_num(0.5).clamp(0, 1)
    found = nodes[right - 1] + share * (nodes[right] - nodes[right - 1])
    return torch.where(none, nodes[-1], torch.where(after == 0, nodes[0], found))
