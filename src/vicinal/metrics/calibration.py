"""Accuracy, confidence, ECE, NLL and Brier score in one pass, with the bins that the ECE came from.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import math
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
    expected_calibration_error,
    negative_log_likelihood,
    refuse_probabilities,
)
from vicinal.metrics.base import WAY_OUT, GatheredMetric
from vicinal.metrics.bootstrap import interval
from vicinal.metrics.proportions import proportion_interval
from vicinal.metrics.resampled_calibration import resampled_figures


class Calibration(GatheredMetric):
    """How right a classifier is, how sure it is, and how far the two lie apart.

    `update` takes (N, K) logits and (N,) labels. `compute` returns a dict of float64 tensors, () each: accuracy, confidence, ece,
    ece_equal_mass, nll (nats), brier. `reliability` has the bins that the ECE came from, `intervals` each figure's interval over
    samples.

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
    figures_of_compute = ("accuracy", "confidence", "ece", "ece_equal_mass", "nll", "brier")
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
        return self._shown(
            {
                "accuracy": (logits.argmax(-1) == labels).double().mean(),
                "confidence": confidence(probabilities).mean(),
                "ece": expected_calibration_error(probabilities, labels, self.bins),
                "ece_equal_mass": equal_mass_calibration_error(probabilities, labels, self.bins),
                "nll": negative_log_likelihood(logits, labels).mean(),
                "brier": brier_score(probabilities, labels).mean(),
            }
        )

    def reliability(self) -> dict[str, list[Any]]:
        """The bins of the ECE as plain lists: lower, upper, count, accuracy, confidence (None for an empty bin)."""
        with self._gathered():
            logits, labels = self._all()
        probabilities = logits.softmax(-1)
        count, conf, right = calibration_bins(confidence(probabilities), probabilities.argmax(-1) == labels, self.bins)
        edges = torch.linspace(0, 1, self.bins + 1, dtype=torch.float64).tolist()
        return {
            "lower": edges[:-1],
            "upper": edges[1:],
            "count": [int(n) for n in count],
            "accuracy": _ratios(right, count),
            "confidence": _ratios(conf, count),
        }

    def deviations(self, counts: Tensor, log_temperatures: Tensor | None = None) -> dict[str, Tensor]:
        """What resampling the samples changes: each figure of `compute` of every resample, less the figure; (R,) float64 each.

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
        return {name: drawn[name] - exact[name] for name in self.figures_of_compute}

    def intervals(self, resamples: int = 1000, confidence_level: float = 0.95, seed: int = 0) -> dict[str, list[float]]:
        """[lower, upper] of accuracy (Wilson's), and of confidence, ece, nll and brier (percentiles over resampled samples)."""
        with self._gathered():
            logits, labels = self._all()
            conf, correct, gaps = self._gaps()
        probabilities = logits.softmax(-1)
        figures = [conf, negative_log_likelihood(logits, labels), brier_score(probabilities, labels)]
        values = torch.cat([torch.stack(figures, 1), gaps], 1)

        def statistic(means: Tensor) -> Tensor:
            return torch.cat([means[:, :3], means[:, 3:].abs().sum(1, keepdim=True)], 1)

        lower, upper = interval(values, statistic, resamples, confidence_level, seed)
        # Resampling answers that are all right gives no spread at all.
        accuracy = proportion_interval(int(correct.sum()), len(correct), confidence_level)
        names = ("confidence", "nll", "brier", "ece")
        resampled = {name: [float(low), float(high)] for name, low, high in zip(names, lower, upper, strict=True)}
        return {"accuracy": list(accuracy), **resampled}

    def minus(
        self, other: Calibration, resamples: int = 1000, confidence_level: float = 0.95, seed: int = 0
    ) -> dict[str, float | list[float]]:
        """Accuracy (percentage points) and ECE less another classifier's on the same samples, with paired intervals.

        Returns accuracy_pp, accuracy_pp_interval, ece, ece_interval. Raises ValueError where the samples differ or an answer is not
        finite.
        """
        with self._gathered(), other._gathered():
            if not torch.equal(self._all()[1], other._all()[1]):
                raise ValueError("the two saw other samples, so they cannot be compared in pairs")
            (_, correct, gaps), (_, other_correct, other_gaps) = self._gaps(), other._gaps()
        points = 100 * (correct.double() - other_correct.double())
        values, bins = torch.cat([points[:, None], gaps, other_gaps], 1), gaps.shape[1]

        def statistic(means: Tensor) -> Tensor:
            own, theirs = means[:, 1 : 1 + bins].abs().sum(1), means[:, 1 + bins :].abs().sum(1)
            return torch.stack([means[:, 0], own - theirs], 1)

        exact = statistic(values.mean(0, keepdim=True))[0]
        lower, upper = interval(values, statistic, resamples, confidence_level, seed)
        return {
            "accuracy_pp": float(exact[0]),
            "accuracy_pp_interval": [float(lower[0]), float(upper[0])],
            "ece": float(exact[1]),
            "ece_interval": [float(lower[1]), float(upper[1])],
        }

    def _gaps(self) -> tuple[Tensor, Tensor, Tensor]:
        """(N,) confidence, (N,) whether right, and (N, bins) right − confidence in its bin: the ECE is the sum of |mean gap|."""
        logits, labels = self._all()
        conf, correct = confidence(logits.softmax(-1)), logits.argmax(-1) == labels
        if not bool(conf.isfinite().all()):  # the largest of NaN is a class like any other
            raise ValueError("an answer is NaN or infinite, so that it is neither right nor wrong")
        in_bin = torch.nn.functional.one_hot(bin_of(conf, self.bins), self.bins)
        return conf, correct, in_bin * (correct.double() - conf)[:, None]

    def _all(self) -> tuple[Tensor, Tensor]:
        return self._seen("logits").double() / self.temperature, self._seen("labels")


def _ratios(total: Tensor, count: Tensor) -> list[float | None]:
    return [float(t / n) if n else None for t, n in zip(total, count, strict=True)]
