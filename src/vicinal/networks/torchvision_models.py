"""Classifiers of torchvision: by name, with its published weights, a file's, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError, one_line
from vicinal.networks.adapted import AdaptedModel, close_names, loaded
from vicinal.networks.naming import TORCHVISION, weights_file

_FILTERS = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic", "lanczos": "lanczos"}
_TRANSFORMS_INPUT = ("googlenet", "inception_v3")  # of which the published weights want other pixels than the others


def torchvision_model(
    spec: NetworkSpec, weights: Mapping[str, Tensor] | None, notes: list[str]
) -> tuple[AdaptedModel, NetworkSpec]:
    """The model with its weights, and the spec that makes it again. Raises UsageError."""
    name, published = _name(spec), _published(spec)
    cfg = _config(name, published, notes, spec)
    if published is None:
        if weights is None:
            return blank_torchvision(spec, None), spec
        return loaded(lambda classes: blank_torchvision(spec, classes), spec, weights, notes), spec
    from torchvision.models import get_model

    try:
        model = get_model(name, weights=published, progress=False, **spec.model_args)
    except Exception as error:
        raise UsageError(
            f"torchvision's weights {published.name} of {name} could not be downloaded ({one_line(error)}); give a file as 'weights'"
        ) from None
    if name in _TRANSFORMS_INPUT:
        spec = spec.model_copy(update={"model_args": {**spec.model_args, "transform_input": True}})
    notes.append(f"{spec.model}: the weights {published.name} of torchvision, prepared as these state.")
    return AdaptedModel(model, cfg, spec.model), spec


def blank_torchvision(spec: NetworkSpec, classes: int | None) -> AdaptedModel:
    """The untrained model, of so many classes; None: of torchvision's own number. Raises UsageError."""
    from torchvision.models import get_model

    name = _name(spec)
    wanted: dict[str, Any] = dict(spec.model_args)
    if name in _TRANSFORMS_INPUT:
        wanted.setdefault("init_weights", False)
    try:
        model = get_model(name, weights=None, **wanted, **({} if classes is None else {"num_classes": classes}))
    except Exception as error:
        raise UsageError(f"torchvision cannot make {name}: {one_line(error)}") from None
    return AdaptedModel(model, _config(name, None, [], spec), spec.model)


def _name(spec: NetworkSpec) -> str:
    import torchvision.models

    name = spec.model.removeprefix(TORCHVISION)
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UsageError(f"torchvision has no classifier {name!r}{close_names(name, known)}")
    return name


def _published(spec: NetworkSpec) -> Any:
    """The entry of torchvision's weights that a spec names; None for a file or none. Raises UsageError for an unknown one."""
    from torchvision.models import get_model_weights

    if spec.weights is None or weights_file(spec.model, spec.weights) is not None:
        return None
    entries = get_model_weights(_name(spec))
    wanted = "DEFAULT" if spec.weights == "hub" else spec.weights
    if wanted not in entries.__members__:
        raise UsageError(
            f"{spec.model} has the weights {', '.join(entries.__members__)}, and neither {wanted} nor a file of that name"
        )
    return entries[wanted]


def _config(name: str, published: Any, notes: list[str], spec: NetworkSpec) -> dict[str, Any]:
    """What torchvision states of a model's images, and of the classes where the weights are its own, in timm's terms."""
    from torchvision.models import get_model_weights

    entry = published if published is not None else get_model_weights(name).DEFAULT
    preset: Any = entry.transforms()
    side, resize = preset.crop_size[0], preset.resize_size[0]
    cfg: dict[str, Any] = {
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
        "input_size": (3, side, side),
        "crop_pct": 1.0,
        "resize": max(resize, side),
        "interpolation": _FILTERS.get(preset.interpolation.value, "bilinear"),
    }
    if published is not None:
        cfg["label_names"] = tuple(entry.meta["categories"])
    elif weights_file(spec.model, spec.weights) is not None and spec.mean is None:
        notes.append(f"{spec.model}: mean and deviation of the pixels are those that torchvision states for it.")
    return cfg
