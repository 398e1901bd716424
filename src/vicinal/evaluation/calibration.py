"""Calibration on the test images: figures, floors, intervals, before and after temperature scaling, as results.json has them.

Shapes: N test images, K classes, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vicinal import metrics  # its classes are imported when they are named
from vicinal.config import MeasuresSpec
from vicinal.evaluation.resampled import SCALED
from vicinal.metrics import calibration_test, class_calibration, percentiles, resampled_aurc, selective

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


def calibrated(logits: Tensor, labels: Tensor, measures: MeasuresSpec, temperature: float = 1.0) -> metrics.Calibration:
    """The metric of (N, K) logits divided by a temperature, and (N,) labels."""
    metric = metrics.Calibration(measures.ece_bins, temperature)
    metric.update(logits, labels)
    return metric


@dataclass(frozen=True)
class Scaling:
    """The fitted temperature with the error of its fit, and what resampling moves after scaling."""

    temperature: float
    log_temperatures: Tensor  # (R,) log of the temperature of each resample of the validation images
    deviations: Mapping[str, Tensor]  # of the scaled metric, with those temperatures
    logits: Tensor | None = None  # (N, K) scaled already, where not all images have one temperature


def calibration_numbers(
    logits: Tensor,
    labels: Tensor,
    measures: MeasuresSpec,
    counts: Tensor,
    deviations: Mapping[str, Tensor],
    scaling: Scaling | None,
) -> dict[str, Any]:
    """The keys of a network that tell of its confidence, with their intervals.

    Args:
        logits: (N, K); labels: (N,) of the test images.
        counts: (R, N) how often each resample counts each test image.
        deviations: what `Calibration.deviations` gives for them, before scaling.
        scaling: None where no temperature is best, and then all scaled keys are None.
    """
    level, resamples = measures.confidence_level, measures.bootstrap_resamples
    raw = calibrated(logits, labels, measures)
    result = _figures(raw, measures)
    tests: dict[str, Any] = raw.tests(resamples, level)
    intervals: dict[str, Any] = {**raw.intervals(confidence_level=level, deviations=deviations)}
    intervals["aurc"] = _ends(resampled_aurc(logits, labels, counts), level)
    scaled: dict[str, dict[str, Any]] = {"figures": {}, "tests": {}, "intervals": {}, "parts": {}}
    if scaling is not None:
        if scaling.logits is None:
            metric = calibrated(logits, labels, measures, scaling.temperature)
        else:
            metric = calibrated(scaling.logits, labels, measures)
        scaled = {
            "figures": _figures(metric, measures),
            "tests": metric.tests(resamples, level),
            "intervals": metric.intervals(
                confidence_level=level,
                log_temperatures=scaling.log_temperatures,
                deviations=scaling.deviations,
            ),
            "parts": _parts(raw, metric, deviations, scaling.deviations, level),
        }
    intervals["fitted_temperature"] = _ends(scaling.log_temperatures.exp(), level) if scaling is not None else None
    tests |= {f"{name}{SCALED}": scaled["tests"].get(name) for name in _TESTED}
    result |= {f"{name}{SCALED}": scaled["figures"].get(name) for name in _SCALED_FIGURES}
    intervals |= {f"{name}{SCALED}": scaled["intervals"].get(name) for name in _SCALED_INTERVALS}
    by_class, drawn = class_calibration(logits.double().softmax(-1), labels, measures.ece_bins, resamples)
    result["classwise_ece"] = math.fsum(by_class["ece"]) / len(by_class["ece"])
    tests["classwise_ece"] = calibration_test(result["classwise_ece"], drawn, level)
    return {
        **result,
        "class_calibration": by_class,
        "selective": selective(logits, labels),
        "calibration_tests": tests,
        "intervals": {name: _finite(ends) for name, ends in intervals.items()},
        "brier_parts": scaled["parts"].get("brier"),
        "nll_parts": scaled["parts"].get("nll"),
    }


def _figures(metric: metrics.Calibration, measures: MeasuresSpec) -> dict[str, Any]:
    figures: dict[str, Any] = {name: _finite(float(value)) for name, value in metric.compute().items()}
    return figures | {"reliability": metric.reliability(measures.bootstrap_resamples, measures.confidence_level)}


def _parts(
    raw: metrics.Calibration,
    scaled: metrics.Calibration,
    moved: Mapping[str, Tensor],
    moved_scaled: Mapping[str, Tensor],
    level: float,
) -> dict[str, dict[str, Any] | None]:
    """NLL and Brier score in what scaling takes off and what it leaves, with paired intervals that include the fit.

    A proper score's calibration loss is what the best map of the answers would take off it. Binned estimates of it (Murphy 1973)
    are biased by the noise of every bin and class; the temperature is fitted on other images, so this is not, but it tells only
    of what one temperature can mend.
    """
    own, after = raw.compute(), scaled.compute()
    found: dict[str, dict[str, Any] | None] = {}
    for name in ("brier", "nll"):
        taken = own[name] - after[name]
        if not bool(taken.isfinite()):
            found[name] = None
            continue
        found[name] = {
            "calibration": float(taken),
            "refinement": float(after[name]),
            "calibration_interval": _ends(taken + moved[name] - moved_scaled[name], level),
            "refinement_interval": _ends(after[name] + moved_scaled[name], level),
        }
    return found


def _ends(drawn: Tensor, level: float) -> list[float]:
    return [float(end) for end in percentiles(drawn, level)]


def _finite(value: Any) -> Any:
    """As JSON has it: None in place of what is not finite."""
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value if value is None or math.isfinite(value) else None
