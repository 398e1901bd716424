"""The classifier to learn from: what it is, and whether its classes are the data's, so that it can teach as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError
from vicinal.networks import Classifier, TimmClassifier, build_classifier, model_name, read_weights_file


@dataclass(frozen=True)
class Teacher:
    """A classifier as a study states it: its keys (`model`, `weights`, and what its file says beside)."""

    keys: dict[str, Any]
    reasons: dict[str, str]  # of the keys
    keeps: bool  # it teaches as it is; else it is fine-tuned first
    why: str  # it does, a clause
    parameters: int
    notes: tuple[str, ...] = ()
    names_are_known: bool = False  # its file names its classes, so that their order needs no check
    natural_order: bool = field(
        default=False
    )  # it was trained by timm, which numbers class folders in the natural order


def look_at_teacher(model: str, class_names: tuple[str, ...], channels: int) -> Teacher:
    """Find out what a classifier is, and whether it knows the data's classes.

    Args:
        model: as `networks.model_name` takes it.
        class_names: of the data, in its order; channels: of its images.

    Raises UsageError for what is none of them, or cannot be used either as it is or fine-tuned.
    """
    keys, reasons, natural = keys_of(model)
    try:
        kept = _built(keys | {"head": "keep", "epochs": 0}, class_names, channels)
    except UsageError as error:
        why = str(error)
    else:
        named = not kept.classes_are_guessed
        why = (
            "its file names the data's classes" if named else f"it has the data's number of classes, {len(class_names)}"
        )
        side = _side_of(kept)
        if side is not None:
            keys["image_size"], reasons["image_size"] = side, "side in px that it was made for"
        return Teacher(keys, reasons, True, why, _parameters(kept), kept.notes, named, natural)
    try:
        tuned = _built(keys | {"head": "linear", "epochs": 1}, class_names, channels)
    except UsageError:
        raise UsageError(f"the teacher {model}: {why}") from None
    return Teacher(keys, reasons, False, why, _parameters(tuned), (), False, natural)


def _built(keys: dict[str, Any], class_names: tuple[str, ...], channels: int) -> Any:
    try:
        spec = NetworkSpec(**keys)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    with torch.random.fork_rng(devices=[]):
        return build_classifier(spec, len(class_names), channels, class_names)


def _side_of(network: Classifier) -> int | None:
    """Side in px of the images that a network was made for, where it says so."""
    if isinstance(network, TimmClassifier):
        if network.spec is not None and network.spec.image_size:
            return network.spec.image_size
        if network.own_preparation is not None:
            return network.own_preparation.image_size
    return network.preparation.image_size if network.preparation is not None else None


def _parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def keys_of(model: str) -> tuple[dict[str, Any], dict[str, str], bool]:
    """A study's keys for a MODEL of the command line, the reasons for some, and whether timm's train.py wrote its file.

    Raises UsageError for what names no model.
    """
    name = model_name(model)
    keys: dict[str, Any] = {"model": name.model}
    reasons = {"model": "what its file says it is"} if name.model not in model else {}
    if name.weights is not None:
        keys["weights"] = name.weights
        reasons["weights"] = "the file that was given" if name.weights != "hub" else "its own"
    if name.model_args:
        keys["model_args"] = {key: list(own) if isinstance(own, tuple) else own for key, own in name.model_args.items()}
    by_timm = False
    if name.weights not in (None, "hub"):
        meaning = read_weights_file(Path(str(name.weights))).meaning
        by_timm = bool(meaning.data_args) and meaning.class_names is None
    return keys, reasons, by_timm
