"""Small image sources in the published on-disk forms, made anew for each test."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def pixels(seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def png(seed: int, **options) -> bytes:
    file = io.BytesIO()
    pixels(seed, **options).save(file, "PNG")
    return file.getvalue()


def write_classes(root: Path, classes=("cat", "dog"), per_class: int = 5, start: int = 0, **options) -> Path:
    """ROOT/<class>/<n>.png with random pixels."""
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            (root / name / f"{i:03}.png").write_bytes(png(start + 1000 * c + i, **options))
    return root


def write_parquet(file: Path, labels, names=None, image="img", label="label", encoded=None, info=None, **more) -> Path:
    """One file in the Hugging Face image layout; image i is png(i) unless `encoded` gives its bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    encoded = encoded or [png(i) for i in range(len(labels))]
    images = pa.array(
        [{"bytes": b, "path": None} for b in encoded], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    table = pa.table({image: images, label: labels, **more})
    features = {image: {"_type": "Image"}}
    if names:
        features[label] = {"_type": "ClassLabel", "names": names}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features, **(info or {})}})})
    pq.write_table(table, file, row_group_size=3)  # more than one group, so that reading by group is tested
    return file
