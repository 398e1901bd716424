"""Mixing and the non-linearity residual: exact at both ends, against naive formulas."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from drawn_logits import LAMS, PROPERTY, logits, random_logits
from hypothesis import given
from hypothesis import strategies as st

from vicinal import functional as vf


def test_mix_is_exact_at_both_ends_and_changes_no_input():
    x_i, x_j = torch.rand(3, 2, 4, 4), torch.rand(3, 2, 4, 4)
    kept = x_i.clone(), x_j.clone()
    assert torch.equal(vf.mix(x_i, x_j, 1.0), x_i)
    assert torch.equal(vf.mix(x_i, x_j, 0), x_j)
    vf.mix(x_i, x_j, 0.3)
    assert torch.equal(x_i, kept[0])
    assert torch.equal(x_j, kept[1])


def test_mix_takes_one_lam_for_each_sample():
    x_i, x_j, lam = random_logits(3, 2, 4, 4), random_logits(3, 2, 4, 4, seed=1), torch.tensor([0.0, 0.25, 1.0])
    mixed = vf.mix(x_i, x_j, lam)
    for b in range(3):
        torch.testing.assert_close(mixed[b], lam[b] * x_i[b] + (1 - lam[b]) * x_j[b])


@pytest.mark.parametrize("lam", [-0.01, 1.01, float("nan"), torch.tensor([0.5, 2.0])])
def test_lam_outside_0_to_1_is_an_error(lam):
    x = torch.rand(2, 3)
    with pytest.raises(ValueError, match="λ must lie in"):
        vf.mix(x, x, lam)
    with pytest.raises(ValueError, match="λ must lie in"):
        vf.nonlinearity_residual(x, x, x, lam)
    with pytest.raises(ValueError, match="λ must lie in"):
        vf.mixed_cross_entropy(x, torch.tensor([0, 1]), torch.tensor([1, 1]), lam)


def test_mix_refuses_integers_and_other_shapes():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match="floating-point"):
        vf.mix(images, images, 0.5)
    with pytest.raises(ValueError, match="different shapes"):
        vf.mix(torch.rand(2, 3), torch.rand(1, 3), 0.5)


@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (3,), (2, 4)])
def test_linearity_information_refuses_mixed_answers_of_another_shape(shape):
    a = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="shapes differ"):
        vf.linearity_information(a, a, torch.zeros(shape), 0.5)


@PROPERTY
@given(z=logits(count=2), precise=st.booleans())
def test_nonlinearity_is_exactly_0_at_both_ends(z, precise):
    z_i, z_j = z if precise else (t.float() for t in z)
    for lam, mixed in ((1.0, z_i), (0.0, z_j)):
        assert float(vf.nonlinearity_residual(z_i, z_j, mixed, lam).abs().max()) == 0
        per_sample = torch.full((len(z_i),), lam, dtype=z_i.dtype)
        assert float(vf.nonlinearity_residual(z_i, z_j, mixed, per_sample).abs().max()) == 0


@PROPERTY
@given(z=logits(), lam=LAMS)
def test_a_pair_and_its_swap_have_one_nonlinearity(z, lam):
    z_i, z_j, mixed = z
    forth, back = vf.nonlinearity_residual(z_i, z_j, mixed, lam), vf.nonlinearity_residual(z_j, z_i, mixed, 1 - lam)
    torch.testing.assert_close(forth, back, rtol=1e-9, atol=1e-9)


@PROPERTY
@given(z=logits(scale=10.0), lam=LAMS)
def test_nonlinearity_and_linearity_information_agree_with_naive_formulas(z, lam):
    p_i, p_j, p_mixed = (t.softmax(-1).numpy() for t in z)
    linear = lam * p_i + (1 - lam) * p_j
    expected = scipy.special.rel_entr(linear, p_mixed).sum(-1)
    np.testing.assert_allclose(vf.nonlinearity_residual(*z, lam), expected, rtol=1e-8, atol=1e-9)
    information = scipy.stats.entropy(linear, axis=-1) - expected
    np.testing.assert_allclose(vf.linearity_information(*z, lam), information, rtol=1e-8, atol=1e-9)


@PROPERTY
@given(z=logits(count=2, scale=10.0), lam=LAMS)
def test_a_linear_answer_has_no_residual(z, lam):
    mixed = vf.linear_log_probabilities(*z, lam)
    assert float(vf.nonlinearity_residual(*z, mixed, lam).max()) < 1e-12
    torch.testing.assert_close(vf.linearity_information(*z, mixed, lam), vf.prediction_entropy(mixed))


def test_lam_may_differ_by_pair():
    z, lam = [random_logits(4, 5, seed=s) for s in range(3)], torch.tensor([0.0, 0.2, 0.7, 1.0], dtype=torch.float64)
    together = vf.nonlinearity_residual(*z, lam)
    alone = [float(vf.nonlinearity_residual(*(t[b : b + 1] for t in z), float(lam[b]))) for b in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_dominance_is_a_ratio_of_means():
    nonlinearity, entropy = torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.5])
    assert float(vf.dominance_ratio(nonlinearity, entropy)) == pytest.approx(2 / 0.75)  # the mean of ratios is 3.5
    curves = vf.dominance_ratio(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[1.0, 1.0], [0.5, 3.0]]))
    assert curves.tolist() == pytest.approx([2 / 0.75, 1.0])
    assert float(vf.dominance_ratio(nonlinearity.mean(), entropy.mean())) == pytest.approx(2 / 0.75)
    assert math.isnan(vf.dominance_ratio(torch.zeros(3), torch.zeros(3)))


def test_linearity_gain_is_the_teachers_residual_less_the_students():
    assert vf.linearity_gain(torch.tensor([0.5, 0.1]), torch.tensor([0.2, 0.3])).tolist() == pytest.approx([0.3, -0.2])
