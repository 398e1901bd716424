"""Which of the paper's data sets and teachers a study has, so that the paper's numbers may stand beside its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vicinal.paper import CLASSES

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
