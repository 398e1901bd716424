"""The training loss of an `Objective`: a weighted sum of terms that are known by name (eq. 2 and whatever else is registered).

Shapes: B samples of a batch, K classes, D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from vicinal.config import Objective
from vicinal.errors import UsageError
from vicinal.functional import (
    confidence_kd_loss,
    decoupled_kd_loss,
    feature_regression_loss,
    hard_cross_entropy,
    kd_loss,
    linear_target_loss,
    mixed_cross_entropy,
    soft_cross_entropy,
)

# Logits of the teacher to mixed or to clean images; the student's features; the teacher's, and a map of the student's to them.
Need = Literal["mixed_answers", "clean_answers", "features", "teacher_features"]
OF_ANSWERS: frozenset[Need] = frozenset({"mixed_answers", "clean_answers"})


@dataclass(frozen=True)
class StudentOutputs:
    """What the student gives for the mixed images."""

    logits: Tensor  # (B, K)
    features: Tensor | None = None  # (B, D) that its last linear layer sees; None where no term needs them
    projected: Tensor | None = (
        None  # (B, D') the same through a linear layer that is trained along, as wide as the teacher's
    )

    def part(self, rows: slice) -> StudentOutputs:
        """Those of some rows."""
        features, projected = (None if a is None else a[rows] for a in (self.features, self.projected))
        return StudentOutputs(self.logits[rows], features, projected)


@dataclass(frozen=True)
class TeacherAnswers:
    """What the teacher gives for a batch, as far as a term needs it: (B, K) float32 logits each, and features."""

    mixed: Tensor | None = None  # to the mixed images
    own: Tensor | None = None  # to the clean image of each row
    partner: Tensor | None = None  # to the clean image that is mixed into it
    features: Tensor | None = None  # (B, D') float32 that its last linear layer sees of the mixed images

    def packed(self) -> Tensor:
        """(answers, B, K): all logits that are there, each once; `Answers.unpacked` takes it apart."""
        there = {id(a): a for a in (self.mixed, self.own, self.partner) if a is not None}
        return torch.stack(list(there.values()))

    def part(self, rows: slice) -> TeacherAnswers:
        """Those to some of the rows."""
        mixed, own, partner, features = (
            None if a is None else a[rows] for a in (self.mixed, self.own, self.partner, self.features)
        )
        return TeacherAnswers(mixed, own, partner, features)

    def times(self, scale: float) -> TeacherAnswers:
        """The answers of a teacher whose logits are `scale` times as large, from the same features."""
        if scale == 1:
            return self
        mixed, own, partner = (None if a is None else scale * a for a in (self.mixed, self.own, self.partner))
        return TeacherAnswers(mixed, own, partner, self.features)


class MixedLabels(Protocol):
    """What every term may know of a batch; in training it is the whole `VicinalBatch`."""

    @property
    def labels(self) -> Tensor:
        """(B,) int64, of each row's own image."""

    @property
    def partner_labels(self) -> Tensor:
        """(B,) int64, of the image that is mixed into it."""

    @property
    def lam(self) -> Tensor | float:
        """(B,) or a number: the share of the own image."""


TermFunction = Callable[[StudentOutputs, MixedLabels, TeacherAnswers, Objective], Tensor]


@dataclass(frozen=True)
class Term:
    """A loss for each sample, and what it is computed from beside logits and labels."""

    per_sample: TermFunction  # to (B,)
    needs: frozenset[Need] = frozenset()


def _cross_entropy(student: StudentOutputs, batch: MixedLabels, _: TeacherAnswers, objective: Objective) -> Tensor:
    return mixed_cross_entropy(student.logits, batch.labels, batch.partner_labels, batch.lam, objective.label_smoothing)


def _to_mixed(answers: TeacherAnswers) -> Tensor:
    if answers.mixed is None:
        raise ValueError("beta is above 0, so the objective needs the teacher's logits")
    return answers.mixed


def _kd(student: StudentOutputs, _: MixedLabels, answers: TeacherAnswers, objective: Objective) -> Tensor:
    return kd_loss(student.logits, _to_mixed(answers), objective.temperature)


def _linear_target(
    student: StudentOutputs, batch: MixedLabels, answers: TeacherAnswers, objective: Objective
) -> Tensor:
    if answers.own is None:
        raise ValueError("beta is above 0, so the objective needs the teacher's logits")
    if answers.partner is None or objective.temperature == "teacher_sigma":  # the latter is refused by Objective
        raise ValueError("the linear target needs the teacher's logits on the partners too")
    return linear_target_loss(student.logits, answers.own, answers.partner, batch.lam, objective.temperature)


def _dkd(student: StudentOutputs, batch: MixedLabels, answers: TeacherAnswers, objective: Objective) -> Tensor:
    spec, teacher = objective.terms.dkd, _to_mixed(answers)
    assert spec is not None  # its weight is in it
    labels = batch.labels, batch.partner_labels, batch.lam
    return decoupled_kd_loss(student.logits, teacher, *labels, objective.temperature, spec.alpha, spec.beta)


def _soft_cross_entropy(
    student: StudentOutputs, _: MixedLabels, answers: TeacherAnswers, objective: Objective
) -> Tensor:
    spec = objective.terms.soft_cross_entropy
    assert spec is not None
    return soft_cross_entropy(student.logits, _to_mixed(answers), objective.temperature, spec.student_temperature)


def _hard_cross_entropy(student: StudentOutputs, batch: MixedLabels, _: TeacherAnswers, objective: Objective) -> Tensor:
    spec = objective.terms.hard_cross_entropy
    assert spec is not None
    labels = batch.labels, batch.partner_labels, batch.lam
    return hard_cross_entropy(student.logits, *labels, spec.label, objective.label_smoothing)


def _confidence_kd(
    student: StudentOutputs, batch: MixedLabels, answers: TeacherAnswers, objective: Objective
) -> Tensor:
    spec, teacher = objective.terms.confidence_kd, _to_mixed(answers)
    assert spec is not None
    labels = batch.labels, batch.partner_labels, batch.lam
    return confidence_kd_loss(student.logits, teacher, *labels, objective.temperature, spec.by)


def _feature_regression(student: StudentOutputs, _: MixedLabels, answers: TeacherAnswers, __: Objective) -> Tensor:
    if answers.features is None or student.projected is None:
        raise ValueError("feature_regression needs the teacher's features, and the student's in as many dimensions")
    return feature_regression_loss(student.projected, answers.features)


_MIXED: frozenset[Need] = frozenset({"mixed_answers"})
TERMS: dict[str, Term] = {
    "cross_entropy": Term(_cross_entropy),
    "kd": Term(_kd, _MIXED),
    "linear_target": Term(_linear_target, frozenset({"clean_answers"})),
    "dkd": Term(_dkd, _MIXED),
    "soft_cross_entropy": Term(_soft_cross_entropy, _MIXED),
    "hard_cross_entropy": Term(_hard_cross_entropy),
    "confidence_kd": Term(_confidence_kd, _MIXED),
    "feature_regression": Term(_feature_regression, frozenset({"teacher_features"})),
}


def register_term(name: str, per_sample: TermFunction, needs: Iterable[Need] = ()) -> None:
    """Make a loss term known to studies, as `terms: {NAME: weight}` of an arm.

    Args:
        per_sample: (student, batch, answers, objective) to (B,) losses, of which the batch's mean times the weight is added.
        needs: "mixed_answers" or "clean_answers" of the teacher, "features" of the student, "teacher_features" of the teacher and,
            as `projected`, of the student; what is not named may be None.

    Raises:
        ValueError: there is another term of that name, or a need that is not known.
    """
    term = Term(per_sample, frozenset(needs))
    for need in term.needs:
        if need not in get_args(Need):
            raise ValueError(f"needs: {need!r} is not known; known ones: {', '.join(get_args(Need))}")
    if TERMS.setdefault(name, term) != term:
        raise ValueError(f"there is another loss term named {name!r}; give yours another name, or start a new process")


def objective_terms(objective: Objective) -> list[tuple[float, Term]]:
    """The terms of an objective and their weights: α and β of eq. 2, then its further ones. Weights of 0 are left out.

    Raises:
        UsageError: a term is not registered, or learns from a teacher where β = 0, so that there is none.
    """
    own = {"cross_entropy": objective.alpha, "linear_target" if objective.target == "linear" else "kd": objective.beta}
    terms = [(weight, TERMS[name]) for name, weight in own.items() if weight]
    for name, weight in objective.terms.weights.items():
        if name not in TERMS:
            raise UsageError(
                f"terms: {name!r} is not known; known ones: {', '.join(TERMS)} (vicinal.distillation.register_term adds yours)"
            )
        if not math.isfinite(weight):
            raise UsageError(f"terms: the weight of {name!r} is {weight}; give a number")
        term = TERMS[name]
        if weight and term.needs & (OF_ANSWERS | {"teacher_features"}) and not objective.uses_teacher:
            raise UsageError(f"terms: {name!r} learns from the teacher's answers, so it needs beta above 0")
        if weight:
            terms.append((weight, term))
    return terms


def objective_needs(objective: Objective) -> frozenset[Need]:
    """What the terms of an objective are computed from. Raises UsageError as `objective_terms` does."""
    return frozenset(need for _, term in objective_terms(objective) for need in term.needs)


def training_loss(
    objective: Objective,
    student: StudentOutputs,
    batch: MixedLabels,
    answers: TeacherAnswers,
    mean: Callable[[Tensor], Tensor] = Tensor.mean,
) -> Tensor:
    """The weighted sum of the terms of an objective, each meaned over the batch; float32 whatever autocast does.

    Args:
        mean: (B,) losses to a number; another than the plain mean where B rows are a part of the batch.

    Raises:
        UsageError: as `objective_terms`.
        ValueError: an answer that a term needs is missing, or a term gives other than one loss for each row.
    """
    rows = student.logits.shape[:1]
    terms = []
    for weight, term in objective_terms(objective):
        losses = term.per_sample(student, batch, answers, objective)
        if losses.shape != rows:
            raise ValueError(
                f"a loss term gives {tuple(losses.shape)} for {len(student.logits)} rows; give one loss for each row"
            )
        terms.append(weight * mean(losses))
    return sum(terms[1:], start=terms[0])


@dataclass(frozen=True)
class _Labels:
    labels: Tensor
    partner_labels: Tensor
    lam: Tensor | float


def objective_loss(
    objective: Objective,
    student_logits: Tensor,
    labels: Tensor,
    partner_labels: Tensor,
    lam: Tensor | float,
    teacher_logits: Tensor | None = None,
    partner_logits: Tensor | None = None,
) -> Tensor:
    """α·CE(mixed labels) + β·T²·KL(target^T ‖ student^T) (eq. 2) and the objective's further terms, mean over the batch, float32.

    Args:
        objective: α, β, T and the weights of further terms, which get no features.
        student_logits: (B, K) answers to the mixed images.
        teacher_logits: (B, K) the teacher's answers to the mixed images, or, for the linear target, to the clean ones; may be
            None where β is 0.
        partner_logits: (B, K) for the linear target: the teacher's answers to the clean partners.
        labels, partner_labels: (B,) int64, of each image and of the one mixed into it.
        lam: (B,) or a number, the share of the image itself.

    Raises:
        ValueError: β is above 0 and a teacher's answer is missing.
        UsageError: as `objective_terms`.
    """
    if objective.target == "linear":
        answers = TeacherAnswers(own=teacher_logits, partner=partner_logits)
    else:
        answers = TeacherAnswers(mixed=teacher_logits)
    return training_loss(objective, StudentOutputs(student_logits), _Labels(labels, partner_labels, lam), answers)
