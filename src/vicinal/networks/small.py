"""The two small built-in networks, registered with timm.

Shapes: B samples, (C, H, W) an image, K classes, D features.
"""

from __future__ import annotations

from typing import Any, cast

from timm.layers import ConvNormAct
from timm.models import register_model
from torch import Tensor, nn

from vicinal.networks.classifier import new_classifier


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(inputs, outputs, 3, stride=stride)
        self.conv2 = ConvNormAct(outputs, outputs, 3, apply_act=False)
        changed = stride != 1 or inputs != outputs
        self.shortcut = ConvNormAct(inputs, outputs, 1, stride=stride, apply_act=False) if changed else nn.Identity()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.conv2(self.conv1(x)) + self.shortcut(x)))


class _InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection, with a shortcut where shapes allow (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvNormAct(inputs, hidden, 1)
        self.depthwise = ConvNormAct(hidden, hidden, 3, stride=stride, groups=hidden)
        self.project = ConvNormAct(hidden, outputs, 1, apply_act=False)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.project(self.depthwise(self.expand(x))))
        return x + y if self.has_shortcut else y


class _SmallNetwork(nn.Module):
    """A stack of blocks, average pooling and a classifier, with timm's interface."""

    def __init__(self, blocks: nn.Sequential, features: int, num_classes: int) -> None:
        super().__init__()
        self.blocks, self.num_features, self.num_classes = blocks, features, num_classes
        self.head_hidden_size = features
        self.head: nn.Module = nn.Identity()
        self.reset_classifier(num_classes)

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.head = new_classifier(self.num_features, num_classes) if num_classes > 0 else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.blocks(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = x.mean((2, 3))
        return pooled if pre_logits else cast(Tensor, self.head(pooled))

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


_FASHION_MNIST_CFG: dict[str, Any] = {"mean": (0.286,), "std": (0.353,), "input_size": (1, 28, 28), "num_classes": 10}
_FASHION_MNIST_CFG |= {"crop_pct": 1.0, "interpolation": "bilinear"}


def _small(blocks: nn.Sequential, features: int, kwargs: dict[str, Any]) -> nn.Module:
    overlay = kwargs.get("pretrained_cfg_overlay") or {}
    if kwargs.pop("pretrained", False) and not overlay.get("state_dict"):
        raise ValueError("the built-in networks have none; leave 'weights' out to train from the start")
    network = _SmallNetwork(blocks, features, kwargs.get("num_classes", 10))
    cfg = _FASHION_MNIST_CFG | overlay
    network.pretrained_cfg = network.default_cfg = cfg  # type: ignore[assignment]
    if overlay.get("state_dict"):
        network.load_state_dict(overlay["state_dict"])
    return network


@register_model
def vicinal_resnet8(**kwargs: Any) -> nn.Module:
    """0.3 M parameter residual network for 28 px images: stride-2 stem and one basic block at 32, 64 and 128 channels."""
    stem = ConvNormAct(kwargs.get("in_chans", 1), 32, 3, stride=2)
    return _small(
        nn.Sequential(stem, _BasicBlock(32, 32, 1), _BasicBlock(32, 64, 2), _BasicBlock(64, 128, 2)), 128, kwargs
    )


@register_model
def vicinal_mobilenet(**kwargs: Any) -> nn.Module:
    """31 k parameter network of inverted residuals for 28 px images."""
    plan = [(16, 24, 2), (24, 24, 1), (24, 40, 2), (40, 40, 1)]
    blocks = [_InvertedResidual(i, o, stride, expansion=3) for i, o, stride in plan]
    stem = ConvNormAct(kwargs.get("in_chans", 1), 16, 3, stride=2)
    return _small(nn.Sequential(stem, *blocks, ConvNormAct(40, 128, 1)), 128, kwargs)
