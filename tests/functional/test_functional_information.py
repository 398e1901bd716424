"""Eq. 10 in both readings and eq. 11 as two sides: against scipy, and by their properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from scipy.stats import entropy

from vicinal import functional as vf
from vicinal.functional import cross_entropy_with_teacher, entropy_decomposition
from vicinal.functional.information import information_bound_of_mean, information_bound_per_sample
from vicinal.metrics import InformationBound, lam_grid

SIZES = {"n": st.integers(1, 12), "k": st.integers(2, 6), "seed": st.integers(0, 10_000), "scale": st.floats(0.1, 40)}


def draw(shape, seed=0, scale=3.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape) * scale)


def answers(pairs=30, points=21, k=4, seed=0, scale=3.0):
    """Logits of the two images of each pair and along the grid, whose ends are the clean answers."""
    i, j, mixed = (draw(s, seed + n, scale) for n, s in enumerate(((pairs, k), (pairs, k), (pairs, points, k))))
    mixed[:, 0], mixed[:, -1] = j, i
    return i, j, mixed


@settings(max_examples=40, deadline=None)
@given(**SIZES)
def test_both_readings_equal_their_definition(n, k, seed, scale):
    teacher, student = draw((n, k), seed, scale), draw((n, k), seed + 1, scale)
    p, q = softmax(teacher.numpy(), -1), softmax(student.numpy(), -1)
    log_q = student.log_softmax(-1).numpy()
    expected_log = (p * log_q).sum(-1)
    np.testing.assert_allclose(cross_entropy_with_teacher(teacher, student), -expected_log, atol=1e-9)
    np.testing.assert_allclose(
        information_bound_per_sample(teacher, student), entropy(p, axis=-1) + expected_log, atol=1e-9
    )
    np.testing.assert_allclose(
        information_bound_of_mean(teacher, student), entropy(p.mean(0)) + expected_log.mean(), atol=1e-9
    )
    np.testing.assert_allclose(-information_bound_per_sample(teacher, student), rel_entr(p, q).sum(-1), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(**SIZES)
def test_the_bound_of_the_mean_is_the_larger_and_no_more_than_the_information_in_the_teachers_answers(
    n, k, seed, scale
):
    teacher, student = draw((n, k), seed, scale), draw((n, k), seed + 1, scale)
    of_mean = float(information_bound_of_mean(teacher, student))
    assert of_mean >= float(information_bound_per_sample(teacher, student).mean()) - 1e-12
    p = softmax(teacher.numpy(), -1)
    most = entropy(p.mean(0)) - entropy(p, axis=-1).mean()
    assert of_mean <= most + 1e-9 <= math.log(k) + 2e-9
    assert float(information_bound_of_mean(teacher, teacher + 3)) == pytest.approx(most, abs=1e-9)


def test_known_answers():
    sure = torch.tensor([[60.0, 0.0], [0.0, 60.0]], dtype=torch.float64)
    assert float(information_bound_of_mean(sure, sure)) == pytest.approx(math.log(2))  # one bit, all of it
    flat = torch.zeros(2, 2, dtype=torch.float64)
    assert float(information_bound_of_mean(sure, flat)) == pytest.approx(0)
    assert information_bound_per_sample(sure, flat).tolist() == pytest.approx([-math.log(2)] * 2)
    assert float(information_bound_of_mean(flat, sure)) < -10  # a bound may say less than nothing


def test_the_bound_of_the_mean_keeps_the_other_dimensions():
    teacher, student = draw((7, 5, 3)), draw((7, 5, 3), 1)
    whole = information_bound_of_mean(teacher, student)
    assert whole.shape == (5,)
    for at in range(5):
        torch.testing.assert_close(whole[at], information_bound_of_mean(teacher[:, at], student[:, at]))


def test_no_samples_have_no_mean():
    with pytest.raises(ValueError, match="at least one sample"):
        information_bound_of_mean(torch.zeros(0, 3), torch.zeros(0, 3))


@pytest.mark.parametrize("bound", [information_bound_per_sample, information_bound_of_mean])
def test_precision_and_extreme_logits(bound):
    teacher, student = draw((4, 3), scale=500), draw((4, 3), 1, scale=500)
    assert bound(teacher, student).dtype == torch.float64
    low = bound(teacher.half(), student.half())
    assert low.dtype == torch.float32
    assert bool(low.isfinite().all())


@settings(max_examples=40, deadline=None)
@given(lam=st.floats(0, 1), **SIZES)
def test_both_sides_equal_their_definition(n, k, seed, scale, lam):
    i, j, mixed = (draw((n, k), seed + at, min(scale, 8)) for at in range(3))
    p_i, p_j, p = (softmax(z.numpy(), -1) for z in (i, j, mixed))
    got = entropy_decomposition(i, j, mixed, lam)
    np.testing.assert_allclose(got.entropy_mixed, entropy(p, axis=-1), atol=1e-9)
    np.testing.assert_allclose(
        got.entropy_clean, lam * entropy(p_i, axis=-1) + (1 - lam) * entropy(p_j, axis=-1), atol=1e-9
    )
    np.testing.assert_allclose(got.nonlinearity, rel_entr(lam * p_i + (1 - lam) * p_j, p).sum(-1), atol=1e-9)
    np.testing.assert_allclose(
        got.residual, got.entropy_mixed - got.entropy_clean - got.nonlinearity, atol=1e-12, rtol=0
    )


def test_each_pair_has_its_own_lam():
    i, j, mixed = (draw((3, 4), at) for at in range(3))
    lam = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    together = entropy_decomposition(i, j, mixed, lam)
    for at in range(3):
        alone = entropy_decomposition(i[at : at + 1], j[at : at + 1], mixed[at : at + 1], float(lam[at]))
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[at : at + 1], part)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_nothing_is_left_over_at_the_ends(lam):
    i, j, _ = answers()
    got = entropy_decomposition(i, j, i if lam else j, lam)
    torch.testing.assert_close(got.residual, torch.zeros_like(got.residual), atol=1e-12, rtol=0)


def test_eq_11_fails_for_a_perfectly_linear_network_and_where_mismatch_dominates():
    i, j, _ = answers()
    linear = entropy_decomposition(i, j, vf.linear_log_probabilities(i, j, 0.5), 0.5)
    assert float(linear.nonlinearity.abs().max()) < 1e-12
    assert bool((linear.residual > 0).all())  # entropy is strictly concave
    sure = torch.tensor([[0.0, 0.0, 30.0]], dtype=torch.float64)
    a, b = torch.tensor([[30.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([[0.0, 30.0, 0.0]], dtype=torch.float64)
    dominated = entropy_decomposition(a, b, sure, 0.5)
    assert float(dominated.nonlinearity) > float(dominated.entropy_mixed)
    assert float(dominated.residual) < 0


def bound(teacher, student, batch=None, **values):
    metric = InformationBound(lam_grid(teacher.shape[1]), **values)
    for part in zip(teacher.split(batch or len(teacher)), student.split(batch or len(student)), strict=True):
        metric.update(*part)
    return metric
