"""Folded copies answer alike, whatever the architecture; compiled calls answer with the network's own weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from vicinal.config import NetworkSpec
from vicinal.networks import Classifier, Compiled, build_classifier, fused
from vicinal.networks.classifier import bottleneck_head


def trained_looking(network: Classifier) -> Classifier:
    """Batch statistics and scales as training leaves them, and a head that says something."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.1)
    return network.eval()


def classifier(model: str, channels: int = 3, head: str = "linear") -> Classifier:
    torch.manual_seed(0)
    spec = NetworkSpec(model=model, epochs=1, head=head, mean=(0.5,), std=(0.25,))
    return trained_looking(build_classifier(spec, 7, channels))


def pixels(n: int = 4, channels: int = 3, side: int = 32) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(2))


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
    network, x = classifier(model), pixels()
    copy = fused(network, x[:2])
    other = pixels(3, side=40)
    exact = network(other)
    assert float((copy(other) - exact).abs().max()) <= 1e-4 * float(exact.abs().max())
    assert norms(copy) <= left
    assert not any(p.requires_grad for p in copy.parameters())
    assert not any(m.training for m in copy.modules())


@torch.no_grad()
def test_the_norm_of_the_bottleneck_head_is_folded_too() -> None:
    network = classifier("vicinal_mobilenet", 1, "bottleneck")
    assert norms(fused(network, pixels(2, 1))) == 0
    torch.testing.assert_close(fused(network, pixels(2, 1))(pixels(4, 1)), network(pixels(4, 1)))


@torch.no_grad()
def test_the_original_stays_and_its_later_changes_do_not_reach_the_copy() -> None:
    network, x = classifier("resnet18"), pixels()
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
    network = trained_looking(Classifier(backbone(), bottleneck_head(features, 4), (0.5,) * 3, (0.25,) * 3))
    torch.testing.assert_close(fused(network, pixels())(pixels()), network(pixels()))


# --- compiled calls ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("traced")
@torch.no_grad()
def test_compiled_calls_answer_with_the_weights_of_their_own_network_as_they_are_now() -> None:
    """The trap of torch.compile: graphs are kept for a class's `forward`, and a second instance may meet the first one's."""
    a, b = (classifier("vicinal_mobilenet", 1) for _ in range(2))
    for parameter in b.parameters():
        parameter.mul_(1.1)
    said: list[str] = []
    calls = [Compiled(network, 4, said.append) for network in (a, b)]
    for network, call in zip((a, b), calls, strict=True):
        torch.testing.assert_close(call(pixels(4, 1)), network(pixels(4, 1)))
    for parameter in a.parameters():
        parameter.mul_(0.9)
    torch.testing.assert_close(calls[0](pixels(4, 1)), a(pixels(4, 1)))
    torch.testing.assert_close(calls[0](pixels(3, 1)), a(pixels(3, 1)))  # an odd batch
    assert not said
    assert all(call.works for call in calls)


@pytest.mark.parametrize("kind", [torch._dynamo.exc.TorchDynamoException, OSError])
def test_where_compiling_fails_it_says_so_once_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        def call(_: torch.Tensor) -> torch.Tensor:
            raise kind("No working C++ compiler found\nin the path")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    network, said = classifier("vicinal_mobilenet", 1), []
    call = Compiled(network, 4, said.append)
    with torch.no_grad():
        assert torch.equal(call(pixels(4, 1)), network(pixels(4, 1)))
        call(pixels(4, 1))
    assert len(said) == 1
    assert "No working C++ compiler found in the path" in said[0]
    assert not call.works
