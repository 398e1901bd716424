"""Hashes of files' bytes, remembered by what the file system says of the file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.workspace import content, content_hash_of, content_hashes_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and files that count as settled at once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(content, "SETTLED_S", -1e9)
    return tmp_path / "cache" / "vicinal" / "content.sqlite"


def written(folder: Path, **contents: bytes) -> list[Path]:
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in contents]


@settings(max_examples=20)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6))
def test_hashes_are_those_of_the_bytes_whoever_remembers_them(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    paths = written(tmp_path_factory.mktemp("files"), **{f"f{i}": data for i, data in enumerate(contents)})
    expected = tuple(hashlib.sha256(data).digest() for data in contents)
    first, second = content_hashes_of(paths), content_hashes_of(paths)
    assert (first.digests, first.remembered) == (expected, 0)
    assert (second.digests, second.remembered) == (expected, len(paths))


def test_a_second_time_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = written(tmp_path, a=b"a", b=b"b")
    first = content_hashes_of(paths)
    monkeypatch.setattr(content, "file_sha256", lambda path: pytest.fail(f"{path} is read"))
    assert content_hashes_of(paths).digests == first.digests


def test_replaced_bytes_of_the_same_size_and_mtime_are_seen(tmp_path: Path) -> None:
    (path,) = written(tmp_path, a=b"old!")
    before, times = content_hash_of(path), path.stat()
    path.write_bytes(b"new!")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert content_hash_of(path) == hashlib.sha256(b"new!").hexdigest() != before


def test_another_file_moved_into_its_place_is_seen(tmp_path: Path) -> None:
    path, other = written(tmp_path, a=b"old!", b=b"new!")
    content_hash_of(path)
    times = path.stat()
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)
    assert content_hash_of(path) == hashlib.sha256(b"new!").hexdigest()


def test_a_file_that_just_changed_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SETTLED_S", 60.0)
    paths = written(tmp_path, a=b"a")
    assert [content_hashes_of(paths).remembered for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("damage", [b"", b"no data base at all" * 99, None])
def test_a_damaged_or_impossible_cache_costs_only_time(tmp_path: Path, cache: Path, damage: bytes | None) -> None:
    paths = written(tmp_path, a=b"a", b=b"b")
    expected = content_hashes_of(paths).digests
    if damage is None:
        cache.unlink()
        cache.mkdir()
    else:
        cache.write_bytes(damage)
    assert content_hashes_of(paths).digests == expected
    assert content_hashes_of(paths).remembered == (0 if damage is None else 2)


def test_a_cache_that_says_nonsense_is_not_believed(tmp_path: Path, cache: Path) -> None:
    import sqlite3

    (path,) = written(tmp_path, a=b"a")
    expected = content_hash_of(path)
    with sqlite3.connect(cache) as connection:
        connection.execute("UPDATE content SET sha256 = 'abc'")
    assert content_hash_of(path) == expected


def test_no_home_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    paths = written(tmp_path, a=b"a")
    assert [content_hashes_of(paths).remembered for _ in range(2)] == [0, 0]


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        content_hash_of(tmp_path / "not-there")
