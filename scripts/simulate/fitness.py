"""How often a student is called unfit for a class that it recognises, and how often for one that it does not: for docs/statistics.md.

    python scripts/simulate/fitness.py [--trials N]

Right answers of each class are drawn binomially. "At the bound" is the worst case of the error: every class recognised exactly as often
as it has to be. The real rule judges, at the third of 5 % that it has in a report.
"""

from __future__ import annotations

import argparse

import numpy as np

from vicinal.report.faults import TESTS
from vicinal.report.fitness import Recall, least_recall, lost_classes

ERROR = 0.05 / TESTS
SETTINGS = [(2, 30), (2, 500), (6, 20), (6, 100), (10, 50), (10, 500), (100, 20), (100, 100)]


def found(recalls: list[float], images: int, rng: np.random.Generator) -> bool:
    """Whether any class of a student of these recalls is called lost on so many images of each."""
    right = rng.binomial(images, recalls)
    return bool(lost_classes([Recall(f"{k}", int(count), images) for k, count in enumerate(right)], ERROR))


def rate(classes: int, images: int, truth: str, trials: int, seed: int = 0) -> float:
    """The share of students that are called unfit.

    Args:
        truth: "at the bound", "one at half of it" (the others at 0.8) or "one never" (the others at 0.8).
    """
    rng, least = np.random.default_rng(seed), least_recall(classes)
    recalls = [least] * classes
    if truth != "at the bound":
        recalls = [0.8] * (classes - 1) + [least / 2 if truth == "one at half of it" else 0.0]
    return sum(found(recalls, images, rng) for _ in range(trials)) / trials


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=4000)
    trials = parser.parse_args().trials
    truths = ("at the bound", "one at half of it", "one never")
    print(f"| classes | images each | all {truths[0]} | {truths[1]} | {truths[2]} |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for classes, images in SETTINGS:
        rates = " | ".join(f"{100 * rate(classes, images, truth, trials):.1f} %" for truth in truths)
        print(f"| {classes} | {images} | {rates} |")


if __name__ == "__main__":
    main()
