import math

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import sklearn.metrics
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.classification import MulticlassCalibrationError

from vicinal import functional as vf

PROPERTY = settings(max_examples=40, deadline=None)
LAMS = st.floats(0, 1)
TEMPERATURES = ["sigma", "teacher_sigma", 0.5, 1.0, 2.0, 20]


@st.composite
def logits(draw, count=3, scale=30.0, min_classes=2):
    """`count` sets of float64 logits of one shape (B, K)."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(min_classes, 7)))
    values = arrays(np.float64, shape, elements=st.floats(-scale, scale, width=32))
    return [torch.from_numpy(draw(values)) for _ in range(count)]


@st.composite
def predictions(draw, max_samples=60):
    """(N, K) probabilities and (N,) labels, in float64."""
    seed, n, k = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, max_samples)), draw(st.integers(2, 6))
    return random_predictions(seed, n, k, draw(st.sampled_from([0.1, 1.0, 5.0])))


def random_predictions(seed, n, k, scale=2.0):
    generator = np.random.default_rng(seed)
    z = torch.from_numpy(generator.normal(size=(n, k)) * scale)
    return z.softmax(-1), torch.from_numpy(generator.integers(k, size=n))


def random_logits(*shape, seed=0, scale=3.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape) * scale)


def per_sample_functions(z_i, z_j, z_mixed, lam):
    """Every function of logits alone, by name: (B,) or (B, K) results."""
    return {
        "nonlinearity_residual": vf.nonlinearity_residual(z_i, z_j, z_mixed, lam),
        "linearity_information": vf.linearity_information(z_i, z_j, z_mixed, lam),
        "linear_log_probabilities": vf.linear_log_probabilities(z_i, z_j, lam).logsumexp(-1),
        "prediction_entropy": vf.prediction_entropy(z_mixed),
        "kl_divergence": vf.kl_divergence(z_i, z_j),
    } | {f"kd_loss {t}": vf.kd_loss(z_i, z_j, t) for t in TEMPERATURES}


# --- mix --------------------------------------------------------------------------------------------------------------


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


# --- what holds for every function of logits --------------------------------------------------------------------------


@PROPERTY
@given(z=logits(), lam=LAMS, order=st.randoms(use_true_random=False))
def test_the_order_of_classes_changes_nothing(z, lam, order):
    classes = list(range(z[0].shape[-1]))
    order.shuffle(classes)
    before = per_sample_functions(*z, lam)
    after = per_sample_functions(*(t[:, classes] for t in z), lam)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-9, atol=1e-9, msg=name)


@PROPERTY
@given(z=logits(), lam=LAMS, shift=st.floats(-100, 100))
def test_a_constant_added_to_logits_changes_nothing(z, lam, shift):
    # The constant's own rounding moves the logits; a deviation of nearly equal logits would magnify it.
    z = [t + torch.arange(t.shape[-1]) for t in z]
    before, after = per_sample_functions(*z, lam), per_sample_functions(*(t + shift for t in z), lam)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=1e-7, atol=1e-7, msg=name)


@PROPERTY
@given(z=logits(), lam=LAMS)
def test_divergences_and_entropies_are_in_their_ranges(z, lam):
    for name, value in per_sample_functions(*z, lam).items():
        assert bool(value.isfinite().all()), name
        if name not in ("linearity_information", "linear_log_probabilities"):
            assert bool((value >= 0).all()), name
    assert bool((vf.prediction_entropy(z[0]) <= math.log(z[0].shape[-1]) + 1e-12).all())
    assert bool((vf.linear_log_probabilities(z[0], z[1], lam).logsumexp(-1).abs() < 1e-9).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_results_are_float32_or_float64(dtype):
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    z = [random_logits(4, 5, seed=s).to(dtype) for s in range(3)]
    labels = torch.tensor([0, 1, 2, 3])
    for lam in (0.3, torch.tensor([0.0, 0.3, 0.5, 1.0])):
        for name, value in per_sample_functions(*z, lam).items():
            assert value.dtype == wanted, name
        assert vf.mixed_cross_entropy(z[0], labels, labels.flip(0), lam).dtype == wanted
    probabilities = z[0].softmax(-1)
    for value in (
        vf.negative_log_likelihood(z[0], labels),
        vf.brier_score(probabilities, labels),
        vf.expected_calibration_error(probabilities, labels),
        vf.equal_mass_calibration_error(probabilities, labels),
    ):
        assert value.dtype == wanted


def test_half_precision_logits_are_computed_in_float32():
    z = [random_logits(4, 5, seed=s).half() for s in range(3)]
    low, high = per_sample_functions(*z, 0.3), per_sample_functions(*(t.double() for t in z), 0.3)
    for name, value in low.items():
        torch.testing.assert_close(value.double(), high[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("lam", [0.0, 1e-7, 0.5, 1.0])
def test_extreme_logits_give_finite_values_and_gradients(dtype, lam):
    z = [torch.tensor([row], dtype=dtype) for row in ([1e4, -1e4, 0], [-1e4, 1e4, 0], [0, -1e4, 1e4])]
    for t in z:
        t.requires_grad_()
    for name, value in per_sample_functions(*z, lam).items():
        assert bool(value.isfinite().all()), name
    sum(value.sum() for value in per_sample_functions(*z, lam).values()).backward()
    assert all(bool(t.grad.isfinite().all()) for t in z if t.grad is not None)


def test_no_epsilon_caps_a_divergence():
    p, q = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert float(vf.kl_divergence(p, q)) == 1e4  # an epsilon inside the log would stop it near 18 or 36
    assert float(vf.nonlinearity_residual(p, p, q, 0.5)) == 1e4
    assert float(vf.prediction_entropy(p)) == 0


@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (3,), (2, 4)])
def test_shapes_that_differ_are_an_error(shape):
    a, b = torch.zeros(2, 3), torch.zeros(shape)
    calls = {
        "kl_divergence": lambda: vf.kl_divergence(a, b),
        "kd_loss": lambda: vf.kd_loss(a, b, 2.0),
        "nonlinearity_residual, clean": lambda: vf.nonlinearity_residual(a, b, a, 0.5),
        "nonlinearity_residual, mixed": lambda: vf.nonlinearity_residual(a, a, b, 0.5),
        "linearity_information, clean": lambda: vf.linearity_information(a, b, a, 0.5),
        "linearity_gain": lambda: vf.linearity_gain(a, b),
        "dominance_ratio": lambda: vf.dominance_ratio(a, b),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match="shapes differ"):
            pytest.fail(f"{name} took {shape}: {call()}")


@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (3,), (2, 4)])
def test_linearity_information_refuses_mixed_answers_of_another_shape(shape):
    a = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="shapes differ"):
        vf.linearity_information(a, a, torch.zeros(shape), 0.5)


# --- KL and entropy against scipy and torch ---------------------------------------------------------------------------


@PROPERTY
@given(z=logits(count=2, scale=15.0))
def test_entropy_and_kl_agree_with_scipy_and_torch(z):
    p, q = (t.softmax(-1).numpy() for t in z)
    np.testing.assert_allclose(vf.prediction_entropy(z[0]), scipy.stats.entropy(p, axis=-1), rtol=1e-8, atol=1e-9)
    kl = vf.kl_divergence(*z)
    np.testing.assert_allclose(kl, scipy.special.rel_entr(p, q).sum(-1), rtol=1e-8, atol=1e-9)
    torch_kl = F.kl_div(z[1].log_softmax(-1), z[0].log_softmax(-1), reduction="none", log_target=True).sum(-1)
    np.testing.assert_allclose(kl, torch_kl, rtol=1e-8, atol=1e-9)


def test_kl_has_the_teacher_first():
    sure, unsure = torch.tensor([[5.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    p = sure.softmax(-1)
    assert float(vf.kl_divergence(sure, unsure)) == pytest.approx(float((p * (p * 2).log()).sum()), rel=1e-5)
    q = unsure.softmax(-1)
    assert float(vf.kl_divergence(unsure, sure)) == pytest.approx(float((q * (q / p).log()).sum()), rel=1e-5)


# --- non-linearity ----------------------------------------------------------------------------------------------------


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


# --- losses -----------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("temperature", [0, -1.0, True, "foo", "0.5", float("nan"), float("inf")])
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


# --- calibration ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [15, 10])
def test_ece_agrees_with_torchmetrics(seed, bins):
    probabilities, labels = random_predictions(seed, 500, 7)
    probabilities = probabilities.float()
    edge = (probabilities.amax(-1) * bins).frac()
    away = (edge > 1e-4) & (edge < 1 - 1e-4)
    probabilities, labels = probabilities[away], labels[away]
    oracle = MulticlassCalibrationError(num_classes=7, n_bins=bins, norm="l1")
    torch.testing.assert_close(
        vf.expected_calibration_error(probabilities, labels, bins), oracle(probabilities, labels), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bins", [2, 5, 8, 10, 15, 20, 100])
def test_a_confidence_on_an_edge_falls_in_the_lower_bin(bins, dtype):
    edges = torch.tensor([k / bins for k in range(bins + 1)], dtype=dtype)
    where = [vf.calibration_bins(edge[None], torch.ones(1), bins)[0].argmax().item() for edge in edges]
    assert where == [0, *range(bins)]


def test_bins_hold_count_confidence_and_hits():
    conf, correct = torch.tensor([0.1, 0.25, 0.5, 0.6, 1.0]), torch.tensor([True, False, True, False, True])
    count, total, right = vf.calibration_bins(conf, correct, 4)
    assert count.tolist() == [2, 1, 1, 1]
    assert total.tolist() == pytest.approx([0.35, 0.5, 0.6, 1.0])
    assert right.tolist() == [1, 1, 0, 1]
    assert count.dtype == total.dtype == right.dtype == torch.float64
    with pytest.raises(ValueError, match=r"confidences must lie in \[0, 1\]"):
        vf.calibration_bins(torch.tensor([1.5]), torch.ones(1))


def test_ece_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.95, 0.05]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 0])  # two bins: all in the upper, three of four right
    assert float(vf.expected_calibration_error(probabilities, labels, 2)) == pytest.approx(abs(0.75 - 3.25 / 4))
    # Four bins: (0.5, 0.75] holds .6 (right), the last .9 .8 .95 (two right).
    assert float(vf.expected_calibration_error(probabilities, labels, 4)) == pytest.approx((0.4 + 0.65) / 4)


@PROPERTY
@given(predictions())
def test_ece_lies_between_its_bounds(case):
    probabilities, labels = case
    conf, predicted = probabilities.max(-1)
    accuracy, confidence = float((predicted == labels).double().mean()), float(conf.mean())
    for error in (vf.expected_calibration_error, vf.equal_mass_calibration_error):
        for bins in (1, 3, 15):
            ece = float(error(probabilities, labels, bins))
            assert abs(accuracy - confidence) - 1e-12 <= ece <= (1 - accuracy) + (1 - confidence) + 1e-12
    assert float(vf.expected_calibration_error(probabilities, labels, 1)) == pytest.approx(abs(accuracy - confidence))


def test_no_samples_have_no_calibration_error():
    assert math.isnan(vf.expected_calibration_error(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)))
    assert math.isnan(vf.equal_mass_calibration_error(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)))


@PROPERTY
@given(predictions(), st.integers(0, 2**32 - 1), st.booleans())
def test_equal_mass_ece_does_not_depend_on_the_order(case, seed, tied):
    probabilities, labels = case
    if tied:
        probabilities = torch.nn.functional.one_hot(probabilities.argmax(-1), probabilities.shape[-1]).double()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    first = vf.equal_mass_calibration_error(probabilities, labels, 5)
    torch.testing.assert_close(vf.equal_mass_calibration_error(probabilities[order], labels[order], 5), first)


def test_equal_mass_ece_is_that_of_sorted_equal_parts():
    probabilities, labels = random_predictions(3, 103, 4)
    conf, predicted = (t.numpy() for t in probabilities.max(-1))
    gap = ((predicted == labels.numpy()) - conf)[np.argsort(conf)]
    expected = sum(abs(part.sum()) for part in np.array_split(gap, 15)) / 103
    assert float(vf.equal_mass_calibration_error(probabilities, labels)) == pytest.approx(expected)


def test_equal_mass_ece_shares_ties_out_evenly():
    # Four samples of confidence 0.75, three right: each half holds 1.5 right of 2, so both gaps are 0.
    probabilities, labels = torch.tensor([[0.75, 0.25]] * 4), torch.tensor([0, 0, 0, 1])
    assert float(vf.equal_mass_calibration_error(probabilities, labels, 2)) == pytest.approx(0, abs=1e-7)


@PROPERTY
@given(predictions())
def test_brier_and_nll_agree_with_scikit_learn(case):
    probabilities, labels = case
    classes = list(range(probabilities.shape[-1]))
    brier = sklearn.metrics.brier_score_loss(labels, probabilities, labels=classes, scale_by_half=False)
    assert float(vf.brier_score(probabilities, labels).mean()) == pytest.approx(brier)
    nll = sklearn.metrics.log_loss(labels, probabilities, labels=classes)
    assert float(vf.negative_log_likelihood(probabilities.log(), labels).mean()) == pytest.approx(nll)
    assert vf.brier_score(probabilities, labels).shape == labels.shape


# --- temperature scaling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_fitted_temperature_is_the_one_that_labels_were_drawn_with(temperature):
    generator = np.random.default_rng(0)
    z = generator.normal(size=(20000, 5)) * 2
    labels = (z + generator.gumbel(size=z.shape)).argmax(-1)
    fitted = vf.fit_temperature(torch.from_numpy(z * temperature), torch.from_numpy(labels))
    assert fitted == pytest.approx(temperature, rel=0.05)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5), st.floats(-50, 50))
def test_the_fitted_temperature_minimises_nll(seed, scale, shift):
    generator = np.random.default_rng(seed)
    z = torch.from_numpy(generator.normal(size=(200, 4)))
    labels = torch.from_numpy((z.numpy() + generator.gumbel(size=z.shape)).argmax(-1))
    z = z * scale
    fitted = vf.fit_temperature(z, labels)

    def nll(log_t):
        return float(F.cross_entropy(z / math.exp(log_t), labels))

    oracle = scipy.optimize.minimize_scalar(nll, bounds=(math.log(0.01), math.log(100)), method="bounded")
    assert nll(math.log(fitted)) <= oracle.fun + 1e-9
    assert fitted == pytest.approx(math.exp(oracle.x), rel=1e-3)
    assert vf.fit_temperature(z / fitted, labels) == pytest.approx(1, rel=1e-6)
    assert vf.fit_temperature(z + shift, labels) == pytest.approx(fitted, rel=1e-6)


def test_the_fitted_temperature_is_bounded_and_needs_samples():
    separated = torch.tensor([[5.0, 0.0], [0.0, 5.0]])
    assert vf.fit_temperature(separated, torch.tensor([0, 1])) == pytest.approx(0.001, rel=1e-6)
    assert vf.fit_temperature(separated, torch.tensor([1, 0])) == pytest.approx(1000, rel=1e-6)
    with pytest.raises(ValueError, match="at least one sample"):
        vf.fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
