"""Which network to take: the Pareto front of accuracy against ECE, and one recommendation in a sentence. Numbers in, words out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z = 1.959963984540054  # two-sided 95 % of the normal distribution
SIGNIFICANT = 0.05


def pareto_front(accuracy: Sequence[float | None], ece: Sequence[float | None]) -> list[int]:
    """Positions of those that no other one beats: at least as accurate and as well calibrated, and better in one of the two.

    Equal ones stand together. One without a figure (None or NaN) is left out. By falling accuracy, then by position.

    Raises:
        ValueError: the two differ in length.
    """
    if len(accuracy) != len(ece):
        raise ValueError(f"expected as many accuracies as ECEs, got {len(accuracy)} and {len(ece)}")
    known = [
        (position, a, e)
        for position, (a, e) in enumerate(zip(accuracy, ece, strict=True))
        if a is not None and e is not None and math.isfinite(a) and math.isfinite(e)
    ]
    front = [
        (position, a)
        for position, a, e in known
        if not any(b >= a and f <= e and (b > a or f < e) for _, b, f in known)
    ]
    return [position for position, _ in sorted(front, key=lambda entry: -entry[1])]


@dataclass(frozen=True)
class Candidate:
    """What one network, or an arm over its seeds, reached on both splits. Accuracies and ECEs are fractions, NLLs nats.

    Of a scale-free student (T = σ) give the NLL and ECEs after temperature scaling: the raw ones mean nothing by themselves.
    """

    label: str  # for example "KD + mixup at T = 4 with teacher X"
    validation_accuracy: float | None
    validation_nll: float | None
    test_accuracy: float | None
    test_ece: float | None
    validation_ece: float | None = None


@dataclass(frozen=True)
class Comparison:
    """McNemar's test of the chosen one against another on the test images (`vicinal.metrics.selective.mcnemar`)."""

    only_chosen: int  # images that only the chosen one gets right
    only_other: int
    p_value: float

    @property
    def other_is_better(self) -> bool:
        return self.p_value < SIGNIFICANT and self.only_other > self.only_chosen


@dataclass(frozen=True)
class Recommendation:
    """The choice and whether the test images bear it out."""

    chosen: int  # positions in the candidates given
    runner_up: int | None
    confirmed: bool | None  # None where there is nothing to confirm it with
    sentence: str


def choose(candidates: Sequence[Candidate], validation_images: int) -> tuple[int, int | None] | None:
    """The candidate to take and the runner-up, from validation figures alone; None where no candidate has any.

    Among those whose accuracy lies within one standard error of the best, which validation cannot tell apart, the lowest NLL
    wins, since it counts calibration too; then the higher accuracy, then the earlier one. The runner-up is the same choice
    among the others.

    Args:
        validation_images: that the accuracies are shares of; with several seeds those of one seed, which errs on the side
            of caution.
    """
    measured = [
        (position, c.validation_accuracy, c.validation_nll)
        for position, c in enumerate(candidates)
        if c.validation_accuracy is not None
        and c.validation_nll is not None
        and math.isfinite(c.validation_accuracy)
        and math.isfinite(c.validation_nll)
    ]

    def best(left: list[tuple[int, float, float]]) -> int | None:
        if not left:
            return None
        top = max(accuracy for _, accuracy, _ in left)
        error = math.sqrt(top * (1 - top) / validation_images) if validation_images > 0 else 0.0
        close = [entry for entry in left if entry[1] >= top - error]
        return min(close, key=lambda entry: (entry[2], -entry[1], entry[0]))[0]

    chosen = best(measured)
    return None if chosen is None else (chosen, best([entry for entry in measured if entry[0] != chosen]))


def recommendation(
    candidates: Sequence[Candidate],
    validation_images: int,
    test_images: int,
    against_runner_up: Comparison | None = None,
    selected_on_test: bool = False,
) -> Recommendation | None:
    """One plain recommendation, chosen on validation figures and held against the test figures; None without validation figures.

    It is confirmed where the test accuracy does not fall short of what validation promised, the test ECE does not exceed it
    (where validation has one), and the runner-up is not significantly more often right on the same test images (McNemar,
    p < 0.05). "Promised" allows the 95 % sampling error of the difference of two shares, 1.96 √(a (1 − a) (1/n_validation +
    1/n_test)); it serves the ECE too, whose noise is for the most part that of the accuracy in it.

    Args:
        candidates: in the order of the tables.
        validation_images, test_images: how many images each split holds.
        against_runner_up: the test between the two that `choose` names; None where it was not made.
        selected_on_test: the test images chose the epochs, so they can confirm nothing.
    """
    picked = choose(candidates, validation_images)
    if picked is None:
        return None
    chosen, runner_up = picked
    candidate = candidates[chosen]
    accuracy, nll = candidate.validation_accuracy, candidate.validation_nll
    assert accuracy is not None
    assert nll is not None
    on_validation = f"accuracy {accuracy:.3f}, NLL {nll:.3f}"
    start = f"For this data: {candidate.label}; chosen on validation ({on_validation})"
    if candidate.test_accuracy is None or validation_images <= 0 or test_images <= 0:
        return Recommendation(chosen, runner_up, None, f"{start}, not confirmed: there are no test figures.")
    on_test = f"accuracy {candidate.test_accuracy:.3f}"
    if candidate.test_ece is not None:
        on_test += f", ECE {candidate.test_ece:.3f}"
    if selected_on_test:
        reason = "the same images chose the epochs"
        return Recommendation(chosen, runner_up, None, f"{start}, not confirmed on test ({on_test}), since {reason}.")
    failures = _failures(candidate, accuracy, validation_images, test_images)
    if against_runner_up is not None and runner_up is not None and against_runner_up.other_is_better:
        c = against_runner_up
        failures.append(
            f"{candidates[runner_up].label} is right more often there ({c.only_other} images against {c.only_chosen}, "
            f"McNemar {p_words(c.p_value)})"
        )
    if failures:
        sentence = f"{start}, not confirmed on test ({on_test}): {'; '.join(failures)}."
        return Recommendation(chosen, runner_up, False, sentence)
    rest = ""
    if against_runner_up is not None and runner_up is not None:
        c = against_runner_up
        clear = c.p_value < SIGNIFICANT
        rest = (
            f" It beats the runner-up, {candidates[runner_up].label}, on the test images (McNemar {p_words(c.p_value)})."
            if clear
            else f" The test images cannot tell it from the runner-up, {candidates[runner_up].label} (McNemar {p_words(c.p_value)})."
        )
    return Recommendation(chosen, runner_up, True, f"{start}, confirmed on test ({on_test}).{rest}")


def _failures(candidate: Candidate, accuracy: float, validation_images: int, test_images: int) -> list[str]:
    """What validation promised and the test images do not keep."""
    # Laplace's correction: an accuracy of 1 on few images is not certain.
    share = (accuracy * validation_images + 1) / (validation_images + 2)
    slack = Z * math.sqrt(share * (1 - share) * (1 / validation_images + 1 / test_images))
    failures = []
    assert candidate.test_accuracy is not None
    if candidate.test_accuracy < accuracy - slack:
        failures.append(f"validation promised an accuracy of at least {accuracy - slack:.3f}")
    promised = candidate.validation_ece
    if promised is not None and candidate.test_ece is not None and candidate.test_ece > promised + slack:
        failures.append(f"validation promised an ECE of at most {promised + slack:.3f}")
    return failures


def p_words(value: float) -> str:
    """A p-value in words: "p = 0.012", "p < 0.001"."""
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"
