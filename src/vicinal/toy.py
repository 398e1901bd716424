"""Decision boundaries in two dimensions (figure 2): ERM, mixup, KD and KD + mixup on a toy that can be looked at.

Two interleaved half circles of few, noisy points; small fully connected networks; the package's own mixing and losses. What the
picture shows is measured as well, on fresh points. The distilled students learn from the teacher alone (α = 0), as the paper's
do on CIFAR; one more learns from mixed labels and teacher alike (α = β), where both kinds of smoothing meet.

Shapes: N points, K = 2 classes.
"""

from __future__ import annotations

import io
import platform
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor, nn

from vicinal import __version__
from vicinal.errors import UsageError
from vicinal.functional import confidence, expected_calibration_error, mix, nonlinearity_residual
from vicinal.objectives import ARMS, Objective, objective_loss
from vicinal.report.svg import COLOURS, FONTS
from vicinal.store import STUDY_FILE, write_atomically, write_json

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
            answer = teacher(mixed) if teacher is not None and objective.asks_teacher else None
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


# --- the figure -------------------------------------------------------------------------------------------------------

TEXT = 8.0
CAPTION = "Decision boundaries of ERM, mixup, KD and KD + mixup in two dimensions: the probability of class 1"
POINT_COLOURS = ("arm-2", "arm-4")
FIELD_COLOURS = ("#83b9de", "#fbfaf7", "#eb9f77")  # paler than the points, so that these stand out
EDGE = f"edge of the ambivalent region: largest probability {AMBIVALENT:g}"
DASHES: tuple[float, tuple[float, ...]] = (0, (3, 2))


def draw_figure(toy: Toy) -> Figure:
    """The fields of probability on one colour scale, with the points, the decision line and the ambivalent region."""
    ink, muted = _light("ink"), _light("muted")
    scale = LinearSegmentedColormap.from_list("classes", FIELD_COLOURS)
    panel_w, panel_h, gap, top, margin, foot = 224.0, 176.0, 14.0, 33.0, 10.0, 46.0
    width, height = 2 * margin + 3 * panel_w + 2 * gap, 2 * margin + 2 * (panel_h + top) + gap + foot
    figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
    images = []
    for at, field in enumerate(toy.fields):
        x = margin + (at % 3) * (panel_w + gap)
        y = height - margin - (at // 3) * (panel_h + top + gap)
        figure.text(x / width, (y - 10) / height, TITLES[field.name], fontsize=TEXT + 1.5, fontweight="bold", color=ink)
        figure.text(x / width, (y - 23) / height, _words(field.figures), fontsize=TEXT, color=muted)
        axes = figure.add_axes((x / width, (y - top - panel_h) / height, panel_w / width, panel_h / height))
        images.append(_draw_field(axes, toy, field, scale, ink))
    # The bar and the legend share the foot: the scale under the last column, the marks to its left.
    x = margin + 2 * (panel_w + gap)
    bar = figure.add_axes(((x + 4) / width, 23 / height, (panel_w - 8) / width, 9 / height))
    colours = figure.colorbar(images[0], cax=bar, orientation="horizontal", ticks=[0, 0.25, 0.5, 0.75, 1])
    colours.ax.set_xticklabels(["0", "0.25", "0.5", "0.75", "1"], fontsize=TEXT, color=muted)
    colours.ax.tick_params(length=0, pad=4)
    colours.ax.set_title("probability of class 1", fontsize=TEXT, color=muted, pad=5)
    for edge in (1 - AMBIVALENT, AMBIVALENT):
        colours.ax.axvline(edge, color=ink, linewidth=0.8, linestyle=DASHES)
    colours.ax.axvline(0.5, color=ink, linewidth=1.5)
    colours.outline.set_visible(False)
    marks = [
        Line2D(
            [], [], color=_light(colour), linestyle="none", marker="o", markersize=5, markeredgecolor="white",
            markeredgewidth=0.7, label=f"training point of class {k}",
        )
        for k, colour in enumerate(POINT_COLOURS)
    ]  # fmt: skip
    lines = [
        Line2D([], [], color=ink, linewidth=1.5, label="decision line"),
        Line2D([], [], color=ink, linewidth=0.8, linestyle=DASHES, label=EDGE),
    ]  # fmt: skip
    figure.legend(
        handles=[*marks, *lines], ncols=2, loc="lower left", bbox_to_anchor=(margin / width, 14 / height), frameon=False,
        fontsize=TEXT, labelcolor=ink, handlelength=2.2, labelspacing=0.6, columnspacing=2.5, borderaxespad=0, borderpad=0,
    )  # fmt: skip
    return figure


def _draw_field(axes: Axes, toy: Toy, field: Field, scale: LinearSegmentedColormap, ink: str) -> AxesImage:
    image = axes.imshow(
        field.probability,
        extent=toy.extent,
        origin="lower",
        vmin=0,
        vmax=1,
        cmap=scale,
        aspect="auto",
        interpolation="bilinear",
    )
    lines: dict[str, Any] = {"extent": toy.extent, "origin": "lower", "colors": ink}
    with rc_context({"contour.negative_linestyle": "solid"}):
        for levels, width, style in (([0.5], 1.5, "solid"), ([1 - AMBIVALENT, AMBIVALENT], 0.8, DASHES)):
            if any(field.probability.min() < level < field.probability.max() for level in levels):
                axes.contour(field.probability, levels=levels, linewidths=width, linestyles=[style], **lines)
    for k, colour in enumerate(POINT_COLOURS):
        own = toy.points[toy.labels == k]
        axes.scatter(own[:, 0], own[:, 1], s=19, color=_light(colour), edgecolor="white", linewidth=0.7, zorder=3)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _words(figures: dict[str, float]) -> str:
    return (
        f"accuracy {figures['accuracy']:.3f} · ECE {figures['ece']:.3f} · "
        f"ambivalent {100 * figures['ambivalent_share']:.0f}\u00a0%"
    )


def _light(colour: str) -> str:
    return COLOURS[colour][2]


def _saved(figure: Figure, form: str) -> bytes:
    """The file's bytes, the same every time."""
    out = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {"Software": None}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "figure2"}):
        figure.savefig(out, format=form, dpi=72 if form == "svg" else 160, metadata=metadata)
    if form == "png":
        return out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<!DOCTYPE.*?>", "", out.getvalue().decode(), flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*", f"font-family: {FONTS}", text)
    text = re.sub(r"(<svg [^>]*)>", rf'\1 role="img"><title>{CAPTION}</title>', text, count=1)
    return text.encode()


# --- the folder -------------------------------------------------------------------------------------------------------


def check_toy_folder(folder: Path) -> None:
    """UsageError where the figure cannot go there: a file stands in the way, or a study has the folder. Changes nothing."""
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file; choose a folder with --out")
    if (folder / STUDY_FILE).exists():
        raise UsageError(f"{folder} holds a study; choose another folder with --out")


def write_toy(folder: Path, toy: Toy) -> list[Path]:
    """Write figure2.svg, figure2.png and toy.json into a folder, made where it is missing; their paths in that order.

    Raises UsageError as `check_toy_folder`, VicinalError where the disk is full or the folder cannot be written.
    """
    check_toy_folder(folder)
    figure = draw_figure(toy)
    paths = [folder / name for name in ("figure2.svg", "figure2.png", "toy.json")]
    for path, form in zip(paths, ("svg", "png"), strict=False):
        write_atomically(path, _saved(figure, form))
    write_json(
        paths[2],
        {
            "version": __version__,
            "environment": {"python": platform.python_version(), "torch": torch.__version__},
            "spec": asdict(toy.spec),
            "ambivalent_below": AMBIVALENT,
            "area": dict(zip(("left", "right", "bottom", "top"), toy.extent, strict=True)),
            "networks": {field.name: field.figures for field in toy.fields},
            "seconds": round(toy.seconds, 2),
        },
    )
    return paths
