"""Networks as specs build them, and pixels to ask them with."""

import torch
from torch import nn

from vicinal.config import NetworkSpec
from vicinal.networks import Classifier, build_classifier


def spec(model="vicinal_resnet8", **values):
    return NetworkSpec(**{"model": model, "epochs": 1, **values})


def build(model="vicinal_resnet8", classes=10, channels=1, **values):
    return build_classifier(spec(model, **values), classes, channels)


def pixels(n=3, channels=1, side=28, seed=0):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def shaken(network):
    """The network with weights and batch-norm statistics that no start gives, so that loading them shows."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, t in network.state_dict().items():
            if t.is_floating_point() and name not in ("mean", "std"):
                t += 0.02 * torch.randn(t.shape, generator=generator)
    return network


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


def coloured(n: int = 4, channels: int = 3, side: int = 32) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(2))
