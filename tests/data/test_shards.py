"""WebDataset shards that cannot be used."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from sources_on_disk import png

from vicinal.config import DataSpec
from vicinal.data import ImageData, load_data
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
    (tmp_path / "train-0.tar").unlink()
    shard(tmp_path / "val-0.tar", sound())
    with pytest.raises(UsageError, match=r"none named train"):
        load_data(spec(tmp_path))


def sound(n: int = 12) -> dict[str, bytes]:
    return {
        f"{i:03}.{end}": png(i) if end == "png" else str(i % 3).encode() for i in range(n) for end in ("png", "cls")
    }


def counted(data: ImageData) -> int:
    return len(data.train) + len(data.validation) + len(data.test)


def test_names_with_dots_are_read_as_webdataset_and_as_files_have_them(tmp_path: Path):
    entries = sound() | {
        "photo.v2.png": png(50),
        "photo.v2.cls": b"1",
        "x/y.z/deep.png": png(51),
        "x/y.z/deep.cls": b"2",
    }
    entries |= {"000.seg.png": png(60), "001.txt": b"a caption"}
    shard(tmp_path / "train-0.tar", entries)
    data = load_data(spec(tmp_path))
    assert counted(data) == 14
    note = next(note for note in data.notes if note.startswith("Left out of the shards"))
    assert "1 .txt" in note
    assert "1 further images of a key" in note


@pytest.mark.parametrize("second", ["001.jpg", "001.png"])
def test_a_key_with_two_images_is_named(tmp_path: Path, second: str):
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for name, content in [*sound().items(), (second, png(70))]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(UsageError, match="holds 2 images with the key 001"):
        load_data(spec(tmp_path))


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (b"1000000000", "the label 1000000000 .* is no class number"),
        (b"9" * 5000, "has no class"),
        (b"true", "has no class"),
        (b"-1", "has no class"),
        (b"1" * 2_000_000, "has no class"),
    ],
)
def test_numbers_in_a_shard_take_no_memory(tmp_path: Path, label: bytes, words: str):
    shard(tmp_path / "train-0.tar", sound() | {"000.cls": label})
    with pytest.raises(UsageError, match=words):
        load_data(spec(tmp_path))


@pytest.mark.parametrize("text", [b'{"label":' + b"[" * 100_000, b'{"label": true}', b'{"label": 1.0}', b"\xff\xfe"])
def test_json_of_a_shard_that_holds_no_class(tmp_path: Path, text: bytes):
    entries = sound() | {"000.json": text}
    del entries["000.cls"]
    shard(tmp_path / "train-0.tar", entries)
    with pytest.raises(UsageError, match="has no class"):
        load_data(spec(tmp_path))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("k\xe4fer\nant\nbee".encode("latin-1"), "no text|not text"),
        ("ant\nbee\ncat".encode("utf-16"), "not text"),
        (b"ant\nbee", "has 2 names, but labels go up to 2"),
        (b"ant\nbee\nant", "names 'ant' twice"),
    ],
)
def test_class_names_that_cannot_be_read(tmp_path: Path, names: bytes, words: str):
    shard(tmp_path / "train-0.tar", sound())
    (tmp_path / "classnames.txt").write_bytes(names)
    with pytest.raises(UsageError, match=words):
        load_data(spec(tmp_path))


def test_a_header_that_promises_an_exabyte(tmp_path: Path):
    shard(tmp_path / "train-0.tar", sound())
    data = bytearray((tmp_path / "train-0.tar").read_bytes())
    for kind in (b"0", b"x", b"L"):  # a file, a pax header, a long name
        info = tarfile.TarInfo("001.png")
        info.size, info.type = 2**60, kind
        (tmp_path / "train-0.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(data))
        with pytest.raises(UsageError, match=r"train-0\.tar (cannot be read|holds no images)"):
            load_data(spec(tmp_path))


def test_tars_that_are_no_shards_and_classes_without_an_image_are_said(tmp_path: Path):
    shard(tmp_path / "train-0.tar", sound() | {"900.cls": b"1"})
    shard(tmp_path / "extra.tar", sound())
    (tmp_path / "train-1.tar.gz").write_bytes(b"x")
    notes = " ".join(load_data(spec(tmp_path)).notes)
    assert "not used (shards are called train*.tar, val*.tar, test*.tar): extra.tar, train-1.tar.gz." in notes
    assert "1 classes without an image of their key" in notes
    (tmp_path / "train-2.tar").symlink_to("/not/mounted.tar")
    with pytest.raises(UsageError, match=r"train-2\.tar is a link to nowhere"):
        load_data(spec(tmp_path))


def test_missing_shards_of_a_numbered_split_are_refused(tmp_path: Path):
    shard(tmp_path / "train-00000-of-00002.tar", sound())
    with pytest.raises(UsageError, match="should hold 2 shards"):
        load_data(spec(tmp_path))


@pytest.mark.parametrize("other", [("000.json", b'{"label": 2}'), ("000.CLS", b"2")])
def test_two_classes_of_one_key_are_refused(tmp_path: Path, other: tuple[str, bytes]):
    shard(tmp_path / "train-0.tar", sound() | dict([other]))
    with pytest.raises(UsageError, match=r"000 has two classes, 0 and 2 \(in \.cls or \.json\): keep one"):
        load_data(spec(tmp_path))
