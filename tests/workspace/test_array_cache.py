"""Arrays kept on disk: what is read is what was written, the least used goes first, and what is in the way costs only time."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from vicinal.errors import UsageError
from vicinal.workspace import ArrayCache, Streamed, array_cache, files, safetensors_seal
from vicinal.workspace.checksums import Seal, write_sealed_arrays


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_cache, "_told", set())


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def arrays() -> dict[str, Streamed]:
    numbers, flags = np.arange(12, dtype=np.float32).reshape(3, 4), np.array([True, False, True])
    return {
        "flags": Streamed("BOOL", (3,), lambda: [flags]),
        "none": Streamed("U8", (0, 5), lambda: [np.empty((0, 5), np.uint8)]),
        "numbers": Streamed("F32", (3, 4), lambda: [numbers[:1], numbers[1:]]),
    }


def written(cache: ArrayCache, name: str) -> Path:
    cache.write(key(name), arrays(), {"told": "ä \0 it"})
    return cache.folder / f"{key(name)}.safetensors"


def test_what_is_read_is_what_was_written(tmp_path: Path):
    cache = ArrayCache(tmp_path / "kept")
    path = written(cache, "a")
    assert safetensors_seal(path) is Seal.WHOLE
    found = load_file(path)  # an ordinary safetensors file
    assert found["numbers"].tolist() == np.arange(12.0).reshape(3, 4).tolist()
    with cache.read(key("a")) as file:
        assert file is not None
        assert file.metadata["told"] == "ä \0 it"
        assert list(file.shapes.items()) == [("flags", (3,)), ("none", (0, 5)), ("numbers", (3, 4))]
        flags, none, numbers = np.empty(3, bool), np.empty((0, 5), np.uint8), np.empty((3, 4), np.float32)
        for array in (flags, none, numbers):
            file.read_into(array)
    assert flags.tolist() == [True, False, True]
    assert numbers.tolist() == found["numbers"].tolist()
    with cache.read(key("b")) as file:
        assert file is None


def test_every_flipped_byte_and_every_cut_is_seen(tmp_path: Path):
    cache = ArrayCache(tmp_path)
    whole = written(cache, "a").read_bytes()
    path = cache.folder / f"{key('a')}.safetensors"
    broken = [whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :] for i in range(0, len(whole), 3)]
    for data in (*broken, *(whole[:i] for i in range(0, len(whole), 29)), whole + b"x"):
        path.write_bytes(data)
        with cache.read(key("a")) as file:
            assert file is None
        assert not path.exists()


def test_arrays_of_another_size_than_said_are_not_kept(tmp_path: Path):
    with pytest.raises(ValueError, match="not of the sizes"):
        write_sealed_arrays(tmp_path / "a", {"a": Streamed("U8", (3,), lambda: [b"1234"])}, {})
    assert list(tmp_path.iterdir()) == []


def test_the_least_used_goes_first_and_others_files_stay(tmp_path: Path):
    cache = ArrayCache(tmp_path, 350_000)
    (tmp_path / "mine.safetensors").write_bytes(b"x" * 999_999)
    large = {"zeros": Streamed("U8", (100_000,), lambda: [bytes(100_000)])}
    for name, age_s in (("a", 30), ("b", 20), ("c", 10)):
        cache.write(key(name), large, {})
        os.utime(tmp_path / f"{key(name)}.safetensors", (time.time() - age_s, time.time() - age_s))
    with cache.read(key("a")):  # the oldest is used again
        pass
    cache.write(key("d"), large, {})
    assert [cache.holds(key(name)) for name in "abcd"] == [True, False, True, True]
    assert (tmp_path / "mine.safetensors").exists()


def test_what_a_killed_process_was_writing_is_removed_when_it_is_old(tmp_path: Path):
    old, new = (tmp_path / f".{key(name)}.safetensors.{name * 8}.part" for name in "ab")
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * array_cache._FORGOTTEN_S,) * 2)
    written(ArrayCache(tmp_path), "a")
    assert (old.exists(), new.exists()) == (False, True)


def test_the_first_one_is_told_and_where_it_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cache = ArrayCache(tmp_path / "kept")
    written(cache, "a")
    said = capsys.readouterr().err
    assert said.startswith(f"decoded images are kept in {tmp_path}/kept, so that the next start is quick (")
    assert said.endswith("it may be deleted at any time, and VICINAL_PIXEL_CACHE=off keeps none\n")
    written(cache, "b")
    assert capsys.readouterr().err == ""
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700  # others' pictures are nobody's


def test_what_is_in_the_way_is_told_once_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    for _ in range(2):
        written(ArrayCache(tmp_path / "file"), "a")
    assert capsys.readouterr().err == (
        f"decoded images are not kept in {tmp_path / 'file'} for the next start: File exists\n"
    )
    written(ArrayCache(tmp_path / "small", 20), "a")
    assert "51 B are more than it may hold, 20 B (VICINAL_PIXEL_CACHE_GB says how many)" in capsys.readouterr().err

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    for name in ("a", "b"):
        assert not written(ArrayCache(tmp_path / "full"), name).exists()
    assert capsys.readouterr().err.endswith("for the next start: No space left on device\n")
    assert list((tmp_path / "full").iterdir()) == []


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VICINAL_PIXEL_CACHE", "off")
    assert ArrayCache.here() is None
    monkeypatch.setenv("VICINAL_PIXEL_CACHE", "~/pixels")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ArrayCache.here() == ArrayCache(tmp_path / "pixels")
    monkeypatch.delenv("VICINAL_PIXEL_CACHE")
    monkeypatch.setenv("VICINAL_PIXEL_CACHE_GB", "2.5")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ArrayCache.here() == ArrayCache(tmp_path / "vicinal" / "pixels", 2_500_000_000)
    for wrong in ("many", "nan", "inf"):
        monkeypatch.setenv("VICINAL_PIXEL_CACHE_GB", wrong)
        with pytest.raises(UsageError, match=rf"VICINAL_PIXEL_CACHE_GB={wrong} is no number of gigabytes"):
            ArrayCache.here()
