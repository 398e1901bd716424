"""From a `DataSpec` to images in memory: find the source, decide which image goes where, read only those images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.config import DataSpec
from vicinal.data.decode import Reader, decode_splits
from vicinal.data.lazy import LazyImages
from vicinal.data.sources import (
    KNOWN,
    find_embedded,
    find_folders,
    find_hub,
    find_named,
    find_parquet,
    find_shards,
    parquet_files,
    shard_files,
)
from vicinal.data.splits import stratified_split, stratified_subset
from vicinal.data.types import ROLES, ImageData, ImageSet, Role, Source
from vicinal.errors import UsageError

SOURCES_HELP = (
    f"embedded/fashion-mnist, {', '.join(f'torch/{name}' for name in KNOWN)}, hfds/OWNER/NAME, "
    "a folder of class folders (or of train/, val/, test/ with class folders), Parquet (a file or a folder), "
    "or a folder of WebDataset shards (train*.tar, val*.tar, test*.tar)"
)


def load_data(spec: DataSpec) -> ImageData:
    """All images of a source in memory, as uint8 (N, H, W, C), split into training, validation and test images.

    - Test images: the source's test split; else its validation split; else a share `spec.test` of the training images.
    - `spec.train_images` and `spec.test_images` then keep that many, class-balanced; the others are never read.
    - Validation images: the source's validation split if it serves as no other; else a share `spec.validation` cut from
      the training images kept (0: none). All cuts are stratified and drawn from `spec.split_seed`.

    Raises UsageError, in one line, for a source or an option that cannot be used, and VicinalError if the embedded
    images are damaged.
    """
    source = _find(spec)
    _check_labels(source)
    where, notes = _assign(source, spec)
    if spec.lazy:
        return _lazy(source, spec, where, notes)
    sets = [name for name in ROLES if len(where[name][1])]
    decoded = decode_splits([(source.splits[where[s][0]], where[s][1]) for s in sets], spec.image_size)
    pixels = {s: images for s, (images, _) in zip(sets, decoded, strict=True)}
    digests = {s: digest for s, (_, digest) in zip(sets, decoded, strict=True)}
    shape = pixels["train"].shape[1:]

    def image_set(name: Role) -> ImageSet:
        role, index = where[name]
        images = pixels.get(name, np.empty((0, *shape), dtype=np.uint8))
        return ImageSet(torch.from_numpy(images), torch.from_numpy(source.splits[role].labels[index]))

    return ImageData(
        name=source.name,
        source=spec.source,
        class_names=source.class_names,
        content_hash=_content_hash(source, where, digests, shape),
        train=image_set("train"),
        validation=image_set("validation"),
        test=image_set("test"),
        notes=(*source.notes, *notes),
    )


def _lazy(
    source: Source, spec: DataSpec, where: dict[Role, tuple[Role, NDArray[np.int64]]], notes: list[str]
) -> ImageData:
    """The same sets with images that are read when they are asked for; nothing but labels is read here."""
    if spec.image_size is None:
        raise UsageError("data.lazy needs data.image_size: the side in px that every image is brought to")
    if any(split.identities is None for split in source.splits.values()):
        raise UsageError(f"data.lazy goes with folders, Parquet, WebDataset shards and hfds/, not with {spec.source}")
    reader, name = Reader(spec.image_size), source.name

    def image_set(of: Role) -> ImageSet:
        role, index = where[of]
        split = source.splits[role]
        return ImageSet(LazyImages(split, index, reader, f"{name} {role}"), torch.from_numpy(split.labels[index]))

    sets = {of: image_set(of) for of in ROLES}
    digest = hashlib.sha256(json.dumps(source.class_names).encode())
    for of in ROLES:
        digest.update(sets[of].content_hash().encode())
    return ImageData(
        name=name,
        source=spec.source,
        class_names=source.class_names,
        content_hash=digest.hexdigest(),
        **sets,
        notes=(*source.notes, *notes),
    )


# --- finding ----------------------------------------------------------------------------------------------------------


def _find(spec: DataSpec) -> Source:
    prefix, slash, rest = spec.source.partition("/")
    prefix = prefix if slash else ""
    path = Path(spec.source).expanduser()
    columns = (spec.image_column, spec.label_column)
    has_columns = False
    find: Callable[[], Source]
    if prefix == "embedded":
        if rest != "fashion-mnist":
            raise UsageError(f"data.source={spec.source} is not known: the embedded images are embedded/fashion-mnist")
        find = find_embedded
    elif prefix == "torch":
        find = partial(find_named, rest, spec.root)
    elif prefix == "hfds":
        if not rest:
            raise UsageError(
                "data.source=hfds/ names no data set: give hfds/OWNER/NAME, for example hfds/uoft-cs/cifar100"
            )
        has_columns, find = True, partial(find_hub, rest, *columns)
    elif path.is_file() and path.suffix != ".parquet":
        raise UsageError(f"data.source={spec.source} is a file, but no .parquet file: allowed are {SOURCES_HELP}")
    elif path.is_file() or (path.is_dir() and parquet_files(path)):
        has_columns, find = True, partial(find_parquet, path, *columns)
    elif path.is_dir() and shard_files(path):
        find = partial(find_shards, path)
    elif path.is_dir():
        find = partial(find_folders, path)
    else:
        raise UsageError(
            f"data.source={spec.source}: no such folder or file, and no known name; allowed are {SOURCES_HELP}"
        )
    for key, value, fits, kinds in (
        ("image_column", spec.image_column, has_columns, "Parquet and hfds/"),
        ("label_column", spec.label_column, has_columns, "Parquet and hfds/"),
        ("root", spec.root, prefix == "torch", "torch/"),
    ):
        if value is not None and not fits:
            raise UsageError(f"data.{key} goes with {kinds} sources, not with {spec.source}: leave it out")
    try:
        return find()
    except OSError as error:
        raise UsageError(f"cannot read {spec.source} ({error}): check the path and its permissions") from None


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


# --- who goes where ---------------------------------------------------------------------------------------------------


def _assign(source: Source, spec: DataSpec) -> tuple[dict[Role, tuple[Role, NDArray[np.int64]]], list[str]]:
    """For each set that is given out, the source's split it comes from and the sorted positions in it; and notes."""
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
        "train": ("train", train.numpy()),
        "validation": (validation_role, validation.numpy()),
        "test": (test_role, test.numpy()),
    }, notes


def _labels(source: Source, role: Role, index: Tensor) -> Tensor:
    return torch.from_numpy(source.splits[role].labels)[index]


def _cut(source: Source, index: Tensor, share: float, key: str, seed: int) -> tuple[Tensor, Tensor]:
    """(kept, cut off) of the training images at `index`."""
    try:
        kept, held_out = stratified_split(_labels(source, "train", index), share, seed, class_names=source.class_names)
    except UsageError as error:
        way_out = ", or set data.validation=0" if key == "validation" else ""
        raise UsageError(
            f"cannot cut {key} images from the training images of {source.name}: {error}{way_out}"
        ) from None
    return index[kept], index[held_out]


def _keep(source: Source, role: Role, index: Tensor, key: str, count: int, seed: int) -> Tensor:
    try:
        return index[stratified_subset(_labels(source, role, index), count, seed)]
    except UsageError as error:
        raise UsageError(f"data.{key}={count}: {error}") from None


def _content_hash(
    source: Source,
    where: dict[Role, tuple[Role, NDArray[np.int64]]],
    digests: dict[Role, NDArray[np.uint8]],
    shape: Sequence[int],
) -> str:
    """SHA-256 over the images read, in the source's order: cutting them in another way changes nothing."""
    digest = hashlib.sha256(json.dumps({"classes": source.class_names, "shape": list(shape)}).encode())
    for role in ROLES:
        sets = [name for name in digests if where[name][0] == role]
        if sets:
            index = np.concatenate([where[name][1] for name in sets])
            order = np.argsort(index)
            digest.update(f"{role} {len(index)} ".encode())
            digest.update(source.splits[role].labels[index[order]].astype("<i8").tobytes())
            digest.update(np.concatenate([digests[name] for name in sets])[order].tobytes())
    return digest.hexdigest()
