"""A teacher's answers along a plan, stored once in records of fixed size and read by every student that shares it."""

from vicinal.distillation.bank.codec import AnswerCodec, AnswerParts
from vicinal.distillation.bank.layout import BankLayout
from vicinal.distillation.bank.manifest import MANIFEST, Manifest
from vicinal.distillation.bank.store import ANSWERS, BankContent, TeacherBank

__all__ = [
    "ANSWERS",
    "MANIFEST",
    "AnswerCodec",
    "AnswerParts",
    "BankContent",
    "BankLayout",
    "Manifest",
    "TeacherBank",
]
