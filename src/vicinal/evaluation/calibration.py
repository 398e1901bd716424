"""Calibration on the test images: figures, floors, intervals, before and after temperature scaling, as results.json has them.

Shapes: N test images, K classes, R resamples.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from vicinal.config import MeasuresSpec
from vicinal.evaluation.resampled import SCALED
from vicinal.metrics import (
    Calibration,
    calibration_test,
    class_calibration,
    percentiles,
    resample_counts,
    resampled_aurc,
    selective,
)

_SCALED_FIGURES = (
    "confidence",
    "ece",
    "ece_equal_mass",
    "nll",
    "brier",
    "squared_calibration_error",
    "rms_calibration_error",
    "reliability",
)
_SCALED_INTERVALS = tuple(name for name in _SCALED_FIGURES if name not in ("ece_equal_mass", "reliability"))
_TESTED = ("ece", "ece_equal_mass")


def calibrated(logits: Tensor, labels: Tensor, measures: MeasuresSpec, temperature: float = 1.0) -> Calibration:
    """The metric of (N, K) logits divided by a temperature, and (N,) labels."""
    metric = Calibration(measures.ece_bins, temperature)
    metric.update(logits, labels)
    return metric


def calibration_numbers(
    logits: Tensor,
    labels: Tensor,
    measures: MeasuresSpec,
    temperature: float | None,
    log_temperatures: Tensor | None,
) -> dict[str, Any]:
    """The keys of a network that tell of its confidence, with their intervals.

    Args:
        logits: (N, K); labels: (N,) of the test images.
        temperature: fitted on the validation images; None where none is best, and then all scaled keys are None.
        log_temperatures: (R,) log of the temperature of each resample of the validation images.
    """
    raw = calibrated(logits, labels, measures)
    result = _figures(raw, measures)
    tests: dict[str, Any] = raw.tests(measures.bootstrap_resamples, measures.confidence_level)
    intervals: dict[str, Any] = dict(raw.intervals(measures.bootstrap_resamples, measures.confidence_level))
    scaled: dict[str, Any] = {}
    scaled_tests: dict[str, Any] = {}
    scaled_intervals: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    intervals["fitted_temperature"] = None
    if temperature is not None and log_temperatures is not None:
        metric = calibrated(logits, labels, measures, temperature)
        scaled = _figures(metric, measures)
        scaled_tests = metric.tests(measures.bootstrap_resamples, measures.confidence_level)
        scaled_intervals = dict(
            metric.intervals(measures.bootstrap_resamples, measures.confidence_level, 0, log_temperatures)
        )
        parts = _parts(raw, metric, log_temperatures, measures)
        intervals["fitted_temperature"] = _ends(log_temperatures.exp(), measures)
    tests |= {f"{name}{SCALED}": scaled_tests.get(name) for name in _TESTED}
    result |= {f"{name}{SCALED}": scaled.get(name) for name in _SCALED_FIGURES}
    intervals |= {f"{name}{SCALED}": scaled_intervals.get(name) for name in _SCALED_INTERVALS}
    by_class, drawn = class_calibration(
        logits.double().softmax(-1), labels, measures.ece_bins, measures.bootstrap_resamples
    )
    result["classwise_ece"] = math.fsum(by_class["ece"]) / len(by_class["ece"])
    tests["classwise_ece"] = calibration_test(result["classwise_ece"], drawn, measures.confidence_level)
    counts = resample_counts(len(labels), measures.bootstrap_resamples)
    intervals["aurc"] = _ends(resampled_aurc(logits, labels, counts), measures)
    return {
        **result,
        "class_calibration": by_class,
        "selective": selective(logits, labels),
        "calibration_tests": tests,
        "intervals": {name: _finite(ends) for name, ends in intervals.items()},
        "brier_parts": parts.get("brier"),
        "nll_parts": parts.get("nll"),
    }


def _figures(metric: Calibration, measures: MeasuresSpec) -> dict[str, Any]:
    figures: dict[str, Any] = {name: _finite(float(value)) for name, value in metric.compute().items()}
    return figures | {"reliability": metric.reliability(measures.bootstrap_resamples, measures.confidence_level)}


def _parts(
    raw: Calibration, scaled: Calibration, log_temperatures: Tensor, measures: MeasuresSpec
) -> dict[str, dict[str, Any] | None]:
    """NLL and Brier score in what scaling takes off and what it leaves, with paired intervals that include the fit.

    A proper score's calibration loss is what the best map of the answers would take off it. Binned estimates of it (Murphy 1973)
    are biased by the noise of every bin and class; the temperature is fitted on other images, so this is not, but it tells only
    of what one temperature can mend.
    """
    own, after = raw.compute(), scaled.compute()
    counts = resample_counts(len(raw.labels[0]), measures.bootstrap_resamples)
    moved, moved_after = raw.deviations(counts), scaled.deviations(counts, log_temperatures)
    found: dict[str, dict[str, Any] | None] = {}
    for name in ("brier", "nll"):
        taken = own[name] - after[name]
        if not bool(taken.isfinite()):
            found[name] = None
            continue
        found[name] = {
            "calibration": float(taken),
            "refinement": float(after[name]),
            "calibration_interval": _ends(taken + moved[name] - moved_after[name], measures),
            "refinement_interval": _ends(after[name] + moved_after[name], measures),
        }
    return found


def _ends(drawn: Tensor, measures: MeasuresSpec) -> list[float]:
    return [float(end) for end in percentiles(drawn, measures.confidence_level)]


def _finite(value: Any) -> Any:
    """As JSON has it: None in place of what is not finite."""
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value if value is None or math.isfinite(value) else None
