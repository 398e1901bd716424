"""Images in larger files, read here and there: Parquet is laid out once, shards indexed once, and anew when a file changes."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sources_on_disk import png
from test_shards import shard

from vicinal.config import DataSpec
from vicinal.data import load_data
from vicinal.data.sources import parquet, shards
from vicinal.data.sources.parquet import find_parquet
from vicinal.data.sources.shards import find_shards
from vicinal.errors import VicinalError
from vicinal.workspace import array_cache, content


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own; files are remembered though they were written just now."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VICINAL_PIXEL_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(content, "SETTLED_S", -1e9)
    monkeypatch.setattr(array_cache, "_told", set())
    return tmp_path / "kept"


def write(root: Path, kind: str = "struct", start: int = 0) -> Path:
    """Two files of 30 rows in groups of 7, of which one has no image."""
    root.mkdir(exist_ok=True)
    for part in range(2):
        images: list[bytes | None] = [png(start + 100 * part + n) for n in range(30)]
        images[4] = None
        column = [{"bytes": image, "path": "x"} for image in images] if kind == "struct" else images
        table = pa.table({"image": column, "label": [n % 3 for n in range(30)]})
        if kind == "large":
            table = table.set_column(0, "image", table["image"].cast(pa.large_binary()))
        pq.write_table(table, root / f"train-0000{part}-of-00002.parquet", row_group_size=7)
    return root


POSITIONS = np.array([0, 3, 4, 6, 7, 29, 30, 34, 59])


def split_of(root: Path):
    return find_parquet(DataSpec(source=str(root))).splits["train"]


@pytest.mark.parametrize("kind", ["struct", "plain", "large"])
def test_parquet_read_here_and_there_is_parquet(tmp_path: Path, cache: Path, kind: str, monkeypatch, capsys):
    root = write(tmp_path / "data", kind)
    split = split_of(root)
    expected = list(split.items(POSITIONS))
    assert [data for data, _ in expected][2] == b""
    assert split.scattered is not None
    assert list(split.scattered(POSITIONS)) == expected
    assert "images of Parquet files, laid out to be read in any order, are kept in" in capsys.readouterr().err
    assert len(list(cache.glob("*.safetensors"))) == 2
    monkeypatch.setattr(parquet, "_read_images", None)  # nothing is left to be read from there
    assert list(split.scattered(POSITIONS[1:3])) == expected[1:3]
    again = split_of(root)
    with ThreadPoolExecutor(4) as threads:
        assert all(found == expected for found in threads.map(lambda _: list(again.scattered(POSITIONS)), range(8)))


def test_a_changed_file_and_a_damaged_copy_are_laid_out_anew(tmp_path: Path, cache: Path):
    root = write(tmp_path / "data")
    first = list(split_of(root).scattered(POSITIONS))
    for kept in cache.glob("*.safetensors"):
        damaged = bytearray(kept.read_bytes())
        damaged[-1000] ^= 1
        kept.write_bytes(damaged)
    assert list(split_of(root).scattered(POSITIONS)) == first
    write(root, start=1000)
    split = split_of(root)
    assert list(split.scattered(POSITIONS)) == list(split.items(POSITIONS)) != first


@pytest.mark.parametrize("place", ["off", "too small", "no folder"])
def test_where_there_is_no_room_rows_are_read_from_parquet(
    tmp_path: Path, cache: Path, place: str, monkeypatch, capsys
):
    if place == "off":
        monkeypatch.setenv("VICINAL_PIXEL_CACHE", "off")
    elif place == "too small":
        monkeypatch.setenv("VICINAL_PIXEL_CACHE_GB", "0.000001")
    else:
        cache.write_text("a file")
    split = split_of(write(tmp_path / "data"))
    assert list(split.scattered(POSITIONS)) == list(split.items(POSITIONS))
    assert not list(tmp_path.glob("kept/*.safetensors"))
    said = capsys.readouterr().err.splitlines()
    words = {"off": [], "too small": ["VICINAL_PIXEL_CACHE_GB says how many"], "no folder": ["laid out"]}[place]
    assert len(said) == len(words)
    assert all(word in line for word, line in zip(words, said, strict=True))


def test_training_reads_what_is_laid_out_and_looking_does_not_lay_out(tmp_path: Path, cache: Path):
    root = tmp_path / "data"
    root.mkdir()
    table = pa.table({"image": [png(n) for n in range(40)], "label": [n % 2 for n in range(40)]})
    pq.write_table(table, root / "train.parquet", row_group_size=9)
    train = load_data(DataSpec(source=str(root), lazy=True, image_size=8, validation=0.2)).train
    whole = torch.cat(list(train.images.split(7)))
    assert not cache.exists()
    index = torch.tensor([9, 0, 17, 9])
    assert torch.equal(train.images[index], whole[index])
    assert len(list(cache.glob("*.safetensors"))) == 1


def test_a_disk_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for part in range(2):
        shard(tmp_path / f"train-{part}.tar", entries(100 * part))
    images = load_data(DataSpec(source=str(tmp_path), lazy=True, image_size=8, test=0.2)).train.images
    boxes = torch.tensor([(0, 0, 8, 8)] * 4)
    assert len(images.start_crops(torch.arange(4), boxes, 8)()) == 4
    for file in tmp_path.glob("*.tar"):
        file.unlink()
    with pytest.raises(VicinalError, match=r"images could not be read \(No such file or directory\): check the disk"):
        images.start_crops(torch.arange(4), boxes, 8)


def entries(start: int) -> dict[str, bytes]:
    made: dict[str, bytes] = {"notes.txt": b"x"}
    for n in range(start, start + 9):
        made |= {f"{n:03}.png": png(n), f"{n:03}.cls": str(n % 3).encode()}
    return made


def test_shards_are_walked_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    walked = []
    index = shards._index
    monkeypatch.setattr(shards, "_index", lambda shard, left_out: walked.append(shard.name) or index(shard, left_out))
    for part in range(2):
        shard(tmp_path / f"train-{part}.tar", entries(100 * part))

    def found() -> tuple[object, ...]:
        source = find_shards(DataSpec(source=str(tmp_path)))
        split, every = source.splits["train"], np.arange(18)
        return list(split.items(every)), split.labels.tolist(), source.notes, split.names("train", every)

    first = found()
    assert "2 .txt" in str(first[2])
    assert found() == first
    assert walked == ["train-0.tar", "train-1.tar"]
    shard(tmp_path / "train-1.tar", entries(500))
    changed = found()
    assert walked[2:] == ["train-1.tar"]
    assert changed[0][:9] == first[0][:9]
    assert changed[0][9:] != first[0][9:]
    with content._memory() as memory, memory:
        memory.execute("UPDATE findings SET value = ?", (json.dumps({}).encode(),))  # damaged
    assert found() == changed
    assert len(walked) == 5


def test_a_shard_that_changes_while_it_is_looked_at_is_not_remembered(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("a")

    def look(file: Path) -> bytes:
        value = file.read_bytes()
        time.sleep(0.01)
        file.write_text(value.decode() + "b")
        return value

    assert [next(content.findings_in([path], "test", look)) for _ in range(2)] == [b"a", b"ab"]
    for _ in range(2):
        assert next(content.findings_in([path], "test", lambda file: file.read_bytes())) == b"abb"
    assert next(content.findings_in([path], "test", lambda file: b"not asked")) == b"abb"
    assert next(content.findings_in([path], "another", lambda file: b"asked")) == b"asked"
