"""What is measured of one network, or of two, on one set of pairs: curves, gains and divergences with the images' error in them.

Shapes: P pairs, L values of λ, K classes, M images in the pairs, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vicinal import metrics  # its classes are imported when they are named
from vicinal.config import MeasuresSpec, Temperature
from vicinal.evaluation.plain import plain
from vicinal.evaluation.predictions import PairAnswers
from vicinal.evaluation.resampled import SCALED, half, quadratic, quadratic_of_two, whole
from vicinal.functional import at_temperature
from vicinal.metrics import PairDesign, percentiles

CURVES = ("nonlinearity", "entropy", "linearity_information")
Figures = dict[str, Tensor]  # by name; with deviations one dimension more in front, (R, ...)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A network's temperature, fitted on validation images."""

    temperature: float
    shifts: Tensor  # (R,) log of what each resample of these images is fitted, less log of the temperature

    @cached_property
    def step(self) -> float:
        """How far in log T the figures are looked at to either side."""
        return max(2 * float(self.shifts.std()), 1e-3)

    def times(self, steps: int) -> float:
        """The temperature some steps further."""
        return float(self.temperature * torch.tensor(steps * self.step).exp())


class PairMeasured:
    """One network on one set of pairs.

    Deviations are over resamples of the images that pairs are made of (`metrics.PairDesign`); after temperature scaling also over
    resamples of the validation images that the temperature is fitted on: to first order the two add up, and what the second does
    follows the quadratic through three temperatures.

    Args:
        lam: (L,) grid of the answers.
        fitted: None where no temperature was.
        counts: gives (R, M) how often each resample counts each of the images of the pairs, `PairDesign.numbers`.
    """

    def __init__(
        self,
        answers: PairAnswers,
        lam: Tensor,
        fitted: Fitted | None,
        measures: MeasuresSpec,
        counts: Callable[[PairDesign], Tensor],
    ) -> None:
        self.answers, self.lam, self.fitted, self.measures = answers, lam, fitted, measures
        self.design, self._counts = PairDesign(answers.images), counts

    @cached_property
    def curves(self) -> Figures:
        """nonlinearity, entropy, linearity_information: (P, L) each, of every pair."""
        return self._curves(1.0)

    @cached_property
    def scaled_curves(self) -> Figures | None:
        """The same after temperature scaling; None where no temperature was fitted."""
        return self._curves(self.fitted.temperature) if self.fitted is not None else None

    @cached_property
    def _around(self) -> tuple[Figures, Figures]:
        """The curves at one step below the fitted temperature and above."""
        assert self.fitted is not None
        return self._curves(self.fitted.times(-1)), self._curves(self.fitted.times(1))

    def _curves(self, temperature: float) -> Figures:
        metric = metrics.VicinalCurves(self.lam)
        metric.update(*self.answers.divided_by(temperature))
        return {name: metric.per_pair(name) for name in CURVES}

    def moved(self, values: Mapping[str, Tensor], among: Tensor | None = None) -> Figures:
        """How far means of (P,) or (P, L) values move over resamples of the images: (R,) or (R, L) float32.

        Nothing where the pairs are too few to tell.

        Args:
            among: (P,) bool, where means are over some of the pairs; default: all.
        """
        if not self.design.tells_error:
            return {}
        # Of curves that are symmetric in λ one half is computed, so that the other is the same to the last bit.
        halves = {name: half(value) for name, value in values.items()}
        joined = torch.cat([value.reshape(len(value), -1) for value in halves.values()], 1)
        drawn = self.design.deviations(joined, self._counts(self.design), among).float()
        parts = drawn.split([value[0].numel() for value in halves.values()], 1)
        return {
            name: part[:, 0] if value.dim() == 1 else whole(part, value.shape[1])
            for (name, value), part in zip(values.items(), parts, strict=True)
        }

    @cached_property
    def deviations(self) -> Figures:
        """Of the curves: (R, L) each."""
        return self.moved(self.curves)

    @cached_property
    def scaled_deviations(self) -> Figures:
        """Of the curves after temperature scaling, the fit's error in them."""
        if self.scaled_curves is None:
            return {}
        return self._with_fit(self.moved(self.scaled_curves), (self._around[0], self.scaled_curves, self._around[1]))

    def _with_fit(self, moved: Figures, curves: Sequence[Figures], among: Tensor | None = None) -> Figures:
        assert self.fitted is not None
        steps = self.fitted.shifts / self.fitted.step
        return {
            name: values + quadratic([_mean(at[name], among) for at in curves], steps).float()
            for name, values in moved.items()
        }

    def entry(self, scaled: bool = False) -> dict[str, Any] | None:
        """The vicinal curves as results.json has them, with intervals; None where no temperature was fitted."""
        curves, moved = (self.scaled_curves, self.scaled_deviations) if scaled else (self.curves, self.deviations)
        if curves is None:
            return None
        return {"lam": plain(self.lam), **self._figures({name: curves[name].mean(0) for name in CURVES}, moved)}

    def entry_at_half(self, scaled: bool = False, among: Tensor | None = None) -> dict[str, Any] | None:
        """NL, H and D at λ = 1/2 with intervals, of the pairs `among` them; None where no temperature was fitted."""
        at = len(self.lam) // 2
        along = (self._around[0], self.scaled_curves, self._around[1]) if scaled and self.fitted else (self.curves,)
        if scaled and self.fitted is None:
            return None
        values = [{name: curves[name][:, at] for name in CURVES[:2]} for curves in along if curves is not None]
        here = values[len(values) // 2]
        moved = self.moved(here, among)
        if scaled:
            moved = self._with_fit(moved, values, among)
        images = self.answers.images if among is None else self.answers.images[among]
        figures = self._figures({name: _mean(value, among) for name, value in here.items()}, moved)
        return {"pairs": len(images), "images": len(images.unique()), **figures}

    def _figures(self, exact: Figures, moved: Figures) -> dict[str, Any]:
        """Figures with their dominance and intervals."""
        level, wide = self.measures.confidence_level, self.widening
        intervals = {name: self.interval(value, moved.get(name)) for name, value in exact.items()}
        dominance = exact["nonlinearity"] / exact["entropy"]
        ratio = None
        if moved:
            above, below = (exact[name] + wide * moved[name].double() for name in ("nonlinearity", "entropy"))
            ratio = _bounds(above / below, level)
        intervals["dominance"] = ratio
        return {**{name: plain(v) for name, v in exact.items()}, "dominance": plain(dominance), "intervals": intervals}

    @property
    def widening(self) -> float:
        """What deviations are stretched by for intervals, as Student's t is wider than the normal where images are few."""
        return self.design.widening(self.measures.confidence_level)

    def interval(self, exact: Tensor, deviations: Tensor | None) -> Any:
        """Percentiles as results.json has them: a pair for a number, lower and upper for a curve; None without deviations."""
        if deviations is None:
            return None
        return _bounds(exact + self.widening * deviations.double(), self.measures.confidence_level)

    def information(self) -> metrics.Information:
        """Both sides of eq. 11 along λ."""
        metric = metrics.Information(self.lam, refuse_probabilities=False)
        metric.update(self.answers.i, self.answers.j, self.answers.mixed)
        return metric


def _mean(values: Tensor, among: Tensor | None) -> Tensor:
    return values.mean(0) if among is None else values[among].mean(0)


def _bounds(drawn: Tensor, level: float) -> Any:
    lower, upper = (plain(bound) for bound in percentiles(drawn, level))
    return [lower, upper] if drawn.dim() == 1 else {"lower": lower, "upper": upper}


class PairsCompared:
    """A student and a teacher on the same pairs: gains and divergences."""

    def __init__(self, teacher: PairMeasured, student: PairMeasured) -> None:
        self.teacher, self.student = teacher, student

    @property
    def _is_scaled(self) -> bool:
        return self.teacher.fitted is not None and self.student.fitted is not None

    def _gain(self, scaled: bool) -> tuple[Any, Any]:
        """Δ_lin along λ and its interval; None where a temperature is lacking."""
        if scaled and not self._is_scaled:
            return None, None
        both = self.teacher, self.student
        curves = [p.scaled_curves if scaled else p.curves for p in both]
        moved = [(p.scaled_deviations if scaled else p.deviations).get("nonlinearity") for p in both]
        theirs, own = (c["nonlinearity"].mean(0) for c in curves if c is not None)
        drawn = None if moved[0] is None or moved[1] is None else moved[0] - moved[1]
        return plain(theirs - own), self.student.interval(theirs - own, drawn)

    def alignment(self, teacher_temperature: float = 1.0, student_temperature: float = 1.0) -> metrics.Alignment:
        """KL(teacher ‖ student) of the answers divided by temperatures."""
        t_i, t_j, t_mixed = self.teacher.answers.divided_by(teacher_temperature)
        i, j, mixed = self.student.answers.divided_by(student_temperature)
        metric = metrics.Alignment(self.student.lam, refuse_probabilities=False)
        metric.update(torch.cat([t_i, t_j]), torch.cat([i, j]), t_mixed, mixed)
        return metric

    def _values(self, *temperatures: float) -> Figures:
        real, mixed = self.alignment(*temperatures).per_pair()
        return {"kl_real": real, "kl_mixed": torch.trapezoid(mixed, self.student.lam), "kl_mixed_by_lam": mixed}

    @cached_property
    def _divergences(self) -> tuple[Figures, Figures]:
        """kl_real, kl_mixed, kl_mixed_by_lam and their deviations."""
        values = self._values()
        return {name: value.mean(0) for name, value in values.items()}, self.student.moved(values)

    @cached_property
    def _scaled_divergences(self) -> tuple[Figures, Figures] | None:
        """The same, each network at its own temperature, whose fits' errors are in the deviations."""
        teacher, student = self.teacher.fitted, self.student.fitted
        if teacher is None or student is None:
            return None
        at: dict[tuple[int, int], Figures] = {}
        for steps in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (1, 1)):
            values = self._values(teacher.times(steps[0]), student.times(steps[1]))
            if steps == (0, 0):
                moved = self.student.moved(values)
            at[steps] = {name: value.mean(0) for name, value in values.items()}
        shifts = teacher.shifts / teacher.step, student.shifts / student.step
        for name in moved:
            around = {steps: found[name] for steps, found in at.items()}
            moved[name] = moved[name] + quadratic_of_two(around, *shifts).float()
        return at[0, 0], moved

    def _aligned(self, found: tuple[Figures, Figures] | None) -> dict[str, Any] | None:
        if found is None:
            return None
        exact, moved = ({**part, **_response(part)} for part in found)
        intervals = {name: self.student.interval(value, moved.get(name)) for name, value in exact.items()}
        return {**{name: plain(value) for name, value in exact.items()}, "intervals": intervals}

    def entry(self) -> dict[str, Any]:
        """Linearity gain and alignment, raw and after temperature scaling, as results.json has them."""
        gain, interval = self._gain(scaled=False)
        scaled_gain, scaled_interval = self._gain(scaled=True)
        return {
            "linearity_gain": gain,
            "linearity_gain_interval": interval,
            f"linearity_gain{SCALED}": scaled_gain,
            f"linearity_gain{SCALED}_interval": scaled_interval,
            "alignment": self._aligned(self._divergences),
            f"alignment{SCALED}": self._aligned(self._scaled_divergences),
        }

    def deviations(self) -> Figures:
        """Of kl_real and kl_mixed, and of both after temperature scaling: (R,) each, by their keys in resamples.npz."""
        found = {name: self._divergences[1].get(name) for name in ("kl_real", "kl_mixed")}
        if self._scaled_divergences is not None:
            moved = self._scaled_divergences[1]
            found |= {f"{name}{SCALED}": moved.get(name) for name in ("kl_real", "kl_mixed")}
        return {name: values for name, values in found.items() if values is not None}

    def information_bound(self, temperature: Temperature = 1.0) -> dict[str, Any]:
        """The bound of eq. 10 along λ in both readings, of the answers at a temperature as the student's loss takes it."""
        metric = metrics.InformationBound(self.student.lam, refuse_probabilities=False)
        metric.update(
            *at_temperature(self.teacher.answers.mixed.double(), self.student.answers.mixed.double(), temperature)
        )
        return {name: plain(values) for name, values in metric.compute().items()}


def _response(figures: Figures) -> Figures:
    """independent_response of divergences or of their deviations."""
    return {"independent_response": figures["kl_mixed"] - figures["kl_real"]} if figures else {}


def keyed(prefix: str, figures: Mapping[str, Tensor]) -> Figures:
    """Figures under dotted keys."""
    return {f"{prefix}.{name}": values for name, values in figures.items()}
