"""How an ECE stands above noise, in words beside it."""

from __future__ import annotations

from statistics import fmean

from vicinal.claims import p_value_text
from vicinal.report.rows import Results, Row

FLOOR_NOTE = (
    "Floor: the ECE that a perfectly calibrated model of the same confidences shows by noise alone, and p: how often such a model "
    "shows at least the ECE that was measured (consistency resampling). An ECE near its floor says nothing of calibration; compare "
    "networks by NLL and Brier score first."
)


def floor_words(row: Row, key: str, level: float = 0.95) -> str:
    """ "floor 0.012, p = 0.080" of an ECE of `calibration_tests`; over seeds the mean floor and how many p are clear; else nothing."""
    tests = [t for model in row.models if (t := (model.get("calibration_tests") or {}).get(key))]
    if not tests:
        return ""
    floor = f"floor {fmean(test['floor'] for test in tests):.3f}"
    if len(tests) == 1:
        return f"{floor}, {p_value_text(tests[0]['p_value'])}"
    alpha = 1 - level
    return f"{floor}, p < {alpha:.2g} in {sum(test['p_value'] < alpha for test in tests)} of {len(tests)}"


def has_floors(results: Results) -> bool:
    """Whether any network's ECE was held against noise; results of earlier versions have none."""
    return any(model.get("calibration_tests") for row in results.rows for model in row.models)
