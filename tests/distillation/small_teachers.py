"""A small network to teach, and pixels for it."""

import torch
from torch import nn

from vicinal.config import NetworkSpec
from vicinal.networks import build_classifier


def classifier(model="vicinal_resnet8"):
    torch.manual_seed(0)
    network = build_classifier(NetworkSpec(model=model, epochs=1), 10, 1)
    nn.init.normal_(network.head.weight, std=0.5)
    return network


def pixels(n=4):
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def state(network):
    return {name: t.clone() for name, t in network.state_dict().items()}
