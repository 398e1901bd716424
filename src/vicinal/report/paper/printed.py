"""The paper's own numbers, and which of them a study's data and networks may stand beside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from vicinal.paper import CLASSES

PERFORMANCE_TABLES = {"cifar10": 2, "cifar100": 3, "imagenet": 4}
_SOUNDS_LIKE = {
    "cifar100": r"cifar-?100(?!\d)",
    "cifar10": r"cifar-?10(?!\d)",
    "imagenet": r"(?<!tiny)(?<!tiny[-_ ])imagenet(?!te)",  # Imagenette and Tiny ImageNet are other data
}
# What a timm name begins with, and the paper's name.
_TEACHERS = {
    "convnext_large": "convnext_large",
    "vit_base_patch16": "vit_base_patch16",
    "resnet152": "resnet152v2",
    "convnext_tiny": "convnext_tiny",
}


@cache
def paper_numbers() -> dict[str, Any]:
    """The paper's tables as data: fractions, percent where a name says `_pct`, nats. Not to be changed by its readers."""
    text = (files("vicinal") / "paper" / "results.yaml").read_text(encoding="utf-8")
    numbers: dict[str, Any] = yaml.safe_load(text)
    return numbers


def paper_data_set(data: Mapping[str, Any]) -> str | None:
    """Which of the paper's data sets a study has: cifar10, cifar100, imagenet, or None.

    Known by `source` or `name`; a data set of another number of classes only sounds like one.
    """
    for text in (data.get("source"), data.get("name")):
        for name, pattern in _SOUNDS_LIKE.items():
            if re.search(pattern, str(text or "").lower()):
                classes = len(data.get("class_names") or []) or CLASSES[name]
                return name if classes == CLASSES[name] else None
    return None


def paper_teacher(model: str | None) -> str | None:
    """The paper's name of a teacher's architecture, by the name of its model in timm; None for any other."""
    name = str(model or "").removeprefix("timm/")
    return next((known for start, known in _TEACHERS.items() if name.startswith(start)), None)
