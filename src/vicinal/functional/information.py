"""The information-theoretic relations of section 4.2.1, as pure functions of logits: eq. 10 in both readings, eq. 11 as two sides.

Shapes: B samples (pairs), K classes, (...,) any leading shape. In nats, in log space and at least float32; float64 in gives
float64 out. For a temperature divide the logits by it first. Equation numbers are those of arXiv:2606.12171.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vicinal.functional.divergences import Lam, kl_divergence, precise, prediction_entropy
from vicinal.functional.vicinal import nonlinearity_residual


def cross_entropy_with_teacher(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """−Σ_k p_t log p_s for each sample, in nats: minus the last term of eq. 10, whose log is expected under the teacher.

    (..., K) logits of one shape to (...,).

    Example:
        >>> import torch
        >>> round(float(cross_entropy_with_teacher(torch.tensor([[30.0, 0.0]]), torch.zeros(1, 2))), 3)  # log 2
        0.693
    """
    return prediction_entropy(teacher_logits) + kl_divergence(teacher_logits, student_logits)


def information_bound_per_sample(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Eq. 10 with H as the entropy of each answer: H[p_t(x)] + Σ_k p_t log p_s = −KL(p_t ‖ p_s) for each sample.

    Never above 0, so in this reading the bound says no more than that information is not negative.

    Args:
        teacher_logits, student_logits: (..., K).

    Returns:
        (...,) nats; its mean is the bound.

    Example:
        >>> import torch
        >>> round(float(information_bound_per_sample(torch.tensor([[30.0, 0.0]]), torch.zeros(1, 2))), 3)
        -0.693
    """
    return -kl_divergence(teacher_logits, student_logits)


def information_bound_of_mean(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Eq. 10 with H as the entropy of the mean answer: H[mean p_t] + mean Σ_k p_t log p_s, over the first dimension.

    The variational lower bound on the information between an input's class, as the teacher draws it, and the student's answer
    (Barber and Agakov 2003). It lies between minus infinity and H[mean p_t] − mean H[p_t], reached where the student equals
    the teacher.

    Args:
        teacher_logits, student_logits: (N, ..., K), N ≥ 1.

    Returns:
        (...,) nats.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([[30.0, 0.0], [0.0, 30.0]])
        >>> [round(float(information_bound_of_mean(teacher, student)), 3) for student in (teacher, 0 * teacher)]  # log 2, and nothing
        [0.693, 0.0]
    """
    mean_cross_entropy = cross_entropy_with_teacher(teacher_logits, student_logits).mean(0)
    return information_bound_from_means(log_mean_prediction(teacher_logits), mean_cross_entropy)


def information_bound_from_means(log_mean: Tensor, mean_cross_entropy: Tensor) -> Tensor:
    """`information_bound_of_mean` from what can be averaged batch by batch: H[mean p_t] − the mean cross-entropy.

    Args:
        log_mean: (..., K) log of the teacher's mean answer, up to a constant.
        mean_cross_entropy: (...,) mean of `cross_entropy_with_teacher` over the same samples.

    Returns:
        (...,) nats.

    Example:
        >>> import torch
        >>> round(float(information_bound_from_means(torch.zeros(2), torch.tensor(0.5))), 3)  # log 2 − 0.5
        0.193
    """
    return prediction_entropy(log_mean) - mean_cross_entropy


def log_mean_prediction(logits: Tensor) -> Tensor:
    """log of the mean softmax over the first dimension: (N, ..., K) to (..., K), N ≥ 1.

    Example:
        >>> import torch
        >>> [round(p, 3) for p in log_mean_prediction(torch.tensor([[30.0, 0.0], [0.0, 30.0]])).exp().tolist()]
        [0.5, 0.5]
    """
    if len(logits) == 0:
        raise ValueError("the mean prediction needs at least one sample")
    log_p = precise(logits).log_softmax(-1)
    return log_p.logsumexp(0) - log_p.new_tensor(len(logits)).log()


class EntropyDecomposition(NamedTuple):
    """Both sides of eq. 11 for each pair, (B,) nats."""

    entropy_mixed: Tensor  # H[p(x̃)], the left side
    entropy_clean: Tensor  # λ H[p(x_i)] + (1 − λ) H[p(x_j)]
    nonlinearity: Tensor  # NL; with entropy_clean the right side
    residual: Tensor  # left − right: 0 where eq. 11 holds


def entropy_decomposition(logits_i: Tensor, logits_j: Tensor, logits_mixed: Tensor, lam: Lam) -> EntropyDecomposition:
    """H[p(x̃)] against H[p(x)] + NL (eq. 11) for each pair, with what is left over.

    The paper's H[p(x)] names no x of the two; both are taken, weighted by λ, so that the residual is 0 at λ = 0 and 1. The
    equation is no identity: a linear network has NL = 0 and H[p(x̃)] ≥ H[p(x)] by concavity, and wherever NL exceeds H[p(x̃)]
    (D > 1) it fails for certain.

    Args:
        logits_i, logits_j, logits_mixed: (B, K) answers to x_i, x_j and λ x_i + (1 − λ) x_j.
        lam: a number or (B,).

    Example:
        >>> import torch
        >>> dog, cat = torch.tensor([[30.0, 0.0]]), torch.tensor([[0.0, 30.0]])
        >>> parts = entropy_decomposition(dog, cat, torch.zeros(1, 2), 0.5)
        >>> [round(abs(float(part)), 3) for part in parts]  # NL is 0: linear, and yet log 2 is left over
        [0.693, 0.0, 0.0, 0.693]
    """
    nonlinearity = nonlinearity_residual(logits_i, logits_j, logits_mixed, lam)
    mixed, at_i, at_j = (prediction_entropy(z) for z in (logits_mixed, logits_i, logits_j))
    weight = torch.as_tensor(lam, dtype=mixed.dtype, device=mixed.device)
    clean = weight * at_i + (1 - weight) * at_j
    return EntropyDecomposition(mixed, clean, nonlinearity, mixed - clean - nonlinearity)
