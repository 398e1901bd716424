"""The frozen teacher: eval mode held by its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

import torch
from torch import Tensor, nn

from vicinal.networks import Classifier, features_of_passes

Precision = Literal["fp32", "bf16"]


class FrozenTeacher(nn.Module):
    """A classifier that answers and never changes: no gradients, no batch statistics, no train mode.

    Args:
        network: taken over and frozen; its parameters stop requiring gradients.
        precision: "fp32" or "bf16", of its forward pass. Logits come out as float32 either way.
        call: how the network is called, for example compiled; default: as it is.
    """

    def __init__(
        self, network: Classifier, precision: Precision = "fp32", call: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.precision = precision
        self._call = call
        super().train(False)

    def train(self, mode: bool = True) -> Self:
        """Raises RuntimeError for train mode: its batch statistics would move and its answers with them."""
        if mode:
            raise RuntimeError("a frozen teacher cannot be put into train mode")
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels in [0, 1] to (B, K) float32 logits."""
        return self._answer(self._call or self.network, pixels)

    @torch.no_grad()
    def with_features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The same logits and, of the same pass, (B, D) float32 features that the last linear layer sees.

        Not through `call`, of whose inside nothing is seen. Raises ValueError where the network has no such layer.
        """
        with features_of_passes(self.network) as features:
            logits = self._answer(self.network, pixels)
        return logits, features[0][: len(pixels)].float()

    @property
    def feature_count(self) -> int:
        """D of `with_features`. Raises ValueError where the network gives none."""
        if self.network.last_linear is None:
            raise ValueError("this teacher gives no features beside its logits: its head is no linear layer apart")
        return self.network.last_linear.in_features

    def _answer(self, call: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
        if any(module.training for module in self.network.modules()):
            raise RuntimeError("the frozen teacher's network was put into train mode behind its back")
        rows = len(pixels)
        shown = pixels if rows else pixels.new_zeros(1, *pixels.shape[1:])  # windowed attention takes no empty batch
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return call(shown)[:rows].float()
