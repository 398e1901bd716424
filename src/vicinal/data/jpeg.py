"""JPEG files decoded straight into arrays by libjpeg-turbo (simplejpeg), with the bits that Pillow gives and without its copies."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHRINKS = (8, 4, 2)  # of an image's sides, that libjpeg-turbo decodes at the price of the smaller image
_APP1, _SCAN = 0xE1, 0xDA
_START = b"\xff\xd8\xff"
_TURNING = (b"Exif\0", b"tiff:Orientation")  # where EXIF or XMP say which way up an image is


def _library() -> Any:
    """None where there is no simplejpeg for a machine: Pillow then decodes, to the same pixels."""
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


_SIMPLEJPEG = _library()
_OF_THREAD = threading.local()
_MOST_KEPT = 1 << 26  # bytes that a thread keeps for its next image


def _buffer(size: int) -> NDArray[np.uint8]:
    """At least so many bytes; those of the image before, where they suffice: new ones would have to be paged in."""
    held: NDArray[np.uint8] | None = getattr(_OF_THREAD, "held", None)
    if held is not None and len(held) >= size:
        return held
    made = np.empty(size, np.uint8)
    if size <= _MOST_KEPT:
        _OF_THREAD.held = made
    return made


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
    """Whether a JPEG may say that it stands on its side: by its APP1 segments, before its scan; also where they make no sense."""
    place = 2
    while data[place : place + 1] == b"\xff":
        kind, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if kind == _SCAN:
            return False
        if kind == _APP1 and any(word in data[place : place + 2 + length] for word in _TURNING):
            return True
        place += 2 + length
    return True


def decode_jpeg(data: bytes, size: tuple[int, int], shrink: int = 1) -> NDArray[np.uint8] | None:
    """RGB uint8 (H, W, 3) of an image of this `jpeg_size`, as it lies in the file, at 1 / `shrink` of its sides, rounded up.

    None where the file is not wholly sound: Pillow then says what it makes of it. The pixels are the thread's until it decodes again.
    """
    height, width = (-(-side // shrink) for side in size)
    try:
        pixels: NDArray[np.uint8] = _SIMPLEJPEG.decode_jpeg(
            data, "RGB", min_height=height, min_width=width, buffer=_buffer(3 * height * width)
        )
    except ValueError:
        return None
    return pixels if pixels.shape == (height, width, 3) else None
