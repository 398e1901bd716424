"""Answers that no teacher gave, and banks of every form to keep them in."""

from __future__ import annotations

import torch

from vicinal.config import AnswersSpec
from vicinal.distillation import BankLayout

LAYOUT = BankLayout({"teacher": "a"}, epochs=3, images=10, batch_size=4, classes=5)


FORMS = [
    AnswersSpec(),
    AnswersSpec(dtype="float16"),
    AnswersSpec(top_k=3),
    AnswersSpec(dtype="float16", top_k=2),
]


def answers(size: int, seed: int = 0, classes: int = 5, scale: float = 30) -> torch.Tensor:
    return torch.randn(size, classes, generator=torch.Generator().manual_seed(seed)) * scale


def with_form(form: AnswersSpec) -> BankLayout:
    return BankLayout({"teacher": "a"}, 3, 10, 4, 5, form)
