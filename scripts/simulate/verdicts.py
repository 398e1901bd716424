"""How often verdicts are wrong, and how often they find what is there: studies drawn at random and judged by the code itself.

python scripts/simulate/verdicts.py [--studies 2000]

A study has twelve arms (baseline, mixup, KD from two teachers, KD + mixup from two teachers at four temperatures) whose accuracies and
ECEs differ by seed with a deviation of .39 points (.0039), as those of the temperature study do; the test images are either
without end, or 10,000 with noise of their own that seeds share (see `noise`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from vicinal.claims import (  # after the path
    CLAIMS,
    Evidence,
    Load,
    ModelResults,
    Number,
    SeedPool,
    difference,
    infer,
    judge,
    ratio,
)

SEED_DEVIATION_PP = 0.39
SEEDS = (1, 2, 3, 5, 10)
RESAMPLES = 200
TEMPERATURES = (2.0, 4.0, 6.0, 8.0)
ARMS = [
    ("baseline", None, None), ("mixup", None, None), ("kd", "A", 2.0), ("kd", "B", 2.0),
    *(("kd_mixup", teacher, t) for teacher in "AB" for t in TEMPERATURES),
]  # fmt: skip
ACCURACY = ("beats_kd", "beats_mixup", "beats_baseline", "two_best", "accuracy_falls")
ECE = ("ece_below_kd", "ece_falls")
BEATS = ("beats_kd", "beats_mixup", "beats_baseline")
SHOWN = ("supported", "contradicted", "no difference", "undecided", "not testable")


@dataclass(frozen=True)
class Noise:
    """Standard deviations, in points: of seeds, of an arm's own answer to the images, and of each network's."""

    seed: float
    arm_images: float
    network_images: float
    uneven: float = 1.0  # by how much every third arm's seeds spread more


# 10,000 images: two networks of one arm differ on about 8 % of them, two arms on 3 % beyond that.
NOISE = {
    "no end of images": Noise(SEED_DEVIATION_PP, 0.0, 0.0),
    "10,000 images": Noise(0.335, 0.12, 0.20),
    "no end of images, every third arm spreads three times as much": Noise(SEED_DEVIATION_PP, 0.0, 0.0, 3.0),
}


def study(rng: np.random.Generator, seeds: int, noise: Noise, advantage_pp: float) -> Evidence:
    """A study whose KD + mixup arms are better by the advantage, in accuracy and (a hundredth as a fraction) in ECE."""
    found: dict[str, list[Number]] = {}
    for key, unit in (("accuracy", 1.0), ("ece", -0.01)):
        values, moved = [], []
        for k, (arm, _, _) in enumerate(ARMS):
            spread = noise.seed * (noise.uneven if k % 3 == 0 else 1.0)
            own = unit * (
                advantage_pp * (arm == "kd_mixup") + spread * rng.normal(size=seeds)
                + noise.arm_images * rng.normal() + noise.network_images * rng.normal(size=seeds)
            )  # fmt: skip
            values.append((80.0 if unit > 0 else 0.05) + own)
            moved.append(
                unit
                * (
                    noise.arm_images * rng.normal(size=RESAMPLES)
                    + noise.network_images * rng.normal(size=(seeds, RESAMPLES))
                )
            )
        pool = SeedPool.of("student", {str(k): list(row) for k, row in enumerate(values)})
        found[key] = [
            Number(
                float(row.mean()), dict(enumerate(row.tolist())), deviations=moves, of_arm=True,
                loads=None if pool is None else (Load(pool, str(k), 1.0),),
            )
            for k, (row, moves) in enumerate(zip(values, moved, strict=True))
        ]  # fmt: skip
    students = tuple(
        ModelResults(arm, arm, teacher, t, numbers={key: numbers[k] for key, numbers in found.items()})
        for k, (arm, teacher, t) in enumerate(ARMS)
    )
    return Evidence("drawn", (ModelResults("A"), ModelResults("B")), students)


def shares(
    studies: int, seeds: int, noise: Noise, advantage_pp: float, keys: Sequence[str]
) -> dict[str, dict[str, float]]:
    """By claim, the share of studies with each verdict."""
    rng = np.random.default_rng([seeds, studies, int(100 * advantage_pp)])
    counts = {key: dict.fromkeys(SHOWN, 0) for key in keys}
    claims = [claim for claim in CLAIMS if claim.key in keys]
    for _ in range(studies):
        drawn = study(rng, seeds, noise, advantage_pp)
        for claim in claims:
            counts[claim.key][judge(claim, drawn).verdict] += 1
    return {key: {verdict: count / studies for verdict, count in own.items()} for key, own in counts.items()}


def coverage(studies: int, seeds: int, noise: Noise) -> tuple[float, float, float]:
    """How often the intervals of a difference of arms, of their ratio and of one arm's own figure hold the truth."""
    rng, hits = np.random.default_rng([seeds, studies, 7]), np.zeros(3)
    for _ in range(studies):
        a, b = (student.numbers["ece"] for student in study(rng, seeds, noise, 0.0).students[:2])
        for k, (number, truth) in enumerate(((difference(a, b), 0.0), (ratio(a, b), 1.0), (a, 0.05))):
            inferred = infer(number)
            assert inferred is not None
            low, high = inferred.interval
            hits[k] += low <= truth <= high
    return tuple(hits / studies)  # type: ignore[return-value]


def orders(studies: int, teachers: int, seeds: int = 5) -> dict[str, float]:
    """Of a claim about an order, where the two orders have nothing to do with one another and every figure is known well."""
    rng = np.random.default_rng([teachers, studies])
    claim = next(claim for claim in CLAIMS if claim.key == "calibration_follows")
    counts = dict.fromkeys(SHOWN, 0)
    for _ in range(studies):
        ranks = rng.permutation(teachers), rng.permutation(teachers)

        def number(level: float, of_arm: bool) -> Number:
            by_seed = 0.01 * (1 + level) + 1e-5 * rng.normal(size=seeds)
            return Number(float(by_seed.mean()), dict(enumerate(by_seed.tolist())), of_arm=of_arm)

        names = [chr(ord("A") + k) for k in range(teachers)]
        own = tuple(ModelResults(name, numbers={"ece": number(ranks[0][k], False)}) for k, name in enumerate(names))
        taught = tuple(
            ModelResults("kd_mixup", "kd_mixup", name, 2.0, numbers={"ece": number(ranks[1][k], True)})
            for k, name in enumerate(names)
        )
        counts[judge(claim, Evidence("drawn", own, taught)).verdict] += 1
    return {verdict: count / studies for verdict, count in counts.items()}


def tables(studies: int) -> str:
    """All tables in Markdown."""
    lines = [
        f"{studies:,} studies a line; shares are means over the claims, with the largest of any claim in brackets.", "",
        "| true advantage | images | seeds | supported | contradicted | no difference | undecided | not testable |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for advantage, keys in ((0.0, ACCURACY + ECE), (1.0, BEATS)):
        for name, noise in NOISE.items():
            for seeds in SEEDS:
                found = shares(studies, seeds, noise, advantage, keys)
                cells = [
                    f"{np.mean([own[verdict] for own in found.values()]):.3f} ({max(own[verdict] for own in found.values()):.3f})"
                    for verdict in SHOWN
                ]
                lines.append(f"| {advantage:g} points | {name} | {seeds} | {' | '.join(cells)} |")
    lines += ["", "| unrelated orders of | supported | contradicted | not testable |", "| --- | ---: | ---: | ---: |"]
    for teachers in (2, 3, 4, 5):
        found = orders(studies, teachers)
        lines.append(
            f"| {teachers} teachers | {found['supported']:.3f} | {found['contradicted']:.3f} | {found['not testable']:.3f} |"
        )
    lines += [
        "",
        "| 95 % intervals hold the truth | seeds | difference | ratio | one arm |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, noise in NOISE.items():
        for seeds in SEEDS[1:]:
            cells = [f"{share:.3f}" for share in coverage(studies, seeds, noise)]
            lines.append(f"| {name} | {seeds} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How often verdicts are wrong, and how often they find what is there.")
    parser.add_argument("--studies", type=int, default=2000)
    print(tables(parser.parse_args().studies))
