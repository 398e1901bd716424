"""Intervals of a share of samples, such as accuracy."""

from __future__ import annotations

import math
from statistics import NormalDist


def proportion_interval(successes: int, samples: int, confidence_level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927): (lower, upper), fractions; (0, 1) for no samples.

    The percentile bootstrap has no width where all samples are right, or none, and near there holds the truth too seldom; this
    holds it about as often as it says for any share and any number of samples (Brown, Cai and DasGupta 2001).

    Raises:
        ValueError: successes lie outside 0 ... samples, or the level outside (0, 1).

    Example:
        >>> [round(bound, 3) for bound in proportion_interval(20, 20)]
        [0.839, 1.0]
    """
    if not 0 <= successes <= samples or not 0 < confidence_level < 1:
        raise ValueError(
            f"expected 0 to {samples} successes and a level in (0, 1), got {successes} and {confidence_level}"
        )
    if samples == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence_level / 2)
    share, spread = successes / samples, z * z / samples
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    # Rounding would leave the ends of 0 and of all samples an ulp inside.
    return 0.0 if successes == 0 else centre - half, 1.0 if successes == samples else centre + half
