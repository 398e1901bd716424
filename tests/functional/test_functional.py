"""What holds for every function of logits: symmetries, ranges, precision, extreme values, shapes."""

import math

import pytest
import torch
from drawn_logits import LAMS, PROPERTY, logits, per_sample_functions, random_logits
from hypothesis import given
from hypothesis import strategies as st

from vicinal import functional as vf


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
