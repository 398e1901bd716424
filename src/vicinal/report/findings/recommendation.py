"""Which student to take from a study: the selection rule applied to its results."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist, fmean

import numpy as np
from numpy.typing import NDArray

from vicinal.claims import POWER
from vicinal.report.budgets import epochs_words
from vicinal.report.comparisons import compared
from vicinal.report.degenerate import objections
from vicinal.report.faults import faults_of
from vicinal.report.findings.selection_rule import Candidate, OnTest, select, selection
from vicinal.report.fitness import balanced_accuracy, lost_classes
from vicinal.report.recalls import validation_recalls
from vicinal.report.rows import ARM_LABELS, Model, Results, Row, floats, stored_interval, temperature_label

Array = NDArray[np.float64]
RULE = (
    "The rule: among the students that lose no class on validation images and lie within one standard error of the best mean recall "
    "over the classes there (of the best accuracy, where recalls were not stored), the one with the lowest validation NLL."
)


@dataclass(frozen=True)
class Recommendation:
    """The recommendation as the page shows it."""

    verdict: str  # the class of its mark: yes, no or undecided
    word: str
    text: str
    notes: tuple[str, ...]


def error_words(error: float) -> str:
    """How often "not confirmed" is wrong, at most."""
    return (
        "A student that does on test images what it did on validation images, and that none beats there, is “not confirmed” in at "
        f"most {100 * error:.3g}\u00a0% of studies, however many it was chosen from."
    )


def candidate_label(row: Row) -> str:
    """A student in a sentence, as in "KD + mixup at T = 4 with teacher X"."""
    label = ARM_LABELS.get(row.arm or "", row.arm or "")
    if row.temperature is not None:
        label += f" at {temperature_label(row.temperature)}"
    return label if row.teacher is None else f"{label} with teacher {row.teacher}"


def candidate(row: Row, confidence_level: float = 0.95, results: Results | None = None) -> Candidate:
    """A student's means over seeds; a metric that a seed does not have is None. The level is that of the stored intervals.

    Args:
        results: that the number of images of each class is known by.
    """

    def mean(key: str) -> float | None:
        values = row.values(key)
        return fmean(values) if len(values) == len(row.models) else None

    def validation(key: str) -> float | None:
        found = [(model.get("validation") or {}).get(key) for model in row.models]
        values = [value for value in found if value is not None]
        return fmean(values) if len(values) == len(row.models) else None

    spread, floor = ece_noise(row)
    recalls = [validation_recalls(results, model) for model in row.models] if results is not None else []
    balanced = [found for own in recalls if (found := balanced_accuracy(own)) is not None]
    known = len(balanced) == len(row.models)
    lost = known and any(lost_classes(own, (1 - confidence_level) / len(row.models)) for own in recalls)
    return Candidate(
        candidate_label(row), validation("accuracy"), validation("nll"), mean("accuracy"), mean("ece"), validation("ece"),
        test_nll=mean("nll"), nll_deviation=nll_deviation(row, confidence_level), ece_deviation=spread, ece_floor=floor,
        validation_balanced=fmean(value for value, _ in balanced) if known else None,
        balanced_error=fmean(error for _, error in balanced) if known else 0.0, loses_a_class=lost,
    )  # fmt: skip


def nll_deviation(row: Row, confidence_level: float) -> float | None:
    """The deviation of an image's NLL, nats, from the stored interval of its mean; the mean over seeds, which that of their mean
    does not exceed. None where a seed has no interval."""
    z = NormalDist().inv_cdf((1 + confidence_level) / 2)
    found = [
        (bounds[1] - bounds[0]) / (2 * z) * math.sqrt(sum(model["reliability"]["count"]))
        for model in row.models
        if (bounds := stored_interval(model, "nll")) is not None
    ]
    return fmean(found) if len(found) == len(row.models) else None


def ece_noise(row: Row) -> tuple[float, float]:
    """`ece_noise_of_bins` of a row's reliability diagrams, means over seeds."""
    bins = [model["reliability"] for model in row.models]
    found = [ece_noise_of_bins(*(floats(b[key]) for key in ("count", "accuracy", "confidence"))) for b in bins]
    return fmean(spread for spread, _ in found), fmean(floor for _, floor in found)


def ece_noise_of_bins(count: Array, accuracy: Array, confidence: Array) -> tuple[float, float]:
    """The deviation of an image's part in the ECE, and the ECE that a perfectly calibrated network would show times √N.

    With bins of share p, accuracy a and gap g they are √(Σ p a (1 − a) + Σ p g² − (Σ p g)²), the delta method, and
    Σ √(2/π · p a (1 − a)), the mean of normal noise without its sign.

    Args:
        count, accuracy, confidence: (M,) of the bins; what the latter are in an empty bin does not matter.
    """
    filled = count > 0
    share, accuracy, confidence = count[filled] / count.sum(), accuracy[filled], confidence[filled]
    gap, noise = np.abs(accuracy - confidence), share * accuracy * (1 - accuracy)
    variance = noise.sum() + (share * gap**2).sum() - (share * gap).sum() ** 2
    return math.sqrt(max(variance, 0.0)), float(np.sqrt(2 / math.pi * noise).sum())


@dataclass(frozen=True, eq=False)
class Choice:
    """The student that validation metrics select, and those that it was selected from."""

    rows: tuple[Row, ...]
    candidates: tuple[Candidate, ...]  # as `rows`
    selected: int  # positions in both
    runner_up: int | None

    @property
    def row(self) -> Row:
        """The selected one."""
        return self.rows[self.selected]


@lru_cache(maxsize=2)  # the recommendation, the answer whether to ship and two files ask
def choose(results: Results) -> Choice | None:
    """Select a student; None where no student has validation metrics to be selected by.

    Scale-free students are left out: their validation NLL and ECE are those of logits without a scale.
    """
    pool = [row for row in results.students if not row.scale_free]
    found = [(row, candidate(row, results.confidence_level, results)) for row in pool]
    known = [(row, one) for row, one in found if None not in (one.validation_accuracy, one.validation_nll)]
    images = results.images("validation")
    picked = select([one for _, one in known], images) if images > 0 else None
    if picked is None:
        return None
    return Choice(tuple(row for row, _ in known), tuple(one for _, one in known), *picked)


def best_seed(row: Row, results: Results) -> Model:
    """The network of a row that the same rule selects among its seeds; the first where validation metrics are lacking."""
    seeds = [replace(row, models=(model,)) for model in row.models]
    picked = select([candidate(one, results.confidence_level, results) for one in seeds], results.images("validation"))
    return row.models[0 if picked is None else picked[0]]


def recommendation(results: Results) -> Recommendation | None:
    """The recommendation; None where fewer than two students can be selected (`choose`)."""
    choice = choose(results)
    return advice_on(results, choice) if choice is not None and len(choice.rows) > 1 else None


def advice_on(results: Results, choice: Choice) -> Recommendation:
    """What the test images say to a choice."""
    rows, candidates, images = choice.rows, choice.candidates, results.images("validation")
    on_test = _on_test(results, choice)
    faults = faults_of(results, choice.row, best_seed(choice.row, results)).answers
    against = list(faults) or objections(choice.row, results)
    error = 1 - results.confidence_level
    selected_on_test = results.selected_on_test
    found = selection(candidates, images, results.images("test"), on_test, selected_on_test, against, error)
    assert found is not None
    notes = [RULE, error_words(error)] if len(rows) > 1 else []
    if choice.runner_up is not None:
        second = candidates[choice.runner_up]
        notes.append(
            f"Second on validation: {second.label} (accuracy {second.validation_accuracy:.3f}, NLL {second.validation_nll:.3f})."
        )
    pool = [row for row in results.students if not row.scale_free]
    if left_out := len(results.students) - len(pool):
        students = f"the {left_out} students" if left_out > 1 else "the student"
        notes.append(
            f"Left out of the selection: {students} with T = σ, since validation NLL of logits without a scale says nothing."
        )
    incomplete = [candidate_label(row) for row in pool if row not in rows]
    if incomplete:
        notes.append(f"Left out, for want of validation metrics: {'; '.join(incomplete)}.")
    if results.other_budgets:
        notes.append(f"Of the students trained {epochs_words(choice.row)}, the study’s first budget.")
    if len(results.seeds) > 1:
        notes.append(f"Metrics are means over {len(results.seeds)} seeds.")
    verdict, word = {True: ("yes", "Confirmed"), False: ("no", "Not confirmed"), None: ("undecided", "Open")}[
        found.confirmed
    ]
    return Recommendation(verdict, word, found.sentence, tuple(notes))


def _on_test(results: Results, choice: Choice) -> OnTest | None:
    """How the selected one and the runner-up compare in accuracy on the test images."""
    pair = [k for k in (choice.selected, choice.runner_up) if k is not None]
    if len(pair) < 2 or any(choice.candidates[k].test_accuracy is None for k in pair):
        return None
    comparison = compared(results, *(choice.rows[k] for k in pair), "accuracy")
    assert comparison is not None
    detectable = comparison.detectable_text if comparison.sign == 0 else ""
    power = f"; runs like these find {detectable} in {100 * POWER:.0f}\u00a0% of cases" if detectable else ""
    return OnTest(comparison.sign, comparison.text + power)
