"""From a `DataSpec` to images: find the source, decide which image goes where, read only those images.

Shapes: N images, (H, W, C) an image, uint8.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vicinal.config import DataSpec
from vicinal.data.class_order import in_class_order
from vicinal.data.decode import BrokenImageError, Reader, broken_headers, broken_sentence, decode_splits
from vicinal.data.lazy import LazyImages
from vicinal.data.leaks import leak_notes
from vicinal.data.sources import (
    KNOWN,
    find_embedded,
    find_folders,
    find_hub,
    find_named,
    find_parquet,
    find_shards,
    is_parquet,
    is_shards,
)
from vicinal.data.splits import Assigned, assign
from vicinal.data.types import ROLES, ImageData, ImageSet, Role, Source, hash_of_images
from vicinal.errors import UsageError


@dataclass(frozen=True)
class SourceKind:
    """A kind of source: how a user writes it, when `data.source` means it, its reader, and the options that only some take."""

    name: str
    written: str
    means: Callable[[str], bool]
    find: Callable[[DataSpec], Source]
    options: tuple[str, ...] = ()


def _under(prefix: str) -> Callable[[str], bool]:
    return lambda source: source.startswith(prefix)


COLUMNS = ("image_column", "label_column")
# The first kind that a source means reads it: to add one, write a reader in sources/ and a line here.
KINDS: tuple[SourceKind, ...] = (
    SourceKind("embedded/", "embedded/fashion-mnist", _under("embedded/"), find_embedded),
    SourceKind("torch/", ", ".join(f"torch/{name}" for name in KNOWN), _under("torch/"), find_named, ("root",)),
    SourceKind("hfds/", "hfds/OWNER/NAME", _under("hfds/"), find_hub, COLUMNS),
    SourceKind("Parquet", "Parquet (a file or a folder)", is_parquet, find_parquet, COLUMNS),
    SourceKind("WebDataset", "a folder of WebDataset shards (train*.tar, val*.tar, test*.tar)", is_shards, find_shards),
    SourceKind(
        "class folder",
        "a folder of class folders (or of train/, val/, test/ with class folders)",
        lambda source: Path(source).expanduser().is_dir(),
        find_folders,
    ),
)
SOURCES_HELP = ", ".join(kind.written for kind in KINDS[:-1]) + f", or {KINDS[-1].written}"


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
    source = _find(spec)
    _check_names(source)
    source = in_class_order(source, spec)
    _check_labels(source)
    where, notes = assign(source, spec)
    side = spec.image_size if stored_side is None else stored_side
    read = _lazy_sets if spec.lazy else _decoded_sets
    sets, where, remembered, more = read(source, spec, where, side)
    _check_classes_left(source, sets["train"])
    leaks = leak_notes(sets, source.class_names, lambda role, i: _name_of(source, where[role], i))
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
        notes=tuple(_without_root(note, spec) for note in (*source.notes, *notes, *more, *leaks)),
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
    shape = found["train"].pixels.shape[1:]
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


def _find(spec: DataSpec) -> Source:
    """The source that `data.source` means, images unread. Raises UsageError where it means none or cannot be read."""
    kind = next((kind for kind in KINDS if kind.means(spec.source)), None)
    if kind is None and Path(spec.source).expanduser().is_file():
        raise UsageError(f"data.source={spec.source} is a file, but no .parquet file: allowed are {SOURCES_HELP}")
    if kind is None:
        raise UsageError(
            f"data.source={spec.source}: no such folder or file, and no known name; allowed are {SOURCES_HELP}"
        )
    for option in dict.fromkeys(option for each in KINDS for option in each.options):
        if getattr(spec, option) is not None and option not in kind.options:
            takers = " and ".join(each.name for each in KINDS if option in each.options)
            raise UsageError(f"data.{option} goes with {takers} sources, not with {spec.source}: leave it out")
    try:
        return kind.find(spec)
    except OSError as error:
        raise UsageError(f"cannot read {spec.source} ({error}): check the path and its permissions") from None


def _check_names(source: Source) -> None:
    """Networks and people know classes by their names. Told before anything is done with them: a file can name millions."""
    names, images = source.class_names, len(source.splits["train"].labels)
    if len(names) > images:
        raise UsageError(
            f"{source.name} names {len(names):,} classes and has {images:,} training images: every class needs one, so add images "
            "or name the classes of these alone"
        )
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise UsageError(f"{source.name} names two classes {twice[:100]!r}: give every class a name of its own")


def _check_labels(source: Source) -> None:
    classes = len(source.class_names)
    if classes < 2:
        raise UsageError(f"{source.name} has one class: a classifier needs at least two")
    for role, split in source.splits.items():
        wrong = np.flatnonzero((split.labels < 0) | (split.labels >= classes))
        if len(wrong):
            raise UsageError(
                f"{source.name}: image {wrong[0]} (from 0) of the {role} split has label {split.labels[wrong[0]]}, "
                f"but labels are 0 to {classes - 1}: correct or remove it"
            )
    counts = np.bincount(source.splits["train"].labels, minlength=classes)
    if not counts.all():
        name = source.class_names[int(np.argmin(counts))]
        raise UsageError(
            f"{source.name}: class {name!r} has no training image: add some, or number the classes without it"
        )


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
