"""WebDataset shards that cannot be used."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from sources_on_disk import png

from vicinal.config import DataSpec
from vicinal.data import load_data
from vicinal.errors import UsageError

SIDE = 24


def spec(path: Path, **changes: object) -> DataSpec:
    return DataSpec(**{"source": str(path), "image_size": SIDE, "validation": 0.25, **changes})


def shard(path: Path, entries: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"a.jpg": png(1)}, "has no class: add a.cls"),
        ({"a.jpg": png(1), "a.cls": b"x"}, "has no class"),
        ({"a.jpg": png(1), "a.json": b"{}"}, "has no class"),
        ({"a.txt": b"x"}, "holds no images"),
    ],
)
def test_wrong_shards(tmp_path: Path, entries, words: str):
    shard(tmp_path / "train-0.tar", entries)
    with pytest.raises(UsageError, match=words):
        load_data(spec(tmp_path))


def test_damaged_and_missing_shards(tmp_path: Path):
    (tmp_path / "train-0.tar").write_bytes(b"no tar at all")
    with pytest.raises(UsageError, match=r"train-0\.tar cannot be read"):
        load_data(spec(tmp_path))
    (tmp_path / "train-0.tar").rename(tmp_path / "val-0.tar")
    with pytest.raises(UsageError, match=r"none named train"):
        load_data(spec(tmp_path))
