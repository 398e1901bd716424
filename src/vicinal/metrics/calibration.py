"""Accuracy, confidence, ECE, NLL and Brier score in one pass, with the bins that the ECE came from.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vicinal.functional import (
    bin_of,
    brier_score,
    calibration_bins,
    checked_labels,
    confidence,
    equal_mass_calibration_error,
    equal_mass_shares,
    expected_calibration_error,
    negative_log_likelihood,
    refuse_probabilities,
)
from vicinal.metrics.base import WAY_OUT, GatheredMetric
from vicinal.metrics.binned import BinnedGaps, error_interval, gap_drift, squared_error_interval
from vicinal.metrics.bootstrap import interval, percentiles, resample_counts
from vicinal.metrics.consistency import bars, calibrated_gaps, calibration_test
from vicinal.metrics.proportions import paired_interval, proportion_interval
from vicinal.metrics.resampled_calibration import FIGURES, MEANS, calibration_terms, ece_of_means, resampled_figures


class Calibration(GatheredMetric):
    """How right a classifier is, how sure it is, and how far the two lie apart.

    `update` takes (N, K) logits and (N,) labels. `compute` returns a dict of float64 tensors, () each: accuracy, confidence, ece,
    ece_equal_mass, nll (nats), brier, and the squared ℓ2 calibration error in bins of equal mass without the bias of noise
    (squared_calibration_error, below 0 by chance) with its root (rms_calibration_error). `reliability` has the bins that the ECE
    came from, `intervals` each figure's interval over samples, `tests` what ECE a calibrated model would show.

    Args:
        bins: of the ECE, equal-width (lo, hi] and equal-mass.
        temperature: the logits are divided by it first (temperature scaling).
        only, refuse_probabilities: see `GatheredMetric`.

    Raises:
        ValueError: in `update`, for shapes, labels that are no class, and probabilities in place of logits.

    Example:
        >>> import torch
        >>> metric = Calibration(bins=10)
        >>> metric.update(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]))
        >>> {name: round(float(metric.compute()[name]), 3) for name in ("accuracy", "confidence", "ece", "nll")}
        {'accuracy': 0.5, 'confidence': 0.806, 'ece': 0.425, 'nll': 0.72}
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    figures_of_compute = (*FIGURES, "squared_calibration_error", "rms_calibration_error")
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self, bins: int = 15, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if bins < 1 or not 0 < temperature < math.inf:
            raise ValueError(f"bins must be at least 1 and temperature above 0, got {bins} and {temperature}")
        self.bins, self.temperature = bins, temperature
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """(N, K) logits and (N,) labels of a batch."""
        if logits.dim() != 2 or labels.shape != logits.shape[:1]:
            raise ValueError(
                f"expected (N, K) logits and (N,) labels, got {tuple(logits.shape)} and {tuple(labels.shape)}"
            )
        labels = checked_labels(labels, logits.shape[-1])
        if self.refuse_probabilities:
            refuse_probabilities(logits, way_out=WAY_OUT)
        self.logits.append(logits.detach())
        self.labels.append(labels.detach())

    def compute(self) -> Any:
        """The figures over all batches; see the class."""
        logits, labels = self._all()
        probabilities = logits.softmax(-1)
        squared = self._binned(equal_mass=True).squared_error
        return self._shown(
            {
                "accuracy": (logits.argmax(-1) == labels).double().mean(),
                "confidence": confidence(probabilities).mean(),
                "ece": expected_calibration_error(probabilities, labels, self.bins),
                "ece_equal_mass": equal_mass_calibration_error(probabilities, labels, self.bins),
                "nll": negative_log_likelihood(logits, labels).mean(),
                "brier": brier_score(probabilities, labels).mean(),
                "squared_calibration_error": squared,
                "rms_calibration_error": squared.clamp_min(0).sqrt(),
            }
        )

    def reliability(self, resamples: int | None = None, level: float = 0.95, seed: int = 0) -> dict[str, list[Any]]:
        """The bins of the ECE as plain lists: lower, upper, count, accuracy, confidence (None for an empty bin).

        With resamples also consistency_lower and consistency_upper: between them lies the accuracy of a calibrated model, in the
        share `level` of the resamples, each bin for itself.
        """
        with self._gathered():
            conf, correct = self._confidence_and_correct()
        count, total, right = calibration_bins(conf, correct, self.bins)
        edges = torch.linspace(0, 1, self.bins + 1, dtype=torch.float64).tolist()
        found: dict[str, list[Any]] = {
            "lower": edges[:-1],
            "upper": edges[1:],
            "count": [int(n) for n in count],
            "accuracy": _ratios(right, count),
            "confidence": _ratios(total, count),
        }
        if resamples is not None:
            gaps = calibrated_gaps(conf, self._shares(conf, equal_mass=False), resamples, seed)
            ends = bars(gaps, count, total / count.clamp_min(1), level)
            found |= {f"consistency_{side}": values for side, values in ends.items()}
        return found

    def tests(self, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> dict[str, dict[str, float]]:
        """ece and ece_equal_mass held against a perfectly calibrated model of the same confidences (Bröcker and Smith 2007).

        Returns for each: floor (the mean ECE of such a model), floor_upper (its quantile `level`), p_value (one-sided).
        """
        with self._gathered():
            conf, correct = self._confidence_and_correct()
        found = {}
        for name, equal_mass in (("ece", False), ("ece_equal_mass", True)):
            shares = self._shares(conf, equal_mass)
            drawn = calibrated_gaps(conf, shares, resamples, seed).abs().sum(1)
            observed = BinnedGaps.of(conf, correct, shares).error
            found[name] = calibration_test(float(observed), drawn, level)
        return found

    def deviations(self, counts: Tensor, log_temperatures: Tensor | None = None) -> dict[str, Tensor]:
        """What resampling the samples changes in accuracy, confidence, ece, ece_equal_mass, nll and brier: (R,) float64 each.

        Args:
            counts: (R, N) how often each resample counts each sample, rows with sum N (`resample_counts`).
            log_temperatures: (R,) log of the temperature that each resample has in place of the metric's own, as
                `fitted_log_temperatures` gives them for resampled validation images, so that the fit's error is held.

        Raises ValueError for shapes that do not fit, and answers that are NaN.
        """
        with self._gathered():
            logits, labels = self._seen("logits").double(), self._seen("labels")
        if log_temperatures is None:
            drawn = resampled_figures(logits / self.temperature, labels, self.bins, counts)
        else:
            drawn = resampled_figures(logits, labels, self.bins, counts, log_temperatures)
        whole = torch.ones(1, len(logits))
        exact = resampled_figures(logits / self.temperature, labels, self.bins, whole)
        return {name: drawn[name] - exact[name] for name in FIGURES}

    def intervals(
        self,
        resamples: int = 1000,
        confidence_level: float = 0.95,
        seed: int = 0,
        log_temperatures: Tensor | None = None,
        deviations: Mapping[str, Tensor] | None = None,
    ) -> dict[str, list[float]]:
        """[lower, upper] of the figures over samples.

        Accuracy: Wilson's. Confidence, nll, brier: percentiles over resampled samples. ece, squared_calibration_error and
        rms_calibration_error: the distribution of binned gaps inverted (`vicinal.metrics.binned`), since percentiles miss.

        Args:
            resamples, confidence_level, seed: of the resamples, see `resample_counts`.
            log_temperatures: (R,) as `deviations` takes them, where the metric's temperature was fitted: the fit's error is held.
            deviations: what `deviations` gives for these resamples, where they are at hand.
        """
        with self._gathered():
            conf, correct = self._confidence_and_correct()
            binned = [self._binned(equal_mass) for equal_mass in (False, True)]
            means = dict(zip(MEANS, self._terms().mean(0).tolist(), strict=False))
            if deviations is None:
                deviations = self.deviations(resample_counts(len(conf), resamples, seed), log_temperatures)
        # Resampling answers that are all right gives no spread at all.
        found = {"accuracy": list(proportion_interval(int(correct.sum()), len(correct), confidence_level))}
        for name in ("confidence", "nll", "brier"):
            found[name] = [means[name] + float(end) for end in percentiles(deviations[name], confidence_level)]
        deviation = 0.0 if log_temperatures is None else float(log_temperatures.std())
        found["ece"] = [float(end) for end in error_interval(binned[0], confidence_level, deviation)]
        squared = [float(end) for end in squared_error_interval(binned[1], confidence_level, deviation)]
        return found | {"squared_calibration_error": squared, "rms_calibration_error": [math.sqrt(x) for x in squared]}

    def minus(
        self, other: Calibration, resamples: int = 1000, confidence_level: float = 0.95, seed: int = 0
    ) -> dict[str, float | list[float]]:
        """Figures less another classifier's on the same samples: accuracy (percentage points), ece, nll (nats) and brier.

        Returns accuracy_pp with accuracy_pp_interval (Tango's score interval of paired shares), nll and brier with intervals
        (percentiles over resampled samples), and ece, whose difference has none: noise biases it.

        Raises ValueError where the samples differ or an answer is not finite.
        """
        with self._gathered(), other._gathered():
            if not torch.equal(self._seen("labels"), other._seen("labels")):
                raise ValueError("the two saw other samples, so they cannot be compared in pairs")
            own, theirs = self._terms(), other._terms()
        correct, others = own[:, 0].bool(), theirs[:, 0].bool()
        only = int((correct & ~others).sum()), int((others & ~correct).sum())
        differences = own[:, 2:4] - theirs[:, 2:4]
        lower, upper = interval(differences, lambda means: means, resamples, confidence_level, seed)
        figures: dict[str, float | list[float]] = {
            "accuracy_pp": 100 * (only[0] - only[1]) / len(correct),
            "accuracy_pp_interval": [100 * end for end in paired_interval(*only, len(correct), confidence_level)],
            "ece": float(ece_of_means(own.mean(0), self.bins) - ece_of_means(theirs.mean(0), other.bins)),
        }
        for k, name in enumerate(("nll", "brier")):
            figures[name] = float(differences[:, k].mean())
            figures[f"{name}_interval"] = [float(lower[k]), float(upper[k])]
        return figures

    def _terms(self) -> Tensor:
        logits, labels = self._all()
        return calibration_terms(logits, labels, self.bins)

    def _binned(self, equal_mass: bool) -> BinnedGaps:
        logits, _ = self._all()
        conf, correct = self._confidence_and_correct()
        return BinnedGaps.of(conf, correct, self._shares(conf, equal_mass), gap_drift(logits))

    def _shares(self, conf: Tensor, equal_mass: bool) -> Tensor:
        if equal_mass:
            return equal_mass_shares(conf, self.bins)
        return torch.nn.functional.one_hot(bin_of(conf, self.bins), self.bins).double()

    def _confidence_and_correct(self) -> tuple[Tensor, Tensor]:
        """(N,) confidence and whether right. Raises ValueError for answers that are NaN: the largest of NaN is a class."""
        logits, labels = self._all()
        conf = confidence(logits.softmax(-1))
        return conf, logits.argmax(-1) == labels

    def _all(self) -> tuple[Tensor, Tensor]:
        return self._seen("logits").double() / self.temperature, self._seen("labels")


def _ratios(total: Tensor, count: Tensor) -> list[float | None]:
    return [float(t / n) if n else None for t, n in zip(total, count, strict=True)]
