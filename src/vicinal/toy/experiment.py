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

AMBIVALENT = 0.75  # below this largest probability a network does not commit itself
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
    """One network's answers: the probability of class 1 over the picture, and its figures."""

    name: str
    probability: Array  # (grid, grid), rows from below
    figures: dict[str, float]


@dataclass(frozen=True)
class Toy:
    """All that the figure shows."""

    spec: ToySpec
    points: Array
    labels: NDArray[np.int64]
    extent: tuple[float, float, float, float]  # left, right, bottom, top
    fields: tuple[Field, ...]
    seconds: float


def run_toy(spec: ToySpec, advance: Callable[[str], None] = lambda _: None) -> Toy:
    """Train the five networks and ask them. `advance` is told the title of each network before it trains."""
    started = time.perf_counter()
    draws = np.random.Generator(np.random.Philox(np.random.SeedSequence([spec.seed, 0])))
    points, labels = half_circles(spec.points, spec.noise, draws)
    fresh, fresh_labels = half_circles(spec.fresh_points, spec.noise, draws)
    first = torch.from_numpy(draws.integers(spec.points, size=spec.pairs))
    second = (first + torch.from_numpy(draws.integers(1, spec.points, size=spec.pairs))) % spec.points
    middle = points.numpy().astype(np.float64)
    (left, bottom), (right, top) = middle.min(0) - 0.35, middle.max(0) + 0.35
    across, up = np.meshgrid(np.linspace(left, right, spec.grid), np.linspace(bottom, top, spec.grid))
    grid = torch.from_numpy(np.column_stack([across.ravel(), up.ravel()])).float()

    advance(TITLES["teacher"])
    teacher = train(
        network(spec.teacher_width, spec.seed + 1), ARMS["baseline"], points, labels, None,
        spec.teacher_steps, spec.learning_rate, spec.seed,
    )  # fmt: skip
    networks = {"teacher": teacher}
    distilled = {"temperature": spec.temperature}
    for name, objective in {
        "erm": ARMS["baseline"],
        "mixup": ARMS["mixup"],
        "kd": ARMS["kd"].model_copy(update=distilled),
        "kd_mixup": ARMS["kd_mixup"].model_copy(update=distilled),
        "kd_mixup_labels": ARMS["kd_mixup"].model_copy(update={**distilled, "alpha": 1.0}),
    }.items():
        advance(TITLES[name])
        # One seed for all: the students start from the same weights and see the same partners.
        student = network(spec.student_width, spec.seed)
        networks[name] = train(
            student, objective, points, labels, teacher, spec.student_steps, spec.learning_rate, spec.seed
        )
    fields = []
    for name, model in networks.items():
        with torch.no_grad():
            field, known = model(grid).double().softmax(-1), model(fresh).double().softmax(-1)
            i, j = points[first], points[second]
            residual = nonlinearity_residual(model(i).double(), model(j).double(), model(mix(i, j, 0.5)).double(), 0.5)
        figures = {
            "ambivalent_share": float((confidence(field) < AMBIVALENT).double().mean()),
            "accuracy": float((known.argmax(-1) == fresh_labels).double().mean()),
            "confidence": float(confidence(known).mean()),
            "ece": float(expected_calibration_error(known, fresh_labels)),
            "nonlinearity_at_half": float(residual.mean()),
        }
        fields.append(Field(name, field[:, 1].reshape(spec.grid, spec.grid).numpy(), figures))
    extent = (float(left), float(right), float(bottom), float(top))
    return Toy(spec, middle, labels.numpy(), extent, tuple(fields), time.perf_counter() - started)
