"""The frozen teacher: it answers and never changes."""

import contextlib

import pytest
import torch
from small_teachers import classifier, pixels, state
from torch import nn

from vicinal.distillation import FrozenTeacher


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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_rows_are_answered_by_networks_that_refuse_them(precision):
    """As windowed attention does: of a small last batch, a process may have none."""

    def refuse(_, inputs):
        assert len(inputs[0])

    teacher = FrozenTeacher(classifier(), precision)
    teacher.network.register_forward_pre_hook(refuse)
    assert teacher(pixels(3)[:0]).shape == (0, 10)
    logits, features = teacher.with_features(pixels(3)[:0])
    assert (logits.shape, features.shape) == ((0, 10), (0, teacher.feature_count))
    assert logits.dtype == features.dtype == torch.float32
