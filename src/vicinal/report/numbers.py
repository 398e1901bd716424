"""The figures of a study's rows as numbers with their errors: by seed, over resampled images, with what all arms show of the seeds.

Shapes: R resamples, L values of λ, S severities.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import fmean

import numpy as np

from vicinal.claims import Deviations, Load, Number, SeedPool
from vicinal.report.rows import Model, Results, Row

Value = Callable[[Model], float | None]
Bounds = Sequence[float | None] | None


class StudyNumbers:
    """Numbers of one study's rows.

    Every figure is asked for by a key that names it, so that the pool of its seeds is made once, from all rows that have it.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        networks = [*results.raw["teachers"], *results.raw["students"]]
        self._position = {id(model): position for position, model in enumerate(networks)}
        self._pools: dict[str, SeedPool | None] = {}
        self._arm = {row: f"{position}" for position, row in enumerate((*results.rows, *results.other_budgets))}

    def number(
        self,
        row: Row,
        key: str,
        value: Value,
        deviations: Callable[[Model], Deviations | None],
        bounds: Callable[[Model], Bounds] = lambda _: None,
        images: int | None = None,
        least_error: float = 0.0,
        pooled: bool = True,
        possible: tuple[float, float] = (-math.inf, math.inf),
    ) -> Number | None:
        """A figure of a row over its seeds; None where no seed has it.

        Args:
            key: names the figure: same key, same figure.
            value: of one network, None or not finite where it was not measured.
            deviations: (R,) of one network, in the unit of `value`.
            bounds: the stored interval of one network, used where there are no resamples.
            pooled: whether students' seeds share the figure's spread. Not what follows the teacher of the seed (NL, gains, KL): there
                students of one teacher move together and others do not, and an arm's own seeds tell its spread better.
            possible: the least and the most that the figure can be.
        """
        models = {model["seed"]: model for model in row.models if _is_there(value(model))}
        by_seed = {seed: float(value(model) or 0.0) for seed, model in models.items()}
        if not by_seed:
            return None
        moved = [deviations(model) for model in models.values()]
        known = [one for one in moved if one is not None]
        stored = [bound for model in models.values() if (bound := _pair(bounds(model))) is not None]
        interval = None
        if len(stored) == len(models):
            interval = fmean(low for low, _ in stored), fmean(high for _, high in stored)
        pool = self._pool(key, value) if pooled and not row.is_teacher else None
        return Number(
            fmean(by_seed.values()),
            by_seed,
            interval,
            deviations=np.stack(known) if len(known) == len(models) else None,
            loads=None if pool is None else (Load(pool, self._arm[row], 1.0),),
            of_arm=not row.is_teacher,
            images=images,
            least_error=least_error if len(known) == len(models) else 0.0,
            level=self.results.confidence_level,
            possible=possible,
        )

    def _pool(self, key: str, value: Value) -> SeedPool | None:
        """What all students that have the figure for every seed show of its spread between seeds."""
        if key not in self._pools:
            rows = self.results.students
            by_arm: dict[str, list[float]] = {}
            seeds = max((tuple(model["seed"] for model in one.models) for one in rows), key=len, default=())
            for one in rows:
                values = [value(model) for model in one.models]
                if tuple(model["seed"] for model in one.models) == seeds and all(map(_is_there, values)):
                    by_arm[self._arm[one]] = [float(found or 0.0) for found in values]
            self._pools[key] = SeedPool.of("student", by_arm)
        return self._pools[key]

    def moved(self, model: Model, key: str, position: int | None = None) -> Deviations | None:
        """The (R,) deviations of one network's figure, or of one point of its (R, L) or (R, S) figure; None where none are kept."""
        resamples, place = self.results.resamples, self._position.get(id(model))
        found = resamples.of(place, key) if resamples is not None and place is not None else None
        if found is None or position is None:
            return found
        return found[:, position]


def _is_there(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _pair(bounds: Bounds) -> tuple[float, float] | None:
    if bounds is None or None in bounds:
        return None
    low, high = bounds
    return float(low or 0.0), float(high or 0.0)


@lru_cache(maxsize=4)
def numbers_of(results: Results) -> StudyNumbers:
    """The numbers of a study, one object for all that ask."""
    return StudyNumbers(results)


def less(a: Deviations | None, b: Deviations | None) -> Deviations | None:
    """a − b, where both are known."""
    return None if a is None or b is None else a - b


def mean_of_curve(lam: Sequence[float], moved: Deviations | None) -> Deviations | None:
    """(R, L) deviations of a curve to (R,) of its mean over λ, by the trapezoidal rule as `mean_over_lam`."""
    return None if moved is None else np.trapezoid(moved, np.asarray(lam), axis=1)
