"""Costs that `vicinal plan` states: arithmetic against hand counts, measuring without a trace."""

from __future__ import annotations

import torch
from built import build, pixels
from torch import nn

from vicinal.config import NetworkSpec
from vicinal.networks import TimmClassifier, build_classifier, compiling_pays, network_cost, try_training


class Pooled(nn.Module):
    """A 3x3 convolution to 4 channels, pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3))


def test_arithmetic_is_counted_by_hand():
    network = TimmClassifier(Pooled(), nn.Linear(4, 5), (0.5,) * 3, (0.5,) * 3)
    cost = network_cost(network, torch.rand(1, 3, 10, 12), batch_size=7)
    convolution, head = 2 * (10 * 12) * (3 * 9) * 4, 2 * 4 * 5  # a multiplication and an addition for each weight
    assert cost.forward_flops == convolution + head
    assert 0 < cost.inference_s < 1
    assert 0 < cost.step_s < 1


def test_measuring_moves_no_parameter_and_leaves_eval_mode():
    network = build_classifier(NetworkSpec(model="vicinal_mobilenet", epochs=1), 10, 1)
    before = {name: p.clone() for name, p in network.named_parameters()}
    network_cost(network, torch.rand(1, 1, 28, 28), batch_size=4)
    assert all(torch.equal(before[name], p) for name, p in network.named_parameters())
    assert not network.training


def test_compiling_pays_for_long_trainings_on_a_gpu_and_not_on_a_cpu():
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert [compiling_pays(flops, gpu) for flops in (1e15, 1e17)] == [False, True]
    assert not compiling_pays(1e20, cpu)


def test_a_check_leaves_the_network_as_it_was():
    network = build("vicinal_resnet8", 3, 3)
    network.backbone.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    try_training(network, pixels(1, 3, 16))
    network_cost(network, pixels(1, 3, 16), 2)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert modes == [module.training for module in network.modules()]
    assert all(parameter.grad is None for parameter in network.parameters())
