"""Images recalled from disk are those that would be read now, bit for bit, with all that is said of them."""

from __future__ import annotations

import io
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from photos import photo
from PIL import Image
from sources_on_disk import pixels, png, write_classes, write_parquet
from test_shards import shard

from vicinal.config import DataSpec
from vicinal.data import ImageData, View, load_data, load_test_images, near_duplicates, pixel_cache
from vicinal.data.decode import decode_splits
from vicinal.errors import UsageError

VIEWS = (View(24, 28, "center", "bicubic"), View(20, 20, "squash"))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, in which everything is kept."""
    folder = tmp_path / "pixels"
    monkeypatch.setenv("VICINAL_PIXEL_CACHE", str(folder))
    for module in (pixel_cache, near_duplicates):
        monkeypatch.setattr(module, "WORTH_SECONDS", -1.0)
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each decoding was asked for."""
    counts: list[int] = []

    def decode(parts, *arguments):
        counts.append(sum(len(positions) for _, positions, _ in parts))
        return decode_splits(parts, *arguments)

    monkeypatch.setattr(pixel_cache, "decode_splits", decode)
    return counts


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def messy(root: Path) -> Path:
    """Photographs of three sizes in two splits; one transparent, one cut off, one of 16 bits, one empty, a pair of one picture."""
    for split, count in (("train", 9), ("test", 5)):
        for c, name in enumerate(("cat", "dog")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                size = ((64, 48), (48, 64), (70, 70))[i % 3]
                seed = 100 * c + i + 1000 * (split == "test")
                (folder / f"{i}.jpg").write_bytes(encoded(photo(seed, size), "JPEG"))
    half = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 4), dtype=np.uint8), "RGBA")
    (root / "train" / "cat" / "half.png").write_bytes(encoded(half))
    (root / "train" / "dog" / "cut.jpg").write_bytes((root / "train" / "dog" / "1.jpg").read_bytes()[:700])
    (root / "test" / "cat" / "deep.png").write_bytes(encoded(Image.fromarray(np.full((9, 9), 999, np.uint16))))
    (root / "test" / "dog" / "empty.png").write_bytes(b"")
    shutil.copy(root / "train" / "cat" / "1.jpg", root / "test" / "dog" / "again.jpg")
    return root


def grey(root: Path) -> Path:
    return write_classes(root, per_class=8, size=(40, 36), mode="L")


def small(root: Path) -> Path:
    """Small squares, which are kept as they are, so that views of them are known only when they are read."""
    return write_classes(root, per_class=8, size=(16, 16))


def parquet(root: Path) -> Path:
    images = [png(i, size=(40, 30 + i % 3)) for i in range(24)]
    return write_parquet(root / "train.parquet", [i % 2 for i in range(24)], ["a", "b"], encoded=images).parent


def shards(root: Path) -> Path:
    root.mkdir()
    for number in range(2):
        images = {f"{i}.png": png(i + 50 * number, size=(50, 40)) for i in range(9)}
        shard(root / f"train-{number}.tar", {**images, **{f"{i}.cls": b"%d" % (i % 2) for i in range(9)}})
    return root


def manifest(root: Path) -> Path:
    messy(root)
    lines = [f"{path.relative_to(root)},{path.parent.name}" for path in sorted(root.rglob("*.jpg"))]
    (root / "list.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return root / "list.csv"


def load(source: Path, views=VIEWS, **options) -> ImageData:
    chosen = {"source": str(source), "image_size": 32, "on_error": "skip", **options}
    return load_data(DataSpec(**chosen), views=lambda own: views if own is None else (View(own, own), *views[:1]))


def assert_same(one: ImageData, other: ImageData) -> None:
    for name in ("name", "class_names", "content_hash", "notes", "unreadable", "own_side", "near_duplicates"):
        assert getattr(one, name) == getattr(other, name), name
    for role in ("train", "validation", "test"):
        mine, others = getattr(one, role), getattr(other, role)
        assert list(mine.views) == list(others.views)
        assert mine.names == others.names
        assert np.array_equal(mine.digests, others.digests)
        for a, b in zip((mine, *mine.views.values()), (others, *others.views.values()), strict=True):
            assert (a.view, a.images.shape) == (b.view, b.images.shape)
            assert torch.equal(a.images[:], b.images[:])
            assert torch.equal(a.labels, b.labels)
            assert a.content_hash() == b.content_hash()


@pytest.mark.parametrize("make", [messy, grey, small, parquet, shards, manifest])
def test_what_is_recalled_is_what_would_be_read(tmp_path, monkeypatch, reads, make):
    source = make(tmp_path / "set")
    plain, cut = load(source), {"split_seed": 3, "validation": 0.3}
    plain_cut = load(source, **cut)
    monkeypatch.setenv("VICINAL_PIXEL_CACHE", str(tmp_path / "pixels"))
    monkeypatch.setattr(pixel_cache, "_BLOCK_BYTES", 10_000)  # a few images
    for module in (pixel_cache, near_duplicates):
        monkeypatch.setattr(module, "WORTH_SECONDS", -1.0)
    assert_same(load(source), plain)
    assert len(reads) == 3
    assert_same(load(source), plain)
    assert_same(load(source, **cut), plain_cut)  # other images in other sets, and of these other views
    monkeypatch.setattr(pixel_cache, "decode_views", None)
    monkeypatch.setattr(near_duplicates, "_hashes", None)
    assert_same(load(source), plain)
    assert_same(load(source, **cut), plain_cut)
    assert len(reads) == 3


def test_other_views_and_other_commands_use_what_is_there(tmp_path, kept, reads):
    source = grey(tmp_path / "set")
    load(source)
    more = (*VIEWS, View(18, 20))
    assert list(load(source, views=more).test.views) == list(more)
    measured = load_test_images(DataSpec(source=str(source), image_size=32), views=VIEWS[:1])
    assert len(reads) == 1  # all of them are there, whatever set they are in
    for change in ({"image_size": 33}, {"fit": "pad"}, {"test_images": 2}):
        load(source, **change)
    assert len(reads) == 4
    assert len(measured.test) == 16


def test_a_changed_image_is_read_also_of_the_same_size_and_time(tmp_path, kept, reads, monkeypatch):
    source = grey(tmp_path / "set")
    before = load(source)
    path = source / "cat" / "003.png"
    times, size = path.stat(), path.stat().st_size
    other = encoded(pixels(77, size=(40, 36), mode="L"))
    path.write_bytes(other[:size].ljust(size, b"\0"))  # what follows the end of a PNG is not read
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert load(source).content_hash != before.content_hash
    monkeypatch.setattr(pixel_cache, "code_of", lambda *names: "another version of our own code")
    load(source)
    assert len(reads) == 3


def test_what_changes_while_it_is_read_is_not_kept(tmp_path, kept, monkeypatch):
    source = grey(tmp_path / "set")

    def decode(*arguments):
        decoded = decode_splits(*arguments)
        (source / "dog" / "000.png").write_bytes(png(5, size=(40, 36)))
        return decoded

    monkeypatch.setattr(pixel_cache, "decode_splits", decode)
    load(source)
    assert not [path for path in kept.glob("*") if "pixels" in str(path.read_bytes()[:300])]


def test_damaged_files_are_made_anew(tmp_path, kept, reads):
    source = grey(tmp_path / "set")
    plain = load(source)
    for path in kept.iterdir():
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    assert_same(load(source), plain)
    assert_same(load(source), plain)
    assert len(reads) == 2


def test_images_that_cannot_be_read_are_told_from_there_as_well(tmp_path, kept, reads):
    source = messy(tmp_path / "set")
    said = set()
    moved = tmp_path / "moved"
    for folder in (source, source, moved):
        if folder == moved:
            source.rename(moved)
        with pytest.raises(UsageError) as error:
            load(folder, on_error="raise")
        said.add(str(error.value).replace(str(folder), "SET"))
    assert len(said) == 1
    assert "SET/test/dog/empty.png cannot be read as an image (no known image format)" in said.pop()
    load(moved)
    assert len(reads) == 1


def test_an_image_that_is_left_out_decides_nothing(tmp_path, kept, reads):
    """The first one opens as an image and has too many bits: whatever set it would be in, the others are grey."""
    source = grey(tmp_path / "set")
    (source / "cat" / "000.png").write_bytes(encoded(Image.fromarray(np.full((50, 50), 999, np.uint16))))
    shapes = {load(source, split_seed=seed).train.images.shape[1:] for seed in range(4)}
    assert shapes == {(32, 32, 1)}
    assert len(reads) == 1


def test_two_at_once(tmp_path, kept):
    source = messy(tmp_path / "set")
    found: list[ImageData] = []
    threads = [threading.Thread(target=lambda: found.append(load(source))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for data in found:
        assert_same(data, found[0])
    assert len(found) == 3
    assert not list(kept.glob(".*"))


def test_what_is_quick_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("VICINAL_PIXEL_CACHE", str(tmp_path / "pixels"))
    for module in (pixel_cache, near_duplicates):
        monkeypatch.setattr(module, "WORTH_SECONDS", 600.0)
    load(grey(tmp_path / "set"))
    assert not (tmp_path / "pixels").exists()


def test_one_of_two_columns_is_not_taken_for_the_other(tmp_path, kept):
    """Their rows lie in the same places of the same file."""
    images = {name: [png(i + start, size=(40, 30)) for i in range(8)] for name, start in (("left", 0), ("right", 100))}
    file = tmp_path / "set" / "train.parquet"
    write_parquet(file, [0, 1] * 4, ["a", "b"], image="left", encoded=images["left"], right=images["right"])
    for lazy in (False, True):
        left, right = (load(file, image_column=name, lazy=lazy) for name in ("left", "right"))
        assert not torch.equal(left.train.images[:], right.train.images[:])
        assert left.content_hash != right.content_hash
