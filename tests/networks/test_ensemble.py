"""Several classifiers as one: by the mean of probabilities in float64, and as any other classifier is treated."""

import pytest
import torch
import torch.nn.functional as F

from vicinal.config import NetworkSpec
from vicinal.distillation import FrozenTeacher
from vicinal.networks import Classifier, Ensemble, build_classifier, evaluating, fused

PIXELS = torch.rand(6, 1, 20, 20, generator=torch.Generator().manual_seed(1))


def member(model="vicinal_resnet8", seed=0):
    torch.manual_seed(seed)
    network = build_classifier(NetworkSpec(model=model, epochs=1, mean=(0.1 * seed,), std=(0.5,)), 4, 1)
    torch.nn.init.normal_(network.head.weight, std=0.5)
    for module in network.modules():  # norms that are not those of a new network
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture
def members():
    return [member(seed=0), member("vicinal_mobilenet", 1), member(seed=2)]


@torch.no_grad()
def test_it_answers_with_the_mean_of_probabilities(members):
    mean = sum(network(PIXELS).double().softmax(-1) for network in members) / 3
    answer = Ensemble(members)(PIXELS)
    assert answer.dtype == torch.float32
    torch.testing.assert_close(answer.double().softmax(-1), mean, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(answer.logsumexp(-1), torch.zeros(6), rtol=0, atol=1e-5)  # log-probabilities
    torch.testing.assert_close(Ensemble(members[::-1])(PIXELS), answer)
    torch.testing.assert_close(Ensemble(members[:1] * 2)(PIXELS), members[0](PIXELS).log_softmax(-1))


@torch.no_grad()
def test_a_shift_of_one_members_logits_changes_nothing_and_the_nll_is_at_most_the_mean(members):
    shifted = Classifier.of(lambda x: members[1](x) + 100.0)
    answer = Ensemble(members)(PIXELS)
    torch.testing.assert_close(Ensemble([members[0], shifted, members[2]])(PIXELS), answer, rtol=1e-4, atol=1e-4)
    labels = torch.arange(6) % 4
    own = [F.cross_entropy(network(PIXELS), labels, reduction="none") for network in members]
    assert bool((F.cross_entropy(answer, labels, reduction="none") <= torch.stack(own).mean(0) + 1e-6).all())


@torch.no_grad()
def test_it_is_folded_frozen_and_counted_as_one(members):
    ensemble = Ensemble(members)
    expected = ensemble(PIXELS)
    fast = fused(ensemble, PIXELS)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fast.modules())
    torch.testing.assert_close(fast(PIXELS), expected, rtol=1e-4, atol=1e-4)
    assert ensemble.parameter_count == sum(network.parameter_count for network in members)
    assert ensemble.last_linear is None
    for precision, near in (("fp32", 1e-5), ("bf16", 0.2)):
        answer = FrozenTeacher(Ensemble(members), precision)(PIXELS)
        assert answer.dtype == torch.float32
        torch.testing.assert_close(answer, expected, rtol=near, atol=near)
    ensemble.train()
    with evaluating(ensemble):
        torch.testing.assert_close(ensemble(PIXELS), expected)
