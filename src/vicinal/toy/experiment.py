"""Decision boundaries in two dimensions (figure 2): ERM, mixup, KD and KD + mixup on a toy that can be looked at.

Two interleaved half circles of few, noisy points; small fully connected networks; the package's own mixing and losses. What the
picture shows is measured as well, on fresh points. The distilled students learn from the teacher alone (α = 0), as the paper's
do on CIFAR; one more learns from mixed labels and teacher alike (α = β), where both kinds of smoothing meet.

Shapes: N points, K = 2 classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vicinal.config import ARMS, Objective
from vicinal.distillation import objective_loss
from vicinal.functional import confidence, expected_calibration_error, mix, nonlinearity_residual

AMBIVALENT = 0.75  # a largest probability below this is called ambivalent
TITLES = {
    "teacher": "Teacher: ERM, wider, few steps",
    "erm": "ERM",
    "mixup": "Mixup",
    "kd": "KD",
    "kd_mixup": "KD + mixup, α = 0",
    "kd_mixup_labels": "KD + mixup, α = β",
}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ToySpec:
    """The toy's values, kept in toy.json."""

    seed: int = 0
    points: int = 60  # training points, half of each class
    noise: float = 0.28  # standard deviation; the half circles have radius 1
    fresh_points: int = 20_000
    pairs: int = 4_000  # of training points, for NL
    teacher_width: int = 128
    student_width: int = 16
    teacher_steps: int = 60
    student_steps: int = 1500
    learning_rate: float = 0.01
    temperature: float = 2.0
    grid: int = 240  # points of the field along each side


def half_circles(count: int, noise: float, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(N, 2) float32 points of two interleaved half circles with normal noise, and their (N,) classes, half of each."""
    labels = np.arange(count) % 2
    angle = generator.uniform(0, np.pi, count)
    x = np.where(labels == 0, np.cos(angle), 1 - np.cos(angle))
    y = np.where(labels == 0, np.sin(angle), 0.5 - np.sin(angle))
    points = np.column_stack([x, y]) + noise * generator.normal(size=(count, 2))
    return torch.from_numpy(points).float(), torch.from_numpy(labels)


def network(width: int, seed: int) -> nn.Module:
    """A network of two hidden layers, 2 inputs and 2 logits; its first weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))


def train(
    model: nn.Module,
    objective: Objective,
    points: Tensor,
    labels: Tensor,
    teacher: nn.Module | None,
    steps: int,
    learning_rate: float,
    seed: int,
) -> nn.Module:
    """Train on all points at once with an objective's loss and mixing; one partner and one λ for each point and step."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 1])))
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    mixes = objective.mixing.distribution != "none"
    for _ in range(steps):
        partner = torch.from_numpy(generator.permutation(len(points)))
        lam = torch.from_numpy(generator.uniform(size=len(points))).float() if mixes else torch.ones(len(points))
        mixed = mix(points, points[partner], lam)
        with torch.no_grad():
            answer = teacher(mixed) if teacher is not None and objective.uses_teacher else None
        loss = objective_loss(objective, model(mixed), labels, labels[partner], lam, answer)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@dataclass(frozen=True)
class Field:
    """One network: its probability of class 1 over the picture, and its metrics."""

    name: str
    probability: Array  # (grid, grid), rows from below
    metrics: dict[str, float]  # ambivalent_share, accuracy, confidence, ece: shares; nonlinearity_at_half: nats


@dataclass(frozen=True)
class Toy:
    """All that the figure shows."""

    spec: ToySpec
    points: Array  # (N, 2)
    labels: NDArray[np.int64]  # (N,)
    extent: tuple[float, float, float, float]  # left, right, bottom, top
    fields: tuple[Field, ...]
    seconds: float


@dataclass(frozen=True)
class _Drawn:
    """Everything that is drawn at random but the weights: points to train and to test on, and pairs of training points."""

    points: Tensor
    labels: Tensor
    fresh: Tensor
    fresh_labels: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, spec: ToySpec) -> _Drawn:
        draws = np.random.Generator(np.random.Philox(np.random.SeedSequence([spec.seed, 0])))
        points, labels = half_circles(spec.points, spec.noise, draws)
        fresh, fresh_labels = half_circles(spec.fresh_points, spec.noise, draws)
        first = torch.from_numpy(draws.integers(spec.points, size=spec.pairs))
        second = (first + torch.from_numpy(draws.integers(1, spec.points, size=spec.pairs))) % spec.points
        return cls(points, labels, fresh, fresh_labels, first, second)


def run_toy(spec: ToySpec, advance: Callable[[str], None] = lambda _: None) -> Toy:
    """Train the teacher and five students and measure them.

    Args:
        advance: called with the title of each network before it trains.
    """
    started = time.perf_counter()
    drawn = _Drawn.of(spec)
    points = drawn.points.numpy().astype(np.float64)
    (left, bottom), (right, top) = points.min(0) - 0.35, points.max(0) + 0.35
    across, up = np.meshgrid(np.linspace(left, right, spec.grid), np.linspace(bottom, top, spec.grid))
    grid = torch.from_numpy(np.column_stack([across.ravel(), up.ravel()])).float()
    fields = tuple(_field(name, model, grid, drawn, spec) for name, model in _networks(spec, drawn, advance).items())
    extent = (float(left), float(right), float(bottom), float(top))
    return Toy(spec, points, drawn.labels.numpy(), extent, fields, time.perf_counter() - started)


def _networks(spec: ToySpec, drawn: _Drawn, advance: Callable[[str], None]) -> dict[str, nn.Module]:
    """The trained teacher and students, by the keys of `TITLES`."""
    advance(TITLES["teacher"])
    teacher = train(
        network(spec.teacher_width, spec.seed + 1), ARMS["baseline"], drawn.points, drawn.labels, None,
        spec.teacher_steps, spec.learning_rate, spec.seed,
    )  # fmt: skip
    networks = {"teacher": teacher}
    temperature = {"temperature": spec.temperature}
    for name, objective in {
        "erm": ARMS["baseline"],
        "mixup": ARMS["mixup"],
        "kd": ARMS["kd"].model_copy(update=temperature),
        "kd_mixup": ARMS["kd_mixup"].model_copy(update=temperature),
        "kd_mixup_labels": ARMS["kd_mixup"].model_copy(update={**temperature, "alpha": 1.0}),
    }.items():
        advance(TITLES[name])
        # One seed for all: the students start from the same weights and see the same partners.
        networks[name] = train(
            network(spec.student_width, spec.seed), objective, drawn.points, drawn.labels, teacher,
            spec.student_steps, spec.learning_rate, spec.seed,
        )  # fmt: skip
    return networks


def _field(name: str, model: nn.Module, grid: Tensor, drawn: _Drawn, spec: ToySpec) -> Field:
    """A trained network over the picture, on fresh points and between pairs of training points."""
    with torch.no_grad():
        field, fresh = model(grid).double().softmax(-1), model(drawn.fresh).double().softmax(-1)
        i, j = drawn.points[drawn.first], drawn.points[drawn.second]
        residual = nonlinearity_residual(model(i).double(), model(j).double(), model(mix(i, j, 0.5)).double(), 0.5)
    metrics = {
        "ambivalent_share": float((confidence(field) < AMBIVALENT).double().mean()),
        "accuracy": float((fresh.argmax(-1) == drawn.fresh_labels).double().mean()),
        "confidence": float(confidence(fresh).mean()),
        "ece": float(expected_calibration_error(fresh, drawn.fresh_labels)),
        "nonlinearity_at_half": float(residual.mean()),
    }
    return Field(name, field[:, 1].reshape(spec.grid, spec.grid).numpy(), metrics)
