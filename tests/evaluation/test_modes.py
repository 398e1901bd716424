"""A network in train mode is measured as in eval mode and given back as it was, however it is passed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vicinal import api
from vicinal.config import MeasuresSpec, VicinitySpec
from vicinal.data import ImageSet
from vicinal.evaluation import pairs_needed, predict, vicinal_curves
from vicinal.inputs import Preparation
from vicinal.networks import Classifier, forward_flops

CPU = torch.device("cpu")
IMAGES = torch.randint(0, 256, (20, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 3
VICINITY = VicinitySpec(pairs=10, lam_points=5, precision_nats=0.1)


def network() -> nn.Sequential:
    """Batch statistics and dropout, in train mode but for one part."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 36, 3)
    ).train()
    net[2].eval()
    return net


def curves(net: Any) -> Tensor:
    found = vicinal_curves(net, IMAGES[:10], IMAGES[10:], 5, resamples=10).compute()["nonlinearity"]
    return torch.as_tensor(found)


def logits(net: Any) -> Tensor:
    return predict(Classifier.of(net), ImageSet(IMAGES, LABELS), Preparation(), CPU)


def measured(net: Any) -> Tensor:
    return api.measure(net, IMAGES, LABELS, measures=MeasuresSpec(vicinity=VICINITY)).predictions.test


def needed(net: Any) -> Tensor:
    images = ImageSet(IMAGES, LABELS)
    return torch.tensor(pairs_needed(Classifier.of(net), images, Preparation(), VICINITY, 0.95, CPU))


def flops(net: Any) -> Tensor:
    return torch.tensor(forward_flops(Classifier.of(net), torch.rand(1, 3, 8, 8)))


PASSED: dict[str, Callable[[nn.Module], Any]] = {
    "module": lambda net: net,
    "method": lambda net: net.forward,
    "partial": lambda net: functools.partial(net),
    "lambda": lambda net: lambda x: net(x),
    "classifier": lambda net: Classifier.of(net),
}


@pytest.mark.parametrize("passed", PASSED)
@pytest.mark.parametrize("function", [curves, logits, measured, needed, flops])
def test_a_network_in_train_mode_is_put_into_eval_and_back(function: Callable[[Any], Tensor], passed: str):
    net, eval_net = network(), network().eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    found = [function(PASSED[passed](net)) for _ in range(2)]
    expected = function(eval_net)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert modes == [module.training for module in net.modules()]


def test_the_mode_comes_back_after_an_error():
    net = network()

    def fail(x: Tensor) -> Tensor:
        assert not any(module.training for module in net.modules())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        curves(functools.partial(lambda _, x: fail(x), net))
    assert net.training
    assert not net[2].training


def test_names_in_another_order_are_matched_when_measured():
    net = network().eval()
    named = Classifier.of(net, class_names=["a", "b", "c"])
    plain = api.measure(named, IMAGES, LABELS, measures=MeasuresSpec(vicinity=VICINITY))
    turned = api.measure(
        named, IMAGES, (LABELS + 1) % 3, class_names=["c", "a", "b"], measures=MeasuresSpec(vicinity=VICINITY)
    )
    assert torch.equal(turned.predictions.test, plain.predictions.test[:, [2, 0, 1]])
    assert turned.numbers["accuracy"] == plain.numbers["accuracy"]
