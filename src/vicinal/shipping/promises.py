"""What a shipped student promises: a temperature of one half of the validation images; sets and thresholds of the other half.

The halves are drawn at random, so that the second half is exchangeable with images to come and nothing was fitted on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vicinal.evaluation import Predictions
from vicinal.functional import (
    brier_score,
    calibration_bins,
    conformal_quantile,
    conformal_scores,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    prediction_sets,
    selective_threshold,
)

COVERAGES = (*(percent / 100 for percent in range(50, 100)), 0.995, 0.999)
RISKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3)
DELTA = 0.05  # that a stated risk does not hold with
BINS = 15


@dataclass(frozen=True)
class Halves:
    """Validation answers in two halves, each logits (n, K) and labels (n,)."""

    fitted: tuple[Tensor, Tensor]  # that a temperature is fitted on
    promised: tuple[Tensor, Tensor]  # that promises are calibrated on

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, seed: int = 0) -> Halves:
        """Cut at random; of an odd number the promises get one more."""
        first, second = cls.positions(len(labels), seed)
        return cls((logits[first], labels[first]), (logits[second], labels[second]))

    @staticmethod
    def positions(images: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Which of so many images are in each half, int64."""
        order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
        return order[: images // 2], order[images // 2 :]


@dataclass(frozen=True)
class Promises:
    """The temperature, what is promised at it, and what test images make of both. Plain values, as vicinal.json has them."""

    temperature: float | None
    temperature_note: str  # how it was come by, a sentence
    values: dict[str, Any]


def fitted_on_half(halves: Halves) -> tuple[float | None, str]:
    """The temperature of the first half, and a sentence about it; None where there is none."""
    logits, labels = halves.fitted
    if not len(labels):
        return None, "No temperature was fitted: there were no validation images."
    temperature = fit_temperature(logits, labels)
    if temperature is None:
        return None, (
            f"No temperature was fitted: on the {len(labels):,} validation images for it no finite one is best "
            "(all answers right, or none says anything)."
        )
    return temperature, f"The temperature {temperature:.4g} was fitted by NLL on {len(labels):,} validation images."


def promises(predictions: Predictions | None, scale: float | None = None) -> Promises:
    """What a network's stored answers allow to promise.

    Args:
        predictions: its raw logits; None: nothing is known of them.
        scale: a temperature that is given instead of fitted.
    """
    if predictions is None:
        note = "No temperature was fitted: the study has not measured this network."
        return Promises(scale, note, {"conformal": None, "selective": None, "test": None})
    halves = Halves.of(predictions.validation.double(), predictions.validation_labels)
    temperature, note = fitted_on_half(halves) if scale is None else (scale, "")
    t = temperature or 1.0
    test = (predictions.test.double() / t, predictions.test_labels)
    held = (halves.promised[0] / t, halves.promised[1])
    values: dict[str, Any] = {
        "fitted_on_images": len(halves.fitted[1]),
        "conformal": _conformal(held, test),
        "selective": _selective(held, test),
        "test": numbers_on_test(*test) if len(test[1]) else None,
        "test_uncalibrated": numbers_on_test(predictions.test.double(), test[1]) if len(test[1]) else None,
    }
    return Promises(temperature, note, values)


def _conformal(held: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> dict[str, Any] | None:
    if not len(held[1]):
        return None
    scores = conformal_scores(held[0].softmax(-1), held[1])
    answers, entries = test[0].softmax(-1), []
    for coverage in COVERAGES:
        quantile = conformal_quantile(scores, coverage)
        entry: dict[str, Any] = {"coverage": coverage, "quantile": quantile if math.isfinite(quantile) else None}
        if len(test[1]):
            sets = prediction_sets(answers, quantile)
            entry["test_coverage"] = float(sets.gather(1, test[1][:, None]).double().mean())
            entry["test_mean_size"] = float(sets.sum(1).double().mean())
        entries.append(entry)
    return {"method": "split conformal, score 1 - p of the class; the top class is always in", "images": len(held[1]),
            "quantiles": entries}  # fmt: skip


def _selective(held: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> dict[str, Any] | None:
    if not len(held[1]):
        return None
    sure, top = held[0].softmax(-1).max(-1)
    test_sure, test_top = test[0].softmax(-1).max(-1) if len(test[1]) else (torch.zeros(0), torch.zeros(0))
    entries: list[dict[str, Any]] = []
    for risk in RISKS:
        found = selective_threshold(sure, top == held[1], risk, DELTA)
        entry: dict[str, Any] = {"risk": risk, "threshold": None if found is None else found.threshold}
        if found is not None:
            entry |= {"bound": found.bound, "answered": found.answered / len(held[1])}
            answered = test_sure >= found.threshold
            if len(test[1]):
                entry["test_answered"] = float(answered.double().mean())
                wrong = (test_top != test[1])[answered]
                entry["test_risk"] = float(wrong.double().mean()) if len(wrong) else None
        entries.append(entry)
    return {"method": "selection with guaranteed risk (Geifman and El-Yaniv 2017)", "images": len(held[1]), "delta": DELTA,
            "thresholds": entries}  # fmt: skip


def numbers_on_test(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Of (N, K) logits on N ≥ 1 test images: accuracy, NLL, ECE, Brier score, reliability in bins, recall by class."""
    p = logits.double().softmax(-1)
    sure, top = p.max(-1)
    right = top == labels
    count, total, correct = calibration_bins(sure, right, BINS)
    images = labels.bincount(minlength=p.shape[1])
    hits = labels[right].bincount(minlength=p.shape[1])
    return {
        "images": len(labels),
        "accuracy": float(right.double().mean()),
        "confidence": float(sure.mean()),
        "nll": float(negative_log_likelihood(logits.double(), labels).mean()),
        "ece": float(expected_calibration_error(p, labels, BINS)),
        "brier": float(brier_score(p, labels).mean()),
        "reliability": {
            "count": [int(n) for n in count],
            "confidence": [float(c / n) if n else None for c, n in zip(total, count, strict=True)],
            "accuracy": [float(c / n) if n else None for c, n in zip(correct, count, strict=True)],
        },
        "class_images": images.tolist(),
        "class_recall": [float(h / n) if n else None for h, n in zip(hits, images, strict=True)],
    }
