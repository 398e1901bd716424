"""Accuracy and ECE under corruptions, and the gain over a baseline in points (section 7.5, table 7).

Shapes: S severities, N images, K classes. Image n is the same image at every severity, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vicinal.config import CORRUPTIONS, SEVERITIES, corruption_named
from vicinal.functional import checked_labels, refuse_probabilities
from vicinal.metrics.alone import not_gathered
from vicinal.metrics.base import WAY_OUT, GatheredMetric
from vicinal.metrics.bootstrap import resample_counts
from vicinal.metrics.calibration import Calibration
from vicinal.metrics.proportions import paired_interval


def correct_under_corruption(logits: Tensor, labels: Tensor) -> Tensor:
    """Which answers are right: (S, N, K) logits and (N,) labels to (S, N) bool. Raises ValueError for NaN or +inf."""
    if bool((logits.isnan() | logits.isposinf()).any()):
        raise ValueError("an answer is not finite")
    return logits.argmax(-1) == labels


def accuracy_gain_pp(right: Tensor, baseline_right: Tensor) -> Tensor:
    """Accuracy minus the baseline's on the same images, in percentage points: (S, N) and (S, N) 0/1 or bool to (S,) float64."""
    return _gains(right, baseline_right).mean(1)


def accuracy_gain_interval(
    right: Tensor, baseline_right: Tensor, confidence_level: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Tango's score interval of `accuracy_gain_pp` over images (`paired_interval`): lower and upper, (S,) float64 each."""
    gains = _gains(right, baseline_right)
    only = zip((gains > 0).sum(1).tolist(), (gains < 0).sum(1).tolist(), strict=True)
    ends = [paired_interval(*counts, gains.shape[1], confidence_level) for counts in only]
    lower, upper = 100 * torch.tensor(ends, dtype=torch.float64).view(-1, 2).T
    return lower, upper


def measure_corruptions(
    logits: Mapping[str, Tensor],
    labels: Tensor,
    baseline: Mapping[str, Tensor] | None = None,
    bins: int = 15,
    resamples: int = 1000,
    confidence_level: float = 0.95,
    *,
    severities: Sequence[int] = SEVERITIES,
) -> dict[str, dict[str, Any]]:
    """A network's figures by corruption, as results.json has them.

    Args:
        logits: by corruption (S, N, K) floats of any precision, one row for each of `severities`.
        labels: (N,) int64.
        baseline: the same of the network that gains are over; None where there is none.
        bins: of the ECE, equal-width (lo, hi].
        resamples: of labels that a calibrated model would have, for the floors of ECE.
        confidence_level: of the floors' upper ends and of the gains' intervals.

    Returns:
        by corruption, in the order of `CORRUPTIONS`: severity, images (N); accuracy and ece (fractions), ece_floor,
        ece_floor_upper and ece_p_value (`calibration_test`), a number for each severity; gain_pp (percentage points) and
        gain_pp_interval with lower and upper, both None without a baseline.

    Raises ValueError for shapes that do not fit, a baseline without one of the corruptions, and answers that are not finite;
    UsageError for an unknown corruption.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[3.0, 0.0], [0.0, 3.0]]).repeat(5, 1, 1)  # the same at each of five severities
        >>> figures = measure_corruptions({"fog": logits}, torch.tensor([0, 0]), baseline={"fog": logits[:, [1, 1]]})
        >>> figures["fog"]["accuracy"], figures["fog"]["gain_pp"]
        ([0.5, 0.5, 0.5, 0.5, 0.5], [50.0, 50.0, 50.0, 50.0, 50.0])
    """
    names = [name for name in CORRUPTIONS if name in {corruption_named(given) for given in logits}]
    right = _right(names, logits, labels, len(severities))
    figures: dict[str, dict[str, Any]] = {}
    for name in names:
        figures[name] = {
            "severity": list(severities),
            "images": len(labels),
            "accuracy": right[name].double().mean(1).tolist(),
            **_calibration(logits[name], labels, bins, resamples, confidence_level),
            "gain_pp": None,
            "gain_pp_interval": None,
        }
    if baseline is not None and names:
        missing = [name for name in names if name not in baseline]
        if missing:
            raise ValueError(f"the baseline has no answers under {', '.join(missing)}")
        gains = _gains_of_all(right, _right(names, baseline, labels, len(severities)), confidence_level)
        for name in names:
            figures[name] |= gains[name]
    return figures


def corruption_deviations(
    logits: Mapping[str, Tensor], labels: Tensor, bins: int = 15, resamples: int = 1000
) -> dict[str, dict[str, Tensor]]:
    """How far accuracy and ECE under each corruption move over resamples of the images: (R, S) float64 each, fractions.

    Every corruption, severity and network sees the same resamples (`resample_counts`). Arguments as `measure_corruptions`.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[3.0, 0.0], [0.0, 3.0]]).repeat(2, 1, 1)  # the same at each of two severities
        >>> corruption_deviations({"fog": logits}, torch.tensor([0, 1]), resamples=3)["fog"]["accuracy"].tolist()
        [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    counts = resample_counts(len(labels), resamples)
    found = {}
    for name, answers in logits.items():
        own = [Calibration(bins, refuse_probabilities=False) for _ in answers]
        for metric, of_severity in zip(own, answers.cpu(), strict=True):
            metric.update(of_severity, labels.cpu())
        with not_gathered():  # these are the answers of all processes
            moved = [metric.deviations(counts) for metric in own]
        found[name] = {key: torch.stack([at[key] for at in moved], 1) for key in ("accuracy", "ece")}
    return found


def _right(names: Sequence[str], logits: Mapping[str, Tensor], labels: Tensor, severities: int) -> dict[str, Tensor]:
    """(S, N) bool by corruption. Raises ValueError for answers of another shape, or that are not finite."""
    for name in names:
        _check(name, logits[name], labels, severities)
    return {name: correct_under_corruption(logits[name].cpu(), labels.cpu()) for name in names}


def _calibration(
    logits: Tensor, labels: Tensor, bins: int, resamples: int, confidence_level: float
) -> dict[str, list[float]]:
    """ECE by severity with its floor."""
    found: dict[str, list[float]] = {key: [] for key in ("ece", "ece_floor", "ece_floor_upper", "ece_p_value")}
    for z in logits.cpu():
        metric = Calibration(bins, refuse_probabilities=False)
        metric.update(z, labels.cpu())
        with not_gathered():  # these are the answers of all processes
            found["ece"].append(float(metric.compute()["ece"]))
            for key, value in metric.tests(resamples, confidence_level)["ece"].items():
                found[f"ece_{key}"].append(value)
    return found


def _gains_of_all(
    right: Mapping[str, Tensor], baseline_right: Mapping[str, Tensor], confidence_level: float
) -> dict[str, dict[str, Any]]:
    """gain_pp and its interval by corruption, from (S, N) each."""
    found = {}
    for name, own in right.items():
        lower, upper = accuracy_gain_interval(own, baseline_right[name], confidence_level)
        bounds = {"lower": lower.tolist(), "upper": upper.tolist()}
        found[name] = {"gain_pp": accuracy_gain_pp(own, baseline_right[name]).tolist(), "gain_pp_interval": bounds}
    return found


class Robustness(GatheredMetric):
    """Accuracy and ECE by corruption and severity, over batches in any order.

    `update(corruption, severity, logits, labels)` takes (B, K) logits and (B,) labels. `compute` returns a dict of float64 tensors,
    (S,) each: severity, and accuracy_NAME and ece_NAME of each corruption that was seen. `figures` returns what
    `measure_corruptions` returns; `compute_against` adds the gains over another `Robustness` that saw the same images. Each
    corruption and severity must see the same images in the same order.

    Args:
        bins: of the ECE, equal-width (lo, hi].

    Example:
        >>> import torch
        >>> metric = Robustness()
        >>> for severity, sure in ((1, 3.0), (5, -3.0)):
        ...     metric.update("fog", severity, torch.tensor([[sure, 0.0], [3.0, 0.0]]), torch.tensor([0, 0]))
        >>> metric.compute()["accuracy_fog"].tolist()
        [1.0, 0.5]
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    figures_of_compute = ("severity", *(f"{key}_{name}" for name in CORRUPTIONS for key in ("accuracy", "ece")))
    logits: list[Tensor]
    labels: list[Tensor]
    cells: list[Tensor]

    def __init__(self, bins: int = 15, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins}")
        self.bins = bins
        for name in ("logits", "labels", "cells"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, corruption: str, severity: int, logits: Tensor, labels: Tensor) -> None:
        """(B, K) logits and (B,) labels of a batch under one corruption and severity."""
        if logits.dim() != 2 or labels.shape != logits.shape[:1]:
            raise ValueError(
                f"expected (B, K) logits and (B,) labels, got {tuple(logits.shape)} and {tuple(labels.shape)}"
            )
        labels = checked_labels(labels, logits.shape[-1])
        if self.refuse_probabilities:
            refuse_probabilities(logits, way_out=WAY_OUT)
        cell = CORRUPTIONS.index(corruption_named(corruption, severity)) * len(SEVERITIES) + severity - 1
        self.logits.append(logits.detach())
        self.labels.append(labels.detach())
        self.cells.append(torch.full_like(labels, cell, dtype=torch.int64))

    def compute(self) -> Any:
        """The figures over all batches; see the class."""
        found = self._measured(None, 100, 0.95)
        severity = next(iter(found.values()))["severity"]
        figures = {f"{key}_{name}": of_it[key] for name, of_it in found.items() for key in ("accuracy", "ece")}
        return self._shown(
            {
                name: torch.tensor(value, dtype=torch.float64)
                for name, value in ({"severity": severity} | figures).items()
            }
        )

    def figures(self) -> dict[str, dict[str, Any]]:
        """What `measure_corruptions` returns, of all batches."""
        return self._measured(None, 1000, 0.95)

    def compute_against(
        self, baseline: Robustness, resamples: int = 1000, confidence_level: float = 0.95
    ) -> dict[str, dict[str, Any]]:
        """`figures` with gain_pp and its paired interval over a baseline."""
        return self._measured(baseline, resamples, confidence_level)

    def _measured(
        self, baseline: Robustness | None, resamples: int, confidence_level: float
    ) -> dict[str, dict[str, Any]]:
        answers, labels, severities = self._all()
        other = None
        if baseline is not None:
            other, other_labels, other_severities = baseline._all()
            if not torch.equal(labels, other_labels) or severities != other_severities:
                raise ValueError("the baseline saw other images or severities, or the images in another order")
        return measure_corruptions(
            answers, labels, other, self.bins, resamples, confidence_level, severities=severities
        )

    def _all(self) -> tuple[dict[str, Tensor], Tensor, list[int]]:
        """Logits (S, N, K) by corruption, labels (N,) and the severities seen."""
        with self._gathered():
            logits, labels, cells = (self._seen(name) for name in ("logits", "labels", "cells"))
        seen = cells.unique().tolist()
        names = sorted({cell // len(SEVERITIES) for cell in seen})
        severities = sorted({cell % len(SEVERITIES) + 1 for cell in seen})
        if len(seen) != len(names) * len(severities):
            raise ValueError("every corruption must be seen at the same severities")
        first = labels[cells == seen[0]]
        if not all(torch.equal(labels[cells == cell], first) for cell in seen):
            raise ValueError("every corruption and severity must see the same images in the same order")
        answers = {
            str(CORRUPTIONS[name]): torch.stack(
                [logits[cells == name * len(SEVERITIES) + severity - 1] for severity in severities]
            )
            for name in names
        }
        return answers, first, severities


def _gains(right: Tensor, baseline_right: Tensor) -> Tensor:
    if right.shape != baseline_right.shape or right.dim() != 2:
        raise ValueError(f"expected two of (S, N), got {tuple(right.shape)} and {tuple(baseline_right.shape)}")
    return 100 * (right.double() - baseline_right.double())


def _check(name: str, logits: Tensor, labels: Tensor, severities: int) -> None:
    if logits.dim() != 3 or logits.shape[:2] != (severities, len(labels)) or labels.dim() != 1 or not len(labels):
        raise ValueError(
            f"{name}: expected ({severities}, N, K) logits and (N,) labels, got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    checked_labels(labels, logits.shape[-1])
    if not bool(logits.isfinite().all()):
        raise ValueError(f"{name}: an answer is not finite")
