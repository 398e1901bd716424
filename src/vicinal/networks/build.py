"""From a spec to a network: a timm model, its weights, its normalisation, its head.

Shapes: C channels, K classes, D features.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError
from vicinal.networks import small  # noqa: F401  (registers the built-in networks with timm)
from vicinal.networks.classifier import Classifier, bottleneck_head, new_classifier
from vicinal.networks.weights import read_weights

_OWN_KEYS = {"mean", "std"}  # weights saved by vicinal hold their normalisation
_HUB_PREFIXES = ("hf-hub:", "hf_hub:")  # timm's names for anyone's model on the Hugging Face hub
_BUILT_IN = ("vicinal_resnet8", "vicinal_mobilenet")


def build_classifier(spec: NetworkSpec, classes: int, channels: int) -> Classifier:
    """The network of a spec, in eval mode, with its weights loaded and a new head where it needs one.

    Args:
        classes: K of the data; channels: of its images, 1 or 3.

    Raises:
        UsageError: an unknown model, weights that are missing, damaged or do not fit, more classes in the data than in a kept
            head, or a normalisation that nobody states.
    """
    if not timm.is_model(spec.model) and not spec.model.startswith(_HUB_PREFIXES):
        close = difflib.get_close_matches(spec.model, timm.list_models(), n=3)
        hint = f"; close ones: {', '.join(close)}" if close else ""
        raise UsageError(f"no timm model is named {spec.model!r}{hint}")
    local = None if spec.weights is None or spec.weights == "hub" else Path(spec.weights)
    saved = read_weights(local) if local is not None else None
    own = saved is not None and saved.keys() >= _OWN_KEYS and any(name.startswith("head.") for name in saved)
    if spec.epochs == 0 and spec.head != "keep" and not own:
        raise UsageError(
            f"epochs: 0 would leave the new head of {spec.model} untrained; use head: keep, or epochs above 0"
        )
    backbone = _timm_model(spec, channels, None if own else saved)
    mean, std = _normalisation(spec, backbone, channels)
    if own and saved is not None:
        _fit_normalisation(spec, saved, mean, std, channels)
    head: nn.Module
    if spec.head == "keep" and not own:
        head = _kept_head(backbone, spec, classes)
        cast(Any, backbone).reset_classifier(0)
    else:
        cast(Any, backbone).reset_classifier(0)
        features = _feature_count(backbone, spec, channels)
        as_saved = spec.head == "keep" and saved is not None and "head.weight" not in saved
        head = (
            bottleneck_head(features, classes)
            if spec.head == "bottleneck" or as_saved
            else new_classifier(features, classes)
        )
    network = Classifier(backbone, head, mean, std, spec.image_size)
    if own and saved is not None:
        _load_own_weights(network, saved, spec, classes)
    return network.eval()


def _timm_model(spec: NetworkSpec, channels: int, saved: dict[str, Tensor] | None) -> nn.Module:
    try:
        if saved is not None:
            overlay: dict[str, Any] = {"file": spec.weights}
            held = _classes_held(spec, saved)
            if held is not None:  # as many as the file holds: timm would otherwise ask for the model's own number
                overlay["num_classes"] = held
                return timm.create_model(
                    spec.model, pretrained=True, in_chans=channels, num_classes=held, pretrained_cfg_overlay=overlay
                )
            return timm.create_model(spec.model, pretrained=True, in_chans=channels, pretrained_cfg_overlay=overlay)
        return timm.create_model(spec.model, pretrained=spec.weights == "hub", in_chans=channels)
    except RuntimeError as error:
        if saved is None and spec.weights != "hub":
            raise UsageError(f"timm cannot make {spec.model}: {_short(error)}") from None
        raise UsageError(f"the weights {spec.weights} do not fit {spec.model}: {_short(error)}") from None
    except (OSError, ValueError) as error:
        if spec.weights == "hub":
            raise UsageError(
                f"the hub's weights of {spec.model} could not be downloaded ({_short(error)}); "
                "or give a local safetensors file as 'weights'"
            ) from None
        raise UsageError(f"timm cannot make {spec.model}: {_short(error)}") from None


def _classes_held(spec: NetworkSpec, saved: dict[str, Tensor]) -> int | None:
    """The number of classes in a timm file, 0 without a classifier; None where the model does not name its classifier."""
    cfg = timm.get_pretrained_cfg(spec.model, allow_unregistered=True)
    name = getattr(cfg, "classifier", None) or ("head" if spec.model in _BUILT_IN else None)
    if not isinstance(name, str):
        return None
    weight = saved.get(f"{name}.weight")
    return 0 if weight is None else len(weight)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _normalisation(
    spec: NetworkSpec, backbone: nn.Module, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    cfg = getattr(backbone, "pretrained_cfg", None) or {}
    mean, std = spec.mean or cfg.get("mean"), spec.std or cfg.get("std")
    if not mean or not std:
        raise UsageError(
            f"timm does not state the normalisation of {spec.model}: give its 'mean' and 'std' in the study"
        )
    if (
        channels == 1 and len(mean) == 3
    ):  # timm sums a first layer's filters over colours: the mean colour keeps the scale
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    if len(mean) == 1 and len(std) == 1:
        mean, std = tuple(mean) * channels, tuple(std) * channels
    if len(mean) != channels or len(std) != channels:
        raise UsageError(
            f"'mean' and 'std' of {spec.model} need {channels} numbers, one for each channel of the images"
        )
    return tuple(mean), tuple(std)


def _fit_normalisation(
    spec: NetworkSpec, saved: dict[str, Tensor], mean: tuple[float, ...], std: tuple[float, ...], channels: int
) -> None:
    """Weights saved by vicinal hold their normalisation; a study that states another is in error."""
    stated = torch.tensor([mean, std])
    held = torch.stack([saved["mean"].flatten(), saved["std"].flatten()])
    if held.shape[1] != channels:
        raise UsageError(f"{spec.weights} takes images of {held.shape[1]} channel(s), the data has {channels}")
    if spec.mean is not None and not torch.allclose(stated, held, atol=1e-4):
        raise UsageError(f"{spec.weights} was trained with mean and std {held.tolist()}; leave 'mean' and 'std' out")


def _kept_head(backbone: nn.Module, spec: NetworkSpec, classes: int) -> nn.Module:
    head = cast(Any, backbone).get_classifier()
    if not isinstance(head, nn.Linear):
        raise UsageError(f"head: keep needs a single linear classifier, which {spec.model} has not; use head: linear")
    _check_classes(spec, head.out_features, classes)
    return head


def _check_classes(spec: NetworkSpec, held: int, classes: int) -> None:
    if held != classes:
        raise UsageError(
            f"the head in {spec.weights} has {held} classes and the data has {classes}: "
            "use head: linear with epochs above 0 to train a new head, or other weights"
        )


def _load_own_weights(network: Classifier, saved: dict[str, Tensor], spec: NetworkSpec, classes: int) -> None:
    state = dict(saved)
    if spec.head != "keep" and spec.epochs > 0:
        state = {name: t for name, t in state.items() if not name.startswith("head.")}
    else:
        last = max(name for name in state if name.startswith("head.") and name.endswith("weight"))
        _check_classes(spec, len(state[last]), classes)
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise UsageError(f"the weights {spec.weights} do not fit {spec.model}: {_short(error)}") from None
    missing = [name for name in missing if not (name.startswith("head.") and spec.head != "keep" and spec.epochs > 0)]
    if missing or unexpected:
        name = (missing + unexpected)[0]
        raise UsageError(
            f"the weights {spec.weights} do not fit {spec.model} with head: {spec.head} (first difference: {name})"
        )


def _feature_count(backbone: nn.Module, spec: NetworkSpec, channels: int) -> int:
    """Width of the pooled features, asked of the network itself: some timm models widen `num_features` before pooling."""
    width = getattr(backbone, "head_hidden_size", None) or getattr(backbone, "num_features", None)
    if not isinstance(width, int):
        raise UsageError(
            f"{spec.model} does not say how many features it has, so it takes no new head (channels: {channels})"
        )
    return width
