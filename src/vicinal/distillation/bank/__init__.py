"""A teacher's answers along a plan, stored once in records of fixed size and read by every student that shares it."""

from vicinal.distillation.bank.codec import AnswerCodec
from vicinal.distillation.bank.store import TeacherBank

__all__ = ["AnswerCodec", "TeacherBank"]
