"""How often a recommendation is "not confirmed" where nothing is wrong: a table for docs/statistics.md.

    python scripts/simulate/recommendation.py [--trials N]

Candidates of one true accuracy, NLL and calibration answer validation and test images of one distribution; they agree on which
images are hard, as networks do. The real rule selects and judges. The runner-up is compared by McNemar's exact test at the
comparator's level, one-sided.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from vicinal.report.findings.recommendation import ece_noise_of_bins
from vicinal.report.findings.selection_rule import ERROR, Candidate, OnTest, select, selection

Array = NDArray[np.float64]
BINS, CLASSES = 15, 10
SETTINGS = [(1000, 5000, 0.0), (1000, 5000, 0.09), (5000, 5000, 0.0), (600, 4000, 0.03), (5000, 1000, 0.03)]


@dataclass(frozen=True)
class Answers:
    """Of k candidates to n images, (k, n) each: confidence, NLL in nats, and whether they are right."""

    confidence: Array
    nll: Array
    right: NDArray[np.bool_]

    def ece(self, k: int) -> float:
        """Of a candidate, in bins of equal width."""
        count, accuracy, confidence = self.bins(k)
        return float((count * np.abs(accuracy - confidence)).sum() / count.sum())

    def bins(self, k: int) -> tuple[Array, Array, Array]:
        """A candidate's reliability diagram: images, accuracy and mean confidence; zero for an empty bin."""
        place = np.minimum((self.confidence[k] * BINS).astype(int), BINS - 1)
        count = np.bincount(place, minlength=BINS).astype(float)
        sums = [np.bincount(place, values, BINS) for values in (self.right[k], self.confidence[k])]
        accuracy, confidence = (total / np.maximum(count, 1) for total in sums)
        return count, accuracy, confidence


def answers(rng: np.random.Generator, k: int, n: int, overconfidence: float) -> Answers:
    """Answers of k candidates that are right with probability confidence - overconfidence, of images that all find hard or easy."""
    easy = 2.2 + 1.6 * rng.standard_normal(n)
    score = easy + 0.8 * rng.standard_normal((k, n))
    confidence = 0.1 + 0.9 / (1 + np.exp(-score))
    # One coin for an image and one for each candidate, so that right answers go together.
    together = rng.random((k, n)) < 0.7
    coin = np.where(together, rng.random(n), rng.random((k, n)))
    right = coin < np.clip(confidence - overconfidence, 0.05, 1)
    others = np.log((1 - confidence + 1e-4) / (CLASSES - 1)) + rng.gumbel(size=(k, n)) - 0.58
    return Answers(confidence, np.where(right, -np.log(confidence), -others), right)


def confirmed(rng: np.random.Generator, k: int, validation: int, test: int, overconfidence: float) -> bool:
    """Whether the recommendation among k equal candidates is confirmed."""
    seen, held_out = answers(rng, k, validation, overconfidence), answers(rng, k, test, overconfidence)
    candidates = []
    for i in range(k):
        deviation, noise = float(held_out.nll[i].std()), ece_noise_of_bins(*held_out.bins(i))
        candidates.append(
            Candidate(
                f"candidate {i}", float(seen.right[i].mean()), float(seen.nll[i].mean()), float(held_out.right[i].mean()),
                held_out.ece(i), seen.ece(i), float(held_out.nll[i].mean()), deviation, *noise,
            )
        )  # fmt: skip
    picked = select(candidates, validation)
    assert picked is not None
    first, second = picked
    only_first, only_second = 0, 0
    if second is not None:
        only_first = int((held_out.right[first] & ~held_out.right[second]).sum())
        only_second = int((held_out.right[second] & ~held_out.right[first]).sum())
    lost = binom.sf(only_second - 1, only_first + only_second, 0.5) <= ERROR / 2 and only_second > only_first
    found = selection(candidates, validation, test, OnTest(-1 if lost else 0, "McNemar's test"))
    assert found is not None
    return bool(found.confirmed)


def not_confirmed(k: int, validation: int, test: int, overconfidence: float, trials: int, seed: int = 0) -> float:
    """The share of recommendations that are not confirmed."""
    rng = np.random.default_rng(seed)
    return 1 - sum(confirmed(rng, k, validation, test, overconfidence) for _ in range(trials)) / trials


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=2000)
    trials = parser.parse_args().trials
    print("| validation images | test images | overconfident by | 2 candidates | 6 | 20 |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for setting in SETTINGS:
        rates = [not_confirmed(k, *setting, trials=trials) for k in (2, 6, 20)]
        shares = " | ".join(f"{100 * rate:.1f} %" for rate in rates)
        print(f"| {setting[0]:,} | {setting[1]:,} | {setting[2]:g} | {shares} |")


if __name__ == "__main__":
    main()
