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

from vicinal.config import DataSpec
from vicinal.data.class_order import in_class_order, in_classes_of
from vicinal.data.decode import ViewsOf
from vicinal.data.find import check_labels, check_names, check_trainable, find_source
from vicinal.data.leaks import leak_notes, near_notes
from vicinal.data.near_duplicates import MOST_IMAGES, near_duplicates
from vicinal.data.reading import Sets, read_sets
from vicinal.data.splits import Assigned, all_to_measure, assign
from vicinal.data.types import ROLES, ImageData, ImageSet, Role, Source, hash_of_images
from vicinal.data.unreadable import unreadable_images
from vicinal.data.views import View
from vicinal.errors import UsageError


def load_data(spec: DataSpec, stored_side: int | None = None, views: Sequence[View] | ViewsOf = ()) -> ImageData:
    """All images of a source in memory, as uint8 (N, H, W, C), split into training, validation and test images.

    - Test images: the source's test split; else its validation split; else a share `spec.test` of the training images.
    - `spec.train_images` and `spec.test_images` then keep that many, class-balanced; the others are never read.
    - Validation images: the source's validation split if it serves as no other; else a share `spec.validation` cut from
      the training images kept (0: none). All cuts are stratified and drawn from `spec.split_seed`.

    Args:
        stored_side: in px, that images are kept at where networks are to cut `spec.image_size` from something larger.
        views: that networks have of the originals (`ImageSet.as_seen`), each image being decoded once for all; or a function that gives
            them, which is told the side of small square images that are kept as they are, else None.

    Raises UsageError, in one line, for a source or an option that cannot be used, SizeNeededError (a UsageError) for images that need
    an `image_size` and have none, and VicinalError if the embedded
    images are damaged.
    """
    source = find_source(spec)
    check_trainable(source, spec.source)
    source = in_class_order(source, spec)
    check_labels(source, for_training=True)
    asked, notes = assign(source, spec)
    side = spec.image_size if stored_side is None else stored_side
    read = read_sets(source, spec, asked, side, views)
    _check_classes_left(source, read.sets["train"])
    data = _image_data(source, spec, read, notes)
    return replace(data, unreadable=unreadable_images(source, asked, read.where))


def load_test_images(
    source: DataSpec | str | Path,
    *,
    class_names: Sequence[str] | None = None,
    stored_side: int | None = None,
    views: Sequence[View] = (),
) -> ImageData:
    """Images to measure a classifier on: every one given, none cut off, and none needed to train on.

    - Test images: the source's test split; else its validation split; else all that it has, as of a folder of class folders.
    - Validation images: the source's validation split if it serves as no other. No image is a training image.
    - A split may lack classes, and there may be but one.

    Args:
        source: as `data.source` of a study has it, or a whole `DataSpec` (`test_images` then keeps that many; shares are not used).
        class_names: the classifier's K names, in the order of its logits: labels become positions among them, found by name.
            None: the source's own classes.
        stored_side: in px, as `load_data` takes it; default: the side of the first view, where there is one.
        views: that networks have of the originals (`ImageSet.as_seen`).

    Raises UsageError, in one line, for a source that cannot be used, or for classes that the classifier does not have.
    """
    spec = source if isinstance(source, DataSpec) else DataSpec(source=str(source))
    found = find_source(spec)
    check_names(found)
    found = in_class_order(found, spec) if class_names is None else in_classes_of(found, class_names)
    check_labels(found, for_training=False)
    asked, notes = all_to_measure(found, spec)
    side = stored_side or spec.image_size or next((view.side for view in views), None)
    read = read_sets(found, spec, asked, side, views)
    return replace(_image_data(found, spec, read, notes), unreadable=unreadable_images(found, asked, read.where))


def _image_data(source: Source, spec: DataSpec, read: Sets, notes: Sequence[str]) -> ImageData:
    where = read.where
    sets = {
        role: images.with_names(source.splits[where[role].split].names(where[role].split, where[role].positions))
        for role, images in read.sets.items()
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
        remembered_hashes=read.remembered,
        notes=tuple(_without_root(note, spec) for note in (*source.notes, *notes, *read.notes, *leaks)),
        own_side=read.own_side,
        near_duplicates=None if near is None else tuple(near),
    )


def _without_root(note: str, spec: DataSpec) -> str:
    """Notes go into reports, which name files by their place in the source and not in somebody's machine."""
    root = re.escape(f"{Path(spec.source).expanduser()}{os.sep}")
    return re.sub(rf"(?<![^\s(]){root}", "", note)


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
