"""What can be said of images before anything is spent: how many of each class and split, how uneven, how large, what is cut away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vicinal.config import DataSpec
from vicinal.data.decode import BrokenImageError, image_size
from vicinal.data.find import find_source
from vicinal.data.types import ImageData
from vicinal.errors import UsageError

FEW_CLASSES = 12  # whose counts one line lists
UNEVEN = 3.0  # times as many images in the largest class as in the smallest, from where that is worth a word
MUCH_CUT = 0.25  # of a photograph's area
LARGEST_IMAGES = 50_000  # whose headers are read


@dataclass(frozen=True)
class ClassCount:
    """Images of a class."""

    name: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Imbalance:
    """How unevenly images stand in classes: largest over smallest, and how many classes of one size have the same entropy."""

    largest: ClassCount
    smallest: ClassCount
    ratio: float
    effective_classes: float
    of: str = "training"


@dataclass(frozen=True)
class Sizes:
    """Of the originals: smallest, median and largest (width, height) by area, and what a centre square cuts away of each, 0 to 1."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    median_cut: float
    much_cut: int  # images of which more than MUCH_CUT is cut away
    images: int


def class_counts(data: ImageData) -> tuple[ClassCount, ...]:
    """A count for each class, in class order."""
    by_role = [
        np.bincount(s.labels.numpy(), minlength=len(data.class_names)) for s in (data.train, data.validation, data.test)
    ]
    return tuple(ClassCount(name, *map(int, row)) for name, *row in zip(data.class_names, *by_role, strict=True))


def imbalance(counts: Sequence[ClassCount]) -> Imbalance:
    """Of training images, or of test images where there are no others. Classes without images are left out."""
    of = "training" if any(count.train for count in counts) else "test"
    number = {count: count.train if of == "training" else count.test for count in counts}
    held = sorted((count for count in counts if number[count]), key=lambda count: -number[count])
    shares = np.array([number[count] for count in held], dtype=float) / sum(number.values())
    ratio = number[held[0]] / number[held[-1]]
    return Imbalance(held[0], held[-1], ratio, math.exp(-float((shares * np.log(shares)).sum())), of)


def count_lines(data: ImageData) -> list[str]:
    """How many images each class has, in one line; and a second one where classes are uneven."""
    counts = class_counts(data)
    if len(counts) <= FEW_CLASSES:
        listed = ", ".join(f"{c.name} {c.train:,}/{c.validation:,}/{c.test:,}" for c in counts)
        lines = [f"Training/validation/test images by class: {listed}."]
    else:
        parts = [
            f"{what} {min(numbers):,} to {max(numbers):,}"
            for what, numbers in (
                ("training", [c.train for c in counts]),
                ("validation", [c.validation for c in counts]),
                ("test", [c.test for c in counts]),
            )
            if any(numbers)
        ]
        lines = [f"Images of a class: {', '.join(parts)} ({len(counts)} classes)."]
    uneven = imbalance(counts)
    if uneven.ratio >= UNEVEN:
        lines.append(imbalance_line(uneven))
    return lines


def imbalance_line(uneven: Imbalance) -> str:
    """In words."""
    return (
        f"Classes are uneven: {uneven.largest.name!r} has {uneven.ratio:.3g} times the {uneven.of} images of {uneven.smallest.name!r}, "
        f"as much as {uneven.effective_classes:.1f} classes of one size; read recall by class beside accuracy."
    )


def original_sizes(spec: DataSpec) -> Sizes | None:
    """Of the images of a source, from their headers; None where there are none, or too many to open."""
    source = find_source(spec)
    if sum(len(split.labels) for split in source.splits.values()) > LARGEST_IMAGES:
        return None
    sizes = []
    for split in source.splits.values():
        for data, where in split.items(np.arange(len(split.labels))):
            try:
                sizes.append(image_size(data, where))
            except BrokenImageError:
                continue  # listed elsewhere
    if not sizes:
        return None
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    cut = 1 - np.array([min(size) / max(size) for size in sizes])
    middle = ordered[len(ordered) // 2]
    return Sizes(ordered[0], middle, ordered[-1], float(np.median(cut)), int((cut > MUCH_CUT).sum()), len(sizes))


def trainability(spec: DataSpec) -> str | None:
    """Why a source can be measured on and not trained on, in a sentence; None where it can be trained on. Raises UsageError."""
    reason = find_source(spec).unfit_for_training
    if reason is not None and "train" in find_source(spec).splits:
        raise UsageError(reason)
    return reason
