"""The precision that a teacher predicts in: told by arithmetic, so always the same, and never at the cost of its answers."""

import time

import pytest
import torch
from small_teachers import classifier, pixels, state
from torch import nn

from vicinal.distillation import choose_precision
from vicinal.networks.bf16 import BF16_OPERATOR_FLOPS, operator_flops


@pytest.fixture
def machine(monkeypatch):
    """machine(supported, bound): a CPU with or without bf16, and the size of operators from which on that pays."""

    def be(supported, bound=1.0):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
        monkeypatch.setattr("vicinal.networks.bf16.BF16_OPERATOR_FLOPS", bound)

    return be


@pytest.mark.parametrize(
    ("supported", "bound", "expected"), [(True, 1.0, "bf16"), (True, 1e12, "fp32"), (False, 1.0, "fp32")]
)
def test_bf16_is_chosen_where_it_exists_and_pays(machine, supported, bound, expected):
    machine(supported, bound)
    network = classifier()
    nn.init.normal_(network.head.weight, std=0.01)
    assert choose_precision(network, pixels()) == expected


def test_no_clock_and_no_file_decides(machine, monkeypatch, tmp_path):
    """With an empty, a full or an unwritable cache and whatever else the machine does: one choice."""
    machine(True)
    network = classifier()
    nn.init.normal_(network.head.weight, std=0.01)
    for name in ("perf_counter", "monotonic", "time", "process_time"):
        monkeypatch.setattr(time, name, lambda: pytest.fail("a clock was asked"))
    for cache in (tmp_path / "new", tmp_path / "file"):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        assert choose_precision(network, pixels()) == "bf16"
    assert not (tmp_path / "new").exists()


def test_larger_operators_of_the_same_architecture_do_more_work():
    """A small network on small images stays in fp32, where bf16 was measured to be slower; on larger ones it does not."""
    network = classifier()
    before = state(network)
    small, large = (operator_flops(network, torch.rand(1, 1, side, side)) for side in (12, 64))
    assert small < BF16_OPERATOR_FLOPS < large
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_bf16_is_not_chosen_where_it_changes_the_answers(machine):
    machine(True, 9)
    network = classifier()
    nn.init.normal_(network.head.weight, std=50)
    with torch.no_grad():  # an image between all classes, at large weights: rounding decides its answer
        network.head.bias.copy_(-network(pixels(1))[0])
    assert choose_precision(network, pixels(1)) == "fp32"
