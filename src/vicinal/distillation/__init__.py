"""The frozen teacher, its answers (live, or from a bank), and the loss that a student learns from."""

from vicinal.distillation.answers import ask_teacher, frozen_teacher
from vicinal.distillation.bank.codec import AnswerCodec
from vicinal.distillation.bank.manifest import ANSWERS, MANIFEST, BankLayout, layout_and_manifest
from vicinal.distillation.bank.store import TeacherBank
from vicinal.distillation.objective import objective_loss
from vicinal.distillation.precision import choose_precision
from vicinal.distillation.teacher import FrozenTeacher, Precision

__all__ = [
    "ANSWERS",
    "MANIFEST",
    "AnswerCodec",
    "BankLayout",
    "FrozenTeacher",
    "Precision",
    "TeacherBank",
    "ask_teacher",
    "choose_precision",
    "frozen_teacher",
    "layout_and_manifest",
    "objective_loss",
]
