"""Losses of the literature beside eq. 2: decoupled KD, soft and hard cross-entropy, KD weighted by confidence, feature regression.

Shapes: B samples, K classes, D features. Nats for each sample (feature regression: squared features); the mean over the batch is the
loss. Temperatures as `kd_loss` has them. No gradient flows to the teacher.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from vicinal.config import sigma_multiple
from vicinal.functional.divergences import Lam, as_weight, check_same_shape, entropy_of_logs, kl_of_logs, loud, precise
from vicinal.functional.labels import checked_labels
from vicinal.functional.losses import (
    SMOOTH_ABOVE,
    at_temperature,
    kd_loss,
    mixed_cross_entropy,
    temperature_factor,
)


def decoupled_kd_parts(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float | str
) -> tuple[Tensor, Tensor]:
    """T² · TCKD and T² · NCKD for each sample (Zhao et al. 2022, "Decoupled Knowledge Distillation", eq. 5 and 6).

    TCKD is the KL divergence of the target class against all others together, NCKD that among the others: KD = TCKD + (1 − p_t) NCKD
    with the teacher's probability p_t of the target at that temperature.

    Args:
        student_logits, teacher_logits: (B, K); labels: (B,) int64, the target classes.

    Returns:
        Two (B,).

    Raises:
        ValueError: shapes differ, no temperature, labels of another type, or, on a CPU, outside the classes.

    Example:
        >>> import torch
        >>> student, teacher, dog = torch.zeros(1, 3), torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0])
        >>> target, others = decoupled_kd_parts(student, teacher, dog, 1.0)
        >>> float(target + (1 - teacher.softmax(-1)[:, 0]) * others - kd_loss(student, teacher, 1.0)) < 1e-6
        True
    """
    check_same_shape(student_logits, teacher_logits)
    student, teacher = _wide(student_logits, temperature), _wide(teacher_logits.detach(), temperature)
    factor = temperature_factor(teacher, temperature)
    at = checked_labels(labels, student.shape[-1], look=labels.device.type == "cpu")[..., None]
    of_target, of_others = zip(*(_split(z, at) for z in at_temperature(teacher, student, temperature)), strict=True)
    parts = (factor * kl_of_logs(*of_target), factor * kl_of_logs(*of_others))
    return parts[0].to(precise(student_logits).dtype), parts[1].to(precise(student_logits).dtype)


def decoupled_kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    partner_labels: Tensor,
    lam: Lam,
    temperature: float | str,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """T² (α TCKD + β NCKD) for each sample (Zhao et al. 2022, eq. 7), on mixed inputs the shares' mean over both targets.

    λ · DKD with the own label as the target + (1 − λ) · DKD with the partner's: of a clean image, or of two of one class, the paper's.

    Args:
        student_logits, teacher_logits: (B, K) answers to the mixed images; labels, partner_labels: (B,) int64; lam: a number or (B,).

    Returns:
        (B,) nats times T².

    Raises:
        ValueError: as `decoupled_kd_parts`.

    Example:
        >>> import torch
        >>> student, teacher, dog = torch.zeros(1, 3), torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0])
        >>> round(float(decoupled_kd_loss(student, teacher, dog, dog, 1.0, 4.0)), 3)
        1.248
    """

    def of(targets: Tensor) -> Tensor:
        target, others = decoupled_kd_parts(student_logits, teacher_logits, targets, temperature)
        # A part of weight 0 asks for nothing, also where it is infinite.
        return (alpha * target if alpha else 0.0) + (beta * others if beta else torch.zeros_like(others))

    return _shared(of(labels), of(partner_labels), lam)


def soft_cross_entropy(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float | str,
    student_temperature: float | None = None,
) -> Tensor:
    """T² times the cross-entropy with the teacher's softened answer, −Σ p_t^T log p_s^T, for each sample (Hinton et al. 2015, §2).

    With both at one temperature it is `kd_loss` and T² times the entropy of the teacher's answer: the same gradient.

    Args:
        student_logits, teacher_logits: (..., K).
        student_temperature: S, that divides the student's logits instead, with the factor S². At 1 the student's plain answer
            learns the softened one.

    Returns:
        (...,) nats times T², or S².

    Raises:
        ValueError: shapes differ, or no temperature.

    Example:
        >>> import torch
        >>> student, teacher = torch.zeros(1, 2), torch.tensor([[3.0, 0.0]])
        >>> [round(float(soft_cross_entropy(student, teacher, t)), 3) for t in (1, 2)]  # log 2, and four times as much
        [0.693, 2.773]
    """
    check_same_shape(student_logits, teacher_logits)
    student, teacher = _wide(student_logits, temperature), _wide(teacher_logits.detach(), temperature)
    factor = temperature_factor(teacher if student_temperature is None else student, student_temperature or temperature)
    target, own = at_temperature(teacher, student, temperature)
    log_q = (own if student_temperature is None else student / student_temperature).log_softmax(-1)
    p = target.softmax(-1)
    # What the teacher holds impossible adds nothing, whatever the student says (0 · log 0 = 0).
    loss = factor * -(p * torch.where(p == 0, 0.0, log_q)).sum(-1)
    return loud(loss).to(precise(student_logits).dtype)


def hard_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    partner_labels: Tensor,
    lam: Lam,
    label: Literal["larger", "own"] = "larger",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy with one label of a mixed input for each sample: that of the larger share (of equal ones the own), or the own.

    The own label alone is that of Inoue 2018, "Data Augmentation by Pairing Samples", arXiv:1801.02929.

    Args:
        logits: (B, K); labels, partner_labels: (B,) int64; lam: a number or (B,).
        label_smoothing: as in `mixed_cross_entropy`.

    Returns:
        (B,) nats.

    Raises:
        ValueError: as `mixed_cross_entropy`.

    Example:
        >>> import torch
        >>> logits, dog, cat = torch.tensor([[2.0, 0.0]]), torch.tensor([0]), torch.tensor([1])
        >>> [round(float(hard_cross_entropy(logits, dog, cat, 0.3, label)), 3) for label in ("larger", "own")]
        [2.127, 0.127]
    """
    weight = as_weight(lam, precise(logits))
    chosen = labels if label == "own" else torch.where(weight >= 0.5, labels, partner_labels)
    return mixed_cross_entropy(logits, chosen, chosen, 1.0, label_smoothing)


def answer_confidence(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    partner_labels: Tensor,
    lam: Lam,
    by: Literal["label", "correct", "entropy", "relative"] = "label",
) -> Tensor:
    """How much a teacher's answer is to be trusted, for each sample from 0 to 1, without a gradient; all at T = 1.

    - `label`: λ p_t(y_i) + (1 − λ) p_t(y_j), the teacher's probability of the label. The soft form of the next.
    - `correct`: λ 1[y_i is its top class] + (1 − λ) 1[y_j is]: on clean images 1 where the teacher is right, else 0 (Meng et al. 2019,
      "Conditional Teacher-Student Learning", who learn the label instead where it is wrong: that is α·CE here).
    - `entropy`: 1 − H[p_t] / log K, which needs no label.
    - `relative`: 1 − exp(−CE(student) / CE(teacher)) of the mixed label (Zhou et al. 2021, "Rethinking Soft Labels for Knowledge
      Distillation"): less for what the student has learned better than the teacher.

    Args:
        student_logits, teacher_logits: (B, K); labels, partner_labels: (B,) int64; lam: a number or (B,).

    Returns:
        (B,).

    Example:
        >>> import torch
        >>> student, teacher, dog, cat = torch.zeros(1, 2), torch.tensor([[3.0, 0.0]]), torch.tensor([0]), torch.tensor([1])
        >>> at = [answer_confidence(student, teacher, dog, cat, 0.75, by) for by in ("label", "correct", "entropy", "relative")]
        >>> [round(float(weight), 3) for weight in at]
        [0.726, 0.75, 0.725, 0.58]
    """
    student, teacher = precise(student_logits.detach()), precise(teacher_logits.detach())
    log_p = teacher.log_softmax(-1)
    if by == "entropy":
        return (1 - entropy_of_logs(log_p) / math.log(log_p.shape[-1])).clamp(0, 1)
    if by == "relative":
        own, teachers = (mixed_cross_entropy(z, labels, partner_labels, lam) for z in (student, teacher))
        return torch.where(own == 0, 0.0, -torch.expm1(-own / teachers.abs()))  # of −0 the sign would count
    if by == "correct":
        top = log_p.argmax(-1)
        return _shared((top == labels).to(log_p), (top == partner_labels).to(log_p), lam)
    of_own, of_partner = (log_p.gather(-1, given[..., None]).squeeze(-1).exp() for given in (labels, partner_labels))
    return _shared(of_own, of_partner, lam)


def confidence_kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    partner_labels: Tensor,
    lam: Lam,
    temperature: float | str,
    by: Literal["label", "correct", "entropy", "relative"] = "label",
) -> Tensor:
    """`kd_loss` of each sample times the `answer_confidence` of the teacher in it; the weights are not made to sum to anything.

    Args and Raises as these two have them. Returns (B,) nats times T².

    Example:
        >>> import torch
        >>> student, teacher, dog, cat = torch.zeros(1, 2), torch.tensor([[3.0, 0.0]]), torch.tensor([0]), torch.tensor([1])
        >>> [round(float(confidence_kd_loss(student, teacher, label, label, 1.0, 1.0)), 3) for label in (dog, cat)]
        [0.478, 0.024]
    """
    weight = answer_confidence(student_logits, teacher_logits, labels, partner_labels, lam, by)
    return weight * kd_loss(student_logits, teacher_logits, temperature)


def feature_regression_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Mean squared difference of the features of each sample (Romero et al. 2015, "FitNets", eq. 3: half the sum over features).

    Args:
        student_features: (B, D), mapped to the teacher's width by a regressor that is trained along; teacher_features: (B, D). No
            gradient flows to the teacher.

    Returns:
        (B,).

    Raises:
        ValueError: shapes differ.

    Example:
        >>> import torch
        >>> feature_regression_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
        tensor([2.])
    """
    check_same_shape(student_features, teacher_features)
    return (precise(student_features) - precise(teacher_features.detach())).square().mean(-1)


def _shared(own: Tensor, partner: Tensor, lam: Lam) -> Tensor:
    """λ own + (1 − λ) partner, (B,); what has no share adds nothing, also where it is infinite."""
    weight = as_weight(lam, own)
    own, partner = torch.where(weight == 0, 0.0, own), torch.where(weight == 1, 0.0, partner)
    return weight * own + (1 - weight) * partner


def _split(logits: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 2) log-probabilities of the class at (..., 1) and of all others together, and (..., K) of each other among them."""
    log_p = logits.log_softmax(-1)
    others = log_p.scatter(-1, at, -math.inf)
    together = torch.cat([log_p.gather(-1, at), others.logsumexp(-1, keepdim=True)], -1)
    return together, others.log_softmax(-1)


def _wide(logits: Tensor, temperature: float | str) -> Tensor:
    """At least float32; float64, where the device has it, at temperatures that leave float32 few digits of so flat answers."""
    number = temperature if sigma_multiple(temperature) is None else sigma_multiple(temperature)
    flat = isinstance(number, int | float) and number > SMOOTH_ABOVE
    return logits.double() if flat and logits.device.type != "mps" else precise(logits)
