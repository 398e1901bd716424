"""One way from encoded images to uint8 arrays, for every source: Pillow in threads, one pass, nothing read twice.

Shapes: n images read, (H, W, C) an image.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from vicinal.data.types import Item, Split, digests_of
from vicinal.errors import UsageError
from vicinal.workspace import available_memory

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
# Closed list: Pillow also opens formats that start other programs (EPS) or that hold no photographs.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
MEMORY_SHARE = 0.6  # of the free memory that images may take; the rest is for training
_TASK = 32  # images per task: enough that handing out tasks costs nothing
_SMALL = 64 * 64  # px; up to here reading an image is mostly Python, and threads waiting for each other double the time
_GREY = ("1", "L")


class _ColourFound(Exception):  # noqa: N818 - a signal, caught in this module
    """An image has colours where all before it were grey."""


class _AnotherSize(Exception):  # noqa: N818 - a signal, caught in this module
    """An image has another size than the small square ones before it."""


def decode_splits(
    parts: Sequence[tuple[Split, NDArray[np.int64]]], image_size: int | None
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Read the images at the given sorted positions of each split.

    With `image_size` the shorter side is resized to it (bilinear, antialiased) and the centre square is cut out; without, all
    images must have one size. Square images of one size below `image_size` are kept as they are: enlarging them is left to
    the device, where it costs no memory. EXIF orientation is applied. C is 1 if all images are grey, else 3 (RGB;
    transparency is dropped). Returns for each part pixels uint8 (n, H, W, C) and the SHA-256 of each image's pixels,
    uint8 (n, 32).
    Raises UsageError for an image that cannot be read, sizes that differ, or more images than memory can hold.
    """
    first_split, first_index = parts[0]
    first_image = _open(*next(first_split.items(first_index[:1])))
    own = (first_image.height, first_image.width)
    size = own if image_size is None or (own[0] == own[1] < image_size) else (image_size, image_size)
    count = sum(len(index) for _, index in parts)
    channels = 1 if first_image.mode in _GREY else 3
    small = first_image.width * first_image.height <= _SMALL
    workers = 1 if small else min(16, os.cpu_count() or 1)
    while True:
        try:
            return _decode_all(parts, image_size, count, (*size, channels), workers)
        except _ColourFound:
            channels = 3
        except _AnotherSize:
            assert image_size is not None
            size = (image_size, image_size)


@dataclass(frozen=True)
class Reader:
    """How one image of a stream becomes pixels: decoded as RGB, the shorter side resized, the centre square cut out."""

    side: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.side, self.side, 3)

    def read(self, data: Path | bytes | NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
        """uint8 (H, W, C). Raises UsageError for an image that cannot be read."""
        return _pixels(data, where, self.side, self.shape)


def _decode_all(
    parts: Sequence[tuple[Split, NDArray[np.int64]]],
    image_size: int | None,
    count: int,
    shape: tuple[int, int, int],
    workers: int,
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    height, width, channels = shape
    needed, available = count * height * width * channels, available_memory()
    if available is not None and needed > MEMORY_SHARE * available:
        raise UsageError(
            f"{count} images of {width} x {height} x {channels} need {needed / 1e9:.1f} GB of memory, and of "
            f"{available / 1e9:.1f} GB free may take {MEMORY_SHARE:.0%}: lower data.image_size or data.train_images"
        )
    return [_decode_one(split, index, image_size, shape, workers) for split, index in parts]


def _decode_one(
    split: Split, index: NDArray[np.int64], image_size: int | None, shape: tuple[int, int, int], workers: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images = np.empty((len(index), *shape), dtype=np.uint8)
    digests = np.empty((len(index), 32), dtype=np.uint8)

    def work(items: list[Item], start: int) -> None:
        for position, (data, where) in enumerate(items, start):
            pixels = _pixels(data, where, image_size, shape)
            images[position] = pixels
            digests[position] = digests_of([pixels.data])

    tasks = _tasks(split.items(index))
    if workers == 1:
        for start, items in tasks:
            work(items, start)
        return images, digests
    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[None]] = deque()
    try:
        for start, items in tasks:
            pending.append(pool.submit(work, items, start))
            if len(pending) > 4 * workers:  # bounds the encoded images held at once
                pending.popleft().result()
        while pending:
            pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
    return images, digests


def _tasks(items: Iterator[Item]) -> Iterator[tuple[int, list[Item]]]:
    """Items in lists, each with the position of its first."""
    start = 0
    while task := list(islice(items, _TASK)):
        yield start, task
        start += len(task)


def _open(data: Path | bytes | NDArray[np.uint8], where: str) -> Image.Image:
    """The image, fully read and turned upright."""
    if isinstance(data, np.ndarray):
        return Image.fromarray(data)
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS) as image:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return image
    except MemoryError:
        raise
    except Exception as error:  # decoders of broken files raise anything: OSError, SyntaxError, struct.error, ...
        reason = "no known image format" if isinstance(error, UnidentifiedImageError) else _one_line(error)
        raise UsageError(f"{where} cannot be read as an image ({reason}): repair or remove it") from None


def _pixels(
    data: Path | bytes | NDArray[np.uint8], where: str, image_size: int | None, shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The image as contiguous uint8 of `shape` (H, W, C)."""
    height, width, channels = shape
    image = _open(data, where)
    if image.mode.startswith(("I", "F")):
        # Pillow's conversion to 8 bits clips such values at 255: a picture nearly all white.
        raise UsageError(f"{where} has more than 8 bits per channel (mode {image.mode}): convert it to 8 bits")
    if channels == 1 and image.mode not in _GREY:
        raise _ColourFound
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    target = "L" if channels == 1 else "RGB"
    if image.mode != target:
        image = image.convert(target)
    if image_size is not None and height < image_size:  # small images kept as they are, while they are alike
        if (image.height, image.width) != (height, width):
            raise _AnotherSize
    elif image_size is not None:
        image = _fit(image, image_size)
    if (image.height, image.width) != (height, width):
        raise UsageError(
            f"images differ in size: {where} is {image.width} x {image.height}, the first is {width} x {height}; "
            "give data.image_size=SIDE to resize them all (for example data.image_size=64)"
        )
    return np.asarray(image).reshape(shape)


def _fit(image: Image.Image, side: int) -> Image.Image:
    """Resize the shorter side to `side` px and cut out the centre square, by torchvision's arithmetic."""
    shorter = min(image.size)
    if shorter != side:
        width, height = (side if s == shorter else max(side, int(side * s / shorter)) for s in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return image if image.size == (side, side) else image.crop((left, top, left + side, top + side))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
