"""Every number of a network, computed from its stored predictions: the entries of results.json."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vicinal.config import MeasuresSpec
from vicinal.evaluation.predictions import Predictions
from vicinal.evaluation.resampled import SCALED, mean_deviations
from vicinal.functional import (
    COLDEST,
    HOTTEST,
    linearity_gain,
    log_mean_prediction,
    prediction_entropy,
    temperature_limit,
)
from vicinal.metrics import (
    Alignment,
    Calibration,
    Information,
    InformationBound,
    VicinalCurves,
    classwise_expected_calibration_error,
    fitted_log_temperatures,
    interval,
    resample_counts,
    selective,
)

VALIDATION_STREAM = 1  # seed of the validation images' resamples: independent of the test images', which have 0
CURVES = ("nonlinearity", "entropy", "linearity_information")


class Measured:
    """All numbers of one network, from its predictions."""

    def __init__(self, predictions: Predictions, measures: MeasuresSpec) -> None:
        self.predictions, self.measures = predictions, measures
        self.temperature, self.no_temperature = _fitted_temperature(predictions)
        self.curves = self._curves(1.0)
        self.scaled_curves = self._curves(self.temperature) if self.temperature is not None else None

    def _curves(self, temperature: float) -> VicinalCurves:
        p = self.predictions
        curves = VicinalCurves(p.lam)
        curves.update(*(logits.double() / temperature for logits in (p.pair_i, p.pair_j, p.pair_mixed)))
        return curves

    def _interval(self, values: Tensor) -> dict[str, list[float | None]]:
        measures = self.measures
        lower, upper = interval(values, lambda means: means, measures.bootstrap_resamples, measures.confidence_level)
        return {"lower": _plain(lower), "upper": _plain(upper)}

    def numbers(self, scale_free: bool) -> dict[str, Any]:
        """The keys of results.json that teachers and students share."""
        raw, intervals = self._calibration(1.0)
        result = {**raw, "intervals": intervals, "scale_free": scale_free, "fitted_temperature": self.temperature}
        result["no_fitted_temperature"] = self.no_temperature
        scaled: dict[str, Any] = {}
        scaled_intervals: dict[str, Any] = {}
        if self.temperature is not None:
            scaled, scaled_intervals = self._calibration(self.temperature)
        intervals |= {
            f"{name}_after_temperature_scaling": scaled_intervals.get(name) for name in ("ece", "nll", "brier")
        }
        for name in ("confidence", "ece", "ece_equal_mass", "nll", "brier", "reliability"):
            result[f"{name}_after_temperature_scaling"] = scaled.get(name)
        p = self.predictions
        result["classwise_ece"] = float(
            classwise_expected_calibration_error(p.test.double().softmax(-1), p.test_labels, self.measures.ece_bins)
        )
        result["selective"] = selective(p.test, p.test_labels)
        result["answers"] = self._answers()
        result["validation"] = self._validation()
        result["information"] = {name: _plain(values) for name, values in self._information().compute().items()}
        result["vicinity"] = self._vicinity(self.curves)
        result["vicinity_after_temperature_scaling"] = (
            self._vicinity(self.scaled_curves) if self.scaled_curves else None
        )
        return result

    def _calibration(self, temperature: float) -> tuple[dict[str, Any], dict[str, Any]]:
        metric = self._calibrated(temperature)
        figures: dict[str, Any] = {name: _plain(value) for name, value in metric.compute().items()}
        figures["reliability"] = metric.reliability()
        return figures, metric.intervals(self.measures.bootstrap_resamples, self.measures.confidence_level)

    def _calibrated(self, temperature: float) -> Calibration:
        metric = Calibration(self.measures.ece_bins, temperature)
        metric.update(self.predictions.test, self.predictions.test_labels)
        return metric

    def _answers(self) -> dict[str, Any]:
        """What it answers on the test images, beside what the class shares alone reach there."""
        logits, labels = self.predictions.test.double(), self.predictions.test_labels
        classes = logits.shape[-1]
        answered = logits.argmax(-1).bincount(minlength=classes)
        images, right = labels.bincount(minlength=classes), labels[self.correct].bincount(minlength=classes)
        recall = right.double() / images  # NaN for a class without images
        shares = images.double() / len(labels)
        information = prediction_entropy(log_mean_prediction(logits)) - prediction_entropy(logits).mean()
        return {
            "predicted_classes": int((answered > 0).sum()),
            "commonest_answer": int(answered.argmax()),
            "commonest_answer_share": float(answered.max() / len(labels)),
            "class_accuracy": _plain(recall),
            "balanced_accuracy": float(recall.nanmean()),
            "information": max(0.0, float(information)),
            "prior_accuracy": float(shares.max()),
            "prior_nll": float(prediction_entropy(shares.log())),
        }

    def _validation(self) -> dict[str, float] | None:
        """What may be chosen by: figures on the validation images."""
        if not len(self.predictions.validation):
            return None
        metric = Calibration(self.measures.ece_bins)
        metric.update(self.predictions.validation, self.predictions.validation_labels)
        computed = metric.compute()
        return {name: float(computed[name]) for name in ("accuracy", "confidence", "ece", "nll", "brier")}

    def _information(self) -> Information:
        """Both sides of eq. 11 along λ."""
        metric = Information(self.predictions.lam)
        metric.update(self.predictions.pair_i, self.predictions.pair_j, self.predictions.pair_mixed)
        return metric

    def _alignment(self, teacher: Measured) -> Alignment:
        p, t = self.predictions, teacher.predictions
        metric = Alignment(p.lam)
        metric.update(torch.cat([t.pair_i, t.pair_j]), torch.cat([p.pair_i, p.pair_j]), t.pair_mixed, p.pair_mixed)
        return metric

    @property
    def correct(self) -> Tensor:
        """(N,) bool: which test images are classified correctly."""
        return self.predictions.test.argmax(-1) == self.predictions.test_labels

    def _vicinity(self, curves: VicinalCurves) -> dict[str, Any]:
        measures = self.measures
        bounds = curves.intervals(measures.bootstrap_resamples, measures.confidence_level)
        return {
            **{name: _plain(values) for name, values in curves.compute().items()},
            "intervals": {name: {"lower": _plain(low), "upper": _plain(high)} for name, (low, high) in bounds.items()},
        }

    def deviations(self) -> dict[str, Tensor]:
        """How far this network's own figures move over resamples of the images, by their keys in results.json: (R, ...) each."""
        p, resamples = self.predictions, self.measures.bootstrap_resamples
        counts = resample_counts(len(p.test_labels), resamples)
        found = self._calibrated(1.0).deviations(counts)
        values = {f"vicinity.{name}": self.curves.per_pair(name) for name in CURVES}
        values["information.residual_eq11"] = self._information().per_pair("residual_eq11")
        if self.scaled_curves is not None and self.temperature is not None:
            scaled = self._calibrated(self.temperature).deviations(counts, self.log_temperatures)
            found |= {f"{name}{SCALED}": moved for name, moved in scaled.items() if name != "accuracy"}
            values |= {f"vicinity{SCALED}.{name}": self.scaled_curves.per_pair(name) for name in CURVES}
        return found | mean_deviations(values, resamples)

    @cached_property
    def log_temperatures(self) -> Tensor | None:
        """(R,) log of the temperature that each resample of the validation images is fitted; None where none was fitted."""
        p = self.predictions
        if self.temperature is None:
            return None
        counts = resample_counts(len(p.validation_labels), self.measures.bootstrap_resamples, VALIDATION_STREAM)
        return fitted_log_temperatures(p.validation, p.validation_labels, self.temperature, counts)

    def deviations_from(self, teacher: Measured) -> dict[str, Tensor]:
        """How far kl_real and kl_mixed against a teacher move over the same resamples: (R,) each."""
        real, mixed = self._alignment(teacher).per_pair()
        values = {"kl_real": real, "kl_mixed": torch.trapezoid(mixed, self.predictions.lam)}
        return mean_deviations(values, self.measures.bootstrap_resamples)

    def minus_baseline(self, baseline: Measured) -> dict[str, Any]:
        """Accuracy and ECE less the baseline's on the same test images, with paired intervals."""
        own, other = self._calibrated(1.0), baseline._calibrated(1.0)
        return own.minus(other, self.measures.bootstrap_resamples, self.measures.confidence_level)

    def versus_teacher(self, teacher: Measured) -> dict[str, Any]:
        """Linearity gain and alignment against a teacher, on the same pairs."""
        gain = linearity_gain(teacher.curves.per_pair("nonlinearity"), self.curves.per_pair("nonlinearity"))
        scaled = None
        if self.scaled_curves is not None and teacher.scaled_curves is not None:
            both = linearity_gain(
                *(curves.per_pair("nonlinearity") for curves in (teacher.scaled_curves, self.scaled_curves))
            )
            scaled = _plain(both.mean(0))
        p, t = self.predictions, teacher.predictions
        alignment = self._alignment(teacher)
        bounds = alignment.interval(self.measures.bootstrap_resamples, self.measures.confidence_level)
        bound = InformationBound(p.lam)
        bound.update(t.pair_mixed, p.pair_mixed)
        return {
            "information": {name: _plain(values) for name, values in bound.compute().items()},
            "linearity_gain": _plain(gain.mean(0)),
            "linearity_gain_interval": self._interval(gain),
            "linearity_gain_after_temperature_scaling": scaled,
            "alignment": {
                **{name: _plain(value) for name, value in alignment.compute().items()},
                "intervals": {"independent_response": [_plain(bound) for bound in bounds]},
            },
        }


def _fitted_temperature(predictions: Predictions) -> tuple[float | None, str | None]:
    """The temperature with the lowest NLL on the validation images, or None with the reason."""
    images = len(predictions.validation)
    if not images:
        return None, "there are no validation images"
    limit = temperature_limit(predictions.validation, predictions.validation_labels)
    if limit == 0:
        return None, (
            f"no finite temperature is best: NLL on the {images:,} validation images falls as T falls to its bound of "
            f"{COLDEST:g}, as it does where all are classified correctly"
        )
    if limit == math.inf:
        return None, (
            f"no finite temperature is best: NLL on the {images:,} validation images falls as T rises to its bound of "
            f"{HOTTEST:g}, so that the answers say no more than equal probabilities, or are surer still"
        )
    if math.isnan(limit):
        return None, "no temperature changes its answers: all classes get the same logit"
    return limit, None


def _plain(values: Tensor) -> Any:
    """A tensor as JSON has it: numbers, None where not finite."""
    listed = values.tolist()
    if isinstance(listed, list):
        return [v if math.isfinite(v) else None for v in listed]
    return listed if math.isfinite(listed) else None
