"""The losses beside eq. 2: by property, by a naive float64 form, and against the published formulas as their authors compute them."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drawn_logits import PROPERTY, TEMPERATURES, logits, random_logits
from hypothesis import given
from hypothesis import strategies as st

from vicinal import functional as vf

LABELS, PARTNERS = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([1, 1, 0, 4, 2, 3])
LAM = torch.tensor([0.0, 0.1, 0.5, 0.7, 0.9, 1.0], dtype=torch.float64)
SIGMAS = ["sigma", "0.5sigma", "2sigma", "4sigma"]
BY = ["label", "correct", "entropy", "relative"]
STUDENT, TEACHER = random_logits(6, 5, seed=1), random_logits(6, 5, seed=2)


def at(z, temperature):
    """float64 probabilities at a temperature, and the factor of the loss: naive."""
    multiple = float(temperature.removesuffix("sigma") or 1) if isinstance(temperature, str) else None
    divisor = temperature if multiple is None else multiple * z.std(-1, correction=0, keepdim=True)
    return (z / divisor).exp() / (z / divisor).exp().sum(-1, keepdim=True), (multiple or temperature) ** 2


def draw_labels(data, batch, classes):
    return torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=batch, max_size=batch)))


def of_all(z, teacher, labels, partners, lam, temperature=3.0):
    """Every loss, by name: (B,)."""
    return {
        "dkd": vf.decoupled_kd_loss(z, teacher, labels, partners, lam, temperature),
        "soft": vf.soft_cross_entropy(z, teacher, temperature),
        "soft at 1": vf.soft_cross_entropy(z, teacher, temperature, 1.0),
        "hard": vf.hard_cross_entropy(z, labels, partners, lam),
    } | {f"by {by}": vf.confidence_kd_loss(z, teacher, labels, partners, lam, temperature, by) for by in BY}


# --- logit standardisation ----------------------------------------------------------------------------------------------


def standardised_kd(student, teacher, temperature):
    """Sun et al. 2024 as their code has it: z-scores by the sample deviation, T²."""

    def scored(z):
        return (z - z.mean(-1, keepdim=True)) / (1e-7 + z.std(-1, keepdim=True))

    log_q, p = (scored(student) / temperature).log_softmax(-1), (scored(teacher) / temperature).softmax(-1)
    return F.kl_div(log_q, p, reduction="none").sum(-1) * temperature**2


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("classes", [3, 10, 100])
def test_standardised_logits_agree_with_the_authors_code(temperature, classes):
    """Theirs divides by the sample deviation, √(K/(K−1)) times the population one: another T, and T² of it."""
    student, teacher = (random_logits(50, classes, seed=seed) for seed in (1, 2))
    bessel = math.sqrt(classes / (classes - 1))
    own = vf.kd_loss(student, teacher, f"{temperature * bessel!r}sigma") / bessel**2
    torch.testing.assert_close(own, standardised_kd(student, teacher, temperature), rtol=1e-5, atol=1e-7)


@PROPERTY
@given(z=logits(count=2), multiple=st.floats(0.1, 20), scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_standardised_logits_have_no_scale_and_no_shift(z, multiple, scale, shift):
    student, teacher = (t + torch.arange(t.shape[-1]) for t in z)
    temperature = f"{multiple:.6f}sigma"
    moved = vf.kd_loss(scale * student + shift, teacher, temperature)
    torch.testing.assert_close(moved, vf.kd_loss(student, teacher, temperature), rtol=1e-5, atol=1e-7)


def test_one_sigma_is_sigma_and_a_multiple_has_its_t_squared():
    for loss in (vf.kd_loss, lambda s, t, at: vf.linear_target_loss(s, t, t.flip(0), 0.3, at)):
        assert torch.equal(loss(STUDENT, TEACHER, "1sigma"), loss(STUDENT, TEACHER, "sigma"))
    (p, factor), (q, _) = at(TEACHER, "3sigma"), at(STUDENT, "3sigma")
    assert factor == 9
    torch.testing.assert_close(vf.kd_loss(STUDENT, TEACHER, "3sigma"), 9 * (p * (p / q).log()).sum(-1))
    mixture = 0.3 * p + 0.7 * at(TEACHER.flip(0), "3sigma")[0]
    expected = 9 * (mixture * (mixture / q).log()).sum(-1)
    torch.testing.assert_close(vf.linear_target_loss(STUDENT, TEACHER, TEACHER.flip(0), 0.3, "3sigma"), expected)


@pytest.mark.parametrize("temperature", ["2 sigma", "-1sigma", "0sigma", "twosigma", "2teacher_sigma", "sigma2"])
def test_other_multiples_are_an_error(temperature):
    for loss in (vf.kd_loss, vf.soft_cross_entropy):
        with pytest.raises(ValueError, match="a temperature is a positive number"):
            loss(STUDENT, TEACHER, temperature)


# --- decoupled KD -------------------------------------------------------------------------------------------------------


def published_dkd(student, teacher, target, alpha, beta, temperature):
    """Zhao et al. 2022 as their code has it, for each sample: masked probabilities, and 1000 taken off the target's logit."""
    mask = F.one_hot(target, student.shape[-1]).to(student)

    def binary(z):
        p = (z / temperature).softmax(1)
        return torch.stack([(p * mask).sum(1), (p * (1 - mask)).sum(1)], 1)

    tckd = F.kl_div(binary(student).log(), binary(teacher), reduction="none").sum(1)
    others = (teacher / temperature - 1000.0 * mask).softmax(1)
    log_others = (student / temperature - 1000.0 * mask).log_softmax(1)
    nckd = F.kl_div(log_others, others, reduction="none").sum(1)
    return temperature**2 * (alpha * tckd + beta * nckd)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 8.0), (1.0, 0.0), (0.0, 2.0), (0.5, 6.0)])
def test_decoupled_kd_of_clean_images_agrees_with_the_authors_code(temperature, alpha, beta):
    student, teacher = (random_logits(100, 20, seed=seed) for seed in (3, 4))
    labels = torch.arange(100) % 20
    own = vf.decoupled_kd_loss(student, teacher, labels, labels, 1.0, temperature, alpha, beta)
    torch.testing.assert_close(own, published_dkd(student, teacher, labels, alpha, beta, temperature))


def test_decoupled_kd_of_mixed_images_is_the_shares_mean_over_both_targets():
    own, partner = (published_dkd(STUDENT, TEACHER, labels, 1, 8, 4) for labels in (LABELS, PARTNERS))
    mixed = vf.decoupled_kd_loss(STUDENT, TEACHER, LABELS, PARTNERS, LAM, 4.0)
    torch.testing.assert_close(mixed, LAM * own + (1 - LAM) * partner)
    of_one_class = vf.decoupled_kd_loss(STUDENT, TEACHER, LABELS, LABELS, LAM, 4.0)
    torch.testing.assert_close(of_one_class, own)


@PROPERTY
@given(z=logits(count=2, min_classes=3), data=st.data(), temperature=st.sampled_from([*TEMPERATURES, "2sigma", 300.0]))
def test_kd_is_its_two_parts(z, data, temperature):
    """Zhao et al. 2022, eq. 6: KD = TCKD + (1 − p_t) NCKD, at every kind of temperature."""
    student, teacher = z
    labels = draw_labels(data, *student.shape)
    target, others = vf.decoupled_kd_parts(student, teacher, labels, temperature)
    p = vf.at_temperature(teacher, student, temperature)[0].softmax(-1).gather(-1, labels[:, None]).squeeze(-1)
    whole = vf.kd_loss(student, teacher, temperature)
    torch.testing.assert_close(target + (1 - p) * others, whole, rtol=1e-5, atol=1e-5 * (1 + float(whole.max())))


def test_two_classes_have_no_others():
    student, teacher = random_logits(6, 2, seed=1), random_logits(6, 2, seed=2)
    target, others = vf.decoupled_kd_parts(student, teacher, LABELS % 2, 2.0)
    torch.testing.assert_close(target, vf.kd_loss(student, teacher, 2.0))
    assert float(others.abs().max()) == 0


def test_a_sure_teacher_leaves_finite_parts():
    """A gap of 100 nats: 1 − p_t rounds to 0 in float32, and log(1 − p_t) does not."""
    sure = torch.tensor([[100.0, 1.0, 0.0]])
    student = torch.tensor([[-100.0, 0.0, 1.0]], requires_grad=True)
    target, others = vf.decoupled_kd_parts(student, sure, torch.tensor([0]), 1.0)
    assert float(target.detach()) == pytest.approx(100 + math.log(1 + math.e), rel=1e-5)
    assert float(others.detach()) == pytest.approx(
        float(vf.kl_divergence(sure[:, 1:], student.detach()[:, 1:])), rel=1e-5
    )
    (target + others).sum().backward()
    assert bool(student.grad.isfinite().all())


# --- soft and hard cross-entropy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_soft_cross_entropy_agrees_with_timm_and_torch(temperature):
    oracle = pytest.importorskip("timm.loss").SoftTargetCrossEntropy()
    softened = (TEACHER / temperature).softmax(-1)
    plain = vf.soft_cross_entropy(STUDENT, TEACHER, temperature, 1.0)
    torch.testing.assert_close(plain.mean(), oracle(STUDENT, softened))
    both = vf.soft_cross_entropy(STUDENT, TEACHER, temperature)
    torch.testing.assert_close(
        both, temperature**2 * F.cross_entropy(STUDENT / temperature, softened, reduction="none")
    )


@pytest.mark.parametrize("temperature", [*TEMPERATURES, *SIGMAS, 1e4])
def test_soft_cross_entropy_is_kd_and_the_teachers_entropy(temperature):
    student = STUDENT.clone().requires_grad_()
    soft, kd = vf.soft_cross_entropy(student, TEACHER, temperature), vf.kd_loss(student, TEACHER, temperature)
    target = vf.at_temperature(TEACHER, TEACHER, temperature)[0]
    entropy = vf.temperature_factor(TEACHER, temperature) * vf.prediction_entropy(target)
    torch.testing.assert_close((soft - kd).detach(), entropy, rtol=1e-6, atol=1e-6)
    (own,), (usual,) = (torch.autograd.grad(loss.sum(), student) for loss in (soft, kd))
    torch.testing.assert_close(own, usual, rtol=1e-6, atol=1e-8)


def test_hard_cross_entropy_takes_one_label():
    larger = torch.where(LAM >= 0.5, LABELS, PARTNERS)
    for label, expected in (("larger", larger), ("own", LABELS)):
        own = vf.hard_cross_entropy(STUDENT, LABELS, PARTNERS, LAM, label)
        torch.testing.assert_close(own, F.cross_entropy(STUDENT, expected, reduction="none"))
    smoothed = vf.hard_cross_entropy(STUDENT, LABELS, PARTNERS, LAM, label_smoothing=0.1)
    torch.testing.assert_close(smoothed, F.cross_entropy(STUDENT, larger, reduction="none", label_smoothing=0.1))
    of_swap = vf.hard_cross_entropy(STUDENT, PARTNERS, LABELS, 1 - LAM)
    not_tied = LAM != 0.5
    torch.testing.assert_close(of_swap[not_tied], vf.hard_cross_entropy(STUDENT, LABELS, PARTNERS, LAM)[not_tied])


# --- weighted by confidence ---------------------------------------------------------------------------------------------


def published_wsl(student, teacher, target, temperature):
    """Zhou et al. 2021 as their code has it: soft cross-entropy weighted by 1 − exp(−CE_s/CE_t), T²."""
    soft = -((teacher / temperature).softmax(1) * (student / temperature).log_softmax(1)).sum(1, keepdim=True)
    one_hot = F.one_hot(target, student.shape[1]).to(student)
    of_student, of_teacher = (-(one_hot * z.log_softmax(1)).sum(1, keepdim=True) for z in (student, teacher))
    weight = 1 - torch.exp(-torch.clamp(of_student / (of_teacher + 1e-7), min=0))
    return temperature**2 * (weight * soft).squeeze(1), weight.squeeze(1)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_relative_confidence_agrees_with_the_authors_code(temperature):
    student, teacher = (random_logits(50, 10, seed=seed) for seed in (5, 6))
    labels = torch.arange(50) % 10
    theirs, weight = published_wsl(student.requires_grad_(), teacher, labels, temperature)
    given = (student, teacher, labels, labels, 1.0)
    torch.testing.assert_close(vf.answer_confidence(*given, "relative"), weight.detach(), rtol=1e-5, atol=1e-6)
    own = vf.confidence_kd_loss(*given, temperature, "relative")
    # Theirs weighs the cross-entropy, ours the divergence: what lies between them has no gradient where the weight has none.
    (gradient,) = torch.autograd.grad(own.sum(), student)
    detached = vf.soft_cross_entropy(student, teacher, temperature) * weight.detach()
    torch.testing.assert_close(detached, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, torch.autograd.grad(detached.sum(), student)[0], rtol=1e-5, atol=1e-6)


def test_confidence_by_its_formulas():
    p, teacher = TEACHER.softmax(-1), TEACHER
    shares = LAM[:, None] * F.one_hot(LABELS, 5) + (1 - LAM[:, None]) * F.one_hot(PARTNERS, 5)
    expected = {
        "label": (shares * p).sum(-1),
        "correct": (shares * F.one_hot(teacher.argmax(-1), 5)).sum(-1),
        "entropy": 1 + (p * p.log()).sum(-1) / math.log(5),
        "relative": 1 - (-(shares * STUDENT.log_softmax(-1)).sum(-1) / (shares * p.log()).sum(-1)).exp(),
    }
    for by in BY:
        own = vf.answer_confidence(STUDENT, teacher, LABELS, PARTNERS, LAM, by)
        torch.testing.assert_close(own, expected[by].double())
        kd = vf.confidence_kd_loss(STUDENT, teacher, LABELS, PARTNERS, LAM, 2.0, by)
        torch.testing.assert_close(kd, own * vf.kd_loss(STUDENT, teacher, 2.0))


@PROPERTY
@given(z=logits(count=2, scale=80.0), data=st.data(), lam=st.floats(0, 1))
def test_confidence_is_a_share(z, data, lam):
    labels, partners = (draw_labels(data, *z[0].shape) for _ in "ij")
    for by in BY:
        weight = vf.answer_confidence(*(t.float() for t in z), labels, partners, lam, by)
        assert bool(((weight >= 0) & (weight <= 1 + 1e-6)).all()), by


def test_confidence_of_a_perfect_student_is_no_nan():
    sure = torch.tensor([[200.0, 0.0]])
    for student in (sure, -sure):
        weight = vf.answer_confidence(student, sure, torch.tensor([0]), torch.tensor([0]), 1.0, "relative")
        assert float(weight) == (0.0 if student is sure else 1.0)


# --- features -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_feature_regression_is_the_mean_squared_error_of_each_sample(dtype):
    """Of the batch FitNet's loss as mdistiller and torchdistill compute it: F.mse_loss over all."""
    student, teacher = (random_logits(7, 12, seed=seed).to(dtype) for seed in (1, 2))
    ours, theirs = student.clone().requires_grad_(), student.clone().requires_grad_()
    loss, oracle = vf.feature_regression_loss(ours, teacher.requires_grad_()), F.mse_loss(theirs, teacher.detach())
    assert loss.shape == (7,)
    torch.testing.assert_close(loss.mean(), oracle)
    loss.mean().backward()
    oracle.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert teacher.grad is None
    torch.testing.assert_close(12 / 2 * loss, ((student - teacher) ** 2).sum(-1) / 2)  # Romero et al., eq. 3
    assert float(vf.feature_regression_loss(teacher, teacher).detach().abs().max()) == 0
    order = torch.arange(12).flip(0)
    torch.testing.assert_close(vf.feature_regression_loss(student[:, order], teacher[:, order]), loss)
    low = vf.feature_regression_loss(student.bfloat16(), teacher.bfloat16())
    assert low.dtype == torch.float32
    with pytest.raises(ValueError, match="shapes differ"):
        vf.feature_regression_loss(student[:, :5], teacher)


# --- all ------------------------------------------------------------------------------------------------------------------


@PROPERTY
@given(z=logits(count=2), data=st.data(), lam=st.floats(0, 1))
def test_classes_may_be_renumbered(z, data, lam):
    labels, partners = (draw_labels(data, *z[0].shape) for _ in "ij")
    order = torch.tensor(data.draw(st.permutations(range(z[0].shape[-1]))))
    place = order.argsort()
    usual = of_all(*z, labels, partners, lam)
    renumbered = of_all(*(t[:, order] for t in z), place[labels], place[partners], lam)
    ties = (z[1] > z[1].amax(-1, keepdim=True) - 1e-6).sum(-1) > 1  # whose top class is the first of several
    for name, loss in usual.items():
        keep = ~ties if name == "by correct" else slice(None)
        torch.testing.assert_close(renumbered[name][keep], loss[keep], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("temperature", [*TEMPERATURES, *SIGMAS])
def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn(temperature):
    student = TEACHER.clone().requires_grad_()
    losses = {
        "dkd": vf.decoupled_kd_loss(student, TEACHER, LABELS, PARTNERS, LAM, temperature),
        **{by: vf.confidence_kd_loss(student, TEACHER, LABELS, PARTNERS, LAM, temperature, by) for by in BY},
        "kd": vf.kd_loss(student, TEACHER, temperature),
    }
    for loss in losses.values():
        np.testing.assert_allclose(loss.detach().numpy(), 0, atol=1e-12)
        np.testing.assert_allclose(torch.autograd.grad(loss.sum(), student)[0].numpy(), 0, atol=1e-9)


def naive(name, student, teacher, labels, partners, lam, temperature):
    """Each loss from probabilities, in float64, as the formula says."""
    (p, factor), (q, _) = at(teacher, temperature), at(student, temperature)
    shares = torch.stack([lam, 1 - lam], -1)
    both = torch.stack([labels, partners], -1)
    if name == "dkd":
        total = 0
        for share, target in zip(shares.unbind(-1), both.unbind(-1), strict=True):
            p_t, q_t = (x.gather(-1, target[:, None]) for x in (p, q))
            rest = torch.ones_like(p).scatter(-1, target[:, None], 0)
            tckd = p_t * (p_t / q_t).log() + (1 - p_t) * ((1 - p_t) / (1 - q_t)).log()
            ratio = (p / (1 - p_t)) / (q / (1 - q_t))
            nckd = (rest * p / (1 - p_t) * ratio.log()).sum(-1)
            total = total + share * (tckd.squeeze(-1) + 8 * nckd)
        return factor * total
    if name == "soft":
        return -factor * (p * q.log()).sum(-1)
    if name == "hard":
        chosen = torch.where(lam >= 0.5, labels, partners)
        return -at(student, 1.0)[0].gather(-1, chosen[:, None]).squeeze(-1).log()
    weight = (shares * at(teacher, 1.0)[0].gather(-1, both)).sum(-1)
    return weight * factor * (p * (p / q).log()).sum(-1)


@pytest.mark.parametrize("temperature", [0.5, 2.0, 4.0, "sigma", "2sigma"])
@pytest.mark.parametrize("name", ["dkd", "soft", "hard", "by label"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_those_of_the_naive_form(name, temperature, dtype):
    student = STUDENT.to(dtype).clone().requires_grad_()
    loss = of_all(student, TEACHER.to(dtype), LABELS, PARTNERS, LAM.to(dtype), temperature)[name]
    assert loss.dtype == dtype
    loss.sum().backward()
    wide = STUDENT.clone().requires_grad_()
    expected = naive(name, wide, TEACHER, LABELS, PARTNERS, LAM, temperature)
    expected.sum().backward()
    near = {"rtol": 2e-4, "atol": 2e-5} if dtype == torch.float32 else {"rtol": 1e-8, "atol": 1e-9}
    torch.testing.assert_close(loss.detach().double(), expected.detach(), **near)
    torch.testing.assert_close(student.grad.double(), wide.grad, **near)


@pytest.mark.parametrize("temperature", [33.0, 1e3, 1e5])
def test_hot_answers_keep_their_digits(temperature):
    given = LABELS, PARTNERS, LAM.float(), temperature
    narrow, wide = (
        vf.decoupled_kd_loss(s, t, *given) for s, t in ((STUDENT.float(), TEACHER.float()), (STUDENT, TEACHER))
    )
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), wide, rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_and_autocast_leave_float32(dtype):
    low = STUDENT.to(dtype), TEACHER.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        inside = of_all(*low, LABELS, PARTNERS, LAM.float())
    for name, loss in of_all(*(z.float() for z in low), LABELS, PARTNERS, LAM.float()).items():
        assert inside[name].dtype == torch.float32
        torch.testing.assert_close(inside[name], loss)


@pytest.mark.parametrize("name", ["dkd", "soft", "soft at 1", "hard", "by label", "by relative", "by entropy"])
def test_what_is_not_finite_is_loud(name):
    for bad in (torch.nan, torch.inf):
        student = STUDENT.clone()
        student[0, 0] = bad
        student.requires_grad_()
        loss = of_all(student, TEACHER, LABELS, PARTNERS, LAM)[name]
        loss.sum().backward()
        assert not bool(loss[0].isfinite())
        assert not bool(student.grad[0].isfinite().all())
        assert bool(loss[1:].isfinite().all())
    assert name.startswith("hard") or not bool(
        of_all(STUDENT, torch.full_like(TEACHER, torch.nan), LABELS, PARTNERS, LAM)[name].isfinite().any()
    )
