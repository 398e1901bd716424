"""A whole classifier's own weights, as `save_weights` writes them: backbone, head and normalisation, loaded back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError, one_line
from vicinal.networks.classifier import TimmClassifier
from vicinal.networks.heads import check_class_count
from vicinal.networks.weights import FILE_BYTES, WeightsFile, check_kinds

_NORMALISATION = {"mean", "std"}
_INSIDE = "backbone.model."  # before the names of a model that keeps its classifier


class Normalisation(NamedTuple):
    """Of a network's pixels, one number for each channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def are_whole_classifiers(weights: Mapping[str, Tensor]) -> bool:
    """Whether weights are what `save_weights` writes of a network built here."""
    return weights.keys() >= _NORMALISATION and any(name.startswith("head.") for name in weights)


def head_of(weights: Mapping[str, Tensor]) -> Literal["linear", "bottleneck", "inside"]:
    """The form of the head in a whole classifier's weights; inside: the model keeps its own."""
    if "head.order" in weights:
        return "inside"
    return "linear" if "head.weight" in weights else "bottleneck"


def normalisation_in(file: WeightsFile) -> Normalisation:
    """The normalisation in a whole classifier's weights. Raises UsageError where it is none."""
    mean, std = file.tensors["mean"], file.tensors["std"]
    if mean.shape != std.shape or mean.dim() != 4 or mean.numel() != mean.shape[1]:
        raise UsageError(
            f"{file.path}: 'mean' {tuple(mean.shape)} and 'std' {tuple(std.shape)} are not (1, C, 1, 1) each: get it again"
        )
    if not bool((std > 0).all()):
        raise UsageError(f"{file.path}: 'std' is not above 0: get it again")
    return Normalisation(tuple(mean.flatten().tolist()), tuple(std.flatten().tolist()))


def check_normalisation(spec: NetworkSpec, held: Normalisation, channels: int) -> None:
    """Raises UsageError where a whole classifier's weights are for other images, or a study states another normalisation."""
    if len(held.mean) != channels:
        raise UsageError(f"{spec.weights} takes images of {len(held.mean)} channel(s), the data has {channels}")
    if spec.mean is not None and spec.std is not None:
        stated = [
            torch.tensor(values).expand(channels) if len(values) in (1, channels) else None
            for values in (spec.mean, spec.std)
        ]
        own = [torch.tensor(values) for values in held]
        if not all(s is not None and torch.allclose(s, o, atol=1e-4) for s, o in zip(stated, own, strict=True)):
            raise UsageError(
                f"{spec.weights} was trained with mean and std {[list(v) for v in held]}; leave 'mean' and 'std' out"
            )


def held_classes(weights: Mapping[str, Tensor]) -> int | None:
    """Of a model that keeps its classifier: how many classes it answers with, of which its order may leave some out; None of others."""
    if "head.order" not in weights:
        return None
    return int(weights["head.held"]) if "head.held" in weights else len(weights["head.order"])


def saved_bytes(weights: Mapping[str, Tensor]) -> bytes | None:
    """Of a network that is made from a file: that file, as its saved weights hold it."""
    kept = next((t for name, t in weights.items() if name.rpartition(".")[2] == FILE_BYTES), None)
    return None if kept is None else kept.numpy(force=True).tobytes()


def without_wrapping(file: WeightsFile) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """Of a model that keeps its classifier: its own weights, and the order of its logits. Raises UsageError."""
    model = {name.removeprefix(_INSIDE): t for name, t in file.tensors.items() if name.startswith(_INSIDE)}
    order = file.tensors["head.order"].flatten().tolist()
    if len(set(order)) != len(order) or not order or min(order) < 0:
        raise UsageError(f"{file.path}: 'head.order' is no order of classes: get it again")
    return model, tuple(order)


def classes_of_whole(spec: NetworkSpec, weights: Mapping[str, Tensor]) -> int:
    """How many classes a whole classifier's head answers with. Raises UsageError where there is none."""
    last = [n for n in weights if n.startswith("head.") and n.endswith("weight") and weights[n].dim() == 2]
    if not last:
        raise UsageError(f"the weights {spec.weights} hold no classifier for head: keep: get them again")
    return len(weights[max(last)])


def load_whole_classifier(
    network: TimmClassifier, weights: Mapping[str, Tensor], spec: NetworkSpec, classes: int
) -> None:
    """Load a whole classifier's weights: its backbone and normalisation, and its head unless a new one is to be trained.

    Raises UsageError where they are another architecture's, or a head that is kept has not the data's `classes`.
    """
    new_head = spec.head != "keep" and spec.epochs > 0
    taken = {name: t for name, t in weights.items() if not (new_head and name.startswith("head."))}
    if not new_head:
        check_class_count(spec, classes_of_whole(spec, taken), classes)
    assert spec.weights is not None
    check_kinds(spec.weights, taken, network.state_dict())
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
