"""Whether a network trains in bf16: told by the processor's tiles and the network's operators."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch

import vicinal.networks  # noqa: F401  # registers its models with timm
from vicinal.networks import bf16_training_pays


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """machine(tiles, bound): a CPU with or without AMX, and the size of operators from which on bf16 pays."""

    def be(tiles: bool, bound: float = 1.0) -> None:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
        monkeypatch.setattr("vicinal.networks.bf16.BF16_TRAINING_OPERATOR_FLOPS", bound)

    return be


@pytest.mark.parametrize(
    ("model", "tiles", "bound", "expected"),
    [
        ("vicinal_resnet8", True, 1.0, True),
        ("vicinal_resnet8", False, 1.0, False),
        ("vicinal_resnet8", True, 1e12, False),
        ("vicinal_mobilenet", True, 1.0, False),  # depthwise
    ],
)
def test_plain_convolutions_train_in_bf16_where_there_are_tiles(
    machine: Callable[..., None], model: str, tiles: bool, bound: float, expected: bool
) -> None:
    machine(tiles, bound)
    network = timm.create_model(model, num_classes=3, in_chans=1).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert bf16_training_pays(network, torch.rand(1, 1, 28, 28)) is expected
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_that_are_used_too_seldom_are_not_cast(machine: Callable[..., None]) -> None:
    machine(True)
    network = timm.create_model("vicinal_resnet8", num_classes=3, in_chans=1)
    assert bf16_training_pays(network, torch.rand(1, 1, 32, 32))
    assert not bf16_training_pays(network, torch.rand(1, 1, 8, 8))


def test_float64_stays_as_it_is(machine: Callable[..., None]) -> None:
    machine(True)
    network = timm.create_model("vicinal_resnet8", num_classes=3, in_chans=1).double()
    assert not bf16_training_pays(network, torch.rand(1, 1, 28, 28))
