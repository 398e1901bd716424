"""The losses of eq. 2: distillation, the linear target, cross-entropy with mixed labels.

Shapes: B samples, K classes. Nats for each sample; the mean over the batch is the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vicinal.config import sigma_multiple
from vicinal.functional.divergences import Lam, as_weight, check_same_shape, kl_divergence, loud, precise
from vicinal.functional.labels import checked_labels
from vicinal.functional.vicinal import linear_log_probabilities

SMOOTH_ABOVE = 32.0  # temperature above which the answers are so flat that float32 loses digits of their KL
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 1e-15, 1e15  # whose square float32 holds


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float | str) -> Tensor:
    """T² · KL(teacher^T ‖ student^T) for each sample (eq. 1, 9; the factor is Hinton's), summed over classes.

    Args:
        student_logits, teacher_logits: (..., K). No gradient flows to the teacher.
        temperature: a positive number; `sigma` divides each network's logits by their own per-sample population standard
            deviation, without a factor (the authors' code); `2sigma` and the like by T times that deviation, with the factor T²
            (logit standardisation, Sun et al. 2024; their mean, which is taken off, cancels, and their code
            has the sample deviation, √(K/(K − 1)) times as large); `teacher_sigma` divides both by the teacher's deviation σ and
            multiplies by σ², as every temperature does (the paper's text).

    Returns:
        (...,) nats times T². Not finite where a logit is NaN or +inf, and then its gradient neither. A logit of −inf is a class
        held impossible: it adds nothing where the teacher says so, and gives inf where the student alone does.

    Raises:
        ValueError: shapes differ, or the temperature is none of the above (numbers: 1e-15 to 1e15).

    Example:
        >>> import torch
        >>> student, teacher = torch.zeros(1, 2), torch.tensor([[3.0, 0.0]])
        >>> [round(float(kd_loss(student, teacher, t)), 3) for t in (1, 4, "sigma")]
        [0.502, 1.051, 0.328]
    """
    check_same_shape(student_logits, teacher_logits)
    student, teacher = precise(student_logits), precise(teacher_logits.detach())
    factor = temperature_factor(teacher, temperature)
    teacher, student = at_temperature(teacher, student, temperature)
    plain = factor * kl_divergence(teacher, student)
    number = temperature if sigma_multiple(temperature) is None else sigma_multiple(temperature)
    if isinstance(number, str) or number is None or number <= SMOOTH_ABOVE:
        return plain
    return _where_close(plain, teacher, student, number)


def temperature_factor(teacher_logits: Tensor, temperature: float | str) -> Tensor | float:
    """What a loss at a temperature is multiplied by: T², 1 for `sigma`, (...,) σ² of the teacher for `teacher_sigma`.

    Raises ValueError for what is no temperature.

    Example:
        >>> import torch
        >>> temperature_factor(torch.zeros(1, 2), 4.0), temperature_factor(torch.zeros(1, 2), "2sigma")
        (16.0, 4.0)
    """
    if temperature == "teacher_sigma":
        return _deviation(teacher_logits).squeeze(-1).square()
    number = temperature if sigma_multiple(temperature) is None else sigma_multiple(temperature)
    if isinstance(number, str | bool) or number is None or not LOWEST_TEMPERATURE <= number <= HIGHEST_TEMPERATURE:
        raise ValueError(
            f"a temperature is a positive number, 'sigma' or 'teacher_sigma', not {temperature!r}{_beyond(temperature)}"
        )
    return number**2


def at_temperature(teacher_logits: Tensor, student_logits: Tensor, temperature: float | str) -> tuple[Tensor, Tensor]:
    """Both answers as `kd_loss` compares them: (..., K) logits over T, over T times their own deviation, or over the teacher's.

    Example:
        >>> import torch
        >>> teacher, student = at_temperature(torch.tensor([3.0, 1.0]), torch.tensor([8.0, 0.0]), "sigma")
        >>> teacher.tolist(), student.tolist()
        ([3.0, 1.0], [2.0, 0.0])
    """
    multiple = sigma_multiple(temperature)
    if multiple is not None:
        teacher, student = (logits / _deviation(logits) for logits in (teacher_logits, student_logits))
        return (teacher, student) if multiple == 1 else (teacher / multiple, student / multiple)
    if isinstance(temperature, str):
        temperature_factor(teacher_logits, temperature)  # of other words there is none
        divisor: Tensor | float = _deviation(teacher_logits)
    else:
        divisor = temperature
    return teacher_logits / divisor, student_logits / divisor


def linear_target_loss(
    student_logits: Tensor,
    teacher_logits_i: Tensor,
    teacher_logits_j: Tensor,
    lam: Lam,
    temperature: float | str,
) -> Tensor:
    """T² · KL(λ p_i^T + (1 − λ) p_j^T ‖ student^T) for each sample: taught by the answer of a perfectly linear teacher.

    A control that the paper lacks: beside `kd_loss` on the mixed input it shows what the teacher's own answer there adds or
    takes away.

    Args:
        student_logits: (B, K) answers to the mixed images; teacher_logits_i, teacher_logits_j: to the two clean images. No
            gradient flows to the teacher.
        lam: a number or (B,).
        temperature: a positive number, `sigma` (every logit vector over its own deviation, no factor) or a multiple of it.

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
    student = precise(student_logits)
    # Mixed as precisely as the student answers: the last digit of a logarithm depends on where in its batch a row stands.
    i, j = (precise(t.detach()).to(student.dtype) for t in (teacher_logits_i, teacher_logits_j))
    multiple = sigma_multiple(temperature)
    number = temperature if multiple is None else multiple
    if isinstance(number, str | bool) or not LOWEST_TEMPERATURE <= number <= HIGHEST_TEMPERATURE:
        raise ValueError(f"a temperature is a positive number or 'sigma', not {temperature!r}{_beyond(temperature)}")
    if multiple is not None:
        i, j, student = (logits / _deviation(logits) for logits in (i, j, student))
    if multiple != 1:
        i, j, student = i / number, j / number, student / number
    plain = number**2 * kl_divergence(linear_log_probabilities(i, j, lam), student)
    return plain if number <= SMOOTH_ABOVE else _where_close(plain, _log_mixture(i, j, lam), student, number)


def mixed_cross_entropy(
    logits: Tensor, labels: Tensor, partner_labels: Tensor, lam: Lam, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy with the mixed label λ y_i + (1 − λ) y_j for each sample (eq. 5, 8).

    Args:
        logits: (B, K); labels, partner_labels: (B,) int64; lam: a number or (B,).
        label_smoothing: share of the label that is spread evenly over all classes (Szegedy et al. 2016).

    Returns:
        (B,) nats.

    Raises:
        ValueError: labels of another type, or, on a CPU, outside the classes.

    Example:
        >>> import torch
        >>> logits, dog, cat = torch.tensor([[2.0, 0.0]]), torch.tensor([0]), torch.tensor([1])
        >>> [round(float(mixed_cross_entropy(logits, dog, cat, lam)), 3) for lam in (1.0, 0.5, 0.0)]
        [0.127, 1.127, 2.127]
    """
    log_p = precise(logits).log_softmax(-1)
    weight = as_weight(lam, log_p)
    # In a training loop: on a GPU looking at the labels would make every step wait, and they are checked as data is loaded.
    labels, partner_labels = (
        checked_labels(given, logits.shape[-1], look=given.device.type == "cpu") for given in (labels, partner_labels)
    )
    own, partner = (log_p.gather(-1, given[..., None]).squeeze(-1) for given in (labels, partner_labels))
    # A label of weight 0 asks for nothing, also where the network holds it impossible (0 · log 0 = 0).
    own, partner = torch.where(weight == 0, 0.0, own), torch.where(weight == 1, 0.0, partner)
    hard = -(weight * own + (1 - weight) * partner)
    return loud(hard if label_smoothing == 0 else (1 - label_smoothing) * hard - label_smoothing * log_p.mean(-1))


def _deviation(logits: Tensor) -> Tensor:
    # Constant logits (a head that starts at zero) have no deviation and no gradient of one: they are left as they are.
    # Rounding gives equal logits a deviation of some eps, which is none either.
    variance = logits.var(-1, correction=0, keepdim=True)
    rounding = 4 * torch.finfo(logits.dtype).eps * logits.detach().abs().amax(-1, keepdim=True)
    constant = variance <= rounding.square()
    return torch.where(constant, 1.0, torch.where(constant, 1.0, variance).sqrt())


def _beyond(temperature: float | str) -> str:
    """What else to say of a temperature that is refused."""
    positive = not isinstance(temperature, str | bool) and temperature > 0
    return f" (from {LOWEST_TEMPERATURE:g} to {HIGHEST_TEMPERATURE:g})" if positive else ""


def _where_close(plain: Tensor, log_target: Tensor, student: Tensor, temperature: float) -> Tensor:
    """T² KL(target ‖ student) with its digits where the two lie close, and `plain` in all other rows.

    With c = log student − log target, less its mean under the target, KL = log E[e^c] = log(1 + E[e^c − 1 − c]) exactly: a sum
    of positive terms, where the usual formula leaves a small difference of large ones.

    Args:
        plain: (...,) by the usual formula; log_target, student: (..., K) at that temperature, up to a constant each.
    """
    # What is not finite, masked classes among it, is for the usual formula, and must not reach this one's gradient.
    finite = (log_target.isfinite() & student.detach().isfinite()).all(-1, keepdim=True)
    log_target, student = torch.where(finite, log_target, 0.0), torch.where(finite, student, 0.0)
    p, gap = log_target.softmax(-1), student - log_target
    centred = gap - (p * gap).sum(-1, keepdim=True)
    close = finite & (centred.detach().abs().amax(-1, keepdim=True) <= 0.5)
    centred = torch.where(close, centred, 0.0)
    excess = torch.zeros_like(centred)
    for power in range(14, 1, -1):  # e^c − 1 − c by its series, to float64's last digit for |c| ≤ 0.5
        excess = (excess * centred + 1.0) / power
    excess = excess * centred.square()
    smooth = temperature**2 * (p * excess).sum(-1).log1p()
    return torch.where(close.squeeze(-1), smooth, plain)


def _log_mixture(i: Tensor, j: Tensor, lam: Lam) -> Tensor:
    """log(λ p_i + (1 − λ) p_j) + log K of (..., K) logits, with the digits of answers that are almost flat."""
    weight = as_weight(lam, i)
    weight = weight[..., None] if weight.dim() > 0 else weight

    def above_flat(z: Tensor) -> Tensor:
        """K p − 1."""
        rise = torch.expm1(z - z.mean(-1, keepdim=True))
        mean = rise.mean(-1, keepdim=True)
        return (rise - mean) / (1 + mean)

    return torch.log1p(weight * above_flat(i) + (1 - weight) * above_flat(j))
