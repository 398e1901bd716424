"""Claims about corrupted images: gains over the baseline by corruption and severity."""

from __future__ import annotations

from collections.abc import Sequence

from vicinal.claims.cases import same_order
from vicinal.claims.evidence import Evidence, ModelResults
from vicinal.claims.judge import Case, Outcome
from vicinal.claims.numbers import Number, difference, mean
from vicinal.claims.words import corruption_text

HIGH_SEVERITIES = (4, 5)
SMOOTH_CORRUPTIONS = ("fog", "contrast")
NOISE, EXCEPTION = "gaussian_noise", "pixelate"  # section 7.5 names pixelate an exception
CORRUPTED = "KD + mixup students measured on corrupted images, and the baseline"


def _robust(evidence: Evidence) -> list[tuple[ModelResults, ModelResults]]:
    """The plain teachers whose KD + mixup student was measured on corruptions."""
    found = []
    for teacher in evidence.plain_teachers:
        student = evidence.reference("kd_mixup", teacher)
        if student is not None and student.corruption_gain:
            found.append((teacher, student))
    return found


def mean_robustness_gain(student: ModelResults) -> Number:
    """The mean gain over all corruptions and severities, percentage points."""
    return mean([number for by_severity in student.corruption_gain.values() for number in by_severity.values()])


def robustness_order(evidence: Evidence) -> Outcome:
    """Mean gain under corruptions in the order of the peak linearity gain."""
    items = []
    for teacher, student in _robust(evidence):
        versus_teacher = student.versus_teacher.get(teacher.name)
        if versus_teacher is not None and versus_teacher.gain_peak is not None and not student.scale_free:
            items.append((teacher.name, versus_teacher.gain_peak, mean_robustness_gain(student)))
    return same_order(items, f"two teachers or more, each with {CORRUPTED} and a linearity gain")


def mean_gain_by_corruption(students: Sequence[ModelResults]) -> dict[str, Number]:
    """The mean gain over students and severities of every corruption that all of them have, percentage points."""
    names = (
        [name for name in students[0].corruption_gain if all(name in s.corruption_gain for s in students)]
        if students
        else []
    )
    return {name: mean([number for s in students for number in s.corruption_gain[name].values()]) for name in names}


def smooth_gain_most(evidence: Evidence) -> Outcome:
    """Fog and contrast gain more than every other corruption."""
    gains = mean_gain_by_corruption([student for _, student in _robust(evidence)])
    cases = [
        Case.of(
            "",
            f"{corruption_text(smooth)} over {corruption_text(other)}",
            difference(gains[smooth], gains[other]),
            "points",
        )
        for smooth in SMOOTH_CORRUPTIONS
        if smooth in gains
        for other in gains
        if other not in SMOOTH_CORRUPTIONS
    ]
    return Outcome(tuple(cases), missing=f"{CORRUPTED}, with fog, contrast and others among the corruptions")


def noise_gains_least(evidence: Evidence) -> Outcome:
    """Gaussian noise gains less than every other corruption but pixelate."""
    gains = mean_gain_by_corruption([student for _, student in _robust(evidence)])
    cases = [
        Case.of("", f"{corruption_text(other)} over {corruption_text(NOISE)}", difference(gain, gains[NOISE]), "points")
        for other, gain in gains.items()
        if NOISE in gains and other not in (NOISE, EXCEPTION)
    ]
    return Outcome(tuple(cases), missing=f"{CORRUPTED}, with Gaussian noise and others among the corruptions")


def pixelate_loses(evidence: Evidence) -> Outcome:
    """Every student below the baseline under pixelate at high severity."""
    cases = []
    for teacher, student in _robust(evidence):
        gains = student.corruption_gain.get("pixelate", {})
        cases += [Case.of(teacher.name, f"severity = {s}", -gains[s], "points") for s in HIGH_SEVERITIES if s in gains]
    return Outcome(tuple(cases), missing=f"{CORRUPTED}, with pixelate at severity 4 or 5 among them")
