"""Fused copies answer alike, whatever the architecture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from built import classifier, coloured, trained_looking
from torch import nn

from vicinal.networks import TimmClassifier, fused
from vicinal.networks.classifier import bottleneck_head


def norms(network: nn.Module) -> int:
    return sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())


@pytest.mark.parametrize(
    ("model", "left"),
    [
        ("vicinal_resnet8", 0),
        ("vicinal_mobilenet", 0),
        ("tf_efficientnet_lite0", 0),  # convolutions with TensorFlow's padding
        ("mobilenetv2_050", 0),
        ("resnet18", 0),
        ("convnext_atto", 0),  # has none to begin with
        ("resnetv2_18", 17),  # norms stand before the convolutions
        ("densenet121", 62),
    ],
)
@torch.no_grad()
def test_a_folded_copy_answers_alike_and_has_few_norms_left(model: str, left: int) -> None:
    network, x = classifier(model), coloured()
    copy = fused(network, x[:2])
    other = coloured(3, side=40)
    exact = network(other)
    assert float((copy(other) - exact).abs().max()) <= 1e-4 * float(exact.abs().max())
    assert norms(copy) <= left
    assert not any(p.requires_grad for p in copy.parameters())
    assert not any(m.training for m in copy.modules())


@torch.no_grad()
def test_the_norm_of_the_bottleneck_head_is_folded_too() -> None:
    network = classifier("vicinal_mobilenet", 1, "bottleneck")
    assert norms(fused(network, coloured(2, 1))) == 0
    torch.testing.assert_close(fused(network, coloured(2, 1))(coloured(4, 1)), network(coloured(4, 1)))


@torch.no_grad()
def test_the_original_stays_and_its_later_changes_do_not_reach_the_copy() -> None:
    network, x = classifier("resnet18"), coloured()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    copy = fused(network, x)
    answers = copy(x)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    for parameter in network.parameters():
        parameter.mul_(2)
    assert torch.equal(copy(x), answers)


class Forked(nn.Module):
    """A convolution whose output goes through its norm and around it: folding would change both."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return (self.norm(y) + y).mean((2, 3))


class Twice(Forked):
    """One convolution and its norm, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(self.norm(self.conv(x)))).mean((2, 3))


@pytest.mark.parametrize(("backbone", "features"), [(Forked, 5), (Twice, 3)])
@torch.no_grad()
def test_what_cannot_be_folded_is_left(backbone: Any, features: int) -> None:
    torch.manual_seed(0)
    network = trained_looking(TimmClassifier(backbone(), bottleneck_head(features, 4), (0.5,) * 3, (0.25,) * 3))
    torch.testing.assert_close(fused(network, coloured())(coloured()), network(coloured()))
