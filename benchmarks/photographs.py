"""JPEG files for the loaders: drawn, since nothing may be downloaded, with the size and the detail of photographs."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

SIZES = ((500, 375), (375, 500), (500, 333), (480, 360))  # px, width first; 92 kB at this quality, as ImageNet's
QUALITY = 90
CLASSES = 10
_CANVAS = (1400, 1900)  # px, height first


def write_photographs(root: Path, count: int) -> None:
    """The same images as ROOT/folder/train/<class>/, ROOT/parquet and ROOT/shards, and one of each class to test on."""
    (root / "parquet").mkdir(parents=True)
    (root / "shards").mkdir()
    encoded = _encoded(count + CLASSES)
    for split, images in (("train", encoded[:count]), ("test", encoded[count:])):
        labels = [number % CLASSES for number in range(len(images))]
        for number, (label, image) in enumerate(zip(labels, images, strict=True)):
            path = root / f"folder/{split}/{label}/{number:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
        order = np.random.default_rng(1).permutation(len(images)).tolist()  # as published files are: not class by class
        table = pa.table(
            {"image": [{"bytes": images[i], "path": None} for i in order], "label": [labels[i] for i in order]}
        )
        file = root / f"parquet/{split}-00000-of-00001.parquet"
        pq.write_table(table, file, row_group_size=100)  # as `datasets` writes it
        for shard in range(4 if split == "train" else 1):
            with tarfile.open(root / f"shards/{split}-{shard:06}.tar", "w") as tar:
                for i in order[shard::4] if split == "train" else order:
                    for ending, content in (("jpg", images[i]), ("cls", str(labels[i]).encode())):
                        info = tarfile.TarInfo(f"{i:05}.{ending}")
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))


def _encoded(count: int) -> list[bytes]:
    canvas, places = _canvas(), np.random.default_rng(2)
    found = []
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        top, left = places.integers(0, _CANVAS[0] - height), places.integers(0, _CANVAS[1] - width)
        buffer = io.BytesIO()
        Image.fromarray(canvas[top : top + height, left : left + width]).save(buffer, "JPEG", quality=QUALITY)
        found.append(buffer.getvalue())
    return found


def _canvas() -> NDArray[np.uint8]:
    """Noise whose amplitude falls with its frequency, as that of photographs does; colours vary less finely than brightness."""
    generator = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(_CANVAS[0])[:, None], np.fft.rfftfreq(_CANVAS[1])[None])
    frequency[0, 0] = 1

    def field(slope: float) -> NDArray[np.float64]:
        drawn: NDArray[np.float64] = np.fft.irfft2(
            np.fft.rfft2(generator.standard_normal(_CANVAS)) / frequency**slope, _CANVAS
        )
        drawn /= drawn.std()
        return drawn

    brightness = field(1.1)
    channels = [brightness + 0.5 * field(1.4) for _ in range(3)]
    return np.stack([np.clip(128 + 55 * c / c.std(), 0, 255) for c in channels], -1).astype(np.uint8)
