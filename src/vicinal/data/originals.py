"""Single images as they are in their source or file, upright and whole: for looking at, for exporting, for asking a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from vicinal.config import DataSpec
from vicinal.data.class_order import in_class_order
from vicinal.data.decode import BrokenImageError, whole_image
from vicinal.data.find import find_source
from vicinal.data.splits import Assigned, assign
from vicinal.data.types import Role, Source
from vicinal.errors import UsageError


class Original(NamedTuple):
    """One image: its pixels (mode RGB or L), its class, and its name in messages."""

    image: Image.Image
    label: int
    name: str


@dataclass(frozen=True, eq=False)
class Originals:
    """The images of a study's splits, read one by one when they are asked for; those that cannot be read are left out."""

    source: Source
    where: dict[Role, Assigned]

    def count(self, role: Role) -> int:
        """How many images a split has, unreadable ones among them."""
        return len(self.where[role].positions)

    def of(self, role: Role, channels: int, at: Sequence[int] | None = None) -> Iterator[Original]:
        """The images of a split, or those at sorted places `at` in it; grey where `channels` is 1, else RGB."""
        positions = self.where[role].positions
        positions = positions if at is None else positions[np.asarray(at, dtype=np.int64)]
        split = self.source.splits[self.where[role].split]
        labels = split.labels[positions].tolist()
        for (data, name), label in zip(split.items(positions), labels, strict=True):
            try:
                yield Original(whole_image(data, name, channels), label, name)
            except BrokenImageError:
                continue


def find_originals(spec: DataSpec) -> Originals:
    """The originals of a study's images, by the same cuts. Raises UsageError where the source is gone or cannot be used."""
    source = in_class_order(find_source(spec), spec)
    if "train" not in source.splits:
        raise UsageError(source.unfit_for_training or f"{source.name} has no training images any more: put them back")
    return Originals(source, assign(source, spec)[0])


def read_image(path: Path, channels: int = 3) -> Image.Image:
    """An image file, upright, on a white background: grey where `channels` is 1, else RGB. Raises BrokenImageError."""
    return whole_image(path, str(path), channels)
