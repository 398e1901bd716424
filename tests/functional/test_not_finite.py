"""What is not finite stays so, gradients included; impossible classes keep their meaning; labels that are no class are refused."""

import math

import pytest
import torch
from drawn_logits import PROPERTY, random_logits
from hypothesis import given
from hypothesis import strategies as st

from vicinal import functional as vf

TEMPERATURES = [1.0, 4.0, 100.0, 1e4, "sigma", "teacher_sigma"]
BAD = st.sampled_from([math.nan, math.inf])
LABELS = torch.tensor([0, 1, 2])

# By name: how many sets of (3, 4) logits it takes, and its call.
PER_SAMPLE = {
    **{f"kd_loss {t}": (2, lambda s, t_, t=t: vf.kd_loss(s, t_, t)) for t in TEMPERATURES},
    **{
        f"linear_target_loss {t}": (3, lambda s, i, j, t=t: vf.linear_target_loss(s, i, j, 0.3, t))
        for t in TEMPERATURES
        if t != "teacher_sigma"
    },
    "kl_divergence": (2, vf.kl_divergence),
    "prediction_entropy": (1, vf.prediction_entropy),
    "nonlinearity_residual": (3, lambda i, j, mixed: vf.nonlinearity_residual(i, j, mixed, 0.3)),
    "linearity_information": (3, lambda i, j, mixed: vf.linearity_information(i, j, mixed, 0.3)),
    "linear_log_probabilities": (2, lambda i, j: vf.linear_log_probabilities(i, j, 0.3).sum(-1)),
    "cross_entropy_with_teacher": (2, vf.cross_entropy_with_teacher),
    "information_bound_per_sample": (2, vf.information_bound_per_sample),
    "entropy_decomposition": (3, lambda i, j, mixed: vf.entropy_decomposition(i, j, mixed, 0.3).residual),
    "negative_log_likelihood": (1, lambda z: vf.negative_log_likelihood(z, LABELS)),
    "mixed_cross_entropy": (1, lambda z: vf.mixed_cross_entropy(z, LABELS, LABELS.flip(0), 0.3)),
    "smoothed_cross_entropy": (1, lambda z: vf.mixed_cross_entropy(z, LABELS, LABELS.flip(0), 1.0, 0.1)),
}
# Numbers of all samples together, of (3, 4) logits.
OF_ALL = {
    "expected_calibration_error": lambda z: vf.expected_calibration_error(z.softmax(-1), LABELS),
    "equal_mass_calibration_error": lambda z: vf.equal_mass_calibration_error(z.softmax(-1), LABELS),
    "brier_score": lambda z: vf.brier_score(z.softmax(-1), LABELS).sum(),
    "brier_score of what is given": lambda z: vf.brier_score(z, LABELS).sum(),
    "fit_temperature": lambda z: vf.fit_temperature(z, LABELS),
    "log_mean_prediction": lambda z: vf.log_mean_prediction(z).sum(),
    "information_bound_of_mean": lambda z: vf.information_bound_of_mean(z, 0 * z.nan_to_num()),
    "dominance_ratio": lambda z: vf.dominance_ratio(vf.prediction_entropy(z), torch.ones(3)),
}


def sets(count, dtype=torch.float64):
    return [random_logits(3, 4, seed=seed).to(dtype) for seed in range(count)]


@pytest.mark.parametrize("name", PER_SAMPLE)
@PROPERTY
@given(
    bad=BAD, which=st.integers(0, 2), row=st.integers(0, 2), column=st.integers(0, 3),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)  # fmt: skip
def test_a_bad_logit_gives_no_finite_number_and_no_finite_gradient(name, bad, which, row, column, dtype):
    count, function = PER_SAMPLE[name]
    given_sets = sets(count, dtype)
    given_sets[which % count][row, column] = bad
    for z in given_sets:
        z.requires_grad_()
    values = function(*given_sets)
    finite = values.isfinite().tolist()
    assert finite == [k != row for k in range(3)]
    values.sum().backward()
    for position, z in enumerate(given_sets):
        if z.grad is None:  # of a teacher
            assert position > 0
            continue
        assert not bool(z.grad[row].isfinite().any())
        assert bool(z.grad[[k for k in range(3) if k != row]].isfinite().all())


@pytest.mark.parametrize("name", OF_ALL)
@PROPERTY
@given(bad=st.sampled_from([math.nan, math.inf]), row=st.integers(0, 2), column=st.integers(0, 3))
def test_no_good_number_of_all_samples_comes_from_a_bad_one(name, bad, row, column):
    (z,) = sets(1)
    z[row, column] = bad
    try:
        found = OF_ALL[name](z)
    except ValueError:
        return
    assert found is not None
    assert not math.isfinite(float(found))


@PROPERTY
@given(
    seed=st.integers(0, 2**16),
    masked=st.sets(st.integers(0, 4), min_size=1, max_size=3),
    temperature=st.sampled_from(TEMPERATURES[:4]),
)
def test_an_impossible_class_is_as_if_it_were_not_there(seed, masked, temperature):
    kept = [k for k in range(5) if k not in masked]
    full = [random_logits(4, 5, seed=seed + k) for k in range(3)]
    for z in full:
        z[:, sorted(masked)] = -math.inf
    few = [z[:, kept] for z in full]
    lam = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    functions = {
        "kd": lambda s, i, _: vf.kd_loss(s, i, temperature),
        "linear": lambda s, i, j: vf.linear_target_loss(s, i, j, lam, temperature),
        "nonlinearity": lambda s, i, j: vf.nonlinearity_residual(i, j, s, lam),
        "entropy": lambda s, *_: vf.prediction_entropy(s),
        "information": lambda s, i, j: vf.linearity_information(i, j, s, lam),
    }
    for name, function in functions.items():
        of_full, of_few = ([z.clone().requires_grad_() for z in part] for part in (full, few))
        values, expected = function(*of_full), function(*of_few)
        torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-7, msg=name)
        values.sum().backward()
        expected.sum().backward()
        for z, other in zip(of_full, of_few, strict=True):
            if z.grad is not None:
                torch.testing.assert_close(z.grad[:, kept], other.grad, rtol=1e-4, atol=1e-6, msg=name)
                assert not z.grad[:, sorted(masked)].any()


@pytest.mark.parametrize("temperature", [*TEMPERATURES[:4]])
def test_a_student_that_rules_out_what_its_teacher_holds_possible_loses_without_end(temperature):
    student, teacher = random_logits(2, 4, seed=1), random_logits(2, 4, seed=2)
    student[0, 2] = -math.inf
    student.requires_grad_()
    loss = vf.kd_loss(student, teacher, temperature)
    assert float(loss[0]) == math.inf
    assert math.isfinite(loss[1])
    loss.sum().backward()
    assert not bool(student.grad[0].isfinite().any())
    assert bool(student.grad[1].isfinite().all())
    certain = teacher.clone()
    certain[0, 2] = -math.inf  # the other way round costs no more than the mass that the student wastes
    assert math.isfinite(vf.kd_loss(student.detach().nan_to_num(neginf=0.0), certain, temperature)[0])


def test_a_label_of_weight_0_asks_for_nothing():
    z = torch.tensor([[2.0, 0.0, -math.inf]], requires_grad=True)
    loss = vf.mixed_cross_entropy(z, torch.tensor([0]), torch.tensor([2]), 1.0)
    loss.sum().backward()
    assert float(loss) == pytest.approx(math.log1p(math.exp(-2)))
    assert bool(z.grad.isfinite().all())
    assert float(vf.mixed_cross_entropy(z, torch.tensor([0]), torch.tensor([2]), 0.9)) == math.inf
    assert float(vf.negative_log_likelihood(z, torch.tensor([2]))) == math.inf


TAKE_LABELS = {
    "negative_log_likelihood": vf.negative_log_likelihood,
    "brier_score": lambda z, y: vf.brier_score(z.softmax(-1), y),
    "expected_calibration_error": lambda z, y: vf.expected_calibration_error(z.softmax(-1), y),
    "equal_mass_calibration_error": lambda z, y: vf.equal_mass_calibration_error(z.softmax(-1), y),
    "fit_temperature": vf.fit_temperature,
    "mixed_cross_entropy": lambda z, y: vf.mixed_cross_entropy(z, y, torch.zeros(3, dtype=torch.int64), 0.5),
    "mixed_cross_entropy, partners": lambda z, y: vf.mixed_cross_entropy(z, torch.zeros(3, dtype=torch.int64), y, 0.5),
}


@pytest.mark.parametrize("name", TAKE_LABELS)
@PROPERTY
@given(
    label=st.one_of(st.integers(4, 2**62), st.integers(-(2**62), -1), st.sampled_from([-1, -100, 4])),
    row=st.integers(0, 2),
)
def test_a_label_outside_the_classes_is_refused(name, label, row):
    labels = torch.tensor([0, 3, 1])
    TAKE_LABELS[name](random_logits(3, 4), labels)
    labels[row] = label
    with pytest.raises(ValueError, match="leave out what has no label"):
        TAKE_LABELS[name](random_logits(3, 4), labels)


@pytest.mark.parametrize("name", TAKE_LABELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool, torch.complex64])
def test_labels_that_are_no_whole_numbers_are_refused(name, dtype):
    with pytest.raises(ValueError, match="labels are whole numbers"):
        TAKE_LABELS[name](random_logits(3, 4), torch.tensor([0, 1, 1]).to(dtype))


@pytest.mark.parametrize("name", TAKE_LABELS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_of_any_integer_type_are_the_same(name, dtype):
    labels = torch.tensor([0, 3, 1])
    first, second = (TAKE_LABELS[name](random_logits(3, 4), y) for y in (labels, labels.to(dtype)))
    assert first is second if first is None else torch.equal(torch.as_tensor(first), torch.as_tensor(second))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@PROPERTY
@given(seed=st.integers(0, 2**16), rows=st.integers(1, 30), classes=st.integers(2, 1000), scale=st.floats(0.1, 30))
def test_probabilities_are_told_from_logits(dtype, seed, rows, classes, scale):
    z = random_logits(rows, classes, seed=seed, scale=scale)
    p = z.softmax(-1).to(dtype)
    with pytest.raises(ValueError, match="these are probabilities"):
        vf.refuse_probabilities(p)
    vf.refuse_probabilities(p.log(), z + 40)
    with pytest.raises(ValueError, match="these are probabilities"):
        vf.fit_temperature(p, torch.zeros(rows, dtype=torch.int64))
