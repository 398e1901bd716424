"""The training loss of an `Objective` value: cross-entropy, mixup, distillation and their sum as one function (eq. 2)."""

from __future__ import annotations

from torch import Tensor

from vicinal.config import Objective
from vicinal.functional import kd_loss, linear_target_loss, mixed_cross_entropy


def objective_loss(
    objective: Objective,
    student_logits: Tensor,
    labels: Tensor,
    partner_labels: Tensor,
    lam: Tensor | float,
    teacher_logits: Tensor | None = None,
    partner_logits: Tensor | None = None,
) -> Tensor:
    """α·CE(mixed labels) + β·T²·KL(target^T ‖ student^T), mean over the batch, float32 whatever autocast does.

    Args:
        objective: α, β and T.
        student_logits: (B, K) answers to the mixed images.
        teacher_logits: (B, K) the teacher's answers to the mixed images, or, for the linear target, to the clean ones; may be
            None where β is 0.
        partner_logits: (B, K) for the linear target: the teacher's answers to the clean partners.
        labels, partner_labels: (B,) int64, of each image and of the one mixed into it.
        lam: (B,) or a number, the share of the image itself.

    Raises:
        ValueError: β is above 0 and a teacher's answer is missing.
    """
    terms = []
    if objective.alpha > 0:
        per_sample = mixed_cross_entropy(student_logits, labels, partner_labels, lam, objective.label_smoothing)
        terms.append(objective.alpha * per_sample.mean())
    if objective.beta > 0:
        if teacher_logits is None:
            raise ValueError("beta is above 0, so the objective needs the teacher's logits")
        if objective.target == "linear":
            if partner_logits is None or objective.temperature == "teacher_sigma":  # the latter is refused by Objective
                raise ValueError("the linear target needs the teacher's logits on the partners too")
            per_sample = linear_target_loss(student_logits, teacher_logits, partner_logits, lam, objective.temperature)
        else:
            per_sample = kd_loss(student_logits, teacher_logits, objective.temperature)
        terms.append(objective.beta * per_sample.mean())
    return sum(terms[1:], start=terms[0])
