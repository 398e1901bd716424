"""The optimizer of a network: which parameters decay, how fast each layer learns, and whose algorithm it is."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers, param_groups_weight_decay
from timm.optim import param_groups_layer_decay as timm_layer_decay
from torch import nn

from vicinal.config import NetworkSpec
from vicinal.errors import UsageError
from vicinal.networks import TimmClassifier
from vicinal.training.projected import Projected
from vicinal.training.state import Phase

OWN = ("adamw", "adam", "sgd")  # PyTorch's, with what the spec says of them


def check_optimizer(name: str, key: str) -> None:
    """UsageError where a network's optimizer is neither PyTorch's own three nor one of timm's that a plain step will do for.

    Args:
        key: of the network, by its dotted path.
    """
    if name in OWN:
        return
    known = list(dict.fromkeys([*OWN, *map(str, list_optimizers())]))
    if name not in known:
        near = difflib.get_close_matches(name, known, 3)
        meant = (
            f"; did you mean {', '.join(near)}?"
            if near
            else "; python -c 'import timm; print(timm.optim.list_optimizers())' lists them"
        )
        raise UsageError(f"{key}.optimizer: timm has no optimizer {name!r}{meant}")
    if get_optimizer_info(name).second_order:
        raise UsageError(f"{key}.optimizer: {name} needs second derivatives, which no step here takes; choose another")


def make_optimizer(
    network: TimmClassifier, spec: NetworkSpec, phase: Phase, device: torch.device, projected: Projected | None = None
) -> torch.optim.Optimizer:
    """Over the parameters that a phase trains; each group has the share of the learning rate that it takes as `lr_scale`."""
    fused = device.type in ("cpu", "cuda")
    if phase.name == "head_warmup":
        return torch.optim.Adam(network.head.parameters(), lr=spec.head_warmup_lr, fused=fused)
    groups = _groups(network, spec)
    groups += [] if projected is None else param_groups_weight_decay(projected.regressor, spec.weight_decay)
    match spec.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=spec.lr, fused=fused)
        case "adam":
            return torch.optim.Adam(groups, lr=spec.lr, fused=fused)
        case "sgd":
            nesterov = spec.nesterov and spec.momentum > 0
            return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=nesterov, fused=fused)
        case name:
            return create_optimizer_v2(groups, opt=name, lr=spec.lr, momentum=spec.momentum)


def _groups(network: TimmClassifier, spec: NetworkSpec) -> list[dict[str, Any]]:
    """Weights that decay, and biases and norms that do not, as timm does; layer by layer where these learn at rates of their own."""
    if spec.layer_decay is None:
        return list(param_groups_weight_decay(network, spec.weight_decay))
    backbone: nn.Module = network.backbone
    groups = list(timm_layer_decay(backbone, spec.weight_decay, layer_decay=spec.layer_decay))
    # timm counts the head as a layer of its own; here it lies outside the backbone.
    for group in groups:
        group["lr_scale"] *= spec.layer_decay
    return groups + list(param_groups_weight_decay(network.head, spec.weight_decay))
