"""What studies measure beyond the paper, added to made-up results: every model gets every optional key."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from made_up_paper import CORRUPTIONS
from made_up_results import LAM


def add_optional(results: dict[str, Any], others: tuple[str, ...] = ("USPS",)) -> dict[str, Any]:
    """The results with selective prediction, class-wise ECE, OOD AUROC, information, McNemar's test and validation figures."""
    rng = np.random.default_rng(2)
    for model in [*results["teachers"], *results["students"]]:
        accuracy = model["accuracy"]
        coverage = np.arange(1, 51) / 50
        risk = (1 - accuracy) * coverage**1.6 + 0.004 * rng.random(50)
        model["selective"] = {"coverage": coverage.tolist(), "risk": risk.tolist(), "aurc": float(risk.mean() + 1e-4)}
        model["classwise_ece"] = 0.2 * model["ece"] + 0.001 * rng.random()
        model["ood_auroc"] = {name: float(rng.uniform(0.5, 0.99)) for name in others}
        model["corruptions"] = {
            name: {"severity": [1, 2, 3, 4, 5], "accuracy": (accuracy * rng.uniform(0.4, 1, 5)).tolist(),
                   "ece": rng.uniform(0.02, 0.3, 5).tolist(), "gain_pp": None, "gain_pp_interval": None}
            for name in CORRUPTIONS
        }  # fmt: skip
        model["representation"] = {
            "classes": ["Coat", "Shirt"], "images": 4, "features": 8, "v_score": float(rng.uniform(0.4, 0.9)), "silhouette": 0.1,
            "points": [[0.0, 1.0], [1.0, 0.0], [0.5, 1.0], [1.0, 1.0]], "labels": [0, 1, 0, 1],
        }  # fmt: skip
        nonlinearity = np.array(model["vicinity"]["nonlinearity"])
        mixed, clean = np.array(model["vicinity"]["entropy"]), np.full(LAM.size, 0.2 + 0.1 * rng.random())
        model["information"] = {
            "lam": LAM.tolist(), "entropy_mixed": mixed.tolist(), "entropy_clean": clean.tolist(),
            "nonlinearity": nonlinearity.tolist(), "residual_eq11": (mixed - clean - nonlinearity).tolist(),
        }  # fmt: skip
        model["validation"] = None
        if results["data"]["validation"]:
            model["validation"] = {
                name: model[name] + 0.001 * rng.random() for name in ("accuracy", "confidence", "ece", "nll", "brier")
            }
    results["mcnemar"] = []
    for student in results["students"]:
        student["mcnemar_versus_baseline"] = None
        if student["arm"] != "baseline":
            only_first, only_second = (int(count) for count in rng.integers(100, 180, 2))
            z = (only_first - only_second) / math.sqrt(only_first + only_second)
            student["mcnemar_versus_baseline"] = {
                "only_first": only_first, "only_second": only_second, "p_value": math.erfc(abs(z) / math.sqrt(2)),
            }  # fmt: skip
    return results
