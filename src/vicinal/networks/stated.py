"""How a network's images are prepared, as its weights or its model state it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from timm.data import resolve_data_config

from vicinal.config import PreparationSpec
from vicinal.networks.meaning import Meaning

_ROUNDED = 1e-9  # so that side / (side / crop) does not fall below the crop


def stated_preparation(
    meaning: Meaning, cfg: Mapping[str, Any], image_size: int | None = None
) -> PreparationSpec | None:
    """What the weights say of themselves, else what the model's config states, as timm's inference reads it; None where neither does.

    Args:
        meaning: of the weights. cfg: the model's, as timm has it (`pretrained_cfg`).
        image_size: side in px that the network is made for where that is another one: the same share of an image is then kept.
    """
    if meaning.preparation is not None:
        found = meaning.preparation
    elif meaning.image_size is not None:  # as older versions of vicinal wrote it
        resize = meaning.crop_resize if (meaning.crop_resize or 0) >= meaning.image_size else None
        found = PreparationSpec(image_size=meaning.image_size, resize=resize)
    else:
        read = _in_timms_terms(meaning.data_args, cfg)
        if read is None:
            return None
        found = read
    if image_size is None or image_size == found.image_size:
        return found
    share = found.image_size / found.resize if found.resize else found.crop_pct
    return found.model_copy(update={"image_size": image_size, "resize": None, "crop_pct": min(1.0, share + _ROUNDED)})


def _in_timms_terms(args: Mapping[str, Any], cfg: Mapping[str, Any]) -> PreparationSpec | None:
    if not cfg.get("input_size") and not args.get("input_size") and not args.get("img_size"):
        return None
    try:
        found = resolve_data_config(dict(args), dict(cfg))
        side = min(found["input_size"][-2:])
        resize = (
            cfg.get("resize") if side == min((cfg.get("input_size") or (0,))[-2:]) else None
        )  # torchvision's, transformers'
        return PreparationSpec(
            image_size=side,
            resize=resize if resize != side else None,
            crop_pct=min(1.0, found["crop_pct"]) if not resize else 1.0,
            crop_mode=found["crop_mode"],
            interpolation=found["interpolation"],
        )
    except (ValidationError, AssertionError, TypeError, KeyError, IndexError):  # a config of nobody's form
        return None
