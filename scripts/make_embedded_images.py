"""Make the embedded part of Fashion-MNIST from the published idx files.

    python scripts/make_embedded_images.py [FOLDER]

FOLDER holds the four idx files, plain or gzipped; the default is where Debian's package `dataset-fashion-mnist` puts
them. Which images are taken depends on nothing but the labels and a fixed seed, so the content is the same every time;
the compressed file is too, as long as liblzma is of one version (the packaged file: 5.4.1).
Prints both SHA-256, which belong into `vicinal.data.sources.embedded`.
"""

from __future__ import annotations

import argparse
import hashlib
import lzma
from pathlib import Path

import numpy as np
import torch

from vicinal.data import stratified_subset
from vicinal.data.sources.embedded import FASHION_CLASSES, FILE_NAME, TEST_PER_CLASS, TRAIN_PER_CLASS
from vicinal.data.sources.named import read_idx
from vicinal.errors import VicinalError

SEED = 0
# Raw bytes pack better than differences of pixels, PNG or WebP: 28 x 28 images are full of exact repeats.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]


def chosen_images(folder: Path, part: str, per_class: int) -> bytes:
    """The pixels of `per_class` images of every class, class after class, in the source's order within a class."""
    files = [folder / f"{part}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    images, labels = (read_idx(f if f.is_file() else f.with_name(f"{f.name}.gz")) for f in files)
    index = stratified_subset(torch.from_numpy(labels.copy()), len(FASHION_CLASSES) * per_class, SEED).numpy()
    by_class = index[np.argsort(labels[index], kind="stable")]
    return images[by_class].tobytes()


def make(folder: Path) -> tuple[bytes, str]:
    """The file's bytes and the SHA-256 of what they decompress to."""
    content = chosen_images(folder, "train", TRAIN_PER_CLASS) + chosen_images(folder, "t10k", TEST_PER_CLASS)
    packed = lzma.compress(content, format=lzma.FORMAT_XZ, filters=FILTERS)
    return packed, hashlib.sha256(content).hexdigest()


def main() -> None:
    """Write the file into the package's assets."""
    assets = Path(__file__).resolve().parents[1] / "src" / "vicinal" / "data" / "assets"
    parser = argparse.ArgumentParser(description="Make the embedded part of Fashion-MNIST from its idx files.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument(
        "--out", type=Path, default=assets / FILE_NAME, help="file to write (default: the packaged one)"
    )
    arguments = parser.parse_args()
    try:
        packed, content_sha256 = make(arguments.folder)
    except VicinalError as error:
        raise SystemExit(str(error)) from None
    arguments.out.write_bytes(packed)
    print(f"{arguments.out}: {len(packed):,} bytes")
    print(f'FILE_SHA256 = "{hashlib.sha256(packed).hexdigest()}"')
    print(f'CONTENT_SHA256 = "{content_sha256}"')


if __name__ == "__main__":
    main()
