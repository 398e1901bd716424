"""Where bf16 is fast, told by arithmetic and not by a clock: one machine always makes one choice, and repeats its runs bit for bit.

Shapes: (C, H, W) an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from vicinal.networks.classifier import evaluating

# Multiplications and additions of an operator, on average over a network and one image, from which on bf16 is taken to pay. Every
# operator takes casts with it, which cost small ones more than they gain. Of 36 networks timed on two cores of an EPYC with
# AVX512-BF16, 24 of the 25 above predicted 1.29 to 3.6 times as fast in bf16, and the 11 below 0.4 to 1.4 times, but for one.
BF16_OPERATOR_FLOPS = 500_000
# The same of a network in training, and those of a weight on an image: a step casts every weight, whatever it is then used for. On
# one thread of a Xeon with AMX, in batches of 32 to 128, the 12 of 25 networks above both and without grouped convolutions trained
# 1.03 to 2.0 times as fast in bf16 (all but one 1.38 and more), those with grouped ones 0.39 to 1.57 times.
BF16_TRAINING_OPERATOR_FLOPS, BF16_TRAINING_WEIGHT_FLOPS = 200_000, 20


def bf16_inference_pays(network: nn.Module, pixels: Tensor, device: torch.device | None = None) -> bool:
    """Whether a device, by default that of (1, C, H, W) pixels, has bf16 units and a network's operators are large enough for them."""
    device = device or pixels.device
    if device.type == "cuda":
        exists = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        exists = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return bool(exists) and operator_flops(network, pixels) >= BF16_OPERATOR_FLOPS


def bf16_training_pays(network: nn.Module, pixels: Tensor) -> bool:
    """Whether a step takes less time under bf16 autocast: on CUDA that has it, and on CPUs that multiply bf16 in tiles (AMX) where
    there is enough to multiply and no convolution is grouped, as the backward pass of depthwise ones is slow there.
    """
    if pixels.device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if pixels.device.type != "cpu" or not torch.cpu._is_amx_tile_supported():
        return False
    if any(weights.dtype != torch.float32 for weights in network.parameters()):
        return False
    if any(isinstance(module, _ConvNd) and module.groups > 1 for module in network.modules()):
        return False
    weights = sum(weight.numel() for weight in network.parameters())
    flops, operators = _flops_and_operators(network, pixels)
    return flops >= BF16_TRAINING_WEIGHT_FLOPS * weights and flops >= BF16_TRAINING_OPERATOR_FLOPS * operators


def operator_flops(network: nn.Module, pixels: Tensor) -> float:
    """Multiplications and additions of a forward pass of (1, C, H, W) pixels over the operators that it calls."""
    flops, operators = _flops_and_operators(network, pixels)
    return flops / operators


def _flops_and_operators(network: nn.Module, pixels: Tensor) -> tuple[int, int]:
    with evaluating(network), torch.no_grad(), _Calls() as calls, FlopCounterMode(display=False) as counter:
        network(pixels)
    return int(counter.get_total_flops()), max(int(calls.count), 1)


class _Calls(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]  # by torch before 2.15
    """Counts the operators called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))
