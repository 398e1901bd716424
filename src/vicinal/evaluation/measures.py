"""Every number of a network, computed from its stored predictions: the entries of results.json."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

from torch import Tensor

from vicinal.config import MeasuresSpec, Temperature
from vicinal.evaluation.image_measures import PAIR_STREAM, SAME_CLASS_STREAM, ImagesMeasured, counts_of
from vicinal.evaluation.pair_measures import Fitted, PairMeasured, PairsCompared, keyed
from vicinal.evaluation.plain import plain
from vicinal.evaluation.predictions import PairAnswers, Predictions
from vicinal.evaluation.resampled import SCALED
from vicinal.metrics import PairDesign, lam_grid


class Measured(ImagesMeasured):
    """All numbers of one network, from its predictions.

    Args:
        cross_fit: see `ImagesMeasured`.
    """

    def __init__(self, predictions: Predictions, measures: MeasuresSpec, cross_fit: bool = False) -> None:
        super().__init__(predictions, measures, cross_fit)
        self.predictions = p = predictions
        self.pairs = self._on(p.pair, p.lam, self._counts_of(PAIR_STREAM))
        self.held_out = self._on(p.held_out_pair, p.lam, self._counts_of_test) if p.held_out_pair else None
        self._numbers: dict[bool, dict[str, Any]] = {}
        self._deviations: dict[str, Tensor] = {}

    def _on(self, answers: PairAnswers, lam: Tensor, counts: Callable[[PairDesign], Tensor]) -> PairMeasured:
        return PairMeasured(answers, lam, self.fitted, self.measures, counts)

    def _counts_of(self, stream: int) -> Callable[[PairDesign], Tensor]:
        return lambda design: counts_of(len(design.numbers), self.measures.bootstrap_resamples, stream)

    def _counts_of_test(self, design: PairDesign) -> Tensor:
        """Of test images in pairs: the resamples that accuracy and the like have."""
        return self.test_counts[:, design.numbers]

    @cached_property
    def fitted(self) -> Fitted | None:
        """The temperature with the error of its fit; None where none was fitted."""
        if self.temperature is None or self.log_temperatures is None:
            return None
        return Fitted(self.temperature, self.log_temperatures - math.log(self.temperature))

    def numbers(self, scale_free: bool) -> dict[str, Any]:
        """The keys of results.json that teachers and students share; computed once."""
        if scale_free not in self._numbers:
            self._numbers[scale_free] = self._computed(scale_free)
        return self._numbers[scale_free]

    def _computed(self, scale_free: bool) -> dict[str, Any]:
        p = self.predictions
        result = self.image_numbers(scale_free)
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

    def deviations(self) -> dict[str, Tensor]:
        """How far this network's own figures move over resamples of the images, by their keys in resamples.npz: (R, ...) each;
        computed once.
        """
        if not self._deviations:
            self._deviations = self._moved_by_resampling()
        return self._deviations

    def _moved_by_resampling(self) -> dict[str, Tensor]:
        found = self.image_deviations()
        residual = {"residual_eq11": self.pairs.information().per_pair("residual_eq11")}
        found |= keyed("information", self.pairs.moved(residual))
        for prefix, pairs in (("", self.pairs), ("held_out.", self.held_out)):
            if pairs is not None:
                found |= keyed(f"{prefix}vicinity", pairs.deviations)
                found |= keyed(f"{prefix}vicinity{SCALED}", pairs.scaled_deviations)
        return found

    def minus_baseline(self, baseline: Measured) -> dict[str, Any]:
        """Accuracy, ECE, NLL and Brier score less the baseline's on the same test images, with paired intervals."""
        return self.image_differences(baseline)

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
