"""Which network to take: the Pareto front of accuracy against ECE, and one selection in a sentence. Numbers in, words out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

ERROR = 0.05  # of "not confirmed" where nothing is wrong
PROMISES = 3  # accuracy, NLL and ECE


def pareto_front(accuracy: Sequence[float | None], ece: Sequence[float | None]) -> list[int]:
    """Positions of those that no other one beats: at least as accurate and as well calibrated, and better in one of the two.

    Equal ones stand together. One without a number (None or NaN) is left out. By falling accuracy, then by position.

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
    Deviations are those of one image, so that a mean over N images has the deviation / √N.
    """

    label: str  # for example "KD + mixup at T = 4 with teacher X"
    validation_accuracy: float | None
    validation_nll: float | None
    test_accuracy: float | None
    test_ece: float | None
    validation_ece: float | None = None
    test_nll: float | None = None
    nll_deviation: float | None = None  # of an image's NLL, nats
    ece_deviation: float | None = None  # of an image's part in the ECE
    ece_floor: float = 0.0  # ECE that a perfectly calibrated network would show, times √N
    validation_balanced: float | None = None  # mean recall over the classes; None where only the accuracy is known
    balanced_error: float = 0.0  # its standard error
    loses_a_class: bool = False  # on validation images, by `fitness.lost_classes`


@dataclass(frozen=True)
class OnTest:
    """How the selected one and the runner-up compare in accuracy on the test images, by the comparator of `vicinal.claims`."""

    sign: int  # +1 the selected one is the more accurate, -1 the runner-up, 0 undecided
    why: str


@dataclass(frozen=True)
class Selection:
    """The selected one and whether the test images bear it out."""

    selected: int  # positions in the candidates given
    runner_up: int | None
    confirmed: bool | None  # None where there is nothing to confirm it with
    sentence: str


def select(candidates: Sequence[Candidate], validation_images: int) -> tuple[int, int | None] | None:
    """The candidate to take and the runner-up, from validation metrics alone; None where no candidate has any.

    Those that lose a class are left to the last. Among those whose mean recall over the classes (where that is not known of all, whose
    accuracy) lies within one standard error of the best, which validation cannot tell apart, the lowest NLL wins, since it counts
    calibration too; then the higher accuracy, then the earlier one. The runner-up is the same choice among the others.

    Args:
        validation_images: that the accuracies are shares of; with several seeds those of one seed, which errs on the side
            of caution.
    """
    measured = _measured(candidates)
    by_class = all(candidates[k].validation_balanced is not None for k, _, _ in measured)

    def score(entry: tuple[int, float, float]) -> float:
        balanced = candidates[entry[0]].validation_balanced
        return balanced if by_class and balanced is not None else entry[1]

    def error_of(entry: tuple[int, float, float]) -> float:
        if by_class:
            return candidates[entry[0]].balanced_error
        # Laplace's correction, as below: else answers that are all right would have no error.
        share = (entry[1] * validation_images + 1) / (validation_images + 2)
        return math.sqrt(share * (1 - share) / validation_images) if validation_images > 0 else 0.0

    def best(left: list[tuple[int, float, float]]) -> int | None:
        left = [entry for entry in left if not candidates[entry[0]].loses_a_class] or left
        if not left:
            return None
        top = max(left, key=score)
        least = score(top) - error_of(top)
        return min((e for e in left if score(e) >= least), key=lambda entry: (entry[2], -score(entry), entry[0]))[0]

    selected = best(measured)
    return None if selected is None else (selected, best([entry for entry in measured if entry[0] != selected]))


def selection(
    candidates: Sequence[Candidate],
    validation_images: int,
    test_images: int,
    versus_runner_up: OnTest | None = None,
    selected_on_test: bool = False,
    objections: Sequence[str] = (),
    error: float = ERROR,
) -> Selection | None:
    """One plain recommendation, selected on validation metrics and compared with the test metrics; None without validation metrics.

    It is confirmed where test accuracy, NLL and ECE keep what validation promised and the runner-up is not clearly more accurate
    on the test images. Where nothing is wrong, "not confirmed" has a probability of at most `error`: half of it goes to the
    runner-up, which the comparator tests one-sidedly at half its level; the other half is shared among the three promises of
    every candidate (Bonferroni), so that it makes no difference that the best of k was chosen: a promise that all k keep is
    kept by the chosen one. Each figure has an error of its own (`promises`).

    Args:
        candidates: in the order of the tables.
        validation_images, test_images: how many images each split has.
        versus_runner_up: how the two that `select` names compare on the test images; None where they were not compared.
        selected_on_test: the test images selected the epochs, so they can confirm nothing.
        objections: why the selected one is not to be taken whatever its figures, clauses that begin with "it".
        error: the probability of "not confirmed" where nothing is wrong, at most.
    """
    picked = select(candidates, validation_images)
    if picked is None:
        return None
    selected, runner_up = picked
    candidate = candidates[selected]
    accuracy, nll = candidate.validation_accuracy, candidate.validation_nll
    assert accuracy is not None
    assert nll is not None
    on_validation = f"accuracy {accuracy:.3f}, NLL {nll:.3f}"
    only = len(_measured(candidates)) == 1
    how = f"the only student (validation: {on_validation})" if only else f"selected on validation ({on_validation})"
    start = f"For this data: {candidate.label}; {how}"
    if candidate.test_accuracy is None or validation_images <= 0 or test_images <= 0:
        reasons = "; ".join(["there are no test metrics", *objections])
        return Selection(selected, runner_up, None, f"{start}, not confirmed: {reasons}.")
    on_test = f"accuracy {candidate.test_accuracy:.3f}"
    if candidate.test_ece is not None:
        on_test += f", ECE {candidate.test_ece:.3f}"
    if selected_on_test:
        reason = "; ".join(["the same images selected the epochs", *objections])
        return Selection(selected, runner_up, None, f"{start}, not confirmed on test ({on_test}), since {reason}.")
    level = error / 2 / (PROMISES * len(_measured(candidates)))
    failures = [*objections, *broken_promises(candidate, validation_images, test_images, level)]
    beside, other = versus_runner_up, candidates[runner_up].label if runner_up is not None else ""
    if beside is not None and beside.sign < 0:
        failures.append(f"the runner-up, {other}, is more accurate there: the selected one less it {beside.why}")
    if failures:
        sentence = f"{start}, not confirmed on test ({on_test}): {'; '.join(failures)}."
        return Selection(selected, runner_up, False, sentence)
    rest = ""
    if beside is not None and beside.sign > 0:
        rest = f" It is more accurate than the runner-up, {other}, on the test images: {beside.why}."
    elif beside is not None:
        rest = f" It is not told apart from the runner-up, {other}, on the test images: {beside.why}."
    return Selection(selected, runner_up, True, f"{start}, confirmed on test ({on_test}).{rest}")


def _measured(candidates: Sequence[Candidate]) -> list[tuple[int, float, float]]:
    """Position, validation accuracy and validation NLL of those that have both."""
    return [
        (position, c.validation_accuracy, c.validation_nll)
        for position, c in enumerate(candidates)
        if c.validation_accuracy is not None
        and c.validation_nll is not None
        and math.isfinite(c.validation_accuracy)
        and math.isfinite(c.validation_nll)
    ]


def broken_promises(candidate: Candidate, validation_images: int, test_images: int, level: float) -> list[str]:
    """What validation promised and the test images do not keep, as clauses.

    Each of the three has a probability of at most `level` of being broken by images alone:

    - accuracy: Fisher's exact test, one-sided, on the counts of right answers (of several seeds their mean, which varies less);
    - NLL: z · s · √(1/n_validation + 1/n_test), with s the deviation of an image's NLL;
    - ECE: the same with its own deviation, and what its expected value gains from n_test being the smaller number.
    """
    z = NormalDist().inv_cdf(1 - level)
    error = math.sqrt(1 / validation_images + 1 / test_images)
    failures = []
    promised, found = candidate.validation_accuracy, candidate.test_accuracy
    if promised is not None and found is not None:
        least = least_accuracy(promised, validation_images, test_images, level)
        if found < least:
            failures.append(f"validation promised an accuracy of at least {least:.3f}")
    promised, found, deviation = candidate.validation_nll, candidate.test_nll, candidate.nll_deviation
    if promised is not None and found is not None and deviation is not None:
        most = promised + z * deviation * error
        if found > most:
            failures.append(f"validation promised an NLL of at most {most:.3f}, and it is {found:.3f}")
    promised, found, deviation = candidate.validation_ece, candidate.test_ece, candidate.ece_deviation
    if promised is not None and found is not None and deviation is not None:
        floor = candidate.ece_floor * (1 / math.sqrt(test_images) - 1 / math.sqrt(validation_images))
        most = promised + z * deviation * error + max(floor, 0.0)
        if found > most:
            failures.append(f"validation promised an ECE of at most {most:.3f}")
    return failures


def least_accuracy(promised: float, validation_images: int, test_images: int, level: float) -> float:
    """The lowest test accuracy that Fisher's exact test, one-sided, does not hold to be below the one on validation images.

    Args:
        promised: accuracy on the validation images, a fraction.
        level: of the test, p at or below which it rejects.
    """
    from scipy.stats import hypergeom  # here, since importing it takes a second

    right = round(promised * validation_images)

    def p_value(test_right: int) -> float:
        """Of so few right answers on test images, given how many there are in all."""
        return float(hypergeom.cdf(test_right, validation_images + test_images, right + test_right, test_images))

    low, high = -1, test_images  # rejected, not rejected: p rises with the number of right answers
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if p_value(middle) <= level else (low, middle)
    return high / test_images
