"""From assigned positions to sets of images: all in memory, or read when they are asked for; each with the views that networks need.

Shapes: N images, (H, W, C) an image, uint8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from vicinal.config import DataSpec
from vicinal.data.decode import (
    BrokenImageError,
    DecodedPart,
    Reader,
    SizeNeededError,
    Storage,
    ViewsOf,
    broken_sentence,
    read_headers,
)
from vicinal.data.lazy import LazyImages
from vicinal.data.pixel_cache import decode_kept
from vicinal.data.splits import Assigned
from vicinal.data.types import ROLES, ImageSet, Role, Source, Split
from vicinal.data.views import View, canvas_view
from vicinal.errors import UsageError
from vicinal.workspace import shown_if_slow, told_if_slow

MEDIAN_KEPT, LEAST_KEPT = 0.75, 0.5  # of an image's area; where cropping keeps less, it is said


@dataclass(frozen=True)
class Sets:
    """What was read: the sets, which images of the source they hold, and what is to be said of them.

    `own_side` is the side of small square images that are kept as they are, else None.
    """

    sets: dict[Role, ImageSet]
    where: dict[Role, Assigned]
    notes: tuple[str, ...] = ()
    remembered: int = 0  # files that were not read for their hashes
    own_side: int | None = None


def read_sets(
    source: Source,
    spec: DataSpec,
    where: Mapping[Role, Assigned],
    side: int | None,
    views: Sequence[View] | ViewsOf = (),
) -> Sets:
    """The images of a source that are in some split of a study.

    Args:
        side: in px, that images are kept at for training; None: as they are.
        views: that networks have of the originals. Of validation and test images they are kept beside the stored pixels; of training
            images, few of which are ever shown to a network unaugmented, they are made when they are asked for.

    Raises UsageError, and SizeNeededError where there is no side and the images need one.
    """
    views_of = views if callable(views) else lambda _: views
    return (_lazy if spec.lazy else _in_memory)(source, spec, where, Storage(side, spec.fit, views_of))


def _in_memory(source: Source, spec: DataSpec, where: Mapping[Role, Assigned], storage: Storage) -> Sets:
    """All images in memory, read in one pass."""
    filled = [name for name in ROLES if len(where[name].positions)]
    parts = [(source.splits[where[name].split], where[name].positions, name != "train") for name in filled]
    decoded = decode_kept(parts, storage, spec.on_error == "skip")
    found = dict(zip(filled, decoded.parts, strict=True))
    shape = next(iter(found.values())).pixels.shape[1:]
    views = tuple(dict.fromkeys(storage.views(decoded.own_side)))
    resized = storage.side is not None and shape[0] == storage.side
    canvas = canvas_view(storage.side, storage.fit) if storage.side is not None and resized else None
    sets: dict[Role, ImageSet] = {}
    kept = dict(where)
    for name in ROLES:
        if name not in found:
            empty = [torch.empty((0, *form), dtype=torch.uint8) for form in (shape, *(_shape(v, shape) for v in views))]
            labels = where[name].labels(source)
            seen = {view: ImageSet(images, labels, view=view) for view, images in zip(views, empty[1:], strict=True)}
            sets[name] = ImageSet(empty[0], labels, None, canvas, seen)
            continue
        kept[name] = replace(where[name], positions=where[name].positions[found[name].readable])
        sets[name] = _set_of(source, kept[name], found[name], views, canvas)
    notes = [_skipped(decoded.broken)] if decoded.broken else []
    if decoded.transparent:
        notes.append(f"{decoded.transparent:,} images have transparent parts: they are seen on a white background.")
    notes += _cropped(np.concatenate([part.kept for part in decoded.parts]), spec)
    return Sets(sets, kept, tuple(notes), own_side=decoded.own_side)


def _shape(view: View, like: Sequence[int]) -> tuple[int, int, int]:
    return view.side, view.side, int(like[-1])


def _set_of(source: Source, at: Assigned, found: DecodedPart, views: Sequence[View], canvas: View | None) -> ImageSet:
    labels, split = at.labels(source), source.splits[at.split]
    seen = {}
    for view in views:
        if view in found.seen:
            seen[view] = ImageSet(torch.from_numpy(found.seen[view]), labels, None, view)
        else:
            seen[view] = _seen_when_asked(split, at, labels, view, found)
    return ImageSet(torch.from_numpy(found.pixels), labels, found.digests, canvas, seen)


def _seen_when_asked(split: Split, at: Assigned, labels: torch.Tensor, view: View, found: DecodedPart) -> ImageSet:
    """Training images through a view: made when they are asked for, and remembered, since pairs of them come again."""
    images = LazyImages(split, at.positions, Reader(view.side, view=view, channels=found.pixels.shape[3]), {})
    # Where pixels lie in arrays, the stored ones are the originals or made of them alone.
    return ImageSet(images, labels, found.digests if split.contents is None else None, view)


def _lazy(source: Source, spec: DataSpec, where: Mapping[Role, Assigned], storage: Storage) -> Sets:
    """The same sets with images that are decoded when they are asked for; here files are hashed and their headers looked at."""
    if storage.side is None:
        raise SizeNeededError("data.lazy needs data.image_size: the side in px that every image is brought to")
    if any(split.contents is None for split in source.splits.values()):
        raise UsageError(f"data.lazy goes with folders, Parquet, WebDataset shards and hfds/, not with {spec.source}")
    canvas = canvas_view(storage.side, storage.fit)
    kept, broken, shares = dict(where), list[BrokenImageError](), list[NDArray[np.float32]]()
    sets: dict[Role, ImageSet] = {}
    remembered, count = 0, sum(len(where[name].positions) for name in ROLES)
    with shown_if_slow(f"looking at {count:,} images", count) as progress:
        all_headers = {
            name: read_headers(source.splits[where[name].split], where[name].positions, progress) for name in ROLES
        }
    for name, headers in all_headers.items():
        split, positions = source.splits[where[name].split], where[name].positions
        broken += headers.broken.values()
        shares.append(headers.kept)
        kept[name] = replace(where[name], positions=np.delete(positions, list(headers.broken)))
        labels = kept[name].labels(source)
        seen = {
            view: ImageSet(LazyImages(split, kept[name].positions, Reader(view.side, view=view)), labels, None, view)
            for view in dict.fromkeys(storage.views(None))
        }
        images = LazyImages(split, kept[name].positions, Reader(storage.side, view=canvas))
        sets[name] = ImageSet(images, labels, None, canvas, seen)
    if broken and spec.on_error == "raise":
        raise UsageError(broken_sentence(broken))
    with told_if_slow(f"looking whether {count:,} images have changed"):
        for images_of in sets.values():
            assert isinstance(images_of.images, LazyImages)
            remembered += images_of.images.contents.remembered
    notes = [_skipped(broken)] if broken else []
    return Sets(sets, kept, (*notes, *_cropped(np.concatenate(shares), spec)), remembered)


def _skipped(broken: Sequence[BrokenImageError]) -> str:
    return f"Left out by data.on_error=skip: {len(broken):,} images, for example {'; '.join(map(str, broken[:3]))}."


def _cropped(kept: NDArray[np.float32], spec: DataSpec) -> list[str]:
    """What cutting out centre squares takes away, where that is much."""
    if spec.fit != "crop" or not len(kept):
        return []
    median, few = float(np.median(kept)), int((kept < LEAST_KEPT).sum())
    if median >= MEDIAN_KEPT and not few:
        return []
    return [
        f"Cutting out centre squares leaves {median:.0%} of the median image's area, and less than half of {few:,} of {len(kept):,} "
        "images: what lies at their ends is never seen. data.fit=squash or data.fit=pad keeps whole images."
    ]
