"""The causal test of calibration: one teacher at several scales of its logits, and how far its confidence passes on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vicinal.claims import CLAIMS, Evidence, ModelResults, Number, judge
from vicinal.claims.causes import calibration_passes, log_slope

SCALES = {"A@0.5": 0.5, "A": 1.0, "A@2": 2.0}


def seeds(*values: float) -> Number:
    return Number(float(np.mean(values)), dict(enumerate(values)), of_arm=True)


def evidence(
    slope: float = 0.8,
    temperatures: dict[str, tuple[float | str, ...]] | None = None,
    gaps: dict[str, float] | None = None,
    scales: dict[str, float] | None = None,
) -> Evidence:
    """Students whose fitted temperature goes as a power of their teacher's scale, and whose overconfidence is as told."""
    scales, gaps = scales or SCALES, gaps or {"A@0.5": -8.0, "A": 1.0, "A@2": 9.0}
    teachers = [
        ModelResults(name, logit_scale=scale, scaled_from=None if scale == 1 else "A") for name, scale in scales.items()
    ]
    students = []
    for name, scale in scales.items():
        for temperature in (temperatures or {}).get(name, (2.0,)):
            fitted = 1.3 * scale**slope
            numbers = {
                "overconfidence": seeds(gaps[name] - 0.2, gaps[name], gaps[name] + 0.2),
                "fitted_temperature": seeds(0.99 * fitted, fitted, 1.01 * fitted),
            }
            students.append(ModelResults("kd_mixup", "kd_mixup", name, temperature, numbers=numbers))
    return Evidence("made up", tuple(teachers), tuple(students))


def test_every_step_of_the_scale_is_a_case_and_the_remark_says_how_far():
    outcome = calibration_passes(evidence())
    assert [(case.subject, case.condition) for case in outcome.cases] == [
        ("A", "logits × 0.5→1"), ("A", "logits × 1→2")
    ]  # fmt: skip
    assert [case.effect.text.split(" (")[0] for case in outcome.cases] == ["+9.00 points", "+8.00 points"]
    assert "A at T = 2: the temperature that calibrates the student goes as the power 0.80 (" in outcome.remark
    (claim,) = [claim for claim in CLAIMS if claim.key == "calibration_passes"]
    assert judge(claim, evidence()).verdict == "supported"
    assert judge(claim, evidence(gaps={"A@0.5": 1.0, "A": 1.0, "A@2": -9.0})).verdict == "contradicted"


def test_a_confidence_that_falls_has_a_negative_power_with_a_minus_sign():
    assert "power −0.50 (−0." in calibration_passes(evidence(slope=-0.5)).remark


def test_two_scales_without_the_plain_teacher_are_enough_and_one_is_not():
    two = calibration_passes(evidence(scales={"A@0.5": 0.5, "A@2": 2.0}))
    assert [case.condition for case in two.cases] == ["logits × 0.5→2"]
    assert two.cases[0].effect.text.startswith("+17.00 points")
    one = calibration_passes(evidence(scales={"A": 1.0}))
    assert one.cases == ()
    assert "logit_scale" in one.missing


@pytest.mark.parametrize(
    ("temperatures", "at"),
    [
        ({"A@0.5": (4.0, 2.0), "A": (2.0, 4.0), "A@2": (2.0, 8.0)}, "T = 2:"),
        ({"A@0.5": (8.0, 4.0), "A": (2.0, 4.0, 8.0), "A@2": (4.0, 8.0)}, "T = 4:"),
    ],
)
def test_students_of_one_temperature_are_compared(temperatures: dict[str, tuple[float | str, ...]], at: str):
    assert at in calibration_passes(evidence(temperatures=temperatures)).remark


def test_sigma_divides_any_scale_out_so_it_tests_nothing():
    assert calibration_passes(evidence(temperatures=dict.fromkeys(SCALES, ("sigma",)))).cases == ()
    mixed = {"A@0.5": (4.0,), "A": (2.0,), "A@2": (8.0,)}
    assert calibration_passes(evidence(temperatures=mixed)).cases == ()


@given(
    scales=st.lists(st.floats(0.1, 10), min_size=2, max_size=6, unique=True),
    logs=st.lists(st.floats(-2, 2), min_size=6, max_size=6),
)
def test_the_slope_is_that_of_least_squares(scales: list[float], logs: list[float]):
    assume(max(scales) / min(scales) > 1.01)
    values = np.exp(logs[: len(scales)])
    slope = log_slope(scales, [seeds(value, value) for value in values])
    assert slope.value == pytest.approx(np.polyfit(np.log(scales), np.log(values), 1)[0], rel=1e-6, abs=1e-9)


def test_a_slope_needs_two_scales():
    with pytest.raises(ValueError, match="two different scales"):
        log_slope([2.0], [seeds(1.0, 1.0)])
    with pytest.raises(ValueError, match="two different scales"):
        log_slope([2.0, 2.0], [seeds(1.0, 1.0), seeds(1.0, 1.0)])
