"""Images of a source as one network sees them, without a study: through its view of the originals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vicinal.config import DataSpec
from vicinal.data.class_order import in_class_order, in_classes_of
from vicinal.data.decode import BrokenImageError, whole_image
from vicinal.data.find import check_labels, check_names, find_source
from vicinal.data.splits import all_to_measure
from vicinal.data.types import ImageSet
from vicinal.data.views import View
from vicinal.errors import UsageError


def seen_images(spec: DataSpec, view: View, *, class_names: Sequence[str] | None = None, channels: int = 3) -> ImageSet:
    """The images that `load_test_images` would give, through a view; those that cannot be read are left out.

    Args:
        class_names: as `load_test_images` takes them.
        channels: C of the pixels, 1 (grey) or 3 (RGB).

    Raises UsageError for a source that cannot be used, or for classes that the classifier does not have.
    """
    source = find_source(spec)
    check_names(source)
    source = in_class_order(source, spec) if class_names is None else in_classes_of(source, class_names)
    check_labels(source, for_training=False)
    asked = all_to_measure(source, spec)[0]["test"]
    split = source.splits[asked.split]
    pixels, kept = [], list[int]()
    for position, (data, where) in zip(asked.positions.tolist(), split.items(asked.positions), strict=True):
        try:
            image = whole_image(data, where, channels)
        except BrokenImageError:
            continue
        pixels.append(view.array(image))
        kept.append(position)
    if not kept:
        raise UsageError(f"{source.name} has no image that can be read: repair them")
    positions = np.array(kept, dtype=np.int64)
    return ImageSet(
        torch.from_numpy(np.stack(pixels)),
        torch.from_numpy(split.labels[positions]),
        view=view,
        names=split.names(asked.split, positions),
    )
