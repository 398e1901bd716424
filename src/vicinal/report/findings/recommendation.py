"""Which student to take from a study: the selection rule applied to its results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist, fmean

import numpy as np
from numpy.typing import NDArray

from vicinal.claims import POWER
from vicinal.report.comparisons import compared
from vicinal.report.degenerate import objections
from vicinal.report.findings.selection_rule import Candidate, OnTest, select, selection
from vicinal.report.rows import ARM_LABELS, Results, Row, floats, stored_interval, temperature_label

Array = NDArray[np.float64]
RULE = (
    "The rule: among the students within one standard error of the best validation accuracy, the one with the lowest "
    "validation NLL."
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


def candidate(row: Row, confidence_level: float = 0.95) -> Candidate:
    """A student's means over seeds; a metric that a seed does not have is None. The level is that of the stored intervals."""

    def mean(key: str) -> float | None:
        values = row.values(key)
        return fmean(values) if len(values) == len(row.models) else None

    def validation(key: str) -> float | None:
        found = [(model.get("validation") or {}).get(key) for model in row.models]
        values = [value for value in found if value is not None]
        return fmean(values) if len(values) == len(row.models) else None

    spread, floor = ece_noise(row)
    return Candidate(
        candidate_label(row), validation("accuracy"), validation("nll"), mean("accuracy"), mean("ece"), validation("ece"),
        test_nll=mean("nll"), nll_deviation=nll_deviation(row, confidence_level), ece_deviation=spread, ece_floor=floor,
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


def recommendation(results: Results) -> Recommendation | None:
    """The recommendation; None where fewer than two students have validation metrics to be selected by.

    Scale-free students are left out: their validation NLL and ECE are those of logits without a scale.
    """
    pool = [row for row in results.students if not row.scale_free]
    rows = [row for row in pool if None not in (candidate(row).validation_accuracy, candidate(row).validation_nll)]
    images = results.images("validation")
    if len(rows) < 2 or images <= 0:
        return None
    candidates = [candidate(row, results.confidence_level) for row in rows]
    picked = select(candidates, images)
    assert picked is not None
    selected, runner_up = picked
    on_test = None
    if runner_up is not None and None not in (candidates[k].test_accuracy for k in picked if k is not None):
        comparison = compared(results, rows[selected], rows[runner_up], "accuracy")
        assert comparison is not None
        power = f"; runs like these find {comparison.detectable_text} in {100 * POWER:.0f}\u00a0% of cases"
        on_test = OnTest(
            comparison.sign, comparison.text + (power if comparison.sign == 0 and comparison.inference else "")
        )
    selected_on_test = results.selected_on_test
    against = objections(rows[selected], results)
    error = 1 - results.confidence_level
    found = selection(candidates, images, results.images("test"), on_test, selected_on_test, against, error)
    assert found is not None
    notes = [RULE, error_words(error)]
    if runner_up is not None:
        second = candidates[runner_up]
        notes.append(
            f"Second on validation: {second.label} (accuracy {second.validation_accuracy:.3f}, NLL {second.validation_nll:.3f})."
        )
    if left_out := len(results.students) - len(pool):
        students = f"the {left_out} students" if left_out > 1 else "the student"
        notes.append(
            f"Left out of the selection: {students} with T = σ, since validation NLL of logits without a scale says nothing."
        )
    incomplete = [candidate_label(row) for row in pool if row not in rows]
    if incomplete:
        notes.append(f"Left out, for want of validation metrics: {'; '.join(incomplete)}.")
    if len(results.seeds) > 1:
        notes.append(f"Metrics are means over {len(results.seeds)} seeds.")
    verdict, word = {True: ("yes", "Confirmed"), False: ("no", "Not confirmed"), None: ("undecided", "Open")}[
        found.confirmed
    ]
    return Recommendation(verdict, word, found.sentence, tuple(notes))
