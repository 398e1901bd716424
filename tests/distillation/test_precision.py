"""The precision that a teacher predicts in: measured, remembered, and never at the cost of its answers."""

import pytest
import torch
from small_teachers import classifier, pixels, state
from torch import nn

from vicinal.distillation import choose_precision
from vicinal.distillation.precision import _bf16_gain


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """machine(supported, gain): a CPU with or without bf16, on which it is so many times faster. Counts measurements."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measured = []

    def be(supported, gain):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
        monkeypatch.setattr("vicinal.distillation.precision._bf16_gain", lambda *_: measured.append(gain) or gain)
        return measured

    return be


@pytest.mark.parametrize(
    ("supported", "gain", "expected"), [(True, 1.8, "bf16"), (True, 1.1, "fp32"), (False, 1.8, "fp32")]
)
def test_bf16_is_chosen_where_it_exists_and_pays(machine, supported, gain, expected):
    machine(supported, gain)
    network = classifier()
    nn.init.normal_(network.head.weight, std=0.01)
    assert choose_precision(network, pixels()) == expected


def test_the_measurement_is_remembered_by_architecture_and_survives_a_damaged_cache(machine, tmp_path):
    measured = machine(True, 1.8)
    network = classifier()
    nn.init.normal_(network.head.weight, std=0.01)
    assert choose_precision(network, pixels()) == "bf16"
    machine(True, 0.5)
    assert choose_precision(network, pixels()) == "bf16"
    assert measured == [1.8]
    assert choose_precision(classifier("vicinal_mobilenet"), pixels()) == "fp32"
    assert measured == [1.8, 0.5]
    (tmp_path / "vicinal" / "bf16.json").write_text("{")
    assert choose_precision(network, pixels()) == "fp32"
    (tmp_path / "vicinal" / "bf16.json").unlink()
    (tmp_path / "vicinal").rmdir()
    (tmp_path / "vicinal").write_text("a file in the way")
    assert choose_precision(network, pixels()) == "fp32"


def test_the_gain_is_measured_without_a_trace():
    network = classifier()
    before = state(network)
    assert 0 < _bf16_gain(network, pixels(16)) < 100
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_bf16_is_not_chosen_where_it_changes_the_answers(machine):
    machine(True, 9)
    network = classifier()
    nn.init.normal_(network.head.weight, std=50)
    with torch.no_grad():  # an image between all classes, at large weights: rounding decides its answer
        network.head.bias.copy_(-network(pixels(1))[0])
    assert choose_precision(network, pixels(1)) == "fp32"
