"""Partners of the same class or of another one, from within a batch.

Shapes: N samples of an epoch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vicinal.inputs.vicinity import Places


@dataclass(frozen=True)
class ClassLabels:
    """The classes of a training set's images, compared by their hash, so that a plan that has them can be a key."""

    digest: str
    of_images: NDArray[np.int64] = field(compare=False, repr=False)

    @classmethod
    def of(cls, labels: Tensor) -> Self:
        """Of (N,) int64."""
        values = np.ascontiguousarray(labels.cpu().numpy(), np.int64)
        return cls(hashlib.sha256(values.tobytes()).hexdigest(), values)


@dataclass(frozen=True)
class _Groups:
    """The samples of each class in each batch, one group behind the other."""

    order: NDArray[np.int64]  # (N,): which sample stands at a position
    begin: NDArray[np.int64]  # (N,): where the group of the sample at a position begins
    size: NDArray[np.int64]  # (N,): and how many it has

    @classmethod
    def of(cls, keys: NDArray[np.int64], within: NDArray[Any]) -> Self:
        """By (N,) keys, and by (N,) `within` inside a group."""
        order = np.lexsort((within, keys))
        first = np.flatnonzero(np.diff(keys[order], prepend=keys[order][:1] - 1))
        sizes = np.diff(first, append=len(order))
        return cls(order, np.repeat(first, sizes), np.repeat(sizes, sizes))


def partners_by_class(
    places: Places, drawn: NDArray[np.float64], kind: Literal["same_class", "other_class"]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(N,) partners as positions in the batch, and whether there was one; a sample without is its own.

    Of the same class: the next in a random circle of those in the batch, so that each is mixed in once. Of another class: any of
    them, alike probable and independent of what others get. Which number a class has decides nothing.

    Args:
        drawn: (N,) uniform numbers in [0, 1).

    Raises ValueError where the plan was given no labels.
    """
    if places.labels is None:
        raise ValueError(f"partners: {kind} needs the labels of the training images; give the plan `labels`")
    start, end = places.ends
    _, classes = np.unique(places.labels, return_inverse=True)
    of_batch = start * (int(classes.max(initial=0)) + 1) + classes  # one number for each class in each batch
    itself = np.arange(places.count)
    if kind == "same_class":
        groups = _Groups.of(of_batch, drawn)
        following = groups.begin + (itself - groups.begin + 1) % groups.size
        found = groups.size > 1
    else:
        by_class = _Groups.of(of_batch, itself)
        foremost = np.empty_like(itself)  # of each one's class in the batch: orders classes without their numbers
        foremost[by_class.order] = by_class.order[by_class.begin]
        groups = _Groups.of(foremost, itself)
        others = (end - start) - groups.size
        chosen = start + np.minimum((drawn[groups.order] * others).astype(np.int64), others - 1)
        found = others > 0
        following = np.where(found, np.where(chosen < groups.begin, chosen, chosen + groups.size), itself)
    partner, has = np.empty_like(itself), np.empty(places.count, bool)
    partner[groups.order], has[groups.order] = groups.order[following], found
    return partner - start, has
