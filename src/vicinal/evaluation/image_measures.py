"""Every number of a network that rests on its answers to single images: accuracy, confidence, calibration, and their errors.

Shapes: N images, K classes, R resamples.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from vicinal import metrics  # its classes are imported when they are named
from vicinal.config import MeasuresSpec
from vicinal.evaluation.calibration import Scaling, calibrated, calibration_numbers
from vicinal.evaluation.plain import plain
from vicinal.evaluation.resampled import SCALED
from vicinal.functional import COLDEST, HOTTEST, log_mean_prediction, prediction_entropy, temperature_limit
from vicinal.metrics import fitted_log_temperatures, resample_counts

# Seeds of resamples: independent of each other, the same for all networks.
TEST_STREAM, VALIDATION_STREAM, PAIR_STREAM, SAME_CLASS_STREAM = range(4)
MOST_REMEMBERED = 100_000_000  # counts, two bytes each


class ImageAnswers(Protocol):
    """A network's logits on validation and test images, (N, K) each, with the labels, (N,)."""

    @property
    def validation(self) -> Tensor: ...

    @property
    def test(self) -> Tensor: ...

    @property
    def validation_labels(self) -> Tensor: ...

    @property
    def test_labels(self) -> Tensor: ...


class ImagesMeasured:
    """The numbers of one network on single images.

    Args:
        answers: the test images are what is measured, and a temperature is fitted on the validation images.
        cross_fit: without validation images of its own a temperature is fitted on the test images: figures after temperature scaling
            are of each half of them (every second image of a class) at the temperature of the other half, and `temperature` is that
            of all. Its error is to first order that of all images' fit, resampled with them, since the halves' average out to it.
    """

    def __init__(self, answers: ImageAnswers, measures: MeasuresSpec, cross_fit: bool = False) -> None:
        self.image_answers, self.measures = answers, measures
        self.cross_fitted = cross_fit and not len(answers.validation)
        self.halves: Tensor | None = None  # (N, K) logits, each half at the other's temperature
        if self.cross_fitted:
            self.temperature, self.no_temperature, self.halves = _cross_fitted(answers.test, answers.test_labels)
        else:
            self.temperature, self.no_temperature = _fitted_temperature(
                answers.validation, answers.validation_labels, "validation images"
            )

    @property
    def correct(self) -> Tensor:
        """(N,) bool: which test images are classified correctly."""
        return self.image_answers.test.argmax(-1) == self.image_answers.test_labels

    def image_numbers(self, scale_free: bool) -> dict[str, Any]:
        """The keys of results.json that rest on single images."""
        a, level = self.image_answers, self.measures.confidence_level
        result = calibration_numbers(a.test, a.test_labels, self.measures, self.test_counts, self._moved, self._scaling)
        recall, intervals = self._recall.compute(), self._recall.intervals(level)
        result |= {name: plain(values) for name, values in recall.items()}
        result["recall_by_class_interval"] = intervals.pop("recall_by_class")
        result["intervals"] |= intervals
        result |= {"scale_free": scale_free, "fitted_temperature": self.temperature}
        result["no_fitted_temperature"] = self.no_temperature
        result["answers"] = self._answers()
        result["validation"] = self._validation()
        return result

    def image_deviations(self) -> dict[str, Tensor]:
        """How far these numbers move over resamples of the images, by their keys in resamples.npz: (R,) each."""
        found = self._moved | self._recall.deviations(self.test_counts)
        if self._scaling is not None:
            scaled = self._scaling.deviations
            found |= {f"{name}{SCALED}": moved for name, moved in scaled.items() if name != "accuracy"}
            found["fitted_temperature"] = self._scaling.log_temperatures.exp() - self._scaling.temperature
        return found

    def image_differences(self, other: ImagesMeasured) -> dict[str, Any]:
        """Accuracy, ECE, NLL and Brier score less another network's on the same test images, with paired intervals."""
        over = self._calibrated(1.0).minus(
            other._calibrated(1.0), self.measures.bootstrap_resamples, self.measures.confidence_level
        )
        return over | {"ece_interval": None}

    @property
    def test_counts(self) -> Tensor:
        """(R, N) how often each resample counts each test image."""
        return counts_of(len(self.image_answers.test), self.measures.bootstrap_resamples, TEST_STREAM)

    def _calibrated(self, temperature: float) -> metrics.Calibration:
        return calibrated(self.image_answers.test, self.image_answers.test_labels, self.measures, temperature)

    @cached_property
    def _recall(self) -> metrics.Recall:
        metric = metrics.Recall()
        metric.update(self.image_answers.test, self.image_answers.test_labels)
        return metric

    @cached_property
    def _moved(self) -> dict[str, Tensor]:
        """What resampling the test images changes in the figures of calibration, (R,) each."""
        return self._calibrated(1.0).deviations(self.test_counts)

    @cached_property
    def _scaling(self) -> Scaling | None:
        if self.temperature is None or self.log_temperatures is None:
            return None
        if self.halves is None:
            moved = self._calibrated(self.temperature).deviations(self.test_counts, self.log_temperatures)
        else:
            metric = calibrated(self.halves, self.image_answers.test_labels, self.measures)
            moved = metric.deviations(self.test_counts, self.log_temperatures - math.log(self.temperature))
        return Scaling(self.temperature, self.log_temperatures, moved, self.halves)

    @cached_property
    def log_temperatures(self) -> Tensor | None:
        """(R,) log of the temperature that each resample of the images that it is fitted on gets; None where none was fitted."""
        a = self.image_answers
        if self.temperature is None:
            return None
        if self.cross_fitted:
            return fitted_log_temperatures(a.test, a.test_labels, self.temperature, self.test_counts)
        counts = counts_of(len(a.validation_labels), self.measures.bootstrap_resamples, VALIDATION_STREAM)
        return fitted_log_temperatures(a.validation, a.validation_labels, self.temperature, counts)

    def _answers(self) -> dict[str, Any]:
        """What it answers on the test images, beside what the class shares alone reach there."""
        logits, labels = self.image_answers.test.double(), self.image_answers.test_labels
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

    def _validation(self) -> dict[str, Any] | None:
        """What may be chosen by: figures on the validation images."""
        logits, labels = self.image_answers.validation, self.image_answers.validation_labels
        if not len(logits):
            return None
        metric = metrics.Calibration(self.measures.ece_bins)
        metric.update(logits, labels)
        computed, classes = metric.compute(), logits.shape[-1]
        right = labels[logits.argmax(-1) == labels].bincount(minlength=classes)
        recall = right.double() / labels.bincount(minlength=classes)  # NaN for a class without images
        return {
            **{name: float(computed[name]) for name in ("accuracy", "confidence", "ece", "nll", "brier")},
            "class_accuracy": plain(recall),
        }


def counts_of(samples: int, resamples: int, stream: int) -> Tensor:
    """`resample_counts`, remembered for the next network where they are not too many."""
    drawn = _remembered_counts if samples * resamples <= MOST_REMEMBERED else resample_counts
    return drawn(samples, resamples, stream)


_remembered_counts = lru_cache(maxsize=4)(resample_counts)


def _cross_fitted(logits: Tensor, labels: Tensor) -> tuple[float | None, str | None, Tensor | None]:
    """The temperature of all images, why there is none, and (N, K) float64 logits with each half at the other's temperature."""
    second = second_of_each_class(labels)
    found = [_fitted_temperature(logits, labels, "images")]
    for half, name in ((~second, "images of one half"), (second, "images of the other half")):
        found.append(_fitted_temperature(logits[half], labels[half], name))
    reason = next((why for _, why in found if why is not None), None)
    whole, first, other = (temperature for temperature, _ in found)
    if reason is not None or whole is None or first is None or other is None:
        return None, reason, None
    own = torch.where(second, first, other).double()
    return whole, None, logits.double() / own[:, None]


def second_of_each_class(labels: Tensor) -> Tensor:
    """(N,) bool: every second image of each class, in the order given."""
    second = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        second[(labels == label).nonzero()[1::2, 0]] = True
    return second


def _fitted_temperature(logits: Tensor, labels: Tensor, name: str) -> tuple[float | None, str | None]:
    """The temperature with the lowest NLL on (N, K) logits, or None with the reason."""
    images = len(logits)
    if not images:
        return None, f"there are no {name}"
    limit = temperature_limit(logits, labels)
    if limit == 0:
        return None, (
            f"no finite temperature is best: NLL on the {images:,} {name} falls as T falls to its bound of "
            f"{COLDEST:g}, as it does where all are classified correctly"
        )
    if limit == math.inf:
        return None, (
            f"no finite temperature is best: NLL on the {images:,} {name} falls as T rises to its bound of "
            f"{HOTTEST:g}, so that the answers say no more than equal probabilities, or are surer still"
        )
    if math.isnan(limit):
        return None, "no temperature changes its answers: all classes get the same logit"
    return limit, None
