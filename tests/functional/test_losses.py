"""The losses: against naive formulas and torch, and their traps (T², σ, constant logits)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drawn_logits import LAMS, PROPERTY, TEMPERATURES, logits, random_logits
from hypothesis import given
from hypothesis import strategies as st

from vicinal import functional as vf


def naive_kl(teacher, student):
    p, q = (np.exp(z - z.max(-1, keepdims=True)) for z in (teacher, student))
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    return (p * np.log(p / q)).sum(-1)


@PROPERTY
@given(z=logits(count=2, scale=8.0), temperature=st.floats(0.25, 50))
def test_kd_loss_has_the_factor_t_squared_and_sums_over_classes(z, temperature):
    student, teacher = (t.numpy() for t in z)
    expected = temperature**2 * naive_kl(teacher / temperature, student / temperature)
    np.testing.assert_allclose(vf.kd_loss(*z, temperature), expected, rtol=1e-6, atol=1e-9)


def test_a_temperature_of_one_half_is_honoured():
    student, teacher = random_logits(4, 5, seed=1), random_logits(4, 5, seed=2)
    expected = 0.25 * naive_kl(2 * teacher.numpy(), 2 * student.numpy())
    np.testing.assert_allclose(vf.kd_loss(student, teacher, 0.5), expected, rtol=1e-9)
    assert float(vf.kd_loss(student, teacher, 0.5).mean()) != float(vf.kd_loss(student, teacher, "sigma").mean())


def test_sigma_divides_each_by_its_own_population_deviation_without_a_factor():
    student, teacher = random_logits(4, 5, seed=1).numpy(), random_logits(4, 5, seed=2, scale=9).numpy()
    expected = naive_kl(teacher / teacher.std(-1, keepdims=True), student / student.std(-1, keepdims=True))
    loss = vf.kd_loss(torch.from_numpy(student), torch.from_numpy(teacher), "sigma")
    np.testing.assert_allclose(loss, expected, rtol=1e-9)


def test_teacher_sigma_divides_both_by_the_teachers_deviation_and_restores_the_scale():
    student, teacher = random_logits(4, 5, seed=1).numpy(), random_logits(4, 5, seed=2, scale=9).numpy()
    sigma = teacher.std(-1, keepdims=True)
    expected = sigma.squeeze(-1) ** 2 * naive_kl(teacher / sigma, student / sigma)
    loss = vf.kd_loss(torch.from_numpy(student), torch.from_numpy(teacher), "teacher_sigma")
    np.testing.assert_allclose(loss, expected, rtol=1e-9)


@PROPERTY
@given(z=logits(count=2), student_scale=st.floats(0.01, 100), teacher_scale=st.floats(0.01, 100))
def test_sigma_does_not_change_when_logits_are_scaled(z, student_scale, teacher_scale):
    student, teacher = (t + torch.arange(t.shape[-1]) for t in z)
    scaled = vf.kd_loss(student_scale * student, teacher_scale * teacher, "sigma")
    torch.testing.assert_close(scaled, vf.kd_loss(student, teacher, "sigma"), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gradient_reaches_the_student_only(temperature):
    student, teacher = random_logits(4, 5, seed=1).requires_grad_(), random_logits(4, 5, seed=2).requires_grad_()
    vf.kd_loss(student, teacher, temperature).sum().backward()
    assert teacher.grad is None
    assert float(student.grad.abs().sum()) > 0
    kept = student.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: vf.kd_loss(z, teacher.detach(), temperature), kept)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 7.3])
def test_constant_logits_give_finite_losses_and_gradients(temperature, value):
    constant, other = torch.full((3, 10), value), random_logits(3, 10).float()
    for student, teacher in ((constant, other), (other, constant), (constant, constant)):
        student = student.clone().requires_grad_()
        loss = vf.kd_loss(student, teacher, temperature)
        loss.sum().backward()
        assert bool(loss.isfinite().all())
        assert bool(student.grad.isfinite().all())


@pytest.mark.parametrize("value", [0.1, 0.3, 7.3])
def test_rounding_of_a_constant_is_no_deviation(value):
    """The mean of ten 0.1s is not 0.1 in float32: what remains must not be magnified to a deviation of 1."""
    student = torch.full((1, 10), value, requires_grad=True)
    vf.kd_loss(student, random_logits(1, 10).float(), "sigma").sum().backward()
    assert float(student.grad.abs().max()) < 10


@pytest.mark.parametrize("temperature", [0, -1.0, True, "foo", "0.5", float("nan"), float("inf"), 1e300, 1e-300])
def test_other_temperatures_are_an_error(temperature):
    with pytest.raises(ValueError, match="a temperature is a positive number, 'sigma' or 'teacher_sigma'"):
        vf.kd_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature)


@PROPERTY
@given(z=logits(count=1), data=st.data())
def test_mixed_cross_entropy_is_that_of_soft_labels(z, data):
    batch, classes = z[0].shape
    labels, partners = (
        torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=batch, max_size=batch))) for _ in "ij"
    )
    lam = torch.tensor(data.draw(st.lists(LAMS, min_size=batch, max_size=batch)), dtype=torch.float64)
    soft = vf.mix(F.one_hot(labels, classes).double(), F.one_hot(partners, classes).double(), lam)
    expected = F.cross_entropy(z[0], soft, reduction="none")
    torch.testing.assert_close(vf.mixed_cross_entropy(z[0], labels, partners, lam), expected, rtol=1e-9, atol=1e-9)
    clean = vf.mixed_cross_entropy(z[0], labels, partners, 1.0)
    torch.testing.assert_close(clean, F.cross_entropy(z[0], labels, reduction="none"), rtol=1e-9, atol=1e-9)


def extended_reference(student, teacher, temperature):
    """T² KL and its gradient in extended precision: numpy's long double has 64 bits of mantissa where the machine has it."""
    u, v = (z.astype(np.longdouble) / np.longdouble(temperature) for z in (student, teacher))
    log_q, log_p = (z - z.max(-1, keepdims=True) for z in (u, v))
    log_q, log_p = (z - np.log(np.exp(z).sum(-1, keepdims=True)) for z in (log_q, log_p))
    p = np.exp(log_p)
    return temperature**2 * (p * (log_p - log_q)).sum(-1), temperature * (np.exp(log_q) - p)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1.0, 33.0, 1e2, 1e3, 1e4, 1e6])
def test_large_temperatures_keep_their_digits(temperature, dtype):
    student, teacher = (random_logits(200, 10, seed=seed).to(dtype) for seed in (1, 2))
    expected, gradient = extended_reference(student.numpy(), teacher.numpy(), temperature)
    student.requires_grad_()
    loss = vf.kd_loss(student, teacher, temperature)
    loss.sum().backward()
    np.testing.assert_allclose(loss.detach().numpy(), expected.astype(np.float64), rtol=1e-4)
    np.testing.assert_allclose(student.grad.numpy(), gradient.astype(np.float64), rtol=1e-3, atol=1e-5)


@PROPERTY
@given(z=logits(count=3, scale=20.0), lam=LAMS, log_t=st.floats(1.5, 6.0))
def test_float32_follows_float64_at_any_large_temperature(z, lam, log_t):
    temperature = 10.0**log_t
    losses = {
        "teacher": lambda s, i, _: vf.kd_loss(s, i, temperature),
        "linear": lambda s, i, j: vf.linear_target_loss(s, i, j, lam, temperature),
    }
    for loss in losses.values():
        gradients = []
        for dtype in (torch.float32, torch.float64):
            student, i, j = (part.to(dtype).clone() for part in z)
            student.requires_grad_()
            loss(student, i, j).sum().backward()
            gradients.append(student.grad.double())
        scale = float(torch.stack([part.abs().amax() for part in z]).amax())
        torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-2, atol=1e-5 * (1 + scale))


@pytest.mark.parametrize("temperature", [40.0, 1e4])
def test_the_two_formulas_meet(temperature):
    """The same rows, near and far from the teacher, masked ones among them, by the usual formula in float64."""
    student, teacher = random_logits(6, 5, seed=1), random_logits(6, 5, seed=2)
    student[1] *= 100  # too far for the series
    teacher[2, 0] = -torch.inf
    student[3, 1] = teacher[3, 1] = -torch.inf
    student.requires_grad_()
    loss = vf.kd_loss(student, teacher, temperature)
    plain = temperature**2 * vf.kl_divergence(teacher / temperature, student / temperature)
    torch.testing.assert_close(loss, plain, rtol=1e-6, atol=1e-8)
    (own,), (usual,) = (torch.autograd.grad(value.sum(), student, retain_graph=True) for value in (loss, plain))
    torch.testing.assert_close(own, usual, rtol=1e-6, atol=1e-9)
    i, j, lam = random_logits(6, 5, seed=4), random_logits(6, 5, seed=5), 0.3
    linear = vf.linear_target_loss(student, i, j, lam, temperature)
    target = vf.linear_log_probabilities(i / temperature, j / temperature, lam)
    finite = torch.arange(6) != 3
    expected = temperature**2 * vf.kl_divergence(target, student / temperature)
    torch.testing.assert_close(linear[finite], expected[finite], rtol=1e-5, atol=1e-7)
    assert float(linear[3]) == torch.inf


def test_rounding_below_zero_takes_no_gradient_away():
    teacher = random_logits(300, 20, seed=3).float()
    student = (teacher + 1e-4 * random_logits(300, 20, seed=4).float()).requires_grad_()
    loss = vf.kd_loss(student, teacher, 1.0)
    loss.sum().backward()
    assert bool((loss >= 0).all())
    assert bool((loss == 0).any())  # else this tests nothing
    assert bool((student.grad.abs().sum(-1) > 0).all())
