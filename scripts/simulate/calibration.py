"""How often the intervals of calibration hold the truth: classifiers drawn at random and measured by the code itself.

    python scripts/simulate/calibration.py [--sets 300] [--error-sets 2000] [--images 200 1000 5000 10000]

A classifier has 10 classes and logits z ~ N(0, scale²) whose softmax is how often each class is right; it answers with z times a
factor, so that it is calibrated (1), or too sure. Truths are those of 200,000 images. Validation images, on which a temperature
is fitted, are as many as a tenth of the test images, at least 200. Prints a Markdown table; coverage of 300 sets has a standard
error of 0.013, that of ECE and the squared error of 2,000 sets one of 0.005.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

from vicinal.config import MeasuresSpec
from vicinal.evaluation import Scaling, calibration_numbers
from vicinal.functional import bin_of, fit_temperature
from vicinal.metrics import Calibration, fitted_log_temperatures, paired_interval, percentiles, resample_counts
from vicinal.metrics.binned import BinnedGaps, error_interval, squared_error_interval

CLASSES, POPULATION, BINS = 10, 200_000, 15
RESAMPLES, LEVEL = 400, 0.95
# How sure it is, and what its answers are multiplied by: true ECEs at N = 5,000 of the table, about.
CASES = ((2.0, 1.0), (2.0, 1.05), (2.0, 1.15), (2.0, 1.5), (6.0, 1.0), (6.0, 1.5))


class Population:
    """Very many images of one classifier: logits, and what each figure truly is."""

    def __init__(self, scale: float, factor: float, seed: int = 7) -> None:
        self.scale, self.factor = scale, factor
        self.generator = torch.Generator().manual_seed(seed)
        z = self._z(POPULATION)
        self.likely = z.softmax(-1)
        self.truth = {"fitted_temperature": factor}
        for end, answers in (("", z * factor), ("_after_temperature_scaling", z)):
            self.truth |= {f"{name}{end}": value for name, value in self._figures(answers).items()}
        del self.truth["accuracy_after_temperature_scaling"]  # scaling changes no answer

    def _z(self, images: int) -> Tensor:
        return self.scale * torch.randn(images, CLASSES, generator=self.generator, dtype=torch.float64)

    def _figures(self, logits: Tensor) -> dict[str, float]:
        """Each figure with the chance of every label in place of a label."""
        p, q = logits.softmax(-1), self.likely
        conf, top = p.max(-1)
        right = q.gather(1, top[:, None])[:, 0]
        gap = right - conf
        wide = (conf * BINS).ceil().long().clamp(1, BINS) - 1
        mass = torch.empty(len(conf), dtype=torch.int64)
        mass[conf.argsort()] = torch.arange(len(conf)) * BINS // len(conf)
        by_wide, by_mass = (torch.zeros(BINS, dtype=torch.float64).index_add_(0, b, gap) for b in (wide, mass))
        calibrated = bool((p - q).abs().max() < 1e-9)
        squared = 0.0 if calibrated else float((by_mass / len(conf)).square().sum() * BINS)
        return {
            "accuracy": float(right.mean()),
            "confidence": float(conf.mean()),
            "ece": 0.0 if calibrated else float(by_wide.abs().sum() / len(conf)),
            "nll": float(-(q * p.log()).sum(-1).mean()),
            "brier": float((p.square().sum(-1) - 2 * (p * q).sum(-1) + 1).mean()),
            "squared_calibration_error": squared,
            "rms_calibration_error": math.sqrt(squared),
        }

    def draw(self, images: int) -> tuple[Tensor, Tensor]:
        """Logits and labels of images drawn anew."""
        z = self._z(images)
        noise = -torch.empty_like(z).exponential_(generator=self.generator).log()
        return z * self.factor, (z + noise).argmax(-1)


@cache
def counts_of(images: int, seed: int) -> Tensor:
    """The resamples that the code would draw, once."""
    return resample_counts(images, RESAMPLES, seed)


def found_intervals(population: Population, images: int) -> dict[str, Sequence[float]]:
    """The intervals of one set of test and validation images, as results.json has them, and the percentiles of resampled ECE."""
    measures = MeasuresSpec(ece_bins=BINS, bootstrap_resamples=100, confidence_level=LEVEL)
    logits, labels = population.draw(images)
    validation, validation_labels = population.draw(max(200, images // 10))
    fitted = fit_temperature(validation, validation_labels)
    assert fitted is not None
    drawn = fitted_log_temperatures(validation, validation_labels, fitted, counts_of(len(validation), 1))
    raw, scaled = Calibration(BINS), Calibration(BINS, fitted)
    for metric in (raw, scaled):
        metric.update(logits, labels)
    counts = counts_of(images, 0)
    moved, moved_scaled = raw.deviations(counts), scaled.deviations(counts, drawn)
    numbers = calibration_numbers(logits, labels, measures, counts, moved, Scaling(fitted, drawn, moved_scaled))
    found: dict[str, Sequence[float]] = {k: ends for k, ends in numbers["intervals"].items() if ends is not None}
    found["ece by percentiles"] = [numbers["ece"] + float(end) for end in percentiles(moved["ece"], LEVEL)]
    for score in ("brier", "nll"):
        for part in ("calibration", "refinement"):
            found[f"{score} {part}"] = numbers[f"{score}_parts"][f"{part}_interval"]
    return found


def truths(population: Population) -> dict[str, float]:
    """By the names of `found_intervals`."""
    t, end = population.truth, "_after_temperature_scaling"
    parts = {f"{s} calibration": t[s] - t[s + end] for s in ("brier", "nll")}
    parts |= {f"{s} refinement": t[s + end] for s in ("brier", "nll")}
    return {**t, "ece by percentiles": t["ece"], **parts}


def coverage(population: Population, images: int, sets: int) -> dict[str, tuple[float, float]]:
    """By figure: the share of sets whose interval holds the truth, and the mean width."""
    true, held, width = truths(population), defaultdict(list), defaultdict(list)
    for _ in range(sets):
        for name, (low, high) in found_intervals(population, images).items():
            if name in true:
                held[name].append(low - 1e-9 <= true[name] <= high + 1e-9)
                width[name].append(high - low)
    return {name: (sum(values) / sets, sum(width[name]) / sets) for name, values in held.items()}


def error_coverage(population: Population, images: int, sets: int) -> dict[str, tuple[float, float]]:
    """As `coverage`, of ECE and the squared error alone: many sets at once."""
    true = truths(population)
    held, width = torch.zeros(2), torch.zeros(2)
    at_once = max(1, 400_000 // images)
    for start in range(0, sets, at_once):
        count = min(at_once, sets - start)
        logits, labels = population.draw(count * images)
        p = logits.softmax(-1)
        conf, top = p.max(-1)
        conf, order = conf.view(count, images).sort(-1)
        correct = (top == labels).view(count, images).gather(1, order)
        wide = torch.nn.functional.one_hot(bin_of(conf.flatten(), BINS), BINS).double().view(count, images, BINS)
        mass = torch.zeros(images, BINS, dtype=torch.float64)
        mass[torch.arange(images), torch.arange(images) * BINS // images] = 1
        ends = (
            error_interval(BinnedGaps.of(conf, correct, wide), LEVEL),
            squared_error_interval(BinnedGaps.of(conf, correct, mass.expand(count, -1, -1)), LEVEL),
        )
        for k, ((low, high), name) in enumerate(zip(ends, ("ece", "squared_calibration_error"), strict=True)):
            held[k] += ((low <= true[name] + 1e-9) & (true[name] <= high)).sum()
            width[k] += (high - low).sum()
    names = ("ece", "squared_calibration_error")
    return {name: (float(held[k]) / sets, float(width[k]) / sets) for k, name in enumerate(names)}


def paired_coverage(images: int, sets: int, seed: int = 0) -> dict[str, float]:
    """Of the difference of two classifiers' accuracies, that differ on 1, 5 and 20 % of the images."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for only_first, only_second in ((0.007, 0.003), (0.035, 0.015), (0.13, 0.07)):
        chances = torch.tensor([only_first, only_second, 1 - only_first - only_second])
        held = 0
        for _ in range(sets):
            drawn = torch.multinomial(chances, images, replacement=True, generator=generator).bincount(minlength=3)
            low, high = paired_interval(int(drawn[0]), int(drawn[1]), images, LEVEL)
            held += low <= only_first - only_second <= high
        found[f"{100 * (only_first + only_second):.0f} %"] = held / sets
    return found


def lines(images: Sequence[int], sets: int, error_sets: int) -> Iterator[str]:
    """The table in Markdown."""
    yield "| answers | N | figure | truth | coverage | mean width |"
    yield "| --- | ---: | --- | ---: | ---: | ---: |"
    for scale, factor in CASES:
        population = Population(scale, factor)
        true = truths(population)
        for n in images:
            for name, (held, width) in (
                coverage(population, n, sets) | error_coverage(population, n, error_sets)
            ).items():
                label = name.replace("_after_temperature_scaling", " (scaled)").replace("_", " ")
                yield f"| {scale:g} × {factor:g} | {n:,} | {label} | {true[name]:.4f} | {held:.3f} | {width:.4f} |"
    for n in images:
        for share, held in paired_coverage(n, sets).items():
            yield f"| two, differing on {share} | {n:,} | accuracy difference | | {held:.3f} | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--error-sets", type=int, default=2000)
    parser.add_argument("--images", type=int, nargs="+", default=[200, 1000, 5000, 10000])
    given = parser.parse_args()
    for line in lines(given.images, given.sets, given.error_sets):
        print(line, flush=True)


if __name__ == "__main__":
    main()
