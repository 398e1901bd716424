"""Checksums in files: whatever changes after the writing is seen, and nothing else is."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save

from vicinal.errors import VicinalError
from vicinal.workspace import (
    DamagedError,
    Seal,
    check_sealed_file,
    mapping_seal,
    read_sealed_json,
    safetensors_seal,
    sealed_mapping,
    write_sealed_file,
    write_sealed_json,
    write_sealed_tensors,
)

TENSORS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([7], dtype=np.int64)}
NAMES = {"class_names": '["Käse", "a\\"b"]', "epoch": "3"}


def flipped(content: bytes, bit: int) -> bytes:
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


@pytest.fixture
def tensors(tmp_path: Path) -> Path:
    write_sealed_tensors(tmp_path / "x.safetensors", save(TENSORS), NAMES)
    return tmp_path / "x.safetensors"


def test_a_sealed_file_of_tensors_is_an_ordinary_one(tensors: Path):
    held = load_file(tensors)
    assert all(np.array_equal(held[name], value) for name, value in TENSORS.items())
    with safe_open(tensors, framework="np") as file:
        known = file.metadata()
    assert {key: known[key] for key in NAMES} == NAMES
    assert len(known["sha256"]) == 64
    assert safetensors_seal(tensors) is Seal.WHOLE


def test_metadata_keeps_one_order(tensors: Path):
    """safetensors itself shuffles them, and the same weights would be other files."""
    before = tensors.read_bytes()
    for order in (NAMES, dict(reversed(NAMES.items()))):
        write_sealed_tensors(tensors, save(TENSORS, metadata=order), order)
        assert tensors.read_bytes() == before


def test_every_flipped_bit_of_a_file_of_tensors_is_seen(tensors: Path):
    """In a name, a shape, the metadata or the checksum itself: a file of ours is then never whole."""
    whole = tensors.read_bytes()
    for bit in range(8 * len(whole)):
        tensors.write_bytes(flipped(whole, bit))
        assert safetensors_seal(tensors) is not Seal.WHOLE


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 8, b"\xff" * 80, b"\x02" + bytes(7) + b"[]", b"PK\x03\x04"])
def test_what_is_no_file_of_tensors_is_damaged(tmp_path: Path, content: bytes):
    (tmp_path / "x").write_bytes(content)
    assert safetensors_seal(tmp_path / "x") is Seal.DAMAGED


def test_another_programs_file_has_no_checksum(tmp_path: Path):
    (tmp_path / "x").write_bytes(save(TENSORS))
    assert safetensors_seal(tmp_path / "x") is Seal.ABSENT


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.text().filter(lambda key: key != "sha256"), values, max_size=4)


@given(mappings)
def test_a_mapping_is_whole_however_it_is_laid_out(value: dict[str, Any]):
    again = json.loads(json.dumps(sealed_mapping(value), indent=3, sort_keys=True))
    assert mapping_seal(again) is Seal.WHOLE
    assert mapping_seal(value) is Seal.ABSENT
    assert mapping_seal({**again, "one more": 1}) is Seal.DAMAGED


@settings(max_examples=30, deadline=None)
@given(value=mappings, data=st.data())
def test_a_changed_mapping_is_never_read_as_another(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any], data: st.DataObject
):
    path = tmp_path_factory.mktemp("sealed") / "x.json"
    write_sealed_json(path, value)
    whole = path.read_bytes()
    assert read_sealed_json(path) == value
    for bit in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), max_size=40)):
        path.write_bytes(flipped(whole, bit))
        with contextlib.suppress(DamagedError):  # white space may become other white space, and 1.0e5 may become 1.0E5
            assert read_sealed_json(path) == value


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"sha256": 3}', b'{"a": NaN, "sha256": "0"}'])
def test_what_is_no_sealed_mapping(tmp_path: Path, content: bytes):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"x\.json is damaged") as caught:
        read_sealed_json(tmp_path / "x.json")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, VicinalError)


def test_every_change_of_any_other_file_is_seen(tmp_path: Path):
    path = tmp_path / "x.bin"
    write_sealed_file(path, lambda file: [file.write(part) for part in (b"some", b"", b" bytes")])
    whole = path.read_bytes()
    check_sealed_file(path)
    assert whole.startswith(b"some bytes")
    changed = [flipped(whole, bit) for bit in range(8 * len(whole))]
    changed += [whole[:n] for n in range(len(whole))] + [whole + b"\n", whole[:3] + bytes(4) + whole[7:]]
    for content in changed:
        path.write_bytes(content)
        with pytest.raises(DamagedError, match=r"x\.bin is damaged"):
            check_sealed_file(path)
