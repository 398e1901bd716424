"""A network as timm writes and reads it: architecture, its preparation and its weights, the temperature inside the classifier."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors.torch import save_file
from timm.models import save_for_hf
from torch import Tensor, nn

from vicinal.data import View
from vicinal.networks import Classifier, TimmClassifier
from vicinal.shipping.pixels import crop_pct_of

PLAIN_WEIGHTS = "model_uncalibrated.safetensors"
TIMM_FILES = ("config.json", "model.safetensors", PLAIN_WEIGHTS)
_TOLERANCE = 1e-4  # of logits, as a share of the largest: the same weights in another order of operations


class NotTimmError(Exception):
    """Why timm cannot build a network; caught where it is exported, which then says so."""


def timm_model_of(network: Classifier, channels: int, side: int) -> nn.Module:
    """The network as plain timm builds it, without normalisation, in eval mode. Raises NotTimmError with the reason.

    Args:
        side: in px, of the pixels that its answers are compared on.
    """
    if not isinstance(network, TimmClassifier) or network.spec is None:
        raise NotTimmError("it is no network of timm")
    if not isinstance(network.head, nn.Linear):
        what = (
            "its head has a hidden layer"
            if isinstance(network.head, nn.Sequential)
            else "it keeps a head of its own form"
        )
        raise NotTimmError(f"{what}, which timm's configuration cannot say")
    name = _architecture(network)
    classes = network.head.out_features
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arguments: dict[str, Any] = {"num_classes": classes, "in_chans": channels, **network.spec.model_args}
            model = timm.create_model(name, **arguments)
    except Exception as error:
        raise NotTimmError(f"timm does not make {name} ({' '.join(str(error).split())[:100]})") from None
    last = cast(Any, model).get_classifier()
    place = next((key for key, module in model.named_modules() if module is last), None)
    if not isinstance(last, nn.Linear) or place is None or last.bias is None:
        raise NotTimmError(f"the classifier of {name} is not one linear layer with a bias")
    own = {f"{place}.weight": network.head.weight, f"{place}.bias": network.head.bias}
    try:
        model.load_state_dict({**network.backbone.state_dict(), **own})
    except RuntimeError:
        raise NotTimmError(f"timm's {name} has other weights") from None
    model.eval()
    pixels = torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = network(pixels)
        answers = model((_inner(network, pixels) - network.mean) / network.std)
        if not torch.allclose(wanted, answers, rtol=0, atol=_TOLERANCE * float(wanted.abs().max())):
            raise NotTimmError(f"timm's {name} answers otherwise")
    return model


def _inner(network: TimmClassifier, pixels: Tensor) -> Tensor:
    if network.image_size is None or network.image_size == pixels.shape[-1]:
        return pixels
    return nn.functional.interpolate(pixels, (network.image_size,) * 2, mode="bilinear")  # noise: only the size matters


def _architecture(network: TimmClassifier) -> str:
    cfg: dict[str, Any] = getattr(network.backbone, "pretrained_cfg", None) or {}
    assert network.spec is not None
    name = str(cfg.get("architecture") or network.spec.model).partition(".")[0]
    if not timm.is_model(name):
        raise NotTimmError(f"timm has no {name}")
    if not timm.model_entrypoint(name).__module__.startswith("timm."):
        raise NotTimmError(f"{name} comes with vicinal and is unknown to plain timm")
    return name


def write_timm_folder(
    model: nn.Module,
    folder: Path,
    network: TimmClassifier,
    view: View,
    class_names: Sequence[str],
    temperature: float | None,
) -> None:
    """model.safetensors and config.json as timm writes them, the classifier divided by the temperature; the plain weights beside."""
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, folder / PLAIN_WEIGHTS)
    last = cast(nn.Linear, cast(Any, model).get_classifier())
    with torch.no_grad():
        for parameter in (last.weight, last.bias):
            parameter.copy_((parameter.double() / (temperature or 1.0)).float())
    mean, std = (tuple(round(v, 7) for v in t.flatten().tolist()) for t in (network.mean, network.std))
    side = network.image_size or view.side
    cfg: dict[str, Any] = {k: v for k, v in cast(Any, model).pretrained_cfg.items() if not k.startswith("test_")}
    stated = {
        "input_size": (len(mean), side, side),
        "crop_pct": crop_pct_of(view),
        "crop_mode": view.mode,
        "interpolation": view.interpolation,
        "mean": mean,
        "std": std,
        "num_classes": len(class_names),
        "tag": "vicinal",
    }
    cast(Any, model).pretrained_cfg = {**cfg, **stated}
    save_for_hf(
        model,
        str(folder),
        model_config={"label_names": list(class_names), "pretrained_cfg": stated},
        model_args=dict(network.spec.model_args) if network.spec is not None and network.spec.model_args else None,
        safe_serialization=True,
    )
