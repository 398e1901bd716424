import contextlib

import pytest
import torch
from torch import nn

from vicinal.config import NetworkSpec
from vicinal.distillation import FrozenTeacher, choose_precision
from vicinal.distillation.precision import _bf16_gain
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


def test_a_teacher_cannot_be_put_into_train_mode():
    teacher = FrozenTeacher(classifier().train())
    for attempt in (teacher.train, lambda: teacher.train(True), nn.Sequential(teacher).train):
        with pytest.raises(RuntimeError, match="cannot be put into train mode"):
            attempt()
        assert not any(m.training for m in teacher.modules())
    assert teacher.eval() is teacher
    assert teacher.train(False) is teacher


def test_a_teacher_holds_its_network_once():
    assert state(FrozenTeacher(classifier())).keys() == {f"network.{name}" for name in state(classifier())}


def test_a_network_put_into_train_mode_behind_its_back_is_noticed():
    teacher = FrozenTeacher(classifier())
    teacher.network.train()
    before = state(teacher)
    with pytest.raises(RuntimeError, match="behind its back"):
        teacher(pixels())
    assert all(torch.equal(t, before[name]) for name, t in teacher.state_dict().items())


def test_a_part_put_into_train_mode_moves_no_statistics():
    teacher = FrozenTeacher(classifier())
    before = state(teacher)
    teacher.network.backbone.train()
    with contextlib.suppress(RuntimeError):  # noticing it is as good as undoing it
        teacher(pixels())
    assert all(torch.equal(t, before[name]) for name, t in teacher.state_dict().items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_many_questions_change_nothing(precision):
    teacher, x = FrozenTeacher(classifier().train(), precision), pixels()
    before, first = state(teacher), teacher(x)
    for n in (1, 3, 4):
        teacher(pixels(n) * 100)
    assert torch.equal(teacher(x), first)
    assert all(torch.equal(t, before[name]) for name, t in teacher.state_dict().items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_answers_are_float32_and_carry_no_gradient(precision):
    teacher = FrozenTeacher(classifier(), precision)
    logits = teacher(pixels().requires_grad_())
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())


def test_fp32_answers_are_the_networks_and_bf16_ones_are_near():
    network = classifier()
    with torch.no_grad():
        exact = network(pixels())
    assert torch.equal(FrozenTeacher(network)(pixels()), exact)
    quick = FrozenTeacher(network, "bf16")(pixels())
    assert not torch.equal(quick, exact)
    torch.testing.assert_close(quick, exact, rtol=0.1, atol=0.1)


def test_outer_autocast_does_not_lower_a_fp32_teacher():
    teacher = FrozenTeacher(classifier())
    exact = teacher(pixels())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(teacher(pixels()), exact)


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
