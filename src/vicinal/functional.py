"""The equations, as pure functions of logits: public, differentiable, usable without the rest of the package.

Shapes: B samples (pairs), K classes, (...,) any leading shape. All in log space and at least float32; float64 in gives
float64 out. Per-sample results unless the name says otherwise. Entropies and divergences are in nats. Equation numbers
are those of arXiv:2606.12171.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "bin_of",
    "brier_score",
    "calibration_bins",
    "confidence",
    "dominance_ratio",
    "equal_mass_calibration_error",
    "expected_calibration_error",
    "fit_temperature",
    "kd_loss",
    "kl_divergence",
    "linear_log_probabilities",
    "linear_target_loss",
    "linearity_gain",
    "linearity_information",
    "mix",
    "mixed_cross_entropy",
    "negative_log_likelihood",
    "nonlinearity_residual",
    "prediction_entropy",
]

Lam = Tensor | float


def mix(x_i: Tensor, x_j: Tensor, lam: Lam) -> Tensor:
    """λ x_i + (1 − λ) x_j (eq. 5), exact at λ = 0 and 1.

    Args:
        x_i, x_j: (B, ...) of one shape and a floating type. Neither is changed.
        lam: a number, or (B,) with one λ for each sample.

    Raises:
        ValueError: shapes differ, λ lies outside [0, 1], or the images are integers.
    """
    if x_i.shape != x_j.shape:
        raise ValueError(f"the two inputs have different shapes: {tuple(x_i.shape)} and {tuple(x_j.shape)}")
    if not x_i.is_floating_point() or not x_j.is_floating_point():
        raise ValueError("mix takes floating-point inputs (integers cannot hold the mixture)")
    weight = _lam(lam, x_i)
    if weight.dim() == 1:
        weight = weight.view(-1, *[1] * (x_i.dim() - 1))
    return weight * x_i + (1 - weight) * x_j


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
    """
    _same_shape(student_logits, teacher_logits)
    student, teacher = _precise(student_logits), _precise(teacher_logits.detach())
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
    """
    _same_shape(student_logits, teacher_logits_i)
    _same_shape(student_logits, teacher_logits_j)
    student, i, j = _precise(student_logits), _precise(teacher_logits_i.detach()), _precise(teacher_logits_j.detach())
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
    """
    log_p = _precise(logits).log_softmax(-1)
    weight = _lam(lam, log_p)
    own = log_p.gather(-1, labels[..., None]).squeeze(-1)
    partner = log_p.gather(-1, partner_labels[..., None]).squeeze(-1)
    hard = -(weight * own + (1 - weight) * partner)
    return hard if label_smoothing == 0 else (1 - label_smoothing) * hard - label_smoothing * log_p.mean(-1)


def kl_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """KL(p ‖ q) in nats for each sample, of the softmax of (..., K) logits; never below 0. Returns (...,)."""
    _same_shape(p_logits, q_logits)
    return _kl(_precise(p_logits).log_softmax(-1), _precise(q_logits).log_softmax(-1))


def prediction_entropy(logits: Tensor) -> Tensor:
    """H of the softmax of (..., K) logits, in nats for each sample: between 0 and log K. Returns (...,)."""
    return _entropy(_precise(logits).log_softmax(-1))


def linear_log_probabilities(logits_i: Tensor, logits_j: Tensor, lam: Lam) -> Tensor:
    """log(λ p_i + (1 − λ) p_j): what a perfectly linear model answers on the mixed input. (B, K) in and out."""
    _same_shape(logits_i, logits_j)
    log_p_i, log_p_j = _precise(logits_i).log_softmax(-1), _precise(logits_j).log_softmax(-1)
    weight = _lam(lam, log_p_i)
    if weight.dim() > 0:
        weight = weight[..., None]
    return torch.logaddexp(weight.log() + log_p_i, torch.log1p(-weight) + log_p_j)


def nonlinearity_residual(logits_i: Tensor, logits_j: Tensor, logits_mixed: Tensor, lam: Lam) -> Tensor:
    """NL = KL(λ p_i + (1 − λ) p_j ‖ p_mixed) for each pair (the inside of eq. 12), in nats, never below 0.

    Args:
        logits_i, logits_j, logits_mixed: (B, K) answers to x_i, x_j and λ x_i + (1 − λ) x_j.
        lam: a number or (B,).

    Returns:
        (B,). 0 at λ = 0 and 1 where the mixed answer is the clean one.
    """
    _same_shape(logits_i, logits_mixed)
    return _kl(linear_log_probabilities(logits_i, logits_j, lam), _precise(logits_mixed).log_softmax(-1))


def linearity_information(logits_i: Tensor, logits_j: Tensor, logits_mixed: Tensor, lam: Lam) -> Tensor:
    """I_lin = H[λ p_i + (1 − λ) p_j] − NL for each pair (eq. 14), in nats. Arguments as `nonlinearity_residual`."""
    _same_shape(logits_i, logits_mixed)
    log_linear = linear_log_probabilities(logits_i, logits_j, lam)
    return _entropy(log_linear) - _kl(log_linear, _precise(logits_mixed).log_softmax(-1))


def dominance_ratio(nonlinearity: Tensor, entropy: Tensor) -> Tensor:
    """D = mean NL / mean H (eq. 13), a ratio of means over the first dimension (pairs).

    Args:
        nonlinearity, entropy: (B,) or (B, L), per pair; or already averaged numbers of shape ().

    Returns:
        () or (L,); NaN where both means are 0.
    """
    _same_shape(nonlinearity, entropy)
    if nonlinearity.dim() > 0:
        nonlinearity, entropy = nonlinearity.mean(0), entropy.mean(0)
    return nonlinearity / entropy


def linearity_gain(teacher_nonlinearity: Tensor, student_nonlinearity: Tensor) -> Tensor:
    """Δ_lin = NL of the teacher − NL of the student (eq. 15), in nats; shapes as given."""
    _same_shape(teacher_nonlinearity, student_nonlinearity)
    return teacher_nonlinearity - student_nonlinearity


# --- calibration ------------------------------------------------------------------------------------------------------


def confidence(probabilities: Tensor) -> Tensor:
    """The largest probability of each sample: (N, K) to (N,)."""
    return probabilities.amax(-1)


def bin_of(confidences: Tensor, bins: int = 15) -> Tensor:
    """Which of the equal-width bins (lo, hi] of [0, 1] each confidence falls in: (N,) to (N,) int64."""
    # k / bins rounded once: linspace accumulates, and its edges lie an ulp off.
    edges = (torch.arange(1, bins, dtype=torch.float64) / bins).to(confidences)
    return torch.bucketize(confidences.contiguous(), edges, right=False)


def calibration_bins(confidences: Tensor, correct: Tensor, bins: int = 15) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over equal-width bins (lo, hi] of [0, 1]; confidence 0 falls in the first bin, 1 in the last.

    Args:
        confidences: (N,) in [0, 1]; correct: (N,) 0/1 or bool.

    Returns:
        count, sum of confidence, number correct: each (bins,) in float64.
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
    """
    conf, correct = _confidence_and_correct(probabilities, labels)
    count, total, right = calibration_bins(conf, correct, bins)
    return ((right - total).abs().sum() / count.sum()).to(conf.dtype)


def equal_mass_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Tensor:
    """ECE with bins that hold equally many samples (sizes differ by one at most), of all samples together.

    Arguments and result as `expected_calibration_error`. Samples of one confidence that fall on two bins are shared out
    evenly, so that the order of the data changes nothing.
    """
    conf, correct = _confidence_and_correct(probabilities, labels)
    _, group, size = conf.unique(return_inverse=True, return_counts=True)
    gap = torch.zeros(len(size), dtype=torch.float64, device=conf.device)
    gap.index_add_(0, group, correct.double() - conf.double())
    parts = (gap / size).repeat_interleave(size).tensor_split(min(bins, max(len(conf), 1)))
    return (torch.stack([part.sum().abs() for part in parts]).sum() / len(conf)).to(conf.dtype)


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """−log p of the label for each sample, in nats: (N, K), (N,) to (N,)."""
    return F.cross_entropy(_precise(logits), labels, reduction="none")


def brier_score(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Σ_k (p_k − y_k)² for each sample, between 0 and 2: (N, K), (N,) to (N,)."""
    probabilities = _precise(probabilities)
    return (probabilities - F.one_hot(labels, probabilities.shape[-1]).to(probabilities.dtype)).square().sum(-1)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T > 0 with the lowest NLL of softmax(logits / T) (temperature scaling, Guo et al. 2017).

    NLL is convex in 1/T, so bisection on its derivative finds the one minimum. Bounded to [0.001, 1000]: perfectly separated
    or uninformative logits have no finite one.

    Args:
        logits: (N, K); labels: (N,) int64, N ≥ 1.
    """
    if len(logits) == 0:
        raise ValueError("fitting a temperature needs at least one sample")
    z = logits.detach().double()
    z = z - z.amax(-1, keepdim=True)
    chosen = z.gather(-1, labels[:, None]).mean()
    low, high = -math.log(1000), math.log(1000)  # of 1/T
    for _ in range(60):
        middle = (low + high) / 2
        slope = ((z * math.exp(middle)).softmax(-1) * z).sum(-1).mean() - chosen  # d NLL / d (1/T)
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


# --- helpers ----------------------------------------------------------------------------------------------------------


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _lam(lam: Lam, like: Tensor) -> Tensor:
    weight = torch.as_tensor(lam, dtype=like.dtype, device=like.device)
    # Checked where looking costs nothing: on a GPU it would make every step wait.
    if weight.device.type == "cpu" and not bool(((weight >= 0) & (weight <= 1)).all()):
        raise ValueError("λ must lie in [0, 1]")
    return weight


def _same_shape(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {tuple(a.shape)} and {tuple(b.shape)}")


def _deviation(logits: Tensor) -> Tensor:
    # Constant logits (a head that starts at zero) have no deviation and no gradient of one: they are left as they are.
    # Rounding gives equal logits a deviation of some eps, which is none either.
    variance = logits.var(-1, correction=0, keepdim=True)
    rounding = 4 * torch.finfo(logits.dtype).eps * logits.detach().abs().amax(-1, keepdim=True)
    constant = variance <= rounding.square()
    return torch.where(constant, 1.0, torch.where(constant, 1.0, variance).sqrt())


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    p = log_p.exp()
    # 0 · (−inf − x) is 0 in the limit. Rounding may leave −1e-8 where p equals q, and a divergence is never negative.
    terms = torch.where(p > 0, p * (log_p - log_q), torch.zeros_like(p))
    return terms.sum(-1).clamp_min(0)


def _entropy(log_p: Tensor) -> Tensor:
    p = log_p.exp()
    return -torch.where(p > 0, p * log_p, torch.zeros_like(p)).sum(-1).clamp_max(0)


def _confidence_and_correct(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if probabilities.dim() != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(
            f"expected (N, K) probabilities and (N,) labels, got {tuple(probabilities.shape)}, {tuple(labels.shape)}"
        )
    conf, predicted = _precise(probabilities).max(-1)
    return conf, predicted == labels
