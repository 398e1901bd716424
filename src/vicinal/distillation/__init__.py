"""The frozen teacher, its answers (live, or from a bank), and the loss that a student learns from."""

from vicinal.distillation.answers import Answers, Spread, frozen_teacher
from vicinal.distillation.bank import (
    ANSWERS,
    MANIFEST,
    AnswerCodec,
    BankLayout,
    Manifest,
    TeacherBank,
)
from vicinal.distillation.objective import (
    MixedLabels,
    Need,
    StudentOutputs,
    TeacherAnswers,
    Term,
    objective_loss,
    objective_needs,
    objective_terms,
    register_term,
    training_loss,
)
from vicinal.distillation.precision import choose_precision
from vicinal.distillation.teacher import FrozenTeacher, Precision

__all__ = [
    "ANSWERS",
    "MANIFEST",
    "AnswerCodec",
    "Answers",
    "BankLayout",
    "FrozenTeacher",
    "Manifest",
    "MixedLabels",
    "Need",
    "Precision",
    "Spread",
    "StudentOutputs",
    "TeacherAnswers",
    "TeacherBank",
    "Term",
    "choose_precision",
    "frozen_teacher",
    "objective_loss",
    "objective_needs",
    "objective_terms",
    "register_term",
    "training_loss",
]
