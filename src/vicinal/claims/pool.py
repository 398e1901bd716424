"""How far one figure moves between seeds, learned from all arms of a study together.

Shapes: A arms, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

HOMOGENEITY_LEVEL = 0.1  # below which arms are taken to differ in their spread
LEVEL_OF_THE_REST = 0.25  # that the rest has to reach without the arms that differ most
MOST_LEFT_OUT = 0.25  # share of the arms; where more differ there is no pool
Role = Literal["teacher", "student"]


@dataclass(frozen=True, eq=False)
class SeedPool:
    """The two-way model figure = arm + seed + rest of one figure over a study's arms.

    The seed's part is common to all arms (they share initialisations and input order), and leaves their differences. With twenty arms
    of three seeds the rest has 38 degrees of freedom, where one arm alone has 2.

    Args:
        role: whose figure; a teacher's and a student's are taken to move independently.
        arms: that are in it; a few arms that spread differently (Bartlett's test) are not, and go by their own seeds.
        mean_square_rest, mean_square_seeds: of the analysis of variance, on (A − 1)(S − 1) and S − 1 degrees of freedom.
    """

    role: Role
    arms: frozenset[str]
    seeds: int
    mean_square_rest: float
    mean_square_seeds: float

    @classmethod
    def of(cls, role: Role, by_arm: Mapping[str, Sequence[float]]) -> Self | None:
        """The pool of arms that have S figures each; None of fewer than two arms or seeds, and where the arms spread differently.

        Args:
            by_arm: (S,) figures by seed, every arm in the same order of seeds.
        """
        arms, level = list(by_arm), HOMOGENEITY_LEVEL
        while len(arms) > 1 and len(by_arm[arms[0]]) > 1 and len(arms) >= (1 - MOST_LEFT_OUT) * len(by_arm):
            values = np.array([by_arm[arm] for arm in arms], dtype=np.float64)
            rest = values - values.mean(1, keepdims=True) - values.mean(0, keepdims=True) + values.mean()
            outlier = _outlier(rest, level)
            if outlier is None:
                count, seeds = values.shape
                square = float((rest**2).sum()) / ((count - 1) * (seeds - 1))
                of_seeds = count * float(((values.mean(0) - values.mean()) ** 2).sum()) / (seeds - 1)
                return cls(role, frozenset(arms), seeds, square, of_seeds)
            arms.pop(outlier)
            level = LEVEL_OF_THE_REST
        return None

    def parts(self, loads: Mapping[str, float]) -> list[tuple[float, float]]:
        """The variance of a sum of arms' means times weights over seeds, as (variance, degrees of freedom) of its parts."""
        count, total = len(self.arms), sum(loads.values())
        squares = sum(weight**2 for weight in loads.values())
        of_seeds = (self.mean_square_seeds * total**2 / count / self.seeds, float(self.seeds - 1))
        rest = (
            self.mean_square_rest * (squares - total**2 / count) / self.seeds,
            float((count - 1) * (self.seeds - 1)),
        )
        return [part for part in (of_seeds, rest) if part[0] > 0]


def _outlier(rest: np.ndarray, level: float) -> int | None:
    """The arm to leave out: the one furthest from the others in its spread, where Bartlett's p is below the level."""
    count, seeds = rest.shape
    variances = np.maximum((rest**2).sum(1) / (seeds - 1) * count / (count - 1), 1e-300)
    if count < 3 or float((rest**2).sum()) < 1e-24:
        return None
    # Bartlett 1937, by its formula: scipy's takes samples, and the rest has a degree of freedom shared out among arms.
    freedom = (seeds - 1) * (count - 1) / count
    pooled = variances.mean()
    statistic = freedom * float(count * np.log(pooled) - np.log(variances).sum())
    statistic /= 1 + (count + 1) / (3 * count * freedom)
    from scipy.special import chdtrc

    if float(chdtrc(count - 1, statistic)) >= level:
        return None
    return int(np.argmax(np.abs(np.log(variances / np.median(variances)))))
