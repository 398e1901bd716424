"""The frozen teacher: eval mode held by its type, asked in the precision that is fast and leaves its answers as they are."""

from __future__ import annotations

from typing import Literal, Self, cast

import torch
from torch import Tensor, nn

from vicinal.functional import kl_divergence
from vicinal.models import Classifier

BF16_BOUND_NATS = 1e-3  # mean KL between a teacher's fp32 and bf16 answers that training may have


class FrozenTeacher(nn.Module):
    """A classifier that answers and never changes: no gradients, no batch statistics, no train mode.

    Args:
        network: taken over and frozen; its parameters stop requiring gradients.
        precision: "fp32" or "bf16", of its forward pass. Logits come out as float32 either way.
    """

    def __init__(self, network: Classifier, precision: Literal["fp32", "bf16"] = "fp32") -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.precision = precision
        super().train(False)

    def train(self, mode: bool = True) -> Self:
        """Raises RuntimeError for train mode: its batch statistics would move and its answers with them."""
        if mode:
            raise RuntimeError("a frozen teacher cannot be put into train mode")
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels in [0, 1] to (B, K) float32 logits."""
        if any(module.training for module in self.network.modules()):
            raise RuntimeError("the frozen teacher's network was put into train mode behind its back")
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return cast(Tensor, self.network(pixels)).float()


def choose_precision(network: Classifier, pixels: Tensor) -> Literal["fp32", "bf16"]:
    """bf16 where this device computes it fast and the answers to `pixels` keep within `BF16_BOUND_NATS`; else fp32.

    The choice rests on the device, the architecture and the answers and on no clock, so that it is the same each time.
    A CPU gains from bf16 for plain convolutions and loses for depthwise ones.
    """
    if pixels.device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif pixels.device.type == "cpu":
        depthwise = any(isinstance(m, nn.Conv2d) and m.groups > 1 for m in network.modules())
        fast = not depthwise and torch.cpu._is_avx512_bf16_supported()
    else:
        fast = False
    if not fast:
        return "fp32"
    exact, quick = FrozenTeacher(network, "fp32")(pixels), FrozenTeacher(network, "bf16")(pixels)
    return "bf16" if float(kl_divergence(exact, quick).mean()) <= BF16_BOUND_NATS else "fp32"
