"""A timm model by its name, with the weights of a file: of any number of classes, trained at any side."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError, one_line
from vicinal.networks.naming import FOLDER_PREFIX, read_config
from vicinal.networks.weights import PREFIXES, check_kinds, first_difference, shapes_differ

_BUILT_IN = ("vicinal_resnet8", "vicinal_mobilenet")
_SIDES_TRIED = 3  # that the shapes of a file speak for


def timm_model(
    spec: NetworkSpec, channels: int, weights: Mapping[str, Tensor] | None, notes: list[str]
) -> tuple[nn.Module, NetworkSpec]:
    """The model with its classifier, from the hub's weights, from a file's (`weights`), or new; and the spec that it was made by.

    A network made for one side of images (timm's `img_size`) is made for the side that the shapes of its weights say, which then
    is the spec's, too, unless it states one; `notes` are told. Raises UsageError where it cannot be made or weights do not fit.
    """
    if weights is None:
        return new_model(spec, channels), spec
    weights = without_company(spec, _classifier_name(spec), weights, notes)
    held = _classes_held(spec, weights)
    model = new_model(spec, channels, held)
    side = _side_of(spec, channels, held, weights, model) if "img_size" not in spec.model_args else None
    if side is not None:
        wanted = spec.image_size or side
        if wanted == side:
            notes.append(
                f"the weights {Path(spec.weights or '').name} are of a network for images of {side} px: it is made for that side."
            )
        else:
            notes.append(
                f"the weights {Path(spec.weights or '').name} are of a network for images of {side} px; image_size {wanted} is stated, "
                "so its position embedding is stretched."
            )
        spec = spec.model_copy(update={"image_size": wanted, "model_args": {**spec.model_args, "img_size": wanted}})
        model = new_model(spec, channels, held)
    own = model.state_dict()
    assert spec.weights is not None
    check_kinds(spec.weights, weights, own)
    if not any(shapes_differ(weights, own)):
        with contextlib.suppress(RuntimeError):  # other names: the model's own way to read weights may know them
            model.load_state_dict(dict(weights))
            return model, spec
    return _through_timm(spec, channels, weights, held), spec


def _through_timm(spec: NetworkSpec, channels: int, weights: Mapping[str, Tensor], held: int | None) -> nn.Module:
    """By timm's own way: renamed tensors, other channels, another side. Raises UsageError where it does not take them."""
    model = new_model(spec, channels, held, dict(weights))
    cfg = getattr(model, "pretrained_cfg", None)
    taken = isinstance(cfg, dict) and cfg.pop("state_dict", None) is not None
    if not taken:  # a model of somebody's own that is not built in timm's way
        name = first_difference(weights, model.state_dict())
        raise UsageError(f"the weights {spec.weights} do not fit {spec.model} (first difference: {name})")
    return model


def new_model(
    spec: NetworkSpec, channels: int, classes: int | None = None, weights: dict[str, Tensor] | None = None
) -> nn.Module:
    """timm's model. Raises UsageError for whatever goes wrong in it."""
    wanted: dict[str, Any] = {**spec.model_args, "pretrained": spec.weights == "hub", "in_chans": channels}
    if classes is not None:  # as many as the file holds: timm would otherwise ask for the model's own number
        wanted["num_classes"] = classes
    if weights is not None:
        count = {} if classes is None else {"num_classes": classes}
        wanted |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": weights, **count}}
    try:
        return timm.create_model(spec.model, **wanted)
    except (OSError, ValueError) as error:
        if spec.weights == "hub" and spec.model.startswith(FOLDER_PREFIX):
            raise UsageError(f"{spec.model} cannot be loaded ({one_line(error)}): get its weights file again") from None
        if spec.weights == "hub":
            raise UsageError(
                f"the hub's weights of {spec.model} could not be downloaded ({one_line(error)}); "
                "or give a local safetensors file as 'weights'"
            ) from None
        raise UsageError(f"timm cannot make {spec.model}: {one_line(error)}") from None
    except Exception as error:
        if weights is not None or (spec.weights == "hub" and isinstance(error, RuntimeError)):
            raise UsageError(f"the weights {spec.weights} do not fit {spec.model}: {one_line(error)}") from None
        raise UsageError(f"timm cannot make {spec.model}: {one_line(error)}") from None


def _classes_held(spec: NetworkSpec, weights: Mapping[str, Tensor]) -> int | None:
    """The number of classes in a timm file, 0 without a classifier; None where the model does not name its classifier."""
    name = _classifier_name(spec)
    if name is None:
        return None
    weight = weights.get(f"{name}.weight")
    return len(weight) if weight is not None and weight.dim() > 1 else 0


def _classifier_name(spec: NetworkSpec) -> str | None:
    if spec.model.startswith(FOLDER_PREFIX):
        config = read_config(Path(spec.model.removeprefix(FOLDER_PREFIX)))
        names = (config.get("pretrained_cfg") or {}).get("classifier") or config.get("classifier")
        names = names or _stated_classifier(str(config.get("architecture")))
    else:
        names = _stated_classifier(spec.model)
    return names if isinstance(names, str) else names[0] if isinstance(names, list | tuple) and names else None


def _stated_classifier(model: str) -> Any:
    """The names that timm states of a model's classifiers."""
    cfg = timm.get_pretrained_cfg(model, allow_unregistered=True)
    return getattr(cfg, "classifier", None) or ("head" if model in _BUILT_IN else None)


def without_company(
    spec: NetworkSpec, name: str | None, weights: Mapping[str, Tensor], notes: list[str]
) -> Mapping[str, Tensor]:
    """The network's own tensors, where its classifier `name` lies under one wrapper's prefix and others beside it (losses, metrics)."""
    found = [p for p in PREFIXES if name is not None and f"{p}{name}.weight" in weights]
    if len(found) != 1 or f"{name}.weight" in weights:
        return weights
    outside = [other for other in weights if not other.startswith(found[0])]
    shown = ", ".join(outside[:3]) + (", ..." if len(outside) > 3 else "")
    notes.append(
        f"the weights {Path(spec.weights or '').name}: those under {found[0]} are taken, {len(outside)} beside them are not ({shown})."
    )
    return {other.removeprefix(found[0]): t for other, t in weights.items() if other.startswith(found[0])}


def _side_of(
    spec: NetworkSpec, channels: int, classes: int | None, weights: Mapping[str, Tensor], model: nn.Module
) -> int | None:
    """The side in px that weights of other shapes than the model's own are for; None where that is not the difference."""
    for side in list(dict.fromkeys(_sides_said(weights, model)))[:_SIDES_TRIED]:
        try:
            args = {**spec.model_args, "img_size": side}
            resized = new_model(spec.model_copy(update={"model_args": args}), channels, classes)
        except UsageError:
            continue
        if not any(shapes_differ(weights, resized.state_dict())):
            return side
    return None


def _sides_said(weights: Mapping[str, Tensor], model: nn.Module) -> Iterator[int]:
    """Sides that would explain shapes which differ: tokens grow with the square of the side."""
    embed: Any = getattr(model, "patch_embed", None)
    cfg = getattr(model, "pretrained_cfg", None) or {}
    usual = getattr(embed, "img_size", None) or cfg.get("input_size", (None,))[-1]
    usual = usual[0] if isinstance(usual, tuple | list) else usual
    extra = getattr(model, "num_prefix_tokens", 0)
    own = model.state_dict()
    for name in shapes_differ(weights, own):
        if weights[name].dim() != own[name].dim() or not isinstance(usual, int):
            continue
        for held, made in zip(weights[name].shape, own[name].shape, strict=True):
            for count in (extra, 0, 1) if held != made else ():
                rows, rows_made = math.isqrt(max(held - count, 0)), math.isqrt(max(made - count, 0))
                if rows and rows**2 == held - count and rows_made and rows_made**2 == made - count:
                    yield round(usual * rows / rows_made)
        if weights[name].dim() == 4 and weights[name].shape[1] != own[name].shape[1]:  # (1, rows, columns, D)
            yield round(usual * weights[name].shape[1] / own[name].shape[1])
