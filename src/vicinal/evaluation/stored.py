"""Answers kept beside the network that they came from, and asked for again only where what defines them has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vicinal.data import ImageData
from vicinal.inputs import Preparation
from vicinal.networks import Classifier
from vicinal.workspace import RunFolder, StudyProgress


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network of a study, loaded when it is to predict."""

    folder: RunFolder
    preparation: Preparation
    load: Callable[[], Classifier]


@dataclass(frozen=True)
class EvaluationContext:
    """What the optional predictions of all networks of a study share."""

    data: ImageData
    device: torch.device
    progress: StudyProgress


def load_stored(path: Path, names: tuple[str, ...]) -> dict[str, Tensor] | None:
    """The tensors of a stored answer; None where it is missing, damaged or not finite, so that it is asked for again."""
    if not path.exists():
        return None
    try:
        stored = load_file(path)
    except SafetensorError:
        return None
    whole = all(name in stored and bool(stored[name].isfinite().all()) for name in names)
    return stored if whole else None


def read_entry(path: Path) -> dict[str, Any] | None:
    """A stored JSON mapping; None where it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
