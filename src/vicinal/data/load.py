"""From a `DataSpec` to images: find the source, decide which image goes where, read only those images.

Shapes: N images, (H, W, C) an image, uint8.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vicinal.config import DataSpec
from vicinal.data.class_order import in_class_order, in_classes_of
from vicinal.data.decode import BrokenImageError, Reader, broken_headers, broken_sentence, decode_splits
from vicinal.data.find import check_labels, check_names, check_trainable, find_source
from vicinal.data.lazy import LazyImages
from vicinal.data.leaks import leak_notes, near_notes
from vicinal.data.near_duplicates import MOST_IMAGES, near_duplicates
from vicinal.data.splits import Assigned, all_to_measure, assign
from vicinal.data.types import ROLES, ImageData, ImageSet, Role, Source, hash_of_images
from vicinal.data.unreadable import unreadable_images
from vicinal.errors import UsageError


def load_data(spec: DataSpec, stored_side: int | None = None) -> ImageData:
    """All images of a source in memory, as uint8 (N, H, W, C), split into training, validation and test images.

    - Test images: the source's test split; else its validation split; else a share `spec.test` of the training images.
    - `spec.train_images` and `spec.test_images` then keep that many, class-balanced; the others are never read.
    - Validation images: the source's validation split if it serves as no other; else a share `spec.validation` cut from
      the training images kept (0: none). All cuts are stratified and drawn from `spec.split_seed`.

    Args:
        stored_side: in px, that images are kept at where networks are to cut `spec.image_size` from something larger.

    Raises UsageError, in one line, for a source or an option that cannot be used, and VicinalError if the embedded
    images are damaged.
    """
    source = find_source(spec)
    check_trainable(source, spec.source)
    source = in_class_order(source, spec)
    check_labels(source, for_training=True)
    asked, notes = assign(source, spec)
    side = spec.image_size if stored_side is None else stored_side
    read = _lazy_sets if spec.lazy else _decoded_sets
    sets, where, remembered, more = read(source, spec, asked, side)
    _check_classes_left(source, sets["train"])
    data = _image_data(source, spec, where, sets, remembered, (*notes, *more))
    return replace(data, unreadable=unreadable_images(source, asked, where))


def load_test_images(
    source: DataSpec | str | Path, *, class_names: Sequence[str] | None = None, stored_side: int | None = None
) -> ImageData:
    """Images to measure a classifier on: every one given, none cut off, and none needed to train on.

    - Test images: the source's test split; else its validation split; else all that it has, as of a folder of class folders.
    - Validation images: the source's validation split if it serves as no other. No image is a training image.
    - A split may lack classes, and there may be but one.

    Args:
        source: as `data.source` of a study has it, or a whole `DataSpec` (`test_images` then keeps that many; shares are not used).
        class_names: the classifier's K names, in the order of its logits: labels become positions among them, found by name.
            None: the source's own classes.
        stored_side: in px, as `load_data` takes it.

    Raises UsageError, in one line, for a source that cannot be used, or for classes that the classifier does not have.
    """
    spec = source if isinstance(source, DataSpec) else DataSpec(source=str(source))
    found = find_source(spec)
    check_names(found)
    found = in_class_order(found, spec) if class_names is None else in_classes_of(found, class_names)
    check_labels(found, for_training=False)
    asked, notes = all_to_measure(found, spec)
    side = spec.image_size if stored_side is None else stored_side
    read = _lazy_sets if spec.lazy else _decoded_sets
    sets, where, remembered, more = read(found, spec, asked, side)
    data = _image_data(found, spec, where, sets, remembered, (*notes, *more))
    return replace(data, unreadable=unreadable_images(found, asked, where))


def _image_data(
    source: Source,
    spec: DataSpec,
    where: Mapping[Role, Assigned],
    sets: Mapping[Role, ImageSet],
    remembered: int,
    notes: Sequence[str],
) -> ImageData:
    sets = {
        role: images.with_names(source.splits[where[role].split].names(where[role].split, where[role].positions))
        for role, images in sets.items()
    }
    leaks = leak_notes(sets, source.class_names, lambda role, i: _name_of(source, where[role], i))
    near = near_duplicates(sets) if sum(map(len, sets.values())) <= MOST_IMAGES else None
    leaks += near_notes(near or (), sets, source.class_names)
    return ImageData(
        name=source.name,
        source=spec.source,
        class_names=source.class_names,
        content_hash=_content_hash(source, where, sets),
        train=sets["train"],
        validation=sets["validation"],
        test=sets["test"],
        class_order=source.class_order,
        remembered_hashes=remembered,
        notes=tuple(_without_root(note, spec) for note in (*source.notes, *notes, *leaks)),
        near_duplicates=None if near is None else tuple(near),
    )


def _without_root(note: str, spec: DataSpec) -> str:
    """Notes go into reports, which name files by their place in the source and not in somebody's machine."""
    root = re.escape(f"{Path(spec.source).expanduser()}{os.sep}")
    return re.sub(rf"(?<![^\s(]){root}", "", note)


# Sets, which images they hold, how many files' hashes were remembered, and notes.
_Read = tuple[dict[Role, ImageSet], dict[Role, Assigned], int, list[str]]


def _decoded_sets(source: Source, spec: DataSpec, where: Mapping[Role, Assigned], side: int | None) -> _Read:
    """All images in memory, read in one pass."""
    filled = [name for name in ROLES if len(where[name].positions)]
    parts = [(source.splits[where[name].split], where[name].positions) for name in filled]
    decoded = decode_splits(parts, side, spec.on_error == "skip")
    found = dict(zip(filled, decoded.parts, strict=True))
    shape = next(iter(found.values())).pixels.shape[1:]
    sets: dict[Role, ImageSet] = {}
    kept = dict(where)
    for name in ROLES:
        if name not in found:
            sets[name] = ImageSet(torch.empty((0, *shape), dtype=torch.uint8), where[name].labels(source))
            continue
        kept[name] = replace(where[name], positions=where[name].positions[found[name].readable])
        pixels = torch.from_numpy(found[name].pixels)
        sets[name] = ImageSet(pixels, kept[name].labels(source), found[name].digests)
    notes = []
    if decoded.broken:
        notes.append(_skipped(decoded.broken))
    if decoded.transparent:
        notes.append(f"{decoded.transparent:,} images have transparent parts: they are seen on a white background.")
    return sets, kept, 0, notes


def _lazy_sets(source: Source, spec: DataSpec, where: Mapping[Role, Assigned], side: int | None) -> _Read:
    """The same sets with images that are decoded when they are asked for; here files are hashed and their headers looked at."""
    if side is None:
        raise UsageError("data.lazy needs data.image_size: the side in px that every image is brought to")
    if any(split.contents is None for split in source.splits.values()):
        raise UsageError(f"data.lazy goes with folders, Parquet, WebDataset shards and hfds/, not with {spec.source}")
    reader, kept, broken = Reader(side), dict(where), list[BrokenImageError]()
    lazy: dict[Role, LazyImages] = {}
    for name in ROLES:
        split, positions = source.splits[where[name].split], where[name].positions
        wrong = broken_headers(split, positions)
        broken += wrong.values()
        kept[name] = replace(where[name], positions=np.delete(positions, list(wrong)))
        lazy[name] = LazyImages(split, kept[name].positions, reader)
    if broken and spec.on_error == "raise":
        raise UsageError(broken_sentence(broken))
    sets = {name: ImageSet(images, kept[name].labels(source)) for name, images in lazy.items()}
    remembered = sum(images.contents.remembered for images in lazy.values())
    return sets, kept, remembered, [_skipped(broken)] if broken else []


def _skipped(broken: Sequence[BrokenImageError]) -> str:
    return f"Left out by data.on_error=skip: {len(broken):,} images, for example {'; '.join(map(str, broken[:3]))}."


def _name_of(source: Source, at: Assigned, position: int) -> str:
    return next(source.splits[at.split].items(at.positions[position : position + 1]))[1]


def _check_classes_left(source: Source, train: ImageSet) -> None:
    """Of a class whose training images are all broken nothing can be learned."""
    counts = np.bincount(train.labels.numpy(), minlength=len(source.class_names))
    if not counts.all():
        name = source.class_names[int(np.argmin(counts))]
        raise UsageError(
            f"{source.name}: no training image of class {name!r} can be read: repair some or remove the class"
        )


def _content_hash(source: Source, where: Mapping[Role, Assigned], sets: Mapping[Role, ImageSet]) -> str:
    """SHA-256 over the images read, in the source's order: cutting them in another way changes nothing."""
    digest = hashlib.sha256(json.dumps(source.class_names).encode())
    for role in ROLES:
        parts = [name for name in ROLES if where[name].split == role and len(sets[name])]
        if parts:
            order = np.argsort(np.concatenate([where[name].positions for name in parts]))
            labels = np.concatenate([sets[name].labels.numpy() for name in parts])[order]
            digests = np.concatenate([sets[name].digests for name in parts])[order]
            digest.update(f"{role} {hash_of_images(sets['train'].form, labels, digests)}".encode())
    return digest.hexdigest()
