"""JPEG files decoded straight into arrays by libjpeg-turbo (simplejpeg), with the bits that Pillow gives and without its copies."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHRINKS = (8, 4, 2)  # of an image's sides, that libjpeg-turbo decodes at the price of the smaller image
_START = b"\xff\xd8\xff"
_TURNING = (b"Exif\0", b"tiff:Orientation")  # where EXIF or XMP say which way up an image is


def _library() -> Any:
    """None where there is no simplejpeg for a machine: Pillow then decodes, to the same pixels."""
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


_SIMPLEJPEG = _library()


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) of a colour or grey JPEG as its header says; None for whatever else, which is Pillow's to read."""
    if _SIMPLEJPEG is None or not data.startswith(_START):
        return None
    try:
        height, width, space, _ = _SIMPLEJPEG.decode_jpeg_header(data)
    except ValueError:
        return None
    return (height, width) if space in ("YCbCr", "Gray") else None


def may_be_turned(data: bytes) -> bool:
    """Whether an encoded image may say that it stands on its side."""
    return any(word in data for word in _TURNING)


def decode_jpeg(data: bytes, size: tuple[int, int], shrink: int = 1) -> NDArray[np.uint8] | None:
    """RGB uint8 (H, W, 3) of an image of this `jpeg_size`, as it lies in the file, at 1 / `shrink` of its sides, rounded up.

    None where the file is not wholly sound: Pillow then says what it makes of it.
    """
    height, width = (-(-side // shrink) for side in size)
    try:
        pixels: NDArray[np.uint8] = _SIMPLEJPEG.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return pixels if pixels.shape == (height, width, 3) else None
