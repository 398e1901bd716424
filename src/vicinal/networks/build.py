"""From a spec to a network: a timm model, its weights, its normalisation, its head.

Shapes: C channels, K classes, D features.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import timm
from torch import Tensor, nn

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError
from vicinal.networks import small  # noqa: F401  (registers the built-in networks with timm)
from vicinal.networks.classifier import TimmClassifier, bottleneck_head, new_classifier
from vicinal.networks.weights import (
    are_whole_classifiers,
    check_class_count,
    check_normalisation,
    load_whole_classifier,
    one_line,
    read_weights,
)

_HUB_PREFIXES = ("hf-hub:", "hf_hub:")  # timm's names for anyone's model on the Hugging Face hub
_BUILT_IN = ("vicinal_resnet8", "vicinal_mobilenet")


def build_classifier(spec: NetworkSpec, classes: int, channels: int) -> TimmClassifier:
    """The network of a spec, in eval mode, with its weights loaded and a new head where it needs one.

    Args:
        classes: K of the data; channels: of its images, 1 or 3.

    Raises:
        UsageError: an unknown model, weights that are missing, damaged or do not fit, more classes in the data than in a kept
            head, or a normalisation that neither timm nor the study states.
    """
    _check_model_name(spec.model)
    saved = None if spec.weights is None or spec.weights == "hub" else read_weights(Path(spec.weights))
    whole = saved if saved is not None and are_whole_classifiers(saved) else None
    if spec.epochs == 0 and spec.head != "keep" and whole is None:
        raise UsageError(
            f"epochs: 0 would leave the new head of {spec.model} untrained; use head: keep, or epochs above 0"
        )
    backbone = _timm_model(spec, channels, None if whole is not None else saved)
    mean, std = _normalisation(spec, backbone, channels)
    if whole is not None:
        check_normalisation(spec, whole, mean, std, channels)
    head = _head(spec, backbone, whole, classes)
    network = TimmClassifier(backbone, head, mean, std, spec.image_size)
    if whole is not None:
        load_whole_classifier(network, whole, spec, classes)
    return network.eval()


def _check_model_name(name: str) -> None:
    if not timm.is_model(name) and not name.startswith(_HUB_PREFIXES):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; close ones: {', '.join(close)}" if close else ""
        raise UsageError(f"no timm model is named {name!r}{hint}")


def _timm_model(spec: NetworkSpec, channels: int, saved: dict[str, Tensor] | None) -> nn.Module:
    """The model with its classifier, from the hub's weights, from a file of timm's (`saved`), or new."""
    wanted: dict[str, Any] = {"pretrained": spec.weights == "hub", "in_chans": channels}
    if saved is not None:
        wanted |= {"pretrained": True, "pretrained_cfg_overlay": {"file": spec.weights}}
        held = _classes_held(spec, saved)
        if held is not None:  # as many as the file holds: timm would otherwise ask for the model's own number
            wanted["num_classes"] = wanted["pretrained_cfg_overlay"]["num_classes"] = held
    try:
        return timm.create_model(spec.model, **wanted)
    except RuntimeError as error:
        if saved is None and spec.weights != "hub":
            raise UsageError(f"timm cannot make {spec.model}: {one_line(error)}") from None
        raise UsageError(f"the weights {spec.weights} do not fit {spec.model}: {one_line(error)}") from None
    except (OSError, ValueError) as error:
        if spec.weights == "hub":
            raise UsageError(
                f"the hub's weights of {spec.model} could not be downloaded ({one_line(error)}); "
                "or give a local safetensors file as 'weights'"
            ) from None
        raise UsageError(f"timm cannot make {spec.model}: {one_line(error)}") from None


def _classes_held(spec: NetworkSpec, saved: dict[str, Tensor]) -> int | None:
    """The number of classes in a timm file, 0 without a classifier; None where the model does not name its classifier."""
    cfg = timm.get_pretrained_cfg(spec.model, allow_unregistered=True)
    name = getattr(cfg, "classifier", None) or ("head" if spec.model in _BUILT_IN else None)
    if not isinstance(name, str):
        return None
    weight = saved.get(f"{name}.weight")
    return 0 if weight is None else len(weight)


def _normalisation(
    spec: NetworkSpec, backbone: nn.Module, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation, (C,) each: the study's, else timm's. Raises UsageError where neither has them or they are not for C."""
    cfg = getattr(backbone, "pretrained_cfg", None) or {}
    mean, std = spec.mean or cfg.get("mean"), spec.std or cfg.get("std")
    if not mean or not std:
        raise UsageError(
            f"timm does not state the normalisation of {spec.model}: give its 'mean' and 'std' in the study"
        )
    if channels == 1 and len(mean) == 3:
        # timm sums a first layer's filters over colours: the mean colour keeps the scale.
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    if len(mean) == 1 and len(std) == 1:
        mean, std = tuple(mean) * channels, tuple(std) * channels
    if len(mean) != channels or len(std) != channels:
        raise UsageError(
            f"'mean' and 'std' of {spec.model} need {channels} numbers, one for each channel of the images"
        )
    return tuple(mean), tuple(std)


def _head(spec: NetworkSpec, backbone: nn.Module, whole: Mapping[str, Tensor] | None, classes: int) -> nn.Module:
    """The head a spec asks for; the backbone is left without one and gives its pooled features."""
    if spec.head == "keep" and whole is None:
        head = cast(Any, backbone).get_classifier()
        cast(Any, backbone).reset_classifier(0)
        if not isinstance(head, nn.Linear):
            raise UsageError(
                f"head: keep needs a single linear classifier, which {spec.model} has not; use head: linear"
            )
        check_class_count(spec, head.out_features, classes)
        return head
    cast(Any, backbone).reset_classifier(0)
    features = _feature_count(spec, backbone)
    kept_bottleneck = spec.head == "keep" and whole is not None and "head.weight" not in whole
    if spec.head == "bottleneck" or kept_bottleneck:
        return bottleneck_head(features, classes)
    return new_classifier(features, classes)


def _feature_count(spec: NetworkSpec, backbone: nn.Module) -> int:
    """D, asked of the network itself: some timm models widen `num_features` before pooling."""
    width = getattr(backbone, "head_hidden_size", None) or getattr(backbone, "num_features", None)
    if not isinstance(width, int):
        raise UsageError(f"{spec.model} does not say how many features it has, so it takes no new head; use head: keep")
    return width
