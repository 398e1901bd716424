"""The losses of eq. 2: distillation, the linear target, cross-entropy with mixed labels.

Shapes: B samples, K classes. Nats for each sample; the mean over the batch is the loss.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vicinal.functional.divergences import Lam, as_weight, check_same_shape, kl_divergence, precise
from vicinal.functional.vicinal import linear_log_probabilities


def kd_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float | Literal["sigma", "teacher_sigma"]
) -> Tensor:
    """T² · KL(teacher^T ‖ student^T) for each sample (eq. 1, 9; the factor is Hinton's), summed over classes.

    Args:
        student_logits, teacher_logits: (..., K). No gradient flows to the teacher.
        temperature: a positive number; `sigma` divides each network's logits by their own per-sample population standard
            deviation, without a factor (the authors' code); `teacher_sigma` divides both by the teacher's deviation σ and
            multiplies by σ², as every temperature does (the paper's text).

    Returns:
        (...,) nats times T².

    Raises:
        ValueError: shapes differ, or the temperature is none of the above.

    Example:
        >>> import torch
        >>> student, teacher = torch.zeros(1, 2), torch.tensor([[3.0, 0.0]])
        >>> [round(float(kd_loss(student, teacher, t)), 3) for t in (1, 4, "sigma")]
        [0.502, 1.051, 0.328]
    """
    check_same_shape(student_logits, teacher_logits)
    student, teacher = precise(student_logits), precise(teacher_logits.detach())
    if temperature == "sigma":
        return kl_divergence(teacher / _deviation(teacher), student / _deviation(student))
    if temperature == "teacher_sigma":
        sigma = _deviation(teacher)
        return sigma.squeeze(-1).square() * kl_divergence(teacher / sigma, student / sigma)
    if isinstance(temperature, str | bool) or not 0 < temperature < float("inf"):
        raise ValueError(f"a temperature is a positive number, 'sigma' or 'teacher_sigma', not {temperature!r}")
    return temperature**2 * kl_divergence(teacher / temperature, student / temperature)


def linear_target_loss(
    student_logits: Tensor,
    teacher_logits_i: Tensor,
    teacher_logits_j: Tensor,
    lam: Lam,
    temperature: float | Literal["sigma"],
) -> Tensor:
    """T² · KL(λ p_i^T + (1 − λ) p_j^T ‖ student^T) for each sample: taught by the answer of a perfectly linear teacher.

    A control that the paper lacks: beside `kd_loss` on the mixed input it shows what the teacher's own answer there adds or
    takes away.

    Args:
        student_logits: (B, K) answers to the mixed images; teacher_logits_i, teacher_logits_j: to the two clean images. No
            gradient flows to the teacher.
        lam: a number or (B,).
        temperature: a positive number, or `sigma` (every logit vector over its own deviation, no factor).

    Returns:
        (B,) nats times T².

    Raises:
        ValueError: shapes differ, or the temperature is none of the above.

    Example:
        >>> import torch
        >>> dog, cat = torch.tensor([[30.0, 0.0]]), torch.tensor([[0.0, 30.0]])
        >>> round(float(linear_target_loss(torch.zeros(1, 2), dog, cat, 0.5, 1.0)), 3)  # half of each is what it says
        0.0
    """
    check_same_shape(student_logits, teacher_logits_i)
    check_same_shape(student_logits, teacher_logits_j)
    student, i, j = precise(student_logits), precise(teacher_logits_i.detach()), precise(teacher_logits_j.detach())
    if temperature == "sigma":
        target = linear_log_probabilities(i / _deviation(i), j / _deviation(j), lam)
        return kl_divergence(target, student / _deviation(student))
    if isinstance(temperature, str | bool) or not 0 < temperature < float("inf"):
        raise ValueError(f"a temperature is a positive number or 'sigma', not {temperature!r}")
    target = linear_log_probabilities(i / temperature, j / temperature, lam)
    return temperature**2 * kl_divergence(target, student / temperature)


def mixed_cross_entropy(
    logits: Tensor, labels: Tensor, partner_labels: Tensor, lam: Lam, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy with the mixed label λ y_i + (1 − λ) y_j for each sample (eq. 5, 8).

    Args:
        logits: (B, K); labels, partner_labels: (B,) int64; lam: a number or (B,).
        label_smoothing: share of the label that is spread evenly over all classes (Szegedy et al. 2016).

    Returns:
        (B,) nats.

    Example:
        >>> import torch
        >>> logits, dog, cat = torch.tensor([[2.0, 0.0]]), torch.tensor([0]), torch.tensor([1])
        >>> [round(float(mixed_cross_entropy(logits, dog, cat, lam)), 3) for lam in (1.0, 0.5, 0.0)]
        [0.127, 1.127, 2.127]
    """
    log_p = precise(logits).log_softmax(-1)
    weight = as_weight(lam, log_p)
    own = log_p.gather(-1, labels[..., None]).squeeze(-1)
    partner = log_p.gather(-1, partner_labels[..., None]).squeeze(-1)
    hard = -(weight * own + (1 - weight) * partner)
    return hard if label_smoothing == 0 else (1 - label_smoothing) * hard - label_smoothing * log_p.mean(-1)


def _deviation(logits: Tensor) -> Tensor:
    # Constant logits (a head that starts at zero) have no deviation and no gradient of one: they are left as they are.
    # Rounding gives equal logits a deviation of some eps, which is none either.
    variance = logits.var(-1, correction=0, keepdim=True)
    rounding = 4 * torch.finfo(logits.dtype).eps * logits.detach().abs().amax(-1, keepdim=True)
    constant = variance <= rounding.square()
    return torch.where(constant, 1.0, torch.where(constant, 1.0, variance).sqrt())
