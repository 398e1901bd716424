"""Every number of a network, computed from its stored predictions: the entries of results.json."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

from torch import Tensor

from vicinal.config import MeasuresSpec, Temperature
from vicinal.evaluation.calibration import Scaling, calibrated, calibration_numbers
from vicinal.evaluation.pair_measures import Fitted, PairMeasured, PairsCompared, keyed
from vicinal.evaluation.plain import plain
from vicinal.evaluation.predictions import PairAnswers, Predictions
from vicinal.evaluation.resampled import SCALED
from vicinal.functional import (
    COLDEST,
    HOTTEST,
    log_mean_prediction,
    prediction_entropy,
    temperature_limit,
)
from vicinal.metrics import (
    Calibration,
    PairDesign,
    Recall,
    fitted_log_temperatures,
    lam_grid,
    resample_counts,
)

# Seeds of resamples: independent of each other, the same for all networks.
TEST_STREAM, VALIDATION_STREAM, PAIR_STREAM, SAME_CLASS_STREAM = range(4)
MOST_REMEMBERED = 100_000_000  # counts, two bytes each


class Measured:
    """All numbers of one network, from its predictions."""

    def __init__(self, predictions: Predictions, measures: MeasuresSpec) -> None:
        self.predictions, self.measures = predictions, measures
        self.temperature, self.no_temperature = _fitted_temperature(predictions)
        p = predictions
        self.pairs = self._on(p.pair, p.lam, self._counts_of(PAIR_STREAM))
        self.held_out = self._on(p.held_out_pair, p.lam, self._counts_of_test) if p.held_out_pair else None

    def _on(self, answers: PairAnswers, lam: Tensor, counts: Callable[[PairDesign], Tensor]) -> PairMeasured:
        return PairMeasured(answers, lam, self.fitted, self.measures, counts)

    def _counts_of(self, stream: int) -> Callable[[PairDesign], Tensor]:
        return lambda design: _counts(len(design.numbers), self.measures.bootstrap_resamples, stream)

    def _counts_of_test(self, design: PairDesign) -> Tensor:
        """Of test images in pairs: the resamples that accuracy and the like have."""
        return _counts(len(self.predictions.test), self.measures.bootstrap_resamples, TEST_STREAM)[:, design.numbers]

    @cached_property
    def fitted(self) -> Fitted | None:
        """The temperature with the error of its fit; None where none was fitted."""
        if self.temperature is None or self.log_temperatures is None:
            return None
        return Fitted(self.temperature, self.log_temperatures - math.log(self.temperature))

    def numbers(self, scale_free: bool) -> dict[str, Any]:
        """The keys of results.json that teachers and students share."""
        p = self.predictions
        counts = _counts(len(p.test), self.measures.bootstrap_resamples, TEST_STREAM)
        result = calibration_numbers(p.test, p.test_labels, self.measures, counts, self._moved, self._scaling)
        recall, intervals = self._recall.compute(), self._recall.intervals(self.measures.confidence_level)
        result |= {name: plain(values) for name, values in recall.items()}
        result["recall_by_class_interval"] = intervals.pop("recall_by_class")
        result["intervals"] |= intervals
        result |= {"scale_free": scale_free, "fitted_temperature": self.temperature}
        result["no_fitted_temperature"] = self.no_temperature
        result["answers"] = self._answers()
        result["validation"] = self._validation()
        information = self.pairs.information().compute()
        result["information"] = {name: plain(values) for name, values in information.items()}
        result |= self._on_pairs(self.pairs, p.same_class_pair, self._counts_of(SAME_CLASS_STREAM))
        result["held_out"] = (
            self._on_pairs(self.held_out, p.held_out_same_class_pair, self._counts_of_test) if self.held_out else None
        )
        return result

    def _on_pairs(
        self, pairs: PairMeasured, same_class: PairAnswers | None, counts: Callable[[PairDesign], Tensor]
    ) -> dict[str, Any]:
        """The curves, and figures at λ = 1/2 of pairs of one class and of two, raw and after temperature scaling."""
        found: dict[str, Any] = {}
        labels, different = pairs.answers.labels, ~pairs.answers.same_class
        same = self._on(same_class, lam_grid(3), counts) if same_class is not None else None
        for scaled, end in ((False, ""), (True, SCALED)):
            found[f"vicinity{end}"] = pairs.entry(scaled)
            found[f"by_class{end}"] = None
            if bool((labels >= 0).all()) and (not scaled or self.fitted is not None):
                found[f"by_class{end}"] = {
                    "same": same.entry_at_half(scaled) if same is not None else None,
                    "different": pairs.entry_at_half(scaled, different) if bool(different.any()) else None,
                }
        return found

    def _calibrated(self, temperature: float) -> Calibration:
        return calibrated(self.predictions.test, self.predictions.test_labels, self.measures, temperature)

    @cached_property
    def _recall(self) -> Recall:
        metric = Recall()
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
            "class_accuracy": plain(recall),
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

    @property
    def correct(self) -> Tensor:
        """(N,) bool: which test images are classified correctly."""
        return self.predictions.test.argmax(-1) == self.predictions.test_labels

    def deviations(self) -> dict[str, Tensor]:
        """How far this network's own figures move over resamples of the images, by their keys in resamples.npz: (R, ...) each."""
        counts = _counts(len(self.predictions.test), self.measures.bootstrap_resamples, TEST_STREAM)
        found = self._moved | self._recall.deviations(counts)
        if self._scaling is not None:
            scaled = self._scaling.deviations
            found |= {f"{name}{SCALED}": moved for name, moved in scaled.items() if name != "accuracy"}
            found["fitted_temperature"] = self._scaling.log_temperatures.exp() - self._scaling.temperature
        residual = {"residual_eq11": self.pairs.information().per_pair("residual_eq11")}
        found |= keyed("information", self.pairs.moved(residual))
        for prefix, pairs in (("", self.pairs), ("held_out.", self.held_out)):
            if pairs is not None:
                found |= keyed(f"{prefix}vicinity", pairs.deviations)
                found |= keyed(f"{prefix}vicinity{SCALED}", pairs.scaled_deviations)
        return found

    @cached_property
    def _moved(self) -> dict[str, Tensor]:
        """What resampling the test images changes in the figures of calibration, (R,) each."""
        counts = _counts(len(self.predictions.test), self.measures.bootstrap_resamples, TEST_STREAM)
        return self._calibrated(1.0).deviations(counts)

    @cached_property
    def _scaling(self) -> Scaling | None:
        if self.temperature is None or self.log_temperatures is None:
            return None
        counts = _counts(len(self.predictions.test), self.measures.bootstrap_resamples, TEST_STREAM)
        moved = self._calibrated(self.temperature).deviations(counts, self.log_temperatures)
        return Scaling(self.temperature, self.log_temperatures, moved)

    @cached_property
    def log_temperatures(self) -> Tensor | None:
        """(R,) log of the temperature that each resample of the validation images is fitted; None where none was fitted."""
        p = self.predictions
        if self.temperature is None:
            return None
        counts = _counts(len(p.validation_labels), self.measures.bootstrap_resamples, VALIDATION_STREAM)
        return fitted_log_temperatures(p.validation, p.validation_labels, self.temperature, counts)

    def minus_baseline(self, baseline: Measured) -> dict[str, Any]:
        """Accuracy, ECE, NLL and Brier score less the baseline's on the same test images, with paired intervals."""
        own, other = self._calibrated(1.0), baseline._calibrated(1.0)
        over = own.minus(other, self.measures.bootstrap_resamples, self.measures.confidence_level)
        return over | {"ece_interval": None}

    def versus_teacher(
        self, teacher: Measured, temperature: Temperature | None = None
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Linearity gain and alignment against a teacher, on the same pairs, and the deviations of the latter.

        Args:
            temperature: that the student was trained at, where it learned from a teacher.
        """
        compared = PairsCompared(teacher.pairs, self.pairs)
        entry, deviations = compared.entry(), compared.deviations()
        entry["held_out"] = None
        if self.held_out is not None and teacher.held_out is not None:
            of_test = PairsCompared(teacher.held_out, self.held_out)
            entry["held_out"] = of_test.entry()
            deviations |= keyed("held_out", of_test.deviations())
        entry["information"] = compared.information_bound()
        entry["information_at_training_temperature"] = (
            compared.information_bound(temperature) if temperature is not None else None
        )
        return entry, deviations


def _counts(samples: int, resamples: int, stream: int) -> Tensor:
    """`resample_counts`, remembered for the next network where they are not too many."""
    drawn = _remembered_counts if samples * resamples <= MOST_REMEMBERED else resample_counts
    return drawn(samples, resamples, stream)


_remembered_counts = lru_cache(maxsize=4)(resample_counts)


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
