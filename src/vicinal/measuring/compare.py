"""Two classifiers on the same images: every figure's difference with its paired error, by the comparator of `vicinal.claims`.

Shapes: N images, R resamples, L values of λ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vicinal.claims import Number, compare, decide, infer, ratio
from vicinal.evaluation import ImagesMeasured, Measured
from vicinal.metrics import mcnemar

SCALED = "_after_temperature_scaling"
ACCURACIES = ("accuracy", "accuracy_balanced", "accuracy_top5")  # compared in percentage points
FIGURES = (
    *ACCURACIES,
    "nll",
    "brier",
    "ece",
    "confidence",
    f"nll{SCALED}",
    f"brier{SCALED}",
    f"ece{SCALED}",
    "fitted_temperature",
)
AT_HALF = ("nonlinearity", "entropy", "linearity_information")


def compare_models(models: Sequence[ImagesMeasured], values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every two of them, as `results.ModelComparison` has it: the first less the second.

    Args:
        values: of each, what measurement.json has of it.
    """
    numbers = [numbers_of(*both) for both in zip(models, values, strict=True)] if len(models) > 1 else []
    return [
        _comparison(models, numbers, first, second)
        for first in range(len(models))
        for second in range(first + 1, len(models))
    ]


def numbers_of(model: ImagesMeasured, values: Mapping[str, Any]) -> dict[str, Number]:
    """A classifier's figures with what resampling the images does to each, the same resamples for all of the same images."""
    moved = model.deviations() if isinstance(model, Measured) else model.image_deviations()
    images, level = len(model.correct), model.measures.confidence_level
    found = {}
    for key in FIGURES:
        if values.get(key) is None or key not in moved:
            continue
        factor = 100.0 if key in ACCURACIES else 1.0
        # As one image more that is answered otherwise (Agresti and Min 2005): answers that are all right show no error.
        least = factor / (images + 2) if key in ACCURACIES else 0.0
        found[key] = _number(factor * values[key], factor * moved[key].numpy(), images, level, least)
    if values.get("vicinity"):
        curves = values["vicinity"]
        half = next(k for k, lam in enumerate(curves["lam"]) if math.isclose(lam, 0.5))
        for key in AT_HALF:
            if curves[key][half] is not None:
                drawn = moved[f"vicinity.{key}"][:, half].numpy()
                found[f"{key}_at_half"] = _number(curves[key][half], drawn, images, level)
        if found.get("entropy_at_half") and found["entropy_at_half"].value > 0 and "nonlinearity_at_half" in found:
            found["dominance_at_half"] = ratio(found["nonlinearity_at_half"], found["entropy_at_half"])
    return found


def _number(value: float, moved: np.ndarray[Any, Any], images: int, level: float, least_error: float = 0.0) -> Number:
    drawn = np.asarray(moved, dtype=np.float64)[None]
    if not np.isfinite(drawn).all():
        return Number(value, {0: value}, level=level)
    return Number(value, {0: value}, deviations=drawn, images=images, least_error=least_error, level=level)


def difference_entry(gap: Number) -> dict[str, Any] | None:
    """A difference as `results.MeasuredDifference` has it; None where it is not finite."""
    if not math.isfinite(gap.value):
        return None
    inference = infer(gap)
    return {
        "value": gap.value,
        "interval": None if inference is None else list(inference.interval),
        "p_value": None if inference is None else inference.p_value(),
        "sign": decide(gap),
        "detectable": None if inference is None else inference.detectable,
    }


def _comparison(
    models: Sequence[ImagesMeasured], numbers: Sequence[dict[str, Number]], first: int, second: int
) -> dict[str, Any]:
    one, other = models[first], models[second]
    differences = {}
    for key, number in numbers[first].items():
        if key not in numbers[second]:
            continue
        entry = difference_entry(compare(number, numbers[second][key]).difference)
        if entry is not None:
            differences[key] = entry
    answers = [model.image_answers.test.argmax(-1) for model in (one, other)]
    return {
        "first": first,
        "second": second,
        "differences": differences,
        "mcnemar": mcnemar(one.correct, other.correct),
        "same_answers": float((answers[0] == answers[1]).double().mean()),
        "both_wrong": int((~one.correct & ~other.correct).sum()),
    }
