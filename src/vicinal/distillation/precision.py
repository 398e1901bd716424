"""The precision in which a teacher is fast and its answers stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from vicinal.distillation.teacher import FrozenTeacher, Precision
from vicinal.functional import kl_divergence
from vicinal.networks import Classifier

BF16_BOUND_NATS = 1e-3  # mean KL between a teacher's fp32 and bf16 answers that training may have
# Multiplications and additions of an operator, on average over a network and one image, from which on bf16 is taken to pay. Every
# operator takes casts with it, which cost small ones more than they gain. Of 36 networks timed on two cores of an EPYC with
# AVX512-BF16, 24 of the 25 above were 1.29 to 3.6 times as fast in bf16, and the 11 below 0.4 to 1.4 times, but for one.
BF16_OPERATOR_FLOPS = 500_000


def choose_precision(network: Classifier, pixels: Tensor) -> Precision:
    """bf16 where it pays on this machine and the answers to `pixels` keep within `BF16_BOUND_NATS`; else fp32.

    Whether it pays is told by arithmetic and not by a clock: the processor has bf16 units, and the network's operators are large
    enough (`BF16_OPERATOR_FLOPS`). So one machine always makes one choice, and repeats its runs bit for bit.
    """
    if next(network.parameters(), None) is None:  # a plain function, whose operators may be anything
        return "fp32"
    if not _bf16_exists(pixels.device) or operator_flops(network, pixels[:1]) < BF16_OPERATOR_FLOPS:
        return "fp32"
    exact, quick = FrozenTeacher(network, "fp32")(pixels), FrozenTeacher(network, "bf16")(pixels)
    return "bf16" if float(kl_divergence(exact, quick).mean()) <= BF16_BOUND_NATS else "fp32"


def operator_flops(network: Classifier, pixels: Tensor) -> float:
    """Multiplications and additions of a forward pass of (1, C, H, W) pixels over the operators that it calls."""
    network.eval()
    with torch.no_grad(), _Calls() as calls, FlopCounterMode(display=False) as counter:
        network(pixels)
    return float(counter.get_total_flops() / max(int(calls.count), 1))


class _Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
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


def _bf16_exists(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())
