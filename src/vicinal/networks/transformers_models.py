"""Image classifiers of Hugging Face transformers: a folder or a name on the hub, prepared as their own processor says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError, one_line
from vicinal.networks.adapted import AdaptedModel, loaded
from vicinal.networks.naming import TRANSFORMERS, read_config
from vicinal.networks.said import names_of

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def transformers_model(
    spec: NetworkSpec, weights: Mapping[str, Tensor] | None, saved: bytes | None, notes: list[str]
) -> AdaptedModel:
    """The model with the weights of its folder or the hub (`hub`), a file's, or none. Raises UsageError."""
    if weights is not None:
        return loaded(lambda classes: blank_transformers(spec, classes, saved), spec, weights, notes)
    if spec.weights != "hub":
        return blank_transformers(spec, None, saved)
    place, local = _place(spec)
    library = _library()
    config = _read_config(spec)
    try:
        model = library.AutoModelForImageClassification.from_pretrained(
            place, config=config, trust_remote_code=False, local_files_only=local, weights_only=True
        )
    except Exception as error:
        raise UsageError(f"{spec.model} cannot be loaded ({type(error).__name__}: {one_line(error)})") from None
    cfg = _stated(spec, config) | {"label_names": _names(config)}
    notes.append(f"{spec.model}: images are prepared as its processor says.")
    return AdaptedModel(model, cfg, spec.model, _channels(config), _as_bytes(config, cfg))


def blank_transformers(spec: NetworkSpec, classes: int | None, saved: bytes | None) -> AdaptedModel:
    """The untrained model of a config, from its place or as saved weights hold it. Raises UsageError."""
    library = _library()
    try:
        if saved is not None:
            told = json.loads(saved)
            values, cfg = dict(told["config"]), dict(told["cfg"])
            config = library.AutoConfig.for_model(values.pop("model_type"), **values)
        else:
            config = _read_config(spec)
            cfg = _stated(spec, config)
        if classes is not None:
            config.num_labels = classes
        model = library.AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"transformers cannot make {spec.model} ({type(error).__name__}: {one_line(error)})") from None
    kept = saved if saved is not None else _as_bytes(config, cfg)
    return AdaptedModel(model, cfg, spec.model, _channels(config), kept)


def _library() -> Any:
    try:
        import transformers
    except ImportError:
        raise UsageError("transformers/... needs an optional package: pip install 'vicinal[transformers]'") from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _place(spec: NetworkSpec) -> tuple[str, bool]:
    """Folder or name on the hub, and whether it is a folder."""
    place = spec.model.removeprefix(TRANSFORMERS)
    local = Path(place).is_dir()
    if local:
        read_config(Path(place))
    elif place.startswith((".", "/", "~")) or place.count("/") > 1:
        raise UsageError(f"{spec.model}: there is no folder {place}")
    return place, local


def _read_config(spec: NetworkSpec) -> Any:
    place, local = _place(spec)
    try:
        return _library().AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=local)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{spec.model} cannot be loaded ({type(error).__name__}: {one_line(error)})") from None


def _channels(config: Any) -> int:
    return int(getattr(config, "num_channels", 3) or 3)


def _names(config: Any) -> tuple[str, ...] | None:
    """The classes of the logits; None where these are but transformers' own numbers (LABEL_0)."""
    names = names_of(dict(config.id2label or {}))
    return None if names is None or all(name == f"LABEL_{k}" for k, name in enumerate(names)) else names


def _as_bytes(config: Any, cfg: Mapping[str, Any]) -> bytes:
    kept = {key: value for key, value in cfg.items() if key != "label_names"}
    return json.dumps(
        {"config": json.loads(config.to_json_string(use_diff=False)), "cfg": kept}, sort_keys=True
    ).encode()


def _stated(spec: NetworkSpec, config: Any) -> dict[str, Any]:
    """What the model's image processor does, in timm's terms; what its config says of the side where it has none."""
    place, local = _place(spec)
    side = getattr(config, "image_size", None)
    cfg: dict[str, Any] = {} if not isinstance(side, int) else {"input_size": (_channels(config), side, side)}
    try:
        library = _library()
        processor = library.AutoImageProcessor.from_pretrained(place, trust_remote_code=False, local_files_only=local)
        told = processor.to_dict()
    except UsageError:
        raise
    except Exception:  # a model without one: the study states how its images are prepared
        return cfg
    return cfg | processed(told, _channels(config))


def processed(told: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """A processor's settings as timm's data config: the same pixels, to the rounding of its resize."""
    size, crop = _side(told.get("size")), _side(told.get("crop_size"))
    cfg: dict[str, Any] = {}
    shorter = size[1] if size is not None else None
    if told.get("do_resize", True) and size is not None:
        by_shorter, resize = size
        kept = crop[1] if told.get("do_center_crop") and crop is not None else resize
        share = told.get("crop_pct")
        if share is not None and "do_center_crop" not in told:  # ConvNeXT's: it crops below 384 px
            by_shorter, kept = resize < 384, resize
            resize = int(resize / share) if by_shorter else resize
        elif share is not None and told.get("do_center_crop"):  # PoolFormer's
            resize = int(resize / share)
        cfg["input_size"], cfg["resize"], cfg["crop_pct"] = (channels, kept, kept), max(resize, kept), 1.0
        cfg["crop_mode"] = "center" if by_shorter else "squash"
    elif told.get("do_center_crop") and crop is not None:
        cfg["input_size"], cfg["crop_pct"] = (channels, crop[1], crop[1]), 1.0
    elif shorter is not None:
        cfg["input_size"] = (channels, shorter, shorter)
    resample = told.get("resample")
    cfg["interpolation"] = "bilinear" if resample is None else _FILTERS.get(int(resample), "bilinear")
    factor = 255 * float(told.get("rescale_factor") or 1 / 255) if told.get("do_rescale", True) else 255.0
    offset = 1.0 if told.get("rescale_offset") else 0.0
    normal = told.get("do_normalize", told.get("image_mean") is not None)
    mean = list(told.get("image_mean") or [0.0]) if normal else [0.0]
    std = list(told.get("image_std") or [1.0]) if normal else [1.0]
    cfg["mean"] = tuple((m + offset) / factor for m in mean * (channels if len(mean) == 1 else 1))
    cfg["std"] = tuple(s / factor for s in std * (channels if len(std) == 1 else 1))
    return cfg


def _side(value: Any) -> tuple[bool, int] | None:
    """Whether a size is of the shorter side alone, and px; None where nothing is said, or an oblong."""
    if isinstance(value, int):
        return False, value
    if isinstance(value, list | tuple) and value:
        return False, int(value[0])
    if not isinstance(value, Mapping) and value is not None:  # transformers' own SizeDict
        value = {key: getattr(value, key, None) for key in ("shortest_edge", "height", "width")}
    if not value:
        return None
    if value.get("shortest_edge"):
        return True, int(value["shortest_edge"])
    return (False, int(value["height"])) if value.get("height") else None
