"""Weights in files: read without unpickling, written whole or not at all; and a whole classifier's own weights, loaded back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError
from vicinal.networks.classifier import Classifier
from vicinal.workspace import write_atomically

_NORMALISATION = {"mean", "std"}


def save_weights(network: Classifier, path: Path) -> None:
    """A classifier's weights as safetensors, whole or not at all."""
    write_atomically(path, save({name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a PyTorch file read with weights_only=True. Raises UsageError."""
    if not path.is_file():
        raise UsageError(f"no weights file {path}; give the path of a safetensors file, 'hub', or leave 'weights' out")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        value = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UsageError(f"{path} is not a readable safetensors file ({error}); get it again") from None
    except Exception as error:
        raise UsageError(
            f"{path} is not a file of plain tensors ({type(error).__name__}); save the model's state_dict as safetensors"
        ) from None
    value = value.get("state_dict", value) if isinstance(value, dict) else value
    if not isinstance(value, dict) or not all(isinstance(t, Tensor) for t in value.values()):
        raise UsageError(f"{path} is not a state_dict; save model.state_dict() as safetensors")
    return value


def are_whole_classifiers(weights: Mapping[str, Tensor]) -> bool:
    """Whether weights are what `save_weights` writes of a network built here: backbone, head and normalisation."""
    return weights.keys() >= _NORMALISATION and any(name.startswith("head.") for name in weights)


def check_normalisation(
    spec: NetworkSpec, weights: Mapping[str, Tensor], mean: tuple[float, ...], std: tuple[float, ...], channels: int
) -> None:
    """Raises UsageError where a whole classifier's weights are for other images, or a study states another normalisation."""
    held = torch.stack([weights["mean"].flatten(), weights["std"].flatten()])
    if held.shape[1] != channels:
        raise UsageError(f"{spec.weights} takes images of {held.shape[1]} channel(s), the data has {channels}")
    if spec.mean is not None and not torch.allclose(torch.tensor([mean, std]), held, atol=1e-4):
        raise UsageError(f"{spec.weights} was trained with mean and std {held.tolist()}; leave 'mean' and 'std' out")


def load_whole_classifier(network: Classifier, weights: Mapping[str, Tensor], spec: NetworkSpec, classes: int) -> None:
    """Load a whole classifier's weights: its backbone and normalisation, and its head unless a new one is to be trained.

    Raises UsageError where they are another architecture's, or a head that is kept has not the data's `classes`.
    """
    new_head = spec.head != "keep" and spec.epochs > 0
    taken = {name: t for name, t in weights.items() if not (new_head and name.startswith("head."))}
    if not new_head:
        last = max(name for name in taken if name.startswith("head.") and name.endswith("weight"))
        check_class_count(spec, len(taken[last]), classes)
    try:
        missing, unexpected = network.load_state_dict(taken, strict=False)
    except RuntimeError as error:
        raise UsageError(f"the weights {spec.weights} do not fit {spec.model}: {one_line(error)}") from None
    missing = [name for name in missing if not (new_head and name.startswith("head."))]
    if missing or unexpected:
        name = (missing + unexpected)[0]
        raise UsageError(
            f"the weights {spec.weights} do not fit {spec.model} with head: {spec.head} (first difference: {name})"
        )


def check_class_count(spec: NetworkSpec, held: int, classes: int) -> None:
    """Raises UsageError where a head that is kept has other classes than the data."""
    if held != classes:
        raise UsageError(
            f"the head in {spec.weights} has {held} classes and the data has {classes}: "
            "use head: linear with epochs above 0 to train a new head, or other weights"
        )


def one_line(error: BaseException) -> str:
    """What an error says, as one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
