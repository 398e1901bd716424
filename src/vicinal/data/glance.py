"""What a source holds, seen without decoding an image: its classes, how many images of each, and the sizes of some of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np
from PIL import Image

from vicinal.config import DataSpec
from vicinal.data.class_order import in_class_order, natural_key
from vicinal.data.find import check_labels, check_trainable, find_source
from vicinal.data.types import Item, Role, Source

GLANCED = 300  # images of each split whose headers are read


@dataclass(frozen=True)
class Glance:
    """A source at a glance. Sizes are those of a sample of its images, (width, height) in px; () where none can be read."""

    name: str
    source: str
    class_names: tuple[str, ...]
    counts: Mapping[Role, tuple[int, ...]]  # images of each class, of every split that the source has
    sizes: tuple[tuple[int, int], ...]
    grey: bool  # none of the sample has colours
    class_order: str  # what the numbers of the classes go by
    natural_differs: bool  # timm would number these classes otherwise

    @property
    def images(self) -> dict[Role, int]:
        """Images of every split that the source has."""
        return {role: sum(counts) for role, counts in self.counts.items()}

    @property
    def short_side(self) -> int | None:
        """Median of the shorter sides, in px; None where no size is known."""
        return round(median(min(size) for size in self.sizes)) if self.sizes else None

    @property
    def one_size(self) -> bool:
        """Whether all images of the sample are squares of one size."""
        return len(set(self.sizes)) == 1 and self.sizes[0][0] == self.sizes[0][1]


def glance(spec: DataSpec) -> Glance:
    """Look at a source. Raises UsageError where it cannot be used, as `load_data` would; unreadable images are passed over."""
    source = find_source(spec)
    check_trainable(source, spec.source)
    source = in_class_order(source, spec)
    check_labels(source, for_training=True)
    names = source.class_names
    counts = {
        role: tuple(np.bincount(split.labels, minlength=len(names)).tolist()) for role, split in source.splits.items()
    }
    sizes, colours = [], False
    for size, coloured in _headers(source):
        sizes.append(size)
        colours |= coloured
    natural = tuple(sorted(names, key=natural_key))
    return Glance(
        name=source.name,
        source=spec.source,
        class_names=names,
        counts=counts,
        sizes=tuple(sizes),
        grey=not colours,
        class_order=source.class_order,
        natural_differs=source.class_order == "text" and natural != names,
    )


def _headers(source: Source) -> Iterator[tuple[tuple[int, int], bool]]:
    for split in source.splits.values():
        sample = np.unique(np.linspace(0, len(split.labels) - 1, min(GLANCED, len(split.labels))).astype(np.int64))
        for item in split.items(sample):
            found = _header(item)
            if found is not None:
                yield found


def _header(item: Item) -> tuple[tuple[int, int], bool] | None:
    """(width, height) and whether there are colours; None where it cannot be read, which loading tells of."""
    content = item[0]
    if isinstance(content, np.ndarray):
        return (content.shape[1], content.shape[0]), content.ndim == 3
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            return image.size, image.mode not in ("1", "L", "I;16", "I", "F", "LA")
    except Exception:  # whatever a damaged file makes a decoder raise
        return None
