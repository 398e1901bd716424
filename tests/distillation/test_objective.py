"""The training loss: eq. 2 against other implementations, and the terms that it is made of."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from vicinal import functional as vf
from vicinal.config import ARMS, Objective, TermsSpec
from vicinal.distillation import (
    StudentOutputs,
    TeacherAnswers,
    objective_loss,
    objective_needs,
    objective_terms,
    register_term,
    training_loss,
)
from vicinal.distillation.objective import TERMS
from vicinal.errors import UsageError
from vicinal.functional import kd_loss, mixed_cross_entropy

STUDENT, TEACHER = (torch.randn(6, 5, generator=torch.Generator().manual_seed(s)) * 4 for s in (1, 2))
LABELS, PARTNERS = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([1, 1, 0, 4, 2, 3])
LAM = torch.tensor([0.0, 0.1, 0.5, 0.7, 0.9, 1.0])


def loss(objective, student=STUDENT, teacher=TEACHER, lam=LAM):
    return objective_loss(objective, student, LABELS, PARTNERS, lam, teacher)


class Answers(nn.Module):
    """A timm-like model whose logits are stored."""

    def __init__(self, logits):
        super().__init__()
        self.pretrained_cfg = {"mean": (0.5,), "std": (0.5,)}
        self.num_classes, self.in_chans = 5, 1
        self.logits = nn.Parameter(logits.clone())

    def forward(self, _):
        return self.logits


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 1.0), (0.3, 0.7), (1.0, 2.5)])
def test_distillation_agrees_with_timm(temperature, alpha, beta):
    task = pytest.importorskip("timm.task")
    oracle = task.LogitDistillationTask(
        student_model=Answers(STUDENT),
        teacher_model=Answers(TEACHER),
        criterion=nn.CrossEntropyLoss(),
        distill_loss_weight=beta,
        task_loss_weight=alpha,
        temperature=temperature,
        verbose=False,
    )
    student = STUDENT.clone().requires_grad_()
    ours = loss(Objective(alpha=alpha, beta=beta, temperature=temperature), student, lam=1.0)
    theirs = oracle(torch.zeros(6, 1, 2, 2), LABELS)["loss"]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(student.grad, oracle.trainable_module.logits.grad, rtol=1e-4, atol=1e-6)


def test_alpha_0_keeps_t_squared():
    pure = loss(Objective(alpha=0, beta=1, temperature=4.0))
    torch.testing.assert_close(pure, 16 * F.kl_div(*log_probabilities(4.0), reduction="batchmean", log_target=True))


def log_probabilities(temperature):
    return (STUDENT / temperature).log_softmax(-1), (TEACHER / temperature).log_softmax(-1)


def test_mixup_is_the_cross_entropy_of_mixed_labels():
    soft = LAM[:, None] * F.one_hot(LABELS, 5) + (1 - LAM[:, None]) * F.one_hot(PARTNERS, 5)
    torch.testing.assert_close(loss(ARMS["mixup"], teacher=None), F.cross_entropy(STUDENT, soft))
    torch.testing.assert_close(loss(ARMS["baseline"], teacher=None, lam=1.0), F.cross_entropy(STUDENT, LABELS))


@pytest.mark.parametrize("temperature", [0.5, 3.0, "sigma", "teacher_sigma"])
def test_the_objective_is_the_weighted_sum_of_batch_means(temperature):
    whole = loss(Objective(alpha=0.3, beta=0.7, temperature=temperature))
    ce, kd = mixed_cross_entropy(STUDENT, LABELS, PARTNERS, LAM), kd_loss(STUDENT, TEACHER, temperature)
    assert whole.shape == ()
    assert float(whole) == pytest.approx(0.3 * float(ce.mean()) + 0.7 * float(kd.mean()), rel=1e-5)


def test_a_batch_twice_as_long_has_the_same_loss():
    objective = Objective(alpha=0.5, beta=0.5, temperature=2.0)
    twice = objective_loss(
        objective, STUDENT.repeat(2, 1), LABELS.repeat(2), PARTNERS.repeat(2), LAM.repeat(2), TEACHER.repeat(2, 1)
    )
    torch.testing.assert_close(twice, loss(objective))


def test_distillation_needs_the_teachers_answers():
    for arm in ("kd", "kd_mixup"):
        with pytest.raises(ValueError, match="needs the teacher's logits"):
            loss(ARMS[arm], teacher=None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_logits_give_a_float32_loss(dtype):
    objective = Objective(alpha=0.5, beta=0.5, temperature=2.0)
    low = loss(objective, STUDENT.to(dtype), TEACHER.to(dtype))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, loss(objective, STUDENT.to(dtype).float(), TEACHER.to(dtype).float()))


def test_autocast_does_not_lower_the_loss():
    objective = Objective(alpha=0.5, beta=0.5, temperature=2.0)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(objective)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, loss(objective))


def test_the_arms():
    told = {name: (o.alpha, o.beta, o.mixing.mixes, o.uses_teacher) for name, o in ARMS.items()}
    assert told == {
        "baseline": (1, 0, False, False),
        "mixup": (1, 0, True, False),
        "kd": (0, 1, False, True),
        "kd_mixup": (0, 1, True, True),
        "linear_target": (0, 1, True, True),
        "label_smoothing": (1, 0, False, False),
    }


@pytest.mark.parametrize(
    "values", [{"alpha": 0, "beta": 0}, {"alpha": -1}, {"temperature": 0}, {"temperature": True}, {"temperature": "s"}]
)
def test_an_objective_that_teaches_nothing_or_is_wrong_is_an_error(values):
    with pytest.raises(ValidationError):
        Objective(**values)


def test_a_temperature_is_kept_as_given():
    assert Objective(temperature=0.5).temperature == 0.5
    assert Objective(temperature="sigma").temperature == "sigma"


@pytest.mark.parametrize("temperature", [0.7, 2.0, "sigma"])
def test_the_linear_target_is_the_mix_of_two_answers(temperature):
    partner = TEACHER[torch.tensor([3, 0, 1, 5, 2, 4])]
    objective = Objective(alpha=0, beta=1, temperature=temperature, mixing=ARMS["mixup"].mixing, target="linear")

    def scaled(logits):
        return logits / (logits.std(-1, correction=0, keepdim=True) if temperature == "sigma" else temperature)

    weight = LAM[:, None]
    target = weight * scaled(TEACHER).softmax(-1) + (1 - weight) * scaled(partner).softmax(-1)
    divergence = (target * (target.log() - scaled(STUDENT).log_softmax(-1))).sum(-1).mean()
    factor = 1 if temperature == "sigma" else temperature**2
    ours = objective_loss(objective, STUDENT, LABELS, PARTNERS, LAM, TEACHER, partner)
    torch.testing.assert_close(ours, factor * divergence, rtol=1e-4, atol=1e-6)


def test_at_the_ends_the_linear_target_is_plain_distillation():
    linear, plain = (Objective(alpha=0, beta=1, mixing=ARMS["mixup"].mixing, target=t) for t in ("linear", "teacher"))
    other = TEACHER.flip(0)
    for lam, answer in ((1.0, TEACHER), (0.0, other)):
        ours = objective_loss(linear, STUDENT, LABELS, PARTNERS, lam, TEACHER, other)
        torch.testing.assert_close(ours, loss(plain, teacher=answer))


def test_label_smoothing_agrees_with_torch():
    objective = ARMS["label_smoothing"]
    expected = F.cross_entropy(STUDENT, LABELS, label_smoothing=objective.label_smoothing)
    torch.testing.assert_close(loss(objective, teacher=None, lam=1.0), expected)


@pytest.mark.parametrize(
    "values",
    [
        {"target": "linear"},
        {"target": "linear", "alpha": 1, "beta": 0, "mixing": {"distribution": "uniform"}},
        {"target": "linear", "temperature": "teacher_sigma", "mixing": {"distribution": "uniform"}},
        {"label_smoothing": 0.1},
        {"alpha": 1, "label_smoothing": 1.0},
    ],
)
def test_controls_that_mean_nothing_are_refused(values):
    with pytest.raises(ValidationError):
        Objective(**values)


# --- terms ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def registry(monkeypatch):
    """The terms of today, to which a test may add."""
    known = dict(TERMS)
    monkeypatch.setattr("vicinal.distillation.objective.TERMS", known)
    return known


def entropy(student, batch, answers, objective):
    log_p = student.logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)


def with_terms(arm="mixup", **terms):
    return Objective(**{**dict(ARMS[arm]), "terms": terms})


def test_a_registered_term_adds_its_weighted_mean(registry):
    register_term("entropy", entropy)
    plain = loss(ARMS["mixup"], teacher=None)
    expected = plain - 0.3 * entropy(StudentOutputs(STUDENT), None, None, None).mean()
    torch.testing.assert_close(loss(with_terms(entropy=-0.3), teacher=None), expected)
    assert torch.equal(loss(with_terms(entropy=0.0), teacher=None), plain)
    assert torch.equal(loss(with_terms(), teacher=None), plain)


def test_terms_of_today_may_be_added_too(registry):
    both = Objective(alpha=0.3, beta=1, mixing=ARMS["mixup"].mixing)
    torch.testing.assert_close(loss(with_terms("kd_mixup", cross_entropy=0.3)), loss(both))


def test_needs_are_those_of_all_terms(registry):
    register_term("shape", entropy, needs=["features"])
    assert objective_needs(ARMS["mixup"]) == set()
    assert objective_needs(ARMS["kd_mixup"]) == {"mixed_answers"}
    assert objective_needs(ARMS["linear_target"]) == {"clean_answers"}
    assert objective_needs(with_terms("kd_mixup", shape=1, linear_target=0.5)) == {
        "mixed_answers",
        "clean_answers",
        "features",
    }
    assert [weight for weight, _ in objective_terms(with_terms("kd_mixup", shape=0.2))] == [1, 0.2]


def test_a_name_is_registered_once(registry):
    register_term("entropy", entropy)
    register_term("entropy", entropy)  # a module that is imported again
    for name in ("entropy", "kd"):
        with pytest.raises(ValueError, match=f"another loss term named '{name}'"):
            register_term(name, lambda *_: None)


def test_terms_that_cannot_be_are_one_line(registry):
    register_term("agree", entropy, needs=["clean_answers"])
    not_finite = with_terms().model_copy(update={"terms": TermsSpec().model_copy(update={"kd": float("inf")})})
    for objective, words in (
        (with_terms(mine=1), "terms: 'mine' is not known; known ones: cross_entropy, kd, linear_target, .*, agree"),
        (with_terms(agree=1), "'agree' learns from the teacher's answers, so it needs beta above 0"),
        (not_finite, "weight of 'kd' is inf"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            objective_terms(objective)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("arm", ["mixup", "kd_mixup"])
def test_the_mean_may_be_that_of_a_larger_batch(arm):
    """Two unequal shares of a batch, each summed and divided by the whole batch's rows, add up to it."""
    whole = loss(ARMS[arm])
    answers, student = TeacherAnswers(mixed=TEACHER), StudentOutputs(STUDENT)

    def share(rows):
        part = SimpleNamespace(labels=LABELS[rows], partner_labels=PARTNERS[rows], lam=LAM[rows])
        return training_loss(
            ARMS[arm],
            StudentOutputs(student.logits[rows]),
            part,
            TeacherAnswers(mixed=answers.mixed[rows]),
            lambda per_sample: per_sample.sum() / 6,
        )

    torch.testing.assert_close(share(slice(0, 4)) + share(slice(4, 6)), whole)


# --- terms of the literature ------------------------------------------------------------------------------------------

OF_LABELS = LABELS, PARTNERS, LAM


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"dkd": 0.5}, 0.5 * vf.decoupled_kd_loss(STUDENT, TEACHER, *OF_LABELS, 3.0)),
        (
            {"dkd": {"weight": 0.5, "alpha": 2, "beta": 0.3}},
            0.5 * vf.decoupled_kd_loss(STUDENT, TEACHER, *OF_LABELS, 3.0, 2, 0.3),
        ),
        ({"soft_cross_entropy": 2}, 2 * vf.soft_cross_entropy(STUDENT, TEACHER, 3.0)),
        (
            {"soft_cross_entropy": {"weight": 1, "student_temperature": 1}},
            vf.soft_cross_entropy(STUDENT, TEACHER, 3.0, 1.0),
        ),
        ({"hard_cross_entropy": 1}, vf.hard_cross_entropy(STUDENT, *OF_LABELS)),
        ({"hard_cross_entropy": {"weight": 1, "label": "own"}}, vf.hard_cross_entropy(STUDENT, *OF_LABELS, "own")),
        ({"confidence_kd": 1}, vf.confidence_kd_loss(STUDENT, TEACHER, *OF_LABELS, 3.0)),
        (
            {"confidence_kd": {"weight": 1, "by": "entropy"}},
            vf.confidence_kd_loss(STUDENT, TEACHER, *OF_LABELS, 3.0, "entropy"),
        ),
    ],
    ids=str,
)
def test_a_term_takes_its_keys_and_the_arms_temperature(terms, expected):
    """Alone (α and β of eq. 2 at 0), and beside KD."""
    alone = Objective(alpha=0, beta=0, temperature=3.0, mixing=ARMS["mixup"].mixing, terms=terms)
    torch.testing.assert_close(loss(alone), expected.mean())
    beside = Objective(alpha=0, beta=0.7, temperature=3.0, mixing=ARMS["mixup"].mixing, terms=terms)
    torch.testing.assert_close(loss(beside), expected.mean() + 0.7 * kd_loss(STUDENT, TEACHER, 3.0).mean())


def test_label_smoothing_reaches_the_hard_label():
    objective = Objective(beta=0, label_smoothing=0.2, terms={"hard_cross_entropy": 1})
    larger = torch.where(LAM >= 0.5, LABELS, PARTNERS)
    expected = F.cross_entropy(STUDENT, larger, label_smoothing=0.2)
    torch.testing.assert_close(loss(objective, teacher=None), expected)


def test_terms_that_learn_from_a_teacher_bring_it():
    for name in ("dkd", "soft_cross_entropy", "confidence_kd", "kd", "linear_target"):
        objective = Objective(alpha=1, beta=0, mixing=ARMS["mixup"].mixing, terms={name: 1})
        assert objective.uses_teacher
        assert objective_needs(objective) <= {"mixed_answers", "clean_answers"}
        assert objective_needs(objective)
        with pytest.raises(ValueError, match="needs the teacher's logits"):
            loss(objective, teacher=None)
        assert not Objective(alpha=1, beta=0, terms={name: 0}).uses_teacher
    assert not Objective(beta=0, terms={"hard_cross_entropy": 1}).uses_teacher


def test_standardised_logits_by_the_objective():
    objective = Objective(alpha=0.1, beta=9, temperature="2sigma", mixing=ARMS["mixup"].mixing)
    ce, kd = mixed_cross_entropy(STUDENT, *OF_LABELS), kd_loss(STUDENT, TEACHER, "2sigma")
    torch.testing.assert_close(loss(objective), 0.1 * ce.mean() + 9 * kd.mean())
