"""What a place says before anything is spent: names that are no text, files in the way, folders that may not be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vicinal.errors import UsageError
from vicinal.workspace import check_place


def test_a_place_that_is_there_or_can_be_made(tmp_path: Path):
    for place in (tmp_path, tmp_path / "a" / "b", tmp_path / "Größe 猫"):
        check_place(place)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (os.fsdecode(b"caf\xe9"), "no UTF-8"),
        (os.fsdecode(b"a/\xff\xfe/b"), "no UTF-8"),
        ("x" * 300, "cannot be a folder"),
        ("a\0b", "cannot be a folder"),
        ("file", "is a file"),
        ("file/below/it", "is a file"),
        ("a/../file/x", "is a file"),
    ],
)
@pytest.mark.parametrize("writes", [True, False])
def test_a_place_where_no_folder_can_be(tmp_path: Path, place: str, words: str, writes: bool):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "a").mkdir()
    with pytest.raises(UsageError, match=words):
        check_place(tmp_path / place, writes=writes)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "file"]


def test_a_place_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write everywhere
    check_place(tmp_path / "a", writes=False)
    with pytest.raises(UsageError, match="nothing may be written into"):
        check_place(tmp_path / "a" / "b")
