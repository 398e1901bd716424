"""Whether a classifier may be shipped at all: a rule about the recall of its classes. Numbers in, words out.

A class is lost where its recall is clearly below `least_recall`: the exact binomial test, one-sided, with Holm's correction over the
classes. So a classifier that recognises every class at least that often is said to have lost one in at most `error` of all cases
(`scripts/simulate/fitness.py`). A class of which no image is recognised, among too few images for the test, leaves it open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

LEAST_RECALL = 0.20  # of a class that counts as recognised, where guessing among all classes would not reach more


@dataclass(frozen=True)
class Recall:
    """What a classifier does with the images of one class."""

    name: str  # of the class, as shown
    right: int
    images: int

    @property
    def value(self) -> float:
        """The share of them that it recognises; NaN without images."""
        return self.right / self.images if self.images else math.nan


def least_recall(classes: int) -> float:
    """The recall below which a class counts as lost: what guessing evenly among the classes reaches, and at least a fifth."""
    return max(1 / max(classes, 1), LEAST_RECALL)


def lost_classes(recalls: Sequence[Recall], error: float) -> list[Recall]:
    """The classes whose recall is clearly below `least_recall`, the worst first.

    Args:
        error: the probability that any class is named where all are recognised at least that often, at most.
    """
    from scipy.special import bdtr

    known = [recall for recall in recalls if recall.images]
    least = least_recall(len(recalls))
    p_values = [float(bdtr(recall.right, recall.images, least)) for recall in known]
    found = []
    for rank, k in enumerate(sorted(range(len(known)), key=lambda k: p_values[k])):
        if p_values[k] * (len(known) - rank) >= error:  # Holm (1979): the first that is not clear ends it
            break
        found.append(known[k])
    return found


def never_recognised(recalls: Sequence[Recall]) -> list[Recall]:
    """The classes with images of which none is recognised."""
    return [recall for recall in recalls if recall.images and not recall.right]


def most_recall(recall: Recall, level: float = 0.95) -> float:
    """The upper end of the two-sided exact interval of a recall (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    if recall.right >= recall.images:
        return 1.0
    return float(betaincinv(recall.right + 1, recall.images - recall.right, (1 + level) / 2))


def wilson(right: float, images: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share; (0, 1) without images."""
    if not images:
        return 0.0, 1.0
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    share = right / images
    centre = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = math.sqrt(z2 * (share * (1 - share) / images + z2 / (4 * images**2))) / (1 + z2 / images)
    return max(0.0, centre - half), min(1.0, centre + half)


def balanced_accuracy(recalls: Sequence[Recall]) -> tuple[float, float] | None:
    """The mean recall over the classes that have images, and its standard error with Laplace's correction of each; None without any."""
    known = [recall for recall in recalls if recall.images]
    if not known:
        return None
    shares = [(recall.right + 1) / (recall.images + 2) for recall in known]
    variance = math.fsum(share * (1 - share) / recall.images for share, recall in zip(shares, known, strict=True))
    return math.fsum(recall.value for recall in known) / len(known), math.sqrt(variance) / len(known)
