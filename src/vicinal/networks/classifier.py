"""`Classifier`: anything with pixels in [0, 1] in and logits out; a timm backbone with a head, or whatever a user brings.

Shapes: B samples, (C, H, W) an image, K classes, D features. Normalisation lives inside the network, so that a teacher and a
student fed one mixed image each see it as they were trained to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from vicinal.inputs import Preparation, resize

HEAD_START_STD = 1e-3  # of a new classifier's weights: logits start near 0, so a short fine-tuning keeps its features
BOTTLENECK_UNITS = 256


class Classifier(nn.Module):
    """A network as every room uses it: (B, C, H, W) float32 pixels in [0, 1] to (B, K) logits. Made by `of` or `build_classifier`.

    Args:
        preparation: how a stored image becomes its input; None where whoever calls it says so (in a study, the study does).
        class_names: what its K logits stand for, in their order; None where the data's order is taken for granted.
    """

    def __init__(self, preparation: Preparation | None = None, class_names: Sequence[str] | None = None) -> None:
        super().__init__()
        self.preparation = preparation
        self.class_names = None if class_names is None else tuple(class_names)

    @staticmethod
    def of(
        network: nn.Module | Callable[[Tensor], Any],
        preparation: Preparation | None = None,
        class_names: Sequence[str] | None = None,
        *,
        features: Callable[[Tensor], Any] | None = None,
    ) -> Classifier:
        """Any network as a `Classifier`, so that it can be measured or teach.

        A module takes part as modules do: it is moved, frozen, put into eval mode, its batch norms are fused. A plain function
        is called as it is, on the device its pixels lie on, and has no parameters: it cannot be a student.

        Args:
            network: (B, C, H, W) float32 pixels in [0, 1] to (B, K) logits, a tensor or an array; it normalises them itself.
            preparation, class_names: as the class has them.
            features: (B, C, H, W) pixels to (B, D), what its last linear layer sees; default: those of a classifier, else none.

        Raises:
            TypeError: what is given cannot be called.
        """
        if not callable(network):
            raise TypeError(f"a network is a module or a function of pixels, not {type(network).__name__}")
        if features is None and isinstance(network, Classifier):
            features = network.features
        return WrappedClassifier(network, preparation, class_names, features)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels in [0, 1] to (B, K) logits."""
        raise NotImplementedError

    def features(self, pixels: Tensor) -> Tensor:
        """(B, D) features that the last linear layer sees. Raises ValueError where the network does not give any."""
        raise NotImplementedError

    @property
    def stored_value_count(self) -> int:
        """Number of values stored: parameters and batch-norm statistics, as the paper counts them."""
        counted = (p.numel() for p in self.parameters())
        statistics = (b.numel() for name, b in self.named_buffers() if name.endswith(("running_mean", "running_var")))
        return sum(counted) + sum(statistics)


class WrappedClassifier(Classifier):
    """A module or a function that was not made here: what `Classifier.of` gives."""

    def __init__(
        self,
        network: nn.Module | Callable[[Tensor], Any],
        preparation: Preparation | None = None,
        class_names: Sequence[str] | None = None,
        features: Callable[[Tensor], Any] | None = None,
    ) -> None:
        super().__init__(preparation, class_names)
        self.network, self._features = network, features

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) pixels in [0, 1] to (B, K) logits. Raises ValueError for an answer of another shape."""
        logits = torch.as_tensor(self.network(pixels), device=pixels.device)
        if logits.dim() != 2 or len(logits) != len(pixels) or not logits.is_floating_point():
            raise ValueError(
                f"a network answers {len(pixels)} images with ({len(pixels)}, K) logits, not {logits.dtype} {tuple(logits.shape)}"
            )
        if self.class_names is not None and logits.shape[1] != len(self.class_names):
            raise ValueError(f"the network gives {logits.shape[1]} logits for {len(self.class_names)} class names")
        return logits

    def features(self, pixels: Tensor) -> Tensor:
        """(B, D) features, from the function that was given for them. Raises ValueError where none was."""
        if self._features is None:
            raise ValueError("this network gives no features: pass Classifier.of(..., features=...)")
        return torch.as_tensor(self._features(pixels), device=pixels.device)


class TimmClassifier(Classifier):
    """A timm backbone with a head: (B, C, H, W) pixels in [0, 1] to (B, K) logits. Made by `build_classifier`.

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
        """(B, C, H, W) pixels in [0, 1] to (B, K) logits."""
        with _running_statistics(self) if self.training and len(pixels) == 1 else contextlib.nullcontext():
            return cast(Tensor, self.head(self._pooled(pixels)))

    def features(self, pixels: Tensor) -> Tensor:
        """(B, D') features that the last linear layer sees: behind the bottleneck where the head has one."""
        pooled = self._pooled(pixels)
        return cast(Tensor, self.head[:-1](pooled)) if isinstance(self.head, nn.Sequential) else pooled

    def _pooled(self, pixels: Tensor) -> Tensor:
        return cast(Tensor, self.backbone((resize(pixels, self.image_size) - self.mean) / self.std))


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
    """A linear layer from D to K whose logits start near 0."""
    linear = nn.Linear(features, classes)
    nn.init.trunc_normal_(linear.weight, std=HEAD_START_STD)
    nn.init.zeros_(linear.bias)
    return linear
