"""The training loss of an `Objective` value: cross-entropy, mixup, distillation and their sum as one function (eq. 2)."""

from __future__ import annotations

from torch import Tensor

from vicinal.functional import kd_loss, mixed_cross_entropy
from vicinal.specs import ARMS, Objective

__all__ = ["ARMS", "Objective", "objective_loss"]


def objective_loss(
    objective: Objective,
    student_logits: Tensor,
    labels: Tensor,
    partner_labels: Tensor,
    lam: Tensor | float,
    teacher_logits: Tensor | None = None,
) -> Tensor:
    """α·CE(mixed labels) + β·T²·KL(teacher^T ‖ student^T), mean over the batch, float32 whatever autocast does.

    Args:
        objective: α, β and T.
        student_logits, teacher_logits: (B, K) answers to the mixed images; the teacher's may be None where β is 0.
        labels, partner_labels: (B,) int64, of each image and of the one mixed into it.
        lam: (B,) or a number, the share of the image itself.

    Raises:
        ValueError: β is above 0 and there is no teacher's answer.
    """
    terms = []
    if objective.alpha > 0:
        terms.append(objective.alpha * mixed_cross_entropy(student_logits, labels, partner_labels, lam).mean())
    if objective.beta > 0:
        if teacher_logits is None:
            raise ValueError("beta is above 0, so the objective needs the teacher's logits")
        terms.append(objective.beta * kd_loss(student_logits, teacher_logits, objective.temperature).mean())
    return sum(terms[1:], start=terms[0])
