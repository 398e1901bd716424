"""What loading gives (`ImageSet`, `ImageData`) and what a source is before its images are read (`Split`, `Source`).

Shapes: N images (n of a part), (H, W, C) an image, C = 1 (grey) or 3 (RGB).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.data.views import View
from vicinal.workspace import ContentHashes, content_hashes_of, hashes_of_parts


class Images(Protocol):
    """Images that are read when they are indexed, as a uint8 (N, H, W, C) tensor is indexed along N.

    `digests` gives uint8 (N, 32), which tell one image's encoded bytes from another's without decoding them.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Tensor | slice) -> Tensor: ...

    def split(self, size: int) -> Iterator[Tensor]: ...

    def subset(self, index: Tensor) -> Images: ...

    def digests(self) -> NDArray[np.uint8]: ...


@runtime_checkable
class CroppedImages(Protocol):
    """Images whose crops are cut from the originals, where `crops_originals`: resized once instead of twice."""

    @property
    def crops_originals(self) -> bool: ...

    def start_crops(self, key: Tensor, boxes: Tensor, size: int) -> Callable[[], Tensor]:
        """Begin to read crops at positions (B,), and give what waits for them: uint8 (B, size, size, C).

        `boxes` are (B, 4) int64: top, left, height and width of each in px of the image as it is when it is indexed.
        """


Role = Literal["train", "validation", "test"]
ROLES: tuple[Role, ...] = ("train", "validation", "test")

# One image not yet read (an encoded file, its bytes, or pixels (H, W) or (H, W, 3)), and its name in error messages.
Item = tuple[Path | bytes | NDArray[np.uint8], str]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their true classes.

    `images`: uint8 (N, H, W, C), C = 1 (grey) or 3 (RGB), contiguous; or lazy `Images`, which are read when asked for.
    `labels`: int64 (N,), positions in the class names.
    `known_digests`: uint8 (N, 32), the SHA-256 of each image's pixels where whoever read them has it; else it is computed.
    `view`: how the pixels were made from the originals; None: as the study stores them for training, from which all networks cut.
    `views`: the same images through other views.
    `names`: each image's place in its source (a path relative to it, or `FILE#row`); None: unknown. No part of any hash.
    Raises ValueError where images and labels do not have this form.
    """

    images: Tensor | Images
    labels: Tensor
    known_digests: NDArray[np.uint8] | None = None
    view: View | None = None
    views: Mapping[View, ImageSet] = field(default_factory=dict)
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.names is not None and len(self.names) != len(self.labels):
            raise ValueError(f"{len(self.names)} names for {len(self.labels)} images")
        if not isinstance(self.images, Tensor):
            return
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[3] not in (1, 3):
            raise ValueError(f"images are uint8 (N, H, W, 1 or 3), not {self.images.dtype} {tuple(self.images.shape)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels are int64 (N,), not {self.labels.dtype} {tuple(self.labels.shape)}")
        if not self.images.is_contiguous():
            raise ValueError("images must be contiguous")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index: Tensor) -> ImageSet:
        """The images at `index` (int64 positions, or a bool mask of length N), copied unless they are streamed."""
        images = self.images[index] if isinstance(self.images, Tensor) else self.images.subset(index)
        digests = None if self.known_digests is None else self.known_digests[index.cpu().numpy()]
        views = {view: seen.subset(index) for view, seen in self.views.items()}
        names = None if self.names is None else tuple(np.array(self.names, dtype=object)[index.cpu().numpy()])
        return ImageSet(images, self.labels[index], digests, self.view, views, names)

    def as_seen(self, view: View | None) -> ImageSet:
        """The same images through a view; None: as they are stored. Raises KeyError for a view that was not asked for in reading."""
        return self if view is None or view == self.view else self.views[view]

    def with_view(self, view: View) -> ImageSet:
        """The same with a view of these pixels, which are the originals. Raises ValueError for lazy images."""
        if not isinstance(self.images, Tensor):
            raise ValueError("a view is made of original pixels in memory")
        seen = ImageSet(view.pixels(self.images), self.labels, None, view, names=self.names)
        return replace(self, views={**self.views, view: seen})

    def with_names(self, names: tuple[str, ...]) -> ImageSet:
        """The same with the place of each image in its source."""
        return replace(self, names=names, views={view: seen.with_names(names) for view, seen in self.views.items()})

    @property
    def form(self) -> list[int | str]:
        """(H, W, C), and how these pixels were made where that is another way than the default one."""
        return [*self.images.shape[1:], *([] if self.view is None else [self.view.text])]

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """uint8 (N, 32): the SHA-256 of each image's pixels, or of its encoded bytes where images are lazy."""
        if self.known_digests is not None:
            return self.known_digests
        if not isinstance(self.images, Tensor):
            return self.images.digests()
        return digests_of(image.data for image in self.images.cpu().numpy())

    def content_hash(self) -> str:
        """SHA-256 (hex) over form, labels and digests, in order."""
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:
        return hash_of_images(self.form, self.labels.cpu().numpy(), self.digests)


def digests_of(values: Iterable[bytes | memoryview]) -> NDArray[np.uint8]:
    """uint8 (N, 32): the SHA-256 of each of N values."""
    return np.frombuffer(b"".join(hashlib.sha256(value).digest() for value in values), dtype=np.uint8).reshape(-1, 32)


def hash_of_images(form: Sequence[int | str], labels: NDArray[np.int64], digests: NDArray[np.uint8]) -> str:
    """SHA-256 (hex) over `ImageSet.form`, labels (N,) and digests (N, 32): the one hash of images, whoever holds them."""
    digest = hashlib.sha256(json.dumps([len(labels), *form]).encode())
    digest.update(labels.astype("<i8").tobytes())
    digest.update(digests.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that are nearly, or wholly, the same: the set and position of each, and how many of 256 bits differ in both hashes."""

    first: tuple[Role, int]
    second: tuple[Role, int]
    phash_bits: int
    dhash_bits: int
    identical: bool  # as stored


@dataclass(frozen=True)
class Unreadable:
    """An image that was left out: its place in the source, and why."""

    place: str
    reason: str


@dataclass(frozen=True, eq=False)
class ImageData:
    """A source as it was loaded and split.

    `name` is what tables show and `source` what the user gave. `content_hash` is a SHA-256 (hex) over class names and, for
    each of the source's own splits, the hash of the images read, in its own order: all of them, or those that
    `data.train_images` and `data.test_images` keep. It does not depend on the path, nor on how validation and test images
    are cut. `validation` may be empty. `class_order` says what the numbers of the classes go by, `remembered_hashes` how many
    files were not read for their hashes because nothing about them had changed, `own_side` the side in px of small square images (at
    most 64 px) that are kept as they are. `notes` are sentences that belong beside
    every figure made from the data.
    """

    name: str
    source: str
    class_names: tuple[str, ...]
    content_hash: str
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    class_order: str = "source"
    remembered_hashes: int = 0
    notes: tuple[str, ...] = ()
    near_duplicates: tuple[NearDuplicate, ...] | None = None  # across sets and classes; None: not looked for
    unreadable: tuple[Unreadable, ...] = ()  # left out by data.on_error=skip
    own_side: int | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """One split of a source, images unread: labels int64 (N,), and a way to read those at sorted positions.

    `contents` hashes the encoded bytes of the images at positions (n,); a source without it cannot be read lazily. `place` says
    where the image at a position lies in the source, for people; without it that is its number in the split. `scattered` is `items`
    for few positions out of many, again and again, where that is to be read in another way.
    """

    labels: NDArray[np.int64]
    items: Callable[[NDArray[np.int64]], Iterator[Item]]
    contents: Callable[[NDArray[np.int64]], ContentHashes] | None = None
    place: Callable[[int], str] | None = None
    scattered: Callable[[NDArray[np.int64]], Iterator[Item]] | None = None

    def names(self, role: Role, positions: NDArray[np.int64]) -> tuple[str, ...]:
        """The place in the source of the images at positions (n,) of this split, which is the source's `role`."""
        if self.place is None:
            return tuple(f"{role}#{position}" for position in positions.tolist())
        return tuple(map(self.place, positions.tolist()))


@dataclass(frozen=True, eq=False)
class Source:
    """A source that was found and understood, images unread."""

    name: str
    class_names: tuple[str, ...]
    splits: Mapping[Role, Split]
    notes: tuple[str, ...] = ()
    class_order: str = "source"  # what the numbers of the classes go by: the source's own, or names as "text"
    unreadable: tuple[Unreadable, ...] = ()  # entries that are no files, left out by data.on_error=skip
    unfit_for_training: str | None = None  # why a classifier can be measured on it and none trained, with the way out


def split_of_arrays(images: NDArray[np.uint8], labels: NDArray[np.int64], name: str) -> Split:
    """A split whose pixels are at hand: images uint8 (N, H, W) or (N, H, W, 3)."""

    def items(index: NDArray[np.int64]) -> Iterator[Item]:
        return ((images[i], f"{name}, image {i}") for i in index)

    return Split(labels, items)


def contents_in_files(
    files: Sequence[Path], file_of: NDArray[np.int64], places: Iterable[object], items: Callable[[], Iterator[Item]]
) -> ContentHashes:
    """Hashes of the encoded bytes of n images that lie in larger files, remembered while the files' own hashes are the same.

    Args:
        files: that hold them.
        file_of: (n,) positions in `files`; places: n values that tell images of a file apart.
        items: reads the images, as bytes, where their hashes are not remembered.
    """
    used = sorted(set(file_of.tolist()))
    hashes = content_hashes_of([files[i] for i in used])
    by_file = dict(zip(used, hashes.digests, strict=True))
    key = hashlib.sha256()
    for i, place in zip(file_of.tolist(), places, strict=True):
        key.update(by_file[i] + repr(place).encode() + b";")
    found = hashes_of_parts(key.digest(), len(file_of), lambda: (bytes(data) for data, _ in items()))
    return ContentHashes(tuple(found[i : i + 32] for i in range(0, len(found), 32)), hashes.remembered)
