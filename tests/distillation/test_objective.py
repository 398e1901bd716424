import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from vicinal.config import ARMS, Objective
from vicinal.distillation import objective_loss
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
