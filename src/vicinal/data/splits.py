"""Stratified draws: pure functions of labels, size and seed, the same on every platform and numpy version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.errors import UsageError

_SUBSET, _SPLIT = 0, 1  # separate streams, so that a subset and a split with one seed are independent draws


def stratified_subset(labels: Tensor, count: int, seed: int) -> Tensor:
    """Positions of `count` images with as many of each class as of every other, as far as the classes have them.

    Every class gives one image in each round, in an order drawn from `seed`, until `count` is reached; a class that has
    run out gives none. So class counts differ by at most 1 but for exhausted classes, and with the same labels and seed
    a smaller count is a subset of a larger one.

    `labels`: integers (N,). Returns sorted int64 positions (count,).
    Raises UsageError if `count` is above N or below the number of classes in `labels`.
    """
    values, classes = _classes(labels)
    if count > len(classes):
        raise UsageError(f"{count} images are asked for, but there are {len(classes)}: ask for at most that many")
    if count < len(values):
        raise UsageError(
            f"{count} images are asked for, but there are {len(values)} classes: ask for at least one each"
        )
    draw = _draw(seed, _SUBSET)
    rank = _rank_in_class(classes, draw.random_raw(len(classes)))
    class_order = draw.random_raw(len(values)).argsort(kind="stable").argsort(kind="stable")
    return _sorted(np.lexsort((class_order[classes], rank))[:count])


def stratified_split(
    labels: Tensor, share: float, seed: int, *, class_names: Sequence[str] | None = None
) -> tuple[Tensor, Tensor]:
    """Cut positions in two, (kept, held_out), class by class.

    A class of n images gives round(share · n) to `held_out`, but at least 1, and keeps at least 1.
    `labels`: integers (N,); `class_names` serve error messages. Returns two sorted int64 tensors, disjoint, complete.
    Raises UsageError if `share` is not between 0 and 1 or if a class has one image.
    """
    if not 0 < share < 1:
        raise UsageError(f"a share to cut off lies between 0 and 1, both excluded: not {share}")
    values, classes = _classes(labels)
    sizes = np.bincount(classes, minlength=len(values))
    for value, size in zip(values.tolist(), sizes.tolist(), strict=True):
        if size == 1:
            name = class_names[value] if class_names is not None else value
            raise UsageError(
                f"class {name!r} has one image, and a split in two needs two: add images or remove the class"
            )
    held = np.array([min(max(round(share * size), 1), size - 1) for size in sizes.tolist()], dtype=np.int64)
    rank = _rank_in_class(classes, _draw(seed, _SPLIT).random_raw(len(classes)))
    held_out = rank < held[classes]
    return _sorted(np.flatnonzero(~held_out)), _sorted(np.flatnonzero(held_out))


def _classes(labels: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The labels that occur, sorted, and each image's position among them."""
    values, classes = np.unique(labels.detach().cpu().numpy(), return_inverse=True)
    return values, classes


def _draw(seed: int, purpose: int) -> np.random.Philox:
    # Raw Philox words: numpy promises these for all versions, unlike the shuffles of its Generator.
    return np.random.Philox(np.random.SeedSequence([seed, purpose]))


def _rank_in_class(classes: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """0, 1, 2, ... within each class, in the order of the random keys."""
    order = np.lexsort((keys, classes))
    sizes = np.bincount(classes)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    rank = np.empty(len(classes), dtype=np.int64)
    rank[order] = np.arange(len(classes)) - starts
    return rank


def _sorted(index: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.sort(index).astype(np.int64))
