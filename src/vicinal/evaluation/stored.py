"""Answers kept beside the network that they came from, and asked for again only where what defines them has changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from vicinal.data import ImageData
from vicinal.inputs import Preparation
from vicinal.networks import Classifier
from vicinal.workspace import (
    DamagedError,
    RunFolder,
    Seal,
    StudyProgress,
    read_sealed_json,
    safetensors_seal,
    write_sealed_json,
    write_sealed_tensors,
)


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network of a study, loaded when it is to predict."""

    folder: RunFolder
    preparation: Preparation
    load: Callable[[], Classifier]

    @cached_property
    def weights(self) -> str:
        """The SHA-256 of its weights, which its stored answers are kept by."""
        return str(self.folder.summary()["weights_sha256"])


@dataclass(frozen=True)
class EvaluationContext:
    """What the optional predictions of all networks of a study share."""

    data: ImageData
    device: torch.device
    progress: StudyProgress


def save_stored(path: Path, tensors: Mapping[str, Tensor], weights: str = "") -> None:
    """Keep answers of a network by the SHA-256 of its weights, with a checksum. Raises VicinalError where they cannot be written."""
    data = save({name: t.contiguous() for name, t in tensors.items()})
    write_sealed_tensors(path, data, {"weights": weights})


def load_stored(
    path: Path, names: tuple[str, ...], weights: str = "", say: Callable[[str], None] = lambda _: None
) -> dict[str, Tensor] | None:
    """The tensors of a stored answer; None where it is missing, damaged, of other weights or not finite, so that it is asked for again.

    Args:
        weights: SHA-256 of the network's weights.
        say: told in a line where the file is there and is not used.
    """
    if not path.exists():
        return None
    reason, stored, whose = "is damaged (its checksum does not fit)", {}, None
    with contextlib.suppress(SafetensorError, OSError, RuntimeError, ValueError):
        if safetensors_seal(path) is Seal.WHOLE:
            with safe_open(path, framework="pt") as file:
                whose = file.metadata().get("weights")
            stored = load_file(path)
            reason = "is of other weights" if whose != weights else "lacks answers or holds some that are not finite"
    if whose == weights and all(name in stored and bool(stored[name].isfinite().all()) for name in names):
        return stored
    say(f"{path} {reason}; the network is asked again")
    return None


def save_entry(path: Path, entry: Mapping[str, Any], weights: str) -> None:
    """Keep a JSON mapping computed of a network's answers. Raises VicinalError where it cannot be written."""
    write_sealed_json(path, {"weights": weights, "entry": dict(entry)})


def read_entry(path: Path, weights: str, say: Callable[[str], None] = lambda _: None) -> dict[str, Any] | None:
    """A stored JSON mapping; None where it is missing, damaged or of other weights, of which `say` is told."""
    if not path.exists():
        return None
    try:
        value = read_sealed_json(path)
    except DamagedError as error:
        say(f"{error}; it is computed again")
        return None
    entry = value.get("entry")
    if value.get("weights") != weights or not isinstance(entry, dict):
        say(f"{path} is of other weights; it is computed again")
        return None
    return entry
