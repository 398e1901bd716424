"""Which image goes where. The draws are stratified: pure functions of labels, size and seed, alike on every platform and numpy version.

Shapes: N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.config import DataSpec
from vicinal.data.types import Role, Source
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


@dataclass(frozen=True, eq=False)
class Assigned:
    """Where the images of a set come from: one of the source's splits, and sorted positions (n,) in it."""

    split: Role
    positions: NDArray[np.int64]

    def labels(self, source: Source) -> Tensor:
        """int64 (n,)."""
        return torch.from_numpy(source.splits[self.split].labels[self.positions])


def assign(source: Source, spec: DataSpec) -> tuple[dict[Role, Assigned], list[str]]:
    """Which image goes where: training, validation and test images by `spec`, and notes on it (see `load_data`).

    Raises UsageError for counts and shares that the source's classes do not allow.
    """
    notes: list[str] = []
    everything = {role: torch.arange(len(split.labels)) for role, split in source.splits.items()}
    train = everything["train"]
    test_role: Role = "test"
    if "test" in source.splits:
        test = everything["test"]
    elif "validation" in source.splits:
        test_role, test = "validation", everything["validation"]
        notes.append("The source has no test split: its validation split is the test split.")
    else:
        test_role = "train"
        train, test = _cut(source, train, spec.test, "test", spec.split_seed)
        notes.append(
            f"The source has no test split: {len(test)} test images were cut from its {len(train) + len(test)} images."
        )
    if spec.train_images is not None:
        train = _keep(source, "train", train, "train_images", spec.train_images, spec.split_seed)
    if spec.test_images is not None:
        test = _keep(source, test_role, test, "test_images", spec.test_images, spec.split_seed)
    validation_role: Role = "train"
    validation = train[:0]
    if "validation" in source.splits and test_role != "validation":
        validation_role, validation = "validation", everything["validation"]
    elif spec.validation:
        train, validation = _cut(source, train, spec.validation, "validation", spec.split_seed)
    return {
        "train": Assigned("train", train.numpy()),
        "validation": Assigned(validation_role, validation.numpy()),
        "test": Assigned(test_role, test.numpy()),
    }, notes


def all_to_measure(source: Source, spec: DataSpec) -> tuple[dict[Role, Assigned], list[str]]:
    """All images that a classifier is to be measured on, as test images, and the source's validation images; notes on both."""
    role: Role = next(role for role in ("test", "validation", "train") if role in source.splits)
    test = torch.arange(len(source.splits[role].labels))
    if spec.test_images is not None:
        test = _keep(source, role, test, "test_images", spec.test_images, spec.split_seed)
    notes = []
    if role != "test" and len(source.splits) > 1:
        notes.append("The source has no test split: its validation split is the test split.")
    validation_role: Role = "validation" if role == "test" and "validation" in source.splits else role
    count = len(source.splits[validation_role].labels) if validation_role != role else 0
    nothing = np.empty(0, dtype=np.int64)
    return {
        "train": Assigned(role, nothing),
        "validation": Assigned(validation_role, np.arange(count)),
        "test": Assigned(role, test.numpy()),
    }, notes


def _labels(source: Source, role: Role, index: Tensor) -> Tensor:
    return torch.from_numpy(source.splits[role].labels)[index]


def _cut(source: Source, index: Tensor, share: float, key: str, seed: int) -> tuple[Tensor, Tensor]:
    """(kept, cut off) of the training images at `index`."""
    labels = _labels(source, "train", index)
    values, classes = _classes(labels)
    single = np.flatnonzero(np.bincount(classes, minlength=len(values)) == 1)
    if len(single):
        label = int(values[single[0]])
        whole, way_out = int((source.splits["train"].labels == label).sum()), ""
        if key == "validation":
            way_out = ", or set data.validation=0"
        raise UsageError(
            f"cannot cut {key} images from the training images of {source.name}: of the {whole} image{'s' * (whole > 1)} "
            f"of class {source.class_names[label]!r} one is left to cut from, and a split in two needs two: add images or remove "
            f"the class{way_out}"
        )
    kept, held_out = stratified_split(labels, share, seed, class_names=source.class_names)
    return index[kept], index[held_out]


def _keep(source: Source, role: Role, index: Tensor, key: str, count: int, seed: int) -> Tensor:
    try:
        return index[stratified_subset(_labels(source, role, index), count, seed)]
    except UsageError as error:
        raise UsageError(f"data.{key}={count}: {error}") from None


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
