"""Divergences and entropies of logits, in log space and at least float32; float64 in gives float64 out.

Shapes: B samples, K classes, (...,) any leading shape. In nats, for each sample.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Lam = Tensor | float


def kl_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """KL(p ‖ q) in nats for each sample, of the softmax of (..., K) logits; never below 0. Returns (...,).

    Example:
        >>> import torch
        >>> one, flat = torch.tensor([[3.0, 0.0]]), torch.zeros(1, 2)
        >>> [round(float(kl_divergence(*pair)), 3) for pair in ((one, flat), (flat, one), (one, one))]
        [0.502, 0.855, 0.0]
    """
    check_same_shape(p_logits, q_logits)
    return kl_of_logs(precise(p_logits).log_softmax(-1), precise(q_logits).log_softmax(-1))


def prediction_entropy(logits: Tensor) -> Tensor:
    """H of the softmax of (..., K) logits, in nats for each sample: between 0 and log K. Returns (...,).

    Example:
        >>> import torch
        >>> [round(nats, 3) for nats in prediction_entropy(torch.tensor([[0.0, 0.0], [2.0, 0.0]])).tolist()]  # log 2, and less
        [0.693, 0.365]
    """
    return entropy_of_logs(precise(logits).log_softmax(-1))


def precise(x: Tensor) -> Tensor:
    """At least float32; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def as_weight(lam: Lam, like: Tensor) -> Tensor:
    """λ as a tensor, () or (B,), of the type and on the device of `like`. Raises ValueError outside [0, 1], on a CPU."""
    weight = torch.as_tensor(lam, dtype=like.dtype, device=like.device)
    # Checked where looking costs nothing: on a GPU it would make every step wait.
    if weight.device.type == "cpu" and not bool(((weight >= 0) & (weight <= 1)).all()):
        raise ValueError("λ must lie in [0, 1]")
    return weight


def check_same_shape(a: Tensor, b: Tensor) -> None:
    """Raises ValueError where two shapes differ."""
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {tuple(a.shape)} and {tuple(b.shape)}")


def kl_of_logs(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q), (...,), of (..., K) log-probabilities. What is not finite stays so, gradients included.

    Infinite where q is 0 and p is not; a class that p holds impossible (log p = −inf) adds nothing, whatever q says.
    """
    # 0 · (−inf − x) is 0 in the limit. Masked before the product, so that the gradient is 0 as well, not NaN.
    gap = torch.where(log_p == -math.inf, 0.0, log_p - log_q)
    return not_negative(loud((log_p.exp() * gap).sum(-1)))


def entropy_of_logs(log_p: Tensor) -> Tensor:
    """H, (...,), of (..., K) log-probabilities; NaN where one is NaN."""
    return not_negative(-(log_p.exp() * torch.where(log_p == -math.inf, 0.0, log_p)).sum(-1))


def not_negative(x: Tensor) -> Tensor:
    """x with what lies below 0 at 0, and the gradient of x everywhere.

    Rounding leaves −1e-8 of a quantity that is never negative; a clamp would take its gradient away.
    """
    return torch.where(x < 0, x - x.detach(), x)


def loud(loss: Tensor) -> Tensor:
    """The loss as it is, but where it is not finite its gradient is not finite either, so that nobody trains on it."""
    return loss * torch.where(loss.detach().isfinite(), 1.0, loss.detach())
