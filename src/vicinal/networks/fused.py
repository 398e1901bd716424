"""A frozen copy of a network with its batch norms folded into its convolutions, as it predicts fastest.

Shapes: B samples of a batch, (C, H, W) an image, K classes.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from vicinal.networks.classifier import Classifier

FUSING_IMAGES = 4  # enough to see which layers meet, and that the answers stay
FUSING_BOUND = 1e-3  # largest difference of answers that folding may make, as a share of the largest answer
_PLAIN = (nn.Conv2d, Conv2dSame, nn.Linear)  # others (weight standardisation, parametrisations) make their weight anew
_NORMS = (nn.BatchNorm2d, BatchNormAct2d, nn.BatchNorm1d)


@torch.no_grad()
def fused(network: Classifier, pixels: Tensor) -> Classifier:
    """A channels-last copy in eval mode, without gradients; every batch norm behind a convolution or linear layer is folded into it.

    Which layers meet is seen on one pass of `pixels`, (B, C, H, W) in [0, 1], so any architecture is served; the copy's answers to
    them are then held against the network's own, and a copy that differs by more than `FUSING_BOUND` is given unfolded.
    A network without batch norms is copied and frozen only; one without parameters, a plain function, is given as it is.
    """
    if next(network.parameters(), None) is None:
        return network.eval()
    fast = _frozen(copy.deepcopy(network))
    if not any(type(module) in _NORMS for module in fast.modules()):
        return fast
    answers, meetings = _observed(fast, pixels)
    for layer_name, norm_name in meetings:
        layer, norm = fast.get_submodule(layer_name), cast(nn.BatchNorm2d, fast.get_submodule(norm_name))
        # timm's norms bring their activation along.
        after = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        _replace(fast, layer_name, _fused(layer, norm))
        _replace(fast, norm_name, after.float())
    fast = _frozen(fast)
    difference = (fast(pixels) - answers).abs().max()
    alike = bool(difference <= FUSING_BOUND * answers.abs().max())
    return fast if alike else _frozen(copy.deepcopy(network))


def _fused(layer: nn.Module, norm: nn.BatchNorm2d) -> nn.Module:
    """Layer and norm as one layer, computed in float64 where the device has it."""
    wide = torch.float32 if layer.weight.device.type == "mps" else torch.float64
    layer, norm = layer.to(wide), norm.to(wide)
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, norm).float()
    return fuse_conv_bn_eval(cast(nn.Conv2d, layer), norm).float()


def _frozen(network: Classifier) -> Classifier:
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _observed(network: nn.Module, pixels: Tensor) -> tuple[Tensor, list[tuple[str, str]]]:
    """The answers to some pixels, and (layer, norm) by name, where the norm's only input is the layer's only output."""
    made: dict[int, str] = {}
    kept: list[Tensor] = []  # alive until the pass is over, so that no id names two tensors
    met: list[tuple[str, str]] = []
    calls: dict[str, int] = {}
    handles = []
    for name, module in network.named_modules():
        if type(module) in _PLAIN or type(module) in _NORMS:

            def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                calls[name] = calls.get(name, 0) + 1
                kept.append(output)
                if type(module) in _PLAIN:
                    made[id(output)] = name
                elif id(inputs[0]) in made and module.running_var is not None:  # without it, batches set their own
                    met.append((made[id(inputs[0])], name))

            handles.append(module.register_forward_hook(watch))
    try:
        answers = network(pixels)
    finally:
        for handle in handles:
            handle.remove()
    layers = [layer for layer, _ in met]
    return answers, [(a, b) for a, b in met if calls[a] == calls[b] == 1 and layers.count(a) == 1]


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
