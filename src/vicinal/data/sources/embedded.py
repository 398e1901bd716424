"""`embedded/fashion-mnist`: a class-balanced part of Fashion-MNIST that comes with the package.

The file holds 10,000 training images, then 5,000 test images, each 28 x 28 bytes, class after class with equal counts
(so labels need not be stored), compressed as .xz. `scripts/make_embedded_images.py` makes it.

Shapes: N images of 28 x 28 px.
"""

from __future__ import annotations

import hashlib
import lzma
from importlib import resources
from importlib.resources.abc import Traversable

import numpy as np
from numpy.typing import NDArray

from vicinal.config import DataSpec
from vicinal.data.types import Source, Split, split_of_arrays
from vicinal.errors import UsageError, VicinalError

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
NAME = "embedded/fashion-mnist"
FILE_NAME = "fashion-mnist-part.xz"
TRAIN_PER_CLASS, TEST_PER_CLASS = 1000, 500
SIDE = 28  # px
FILE_SHA256 = "dbab9842b75f8deb5d091b37f5217b4b89247c1272b8c9aca71d37dc85fa27b0"
CONTENT_SHA256 = "d96fb3e65fb3da5f5f71244f5e80f985ad29aa10b892e8670517ebc4029af875"


def embedded_file() -> Traversable:
    """The packaged file."""
    return resources.files("vicinal.data") / "assets" / FILE_NAME


def find_embedded(spec: DataSpec) -> Source:
    """The embedded images. Raises UsageError for another name, VicinalError if the packaged file is missing or damaged."""
    if spec.source != NAME:
        raise UsageError(f"data.source={spec.source} is not known: the embedded images are {NAME}")
    images = decode_embedded(embedded_file())
    cut = len(FASHION_CLASSES) * TRAIN_PER_CLASS
    return Source(
        name="Fashion-MNIST (embedded part)",
        class_names=FASHION_CLASSES,
        splits={"train": _split(images[:cut], TRAIN_PER_CLASS), "test": _split(images[cut:], TEST_PER_CLASS)},
    )


def decode_embedded(file: Traversable) -> NDArray[np.uint8]:
    """All images as stored, uint8 (15000, 28, 28). Raises VicinalError if file or content is not as published."""
    try:
        packed = file.read_bytes()
        if hashlib.sha256(packed).hexdigest() != FILE_SHA256:
            raise ValueError("the file's SHA-256 is not the published one")
        content = lzma.decompress(packed, format=lzma.FORMAT_XZ)
        if hashlib.sha256(content).hexdigest() != CONTENT_SHA256:
            raise ValueError("the content's SHA-256 is not the published one")
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise VicinalError(f"the embedded images {file} are damaged ({error}): install vicinal again") from None
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, SIDE, SIDE)


def _split(images: NDArray[np.uint8], per_class: int) -> Split:
    # Stored class after class, which packs best; given out in turns, so that every prefix is balanced.
    classes = len(FASHION_CLASSES)
    turns = images.reshape(classes, per_class, SIDE, SIDE).swapaxes(0, 1).reshape(-1, SIDE, SIDE)
    labels = np.tile(np.arange(classes, dtype=np.int64), per_class)
    return split_of_arrays(turns, labels, NAME)
