"""`Classifier`: a timm backbone with a head, pixels in [0, 1] in, logits out, features on request.

Shapes: B samples, C channels, K classes, D features. Normalisation lives inside the network, so that a teacher and a
student fed one mixed image each see it as they were trained to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from vicinal.inputs import resize

HEAD_START_STD = 1e-3  # of a new classifier's weights: logits start near 0, so a short fine-tuning keeps its features
BOTTLENECK_UNITS = 256


class Classifier(nn.Module):
    """A timm backbone with a head: (B, C, H, W) pixels in [0, 1] to (B, K) logits.

    Args:
        backbone: pixels, normalised, to (B, D) pooled features.
        head: (B, D) to (B, K).
        mean, std: normalisation, one number for each channel.
        image_size: side that the input is resized to; None takes it as given.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.image_size = backbone, head, image_size
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        with _running_statistics(self) if self.training and len(pixels) == 1 else contextlib.nullcontext():
            return cast(Tensor, self.head(self._pooled(pixels)))

    def features(self, pixels: Tensor) -> Tensor:
        """(B, D') features that the last linear layer sees: behind the bottleneck where the head has one."""
        pooled = self._pooled(pixels)
        return cast(Tensor, self.head[:-1](pooled)) if isinstance(self.head, nn.Sequential) else pooled

    def _pooled(self, pixels: Tensor) -> Tensor:
        return cast(Tensor, self.backbone((resize(pixels, self.image_size) - self.mean) / self.std))

    @property
    def stored_value_count(self) -> int:
        """Number of values stored: parameters and batch-norm statistics, as the paper counts them."""
        counted = (p.numel() for p in self.parameters())
        statistics = (b.numel() for name, b in self.named_buffers() if name.endswith(("running_mean", "running_var")))
        return sum(counted) + sum(statistics)


def bottleneck_head(features: int, classes: int) -> nn.Sequential:
    """The paper's student head: Linear to 256 without bias, BatchNorm, ReLU, Dropout 0.3, Linear (authors' repository)."""
    return nn.Sequential(
        nn.Linear(features, BOTTLENECK_UNITS, bias=False),
        nn.BatchNorm1d(BOTTLENECK_UNITS),
        nn.ReLU(inplace=True),
        nn.Dropout(0.3),
        new_classifier(BOTTLENECK_UNITS, classes),
    )


@contextlib.contextmanager
def _running_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms answer by their running statistics: a batch of one image, the odd one at an epoch's end, has none."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def new_classifier(features: int, classes: int) -> nn.Linear:
    linear = nn.Linear(features, classes)
    nn.init.trunc_normal_(linear.weight, std=HEAD_START_STD)
    nn.init.zeros_(linear.bias)
    return linear
