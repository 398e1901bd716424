"""Mixing, and how far a network is from linear between two images (eq. 12 to 15).

Shapes: B pairs, K classes. In nats.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vicinal.functional.divergences import Lam, as_weight, check_same_shape, entropy_of_logs, kl_of_logs, precise


def mix(x_i: Tensor, x_j: Tensor, lam: Lam) -> Tensor:
    """λ x_i + (1 − λ) x_j (eq. 5), exact at λ = 0 and 1.

    Args:
        x_i, x_j: (B, ...) of one shape and a floating type. Neither is changed.
        lam: a number, or (B,) with one λ for each sample.

    Raises:
        ValueError: shapes differ, λ lies outside [0, 1], or the images are integers.

    Example:
        >>> import torch
        >>> mix(torch.ones(2, 1), torch.zeros(2, 1), torch.tensor([0.25, 1.0])).tolist()
        [[0.25], [1.0]]
    """
    if x_i.shape != x_j.shape:
        raise ValueError(f"the two inputs have different shapes: {tuple(x_i.shape)} and {tuple(x_j.shape)}")
    if not x_i.is_floating_point() or not x_j.is_floating_point():
        raise ValueError("mix takes floating-point inputs (integers cannot hold the mixture)")
    weight = as_weight(lam, x_i)
    if weight.dim() == 1:
        weight = weight.view(-1, *[1] * (x_i.dim() - 1))
    return weight * x_i + (1 - weight) * x_j


def linear_log_probabilities(logits_i: Tensor, logits_j: Tensor, lam: Lam) -> Tensor:
    """log(λ p_i + (1 − λ) p_j): what a perfectly linear model answers on the mixed input. (B, K) in and out.

    Example:
        >>> import torch
        >>> dog, cat = torch.tensor([[30.0, 0.0]]), torch.tensor([[0.0, 30.0]])
        >>> [round(p, 3) for p in linear_log_probabilities(dog, cat, 0.25).exp()[0].tolist()]
        [0.25, 0.75]
    """
    check_same_shape(logits_i, logits_j)
    log_p_i, log_p_j = precise(logits_i).log_softmax(-1), precise(logits_j).log_softmax(-1)
    weight = as_weight(lam, log_p_i)
    if weight.dim() > 0:
        weight = weight[..., None]
    own, other = weight.log() + log_p_i, torch.log1p(-weight) + log_p_j
    # Impossible for both: −inf, which logaddexp gives too, but with a gradient of NaN.
    impossible = torch.maximum(own, other) == -math.inf
    if own.requires_grad or other.requires_grad:
        own, other = (part.masked_fill(impossible, 0.0) for part in (own, other))
        return torch.logaddexp(own, other).masked_fill(impossible, -math.inf)
    return torch.logaddexp(own, other)


def nonlinearity_residual(logits_i: Tensor, logits_j: Tensor, logits_mixed: Tensor, lam: Lam) -> Tensor:
    """NL = KL(λ p_i + (1 − λ) p_j ‖ p_mixed) for each pair (the inside of eq. 12), in nats, never below 0.

    Args:
        logits_i, logits_j, logits_mixed: (B, K) answers to x_i, x_j and λ x_i + (1 − λ) x_j.
        lam: a number or (B,).

    Returns:
        (B,). 0 at λ = 0 and 1 where the mixed answer is the clean one.

    Example:
        >>> import torch
        >>> dog, cat = torch.tensor([[30.0, 0.0]]), torch.tensor([[0.0, 30.0]])
        >>> [round(float(nonlinearity_residual(dog, cat, mixed, 0.5)), 3) for mixed in (torch.zeros(1, 2), dog)]  # linear, and sure
        [0.0, 14.307]
    """
    check_same_shape(logits_i, logits_mixed)
    return kl_of_logs(linear_log_probabilities(logits_i, logits_j, lam), precise(logits_mixed).log_softmax(-1))


def linearity_information(logits_i: Tensor, logits_j: Tensor, logits_mixed: Tensor, lam: Lam) -> Tensor:
    """I_lin = H[λ p_i + (1 − λ) p_j] − NL for each pair (eq. 14), in nats. Arguments as `nonlinearity_residual`.

    Example:
        >>> import torch
        >>> dog, cat = torch.tensor([[30.0, 0.0]]), torch.tensor([[0.0, 30.0]])
        >>> round(float(linearity_information(dog, cat, torch.zeros(1, 2), 0.5)), 3)  # log 2 where the network is linear
        0.693
    """
    check_same_shape(logits_i, logits_mixed)
    log_linear = linear_log_probabilities(logits_i, logits_j, lam)
    return entropy_of_logs(log_linear) - kl_of_logs(log_linear, precise(logits_mixed).log_softmax(-1))


def dominance_ratio(nonlinearity: Tensor, entropy: Tensor) -> Tensor:
    """D = mean NL / mean H (eq. 13), a ratio of means over the first dimension (pairs).

    Args:
        nonlinearity, entropy: (B,) or (B, L), per pair; or already averaged numbers of shape ().

    Returns:
        () or (L,); NaN where both means are 0.

    Example:
        >>> import torch
        >>> float(dominance_ratio(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.0])))  # 2 over 0.5; the mean of ratios is infinite
        4.0
    """
    check_same_shape(nonlinearity, entropy)
    if nonlinearity.dim() > 0:
        nonlinearity, entropy = nonlinearity.mean(0), entropy.mean(0)
    return nonlinearity / entropy


def linearity_gain(teacher_nonlinearity: Tensor, student_nonlinearity: Tensor) -> Tensor:
    """Δ_lin = NL of the teacher − NL of the student (eq. 15), in nats; shapes as given.

    Example:
        >>> import torch
        >>> linearity_gain(torch.tensor(0.75), torch.tensor(0.5)).item()
        0.25
    """
    check_same_shape(teacher_nonlinearity, student_nonlinearity)
    return teacher_nonlinearity - student_nonlinearity
