"""Crops of images that are read when they are needed: cut out of the original and resized once.

A crop is given in px of the square that a study would store (`Reader`), and cut where these lie in the original: its pixels are
resized once, where those of a stored image are resized twice. (H, W, C) an image, uint8.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from vicinal.data.decode import (
    MOST_PIXELS,
    ON_THEIR_SIDES,
    BrokenImageError,
    met_in_reading,
    turn_stated,
    whole_image,
)
from vicinal.data.jpeg import SHRINKS, decode_jpeg, jpeg_size, may_be_turned
from vicinal.errors import VicinalError

Box = tuple[int, int, int, int]  # top, left, height, width in px of the stored square
_LEAST_SHRUNK = (
    2  # sides of what comes out, that a crop keeps when it is decoded smaller: then the difference cannot be seen
)


@dataclass(frozen=True)
class Cropper:
    """What is cut out of originals of which a study would store squares of `side` px: their centre, or all, `squashed`."""

    side: int
    squashed: bool = False

    def read(self, data: Path | bytes | NDArray[np.uint8], where: str, box: Box, size: int) -> NDArray[np.uint8]:
        """uint8 (size, size, 3): RGB, upright, on the background. Raises UsageError for an image that cannot be read."""
        try:
            return self.cut(_pixels(data, where, self, box, size), box, size)
        except BrokenImageError as error:
            raise met_in_reading(error) from None
        except MemoryError:
            raise VicinalError(f"{where}: memory ran out while it was read: make it smaller or remove it") from None

    def cut(self, pixels: NDArray[np.uint8], box: Box, size: int) -> NDArray[np.uint8]:
        """The crop of an upright original (H, W, 3), bilinear with antialiasing, as torchvision's of uint8 images."""
        rows, columns = self.where(pixels.shape[0], pixels.shape[1], box)
        if pixels[rows, columns].shape[:2] == (size, size):
            return np.array(pixels[rows, columns])
        # Sliced by torch: only so it sees that channels lie side by side, and keeps them so, which is twice as fast.
        cut = torch.from_numpy(pixels)[None, rows, columns].permute(0, 3, 1, 2)
        cut = F.interpolate(cut, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        return cut[0].permute(1, 2, 0).numpy()

    def where(self, height: int, width: int, box: Box) -> tuple[slice, slice]:
        """The rows and columns of an original (height, width) that a box of the stored square shows: whole px, at least one."""
        top, left, high, wide = box
        seen = (height, width) if self.squashed else (min(height, width),) * 2
        return (
            _span(height, seen[0] / self.side, top, high, (height - seen[0]) / 2),
            _span(width, seen[1] / self.side, left, wide, (width - seen[1]) / 2),
        )

    def shrink(self, size: tuple[int, int], box: Box, wanted: int) -> int:
        """At what part of its sides an original (height, width) may be decoded for a crop of `wanted` px: 1, 2, 4 or 8."""
        rows, columns = self.where(*size, box)
        least = min(rows.stop - rows.start, columns.stop - columns.start)
        return next((by for by in SHRINKS if least >= by * _LEAST_SHRUNK * wanted), 1)


def _span(side: int, scale: float, start: int, length: int, offset: float) -> slice:
    first = min(side - 1, int(offset + start * scale + 0.5))
    return slice(first, max(first + 1, min(side, int(offset + (start + length) * scale + 0.5))))


def _pixels(
    data: Path | bytes | NDArray[np.uint8], where: str, cropper: Cropper, box: Box, wanted: int
) -> NDArray[np.uint8]:
    """The upright original, perhaps smaller: by libjpeg-turbo where it can, else by Pillow, to the same bits."""

    def shrink(upright: tuple[int, int]) -> int:
        return cropper.shrink(upright, box, wanted)

    encoded = None if isinstance(data, np.ndarray) else _encoded(data)
    size = None if encoded is None else jpeg_size(encoded)
    if encoded is not None and size is not None and size[0] * size[1] <= MOST_PIXELS:
        turn = turn_stated(encoded, where) if may_be_turned(encoded) else None
        found = decode_jpeg(encoded, size, shrink(size[::-1] if turn in ON_THEIR_SIDES else size))
        if found is not None:
            return found if turn is None else np.array(Image.fromarray(found).transpose(turn))
    return np.array(whole_image(data, where, 3, shrink))


def _encoded(data: Path | bytes) -> bytes | None:
    """The bytes of a file; None where Pillow is to say why there are none."""
    if isinstance(data, bytes):
        return data
    with contextlib.suppress(OSError):
        if data.is_file():
            return data.read_bytes()
    return None
