"""How often intervals of figures over pairs of images hold the truth: two tables for docs/statistics.md.

    python scripts/simulate/pairs.py [--trials N]

First NL, D and the linearity gain of values v_ij = μ + a_i + a_j + ε_ij, with image effects that two networks share in part, on the
pairs that `draw_pairs` draws; beside them the same interval with pairs taken for independent. Then logits, after temperature scaling,
with the temperature fitted on as many validation images as stated; beside them the same interval without the fit's error.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from vicinal.config import MeasuresSpec, VicinitySpec
from vicinal.evaluation import Measured, Predictions, draw_pairs
from vicinal.evaluation.predictions import PairAnswers
from vicinal.evaluation.resampled import SCALED
from vicinal.functional import fit_temperature, kl_divergence, nonlinearity_residual
from vicinal.metrics import PairDesign, interval, lam_grid, resample_counts

RESAMPLES, LEVEL, CLASSES = 1000, 0.95, 5
FIGURES = ("NL", "D", "gain")
# Images, pairs, and how large the images' own effects are beside ε (1).
DESIGNS = [
    (images, pairs, effects)
    for images, pairs in (
        (12, 6), (12, 30), (12, 66), (30, 15), (30, 435), (100, 50), (100, 1000), (400, 200), (400, 1000), (2000, 1000), (2000, 6000),
    )
    for effects in (0.0, 0.5, 2.0)
]  # fmt: skip
VALIDATION = (200, 1000)


def shared_pairs(images: int, pairs: int) -> Tensor:
    """(P, 2) numbers of the images."""
    return torch.stack(draw_pairs(images, VicinitySpec(pairs=pairs)), 1)


def coverage(
    images: int, pairs: int, effects: float, skewed: bool, trials: int, seed: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """The share of trials whose interval holds the truth, by figure: by the images of the pairs, and as if pairs were independent."""
    rng, index = np.random.default_rng(seed), shared_pairs(images, pairs)
    design = PairDesign(index)
    i, j = index.numpy().T

    def draw(size: int) -> np.ndarray:
        return rng.exponential(size=(size, trials)) - 1 if skewed else rng.standard_normal((size, trials))

    a, b, own, e, f, g = draw(images), draw(images), draw(images), draw(len(i)), draw(len(i)), draw(len(i))

    def values(mean: float, of_images: np.ndarray, of_pairs: np.ndarray) -> Tensor:
        return torch.from_numpy(mean + 0.1 * (effects * (of_images[i] + of_images[j]) + of_pairs))

    teacher = values(1.0, a, e)
    figures = {"NL": teacher, "H": values(2.0, 0.6 * a + 0.8 * b, 0.6 * e + 0.8 * f)}
    figures["student"] = values(0.8, 0.8 * a + 0.6 * own, 0.5 * e + 0.87 * g)
    joined = torch.cat(list(figures.values()), 1)
    counts = resample_counts(len(design.numbers), RESAMPLES, 2)
    moved = design.widening(LEVEL) * design.deviations(joined, counts)
    apart = _percentiles(joined)
    mean = joined.mean(0)
    found = []
    for drawn in (mean + moved, apart):
        nl, h, student = drawn.split(trials, 1)
        held = {"NL": (nl, 1.0), "D": (nl / h, 0.5), "gain": (nl - student, 0.2)}
        found.append({name: _share(*of_it) for name, of_it in held.items()})
    return found[0], found[1]


def _percentiles(values: Tensor) -> Tensor:
    """(R, Q) means of resampled pairs."""
    drawn: list[Tensor] = []
    interval(values, lambda means: drawn.append(means) or means, RESAMPLES, LEVEL)
    return drawn[0]


def _share(drawn: Tensor, truth: float) -> float:
    lower, upper = (drawn.quantile(q, 0) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(((lower <= truth) & (truth <= upper)).double().mean())


@dataclass(frozen=True)
class World:
    """A network's logits of images of K classes: sharp ones, more or less right."""

    sharp: float
    right: float

    def images(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(len(labels), CLASSES, generator=generator)
        return self.sharp * (self.right * torch.nn.functional.one_hot(labels, CLASSES) + noise)

    def pairs(self, index: Tensor, images: Tensor, labels: Tensor, generator: torch.Generator) -> PairAnswers:
        i, j = images[index[:, 0]], images[index[:, 1]]
        noise = 0.4 * self.sharp * torch.randn(len(index), CLASSES, generator=generator)
        return PairAnswers(i, j, torch.stack([j, (i + j) / 2 + noise, i], 1), index, labels[index])


TEACHER, STUDENT = World(3.0, 1.6), World(2.0, 1.0)


def networks(images: int, index: Tensor, validation: int, generator: torch.Generator) -> tuple[Measured, Measured]:
    """Teacher and student on the same images."""
    measures = MeasuresSpec.model_validate({"bootstrap_resamples": RESAMPLES, "confidence_level": LEVEL})
    own = torch.randint(CLASSES, (images,), generator=generator)
    chosen = torch.randint(CLASSES, (validation,), generator=generator)
    found = []
    for world in (TEACHER, STUDENT):
        seen = world.images(chosen, generator)
        pairs = world.pairs(index, world.images(own, generator), own, generator)
        found.append(Measured(Predictions(seen, seen[:2], chosen, chosen[:2], lam_grid(3), pairs), measures))
    return found[0], found[1]


@cache
def truth() -> dict[str, float]:
    """The same figures of the population, from very many images."""
    generator, many = torch.Generator().manual_seed(123), 200_000
    labels = torch.randint(CLASSES, (many,), generator=generator)
    index = torch.arange(many).view(2, -1).T
    clean, residual = [], []
    for world in (TEACHER, STUDENT):
        images = world.images(labels, generator)
        answers, temperature = world.pairs(index, images, labels, generator), fit_temperature(images, labels)
        assert temperature is not None
        i, j, mixed = answers.divided_by(temperature)
        residual.append(float(nonlinearity_residual(i, j, mixed[:, 1], 0.5).mean()))
        clean.append(i)
    kl = float(kl_divergence(*clean).mean())
    return {"NL": residual[0], "gain": residual[0] - residual[1], "KL": kl}


def scaled_coverage(
    images: int, pairs: int, validation: int, trials: int, seed: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """The share of trials whose interval holds the truth after temperature scaling: with the fit's error, and without."""
    exact, generator, index = truth(), torch.Generator().manual_seed(seed), shared_pairs(images, pairs)
    held: list[list[dict[str, bool]]] = [[], []]
    for _ in range(trials):
        both = networks(images, index, validation, generator)
        if any(network.fitted is None for network in both):  # hardly ever
            continue
        as_known = [Measured(network.predictions, network.measures) for network in both]
        for network in as_known:
            assert network.fitted is not None
            network.fitted.shifts.zero_()
        for found, (teacher, student) in zip(held, (both, as_known), strict=True):
            bounds = _bounds(teacher, student)
            found.append({name: lower <= exact[name] <= upper for name, (lower, upper) in bounds.items()})
    ours, without = ({name: float(np.mean([trial[name] for trial in found])) for name in exact} for found in held)
    return ours, without


def _bounds(teacher: Measured, student: Measured) -> dict[str, list[float]]:
    """Lower and upper end of the teacher's NL(1/2), of the gain there and of KL on clean images, after temperature scaling."""
    curves, (entry, _) = teacher.pairs.entry(scaled=True), student.versus_teacher(teacher)
    assert curves is not None
    middle = {"NL": curves["intervals"]["nonlinearity"], "gain": entry[f"linearity_gain{SCALED}_interval"]}
    found = {name: [bounds["lower"][1], bounds["upper"][1]] for name, bounds in middle.items()}
    return {**found, "KL": entry[f"alignment{SCALED}"]["intervals"]["kl_real"]}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=2000)
    trials = parser.parse_args().trials
    print("| images | pairs | image effects | values | NL | D | gain | NL as if independent |")
    print("| ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    for images, pairs, effects in DESIGNS:
        for skewed in (False, True):
            ours, naive = coverage(images, pairs, effects, skewed, trials)
            shares = " | ".join(f"{ours[name]:.3f}" for name in FIGURES)
            kind = "skewed" if skewed else "normal"
            print(f"| {images:,} | {pairs:,} | {effects:g} | {kind} | {shares} | {naive['NL']:.3f} |", flush=True)
    print()
    print(
        "| images | pairs | validation images | NL scaled | gain scaled | KL scaled | the same without the fit's error |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for validation in VALIDATION:
        for images, pairs in ((400, 200), (400, 1000), (2000, 1000)):
            ours, without = scaled_coverage(images, pairs, validation, max(100, trials // 4))
            shares, others = (" | ".join(f"{found[k]:.3f}" for k in ("NL", "gain", "KL")) for found in (ours, without))
            print(f"| {images:,} | {pairs:,} | {validation:,} | {shares} | {others.replace(' | ', ', ')} |", flush=True)


if __name__ == "__main__":
    main()
