"""Intervals of a share of samples, such as accuracy, and of the difference of two shares of the same samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    return _wilson(successes / samples, samples, confidence_level)


def _wilson(share: float, samples: float, confidence_level: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.5 + confidence_level / 2)
    spread = z * z / samples
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    # Rounding would leave the ends of 0 and of all samples an ulp inside.
    return 0.0 if share == 0 else centre - half, 1.0 if share == 1 else centre + half


def mean_proportion_interval(
    successes: Sequence[int], samples: Sequence[int], confidence_level: float = 0.95
) -> tuple[float, float]:
    """Interval of the plain mean of shares of separate groups, such as balanced accuracy: (lower, upper), fractions.

    Wilson's, of as many samples as would give one share the variance that the mean has (in the manner of Yan and Su 2010): those
    that the groups' own shares say, or, where fewer, those of groups that are all alike. It has width where all samples are
    right, where resampling has none. Groups without samples are left out; (0, 1) without any.

    Args:
        successes, samples: of each group.

    Raises:
        ValueError: as `proportion_interval`, and for lists of different lengths.

    Example:
        >>> [round(bound, 3) for bound in mean_proportion_interval([10, 8], [10, 10])]
        [0.699, 0.972]
    """
    groups = [(right / count, count) for right, count in zip(successes, samples, strict=True) if count]
    if any(not 0 <= share <= 1 for share, _ in groups):
        raise ValueError(f"expected no more successes than samples and none below 0, got {successes} of {samples}")
    if not groups:
        return 0.0, 1.0
    mean = math.fsum(share for share, _ in groups) / len(groups)
    variance = math.fsum(share * (1 - share) / count for share, count in groups) / len(groups) ** 2
    effective = len(groups) ** 2 / math.fsum(1 / count for _, count in groups)
    if variance > 0:
        effective = min(effective, mean * (1 - mean) / variance)
    return _wilson(mean, effective, confidence_level)


def paired_interval(
    only_first: int, only_second: int, samples: int, confidence_level: float = 0.95
) -> tuple[float, float]:
    """Tango's score interval of the difference of two shares of the same samples (Tango 1998): (lower, upper), fractions.

    It holds every difference that the score test does not reject, also where no sample is right for one alone: then it is about
    ± z² / N, where resampling gives no width. (−1, 1) for no samples.

    Args:
        only_first, only_second: samples that the first, or the second, alone gets right; the difference is first − second.
        samples: N, all of them.

    Raises:
        ValueError: more such samples than there are, below 0, or a level outside (0, 1).

    Example:
        >>> [round(bound, 4) for bound in paired_interval(0, 0, 100)]
        [-0.037, 0.037]
    """
    if min(only_first, only_second) < 0 or only_first + only_second > samples or not 0 < confidence_level < 1:
        raise ValueError(
            f"expected at most {samples} samples, none below 0, and a level in (0, 1), got {only_first}, {only_second} and "
            f"{confidence_level}"
        )
    if samples == 0:
        return -1.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence_level / 2)
    upper = _highest_difference(only_first, only_second, samples, z)
    return -_highest_difference(only_second, only_first, samples, z), upper


def _highest_difference(first: int, second: int, samples: int, z: float) -> float:
    """The highest difference whose score, (first − second − N δ) / its deviation under δ, is at least −z; by bisection."""

    def score(delta: float) -> float:
        # The likeliest share of "the second alone" under δ is the larger root of 2 N q² + b q + c.
        b = -first - second + (2 * samples - first + second) * delta
        c = -second * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 8 * samples * c, 0.0)) - b) / (4 * samples)
        variance = samples * (2 * q + delta * (1 - delta))
        return (first - second - samples * delta) / math.sqrt(variance) if variance > 0 else 0.0

    low, high = (first - second) / samples, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if score(middle) >= -z else (low, middle)
    return high
