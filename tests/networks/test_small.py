"""The two built-in networks."""

import pytest
import timm
import torch
from built import build

from vicinal.errors import UsageError


@pytest.mark.parametrize(
    ("name", "low", "high"), [("vicinal_resnet8", 29e4, 31e4), ("vicinal_mobilenet", 30e3, 31.5e3)]
)
def test_built_in_networks_are_made_by_name(name, low, high):
    network = timm.create_model(name)
    assert low < sum(p.numel() for p in network.parameters()) < high
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert timm.create_model(name, in_chans=3, num_classes=7)(torch.rand(2, 3, 28, 28)).shape == (2, 7)


def test_built_in_networks_have_no_weights_on_the_hub():
    with pytest.raises(UsageError, match="have none"):
        build(weights="hub")
