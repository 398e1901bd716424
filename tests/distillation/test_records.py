"""Records: checksums that notice, and files that are cut, torn or full."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_up_answers import LAYOUT, answers

from vicinal.distillation import BankLayout, TeacherBank
from vicinal.distillation.bank.records import Records, checksums
from vicinal.errors import VicinalError

record_batches = st.integers(1, 40).flatmap(
    lambda words: st.lists(st.binary(min_size=2 * words, max_size=2 * words), min_size=1, max_size=6)
)


def as_records(raw: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(raw), dtype=np.uint8).reshape(len(raw), -1).copy()


@given(record_batches, st.integers(0, 2**33), st.data())
@example([b"\0\0"], 0, None)
@settings(max_examples=200, deadline=None)
def test_a_checksum_is_never_0_and_tells_any_changed_byte(raw: list[bytes], first: int, data: st.DataObject | None):
    records = as_records(raw)
    before = checksums(records, first)
    assert before.dtype == np.uint32
    assert before.all()
    if data is None:
        return
    row, byte = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, records.shape[1] - 1))
    records[row, byte] ^= data.draw(st.integers(1, 255))
    changed = checksums(records, first) != before
    assert changed[row]
    assert changed.sum() == 1


def test_a_checksum_is_that_of_its_place_and_the_same_in_any_company():
    records = as_records([os.urandom(2 * 70_000) for _ in range(3)])
    whole = checksums(records, 7)
    assert [int(checksums(records[k : k + 1], 7 + k)[0]) for k in range(3)] == whole.tolist()
    assert (checksums(records, 8) != whole).all()
    # The definition, in one piece: the place as eight little-endian bytes, then the record.
    assert int(whole[1]) == zlib.crc32((8).to_bytes(8, "little") + records[1].tobytes())


def test_a_checksum_of_0_is_stored_as_1():
    """Of all records of four bytes at a place, one has a CRC of 0: found by undoing the register's steps."""
    table = [0] * 256
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        table[byte] = value
    from_top = {value >> 24: byte for byte, value in enumerate(table)}
    register, target = zlib.crc32(bytes(8)) ^ 0xFFFFFFFF, 0xFFFFFFFF  # behind place 0, and where a CRC of 0 leaves it
    for _ in range(4):
        byte = from_top[target >> 24]
        target = (target ^ table[byte]) << 8 & 0xFFFFFFFF | byte
    record = (register ^ target).to_bytes(4, "little")
    assert zlib.crc32(bytes(8) + record) == 0
    assert checksums(as_records([record]), 0).tolist() == [1]


@given(st.integers(1, 47), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_torn_write_is_noticed(tmp_path_factory, bytes_written: int, over_old: bool):
    """A batch of 2 records of 24 B, of which a crash left some bytes, over nothing or over another answer."""
    root = tmp_path_factory.mktemp("torn")
    for name in ("new", "torn"):
        (root / name).mkdir()
    layout = BankLayout({}, 1, 2, 2, 5)
    new, torn = TeacherBank(root / "new", layout), TeacherBank(root / "torn", layout)
    new.write(0, 0, answers(2, 1))
    torn.write(0, 0, answers(2, 2)) if over_old else os.truncate(torn.path / "answers.bin", layout.bytes)
    data = (new.path / "answers.bin").read_bytes()
    assert len(data) == 48
    os.pwrite(torn._records._file, data[:bytes_written], 0)
    got, first = torn.read(0, 0), torn.read(0, 0, slice(0, 1))
    assert got is None or (over_old and bytes_written == 24)  # one record of each answer: both are whole
    assert (first is not None) == (bytes_written >= 24)
    assert torn.content().damaged.sum() == (bytes_written % 24 != 0)
    new.close()
    torn.close()


def test_a_damaged_batch_counts_as_missing(tmp_path: Path):
    bank = TeacherBank(tmp_path, LAYOUT)
    for position in range(3):
        bank.write(0, position, answers(4 if position < 2 else 2, position))
    with (bank.path / "answers.bin").open("r+b") as file:
        file.seek(3 * 24 + 5)
        byte = file.read(1)
        file.seek(3 * 24 + 5)
        file.write(bytes([byte[0] ^ 1]))
    assert bank.read(0, 0) is None
    assert np.argwhere(bank.content().damaged).tolist() == [[0, 3]]
    assert torch.equal(bank.read(0, 1), answers(4, 1))
    os.truncate(bank.path / "answers.bin", 9 * 24 + 3)
    assert bank.read(0, 2) is None
    bank.write(0, 0, answers(4))
    assert torch.equal(bank.read(0, 0), answers(4))
    bank.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path):
    records = Records(tmp_path / "answers.bin", 20)
    os.close(records._file)
    records._file = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(VicinalError, match=r"the disk is full: could not write .*answers\.bin"):
        records.write(0, np.zeros((4, 20), dtype=np.uint8))
    records.close()


def test_a_record_at_anothers_place_does_not_fit(tmp_path: Path):
    records = Records(tmp_path / "answers.bin", 20)
    assert records.is_empty
    content = as_records([os.urandom(20) for _ in range(3)])
    records.write(5, content)
    assert not records.is_empty
    assert (records.read(5, 3) == content).all()
    data = records.path.read_bytes()
    os.pwrite(records._file, data[5 * 24 : 6 * 24], 0)
    assert records.read(0, 1) is None
    whole, damaged = records.survey(9)
    assert whole.nonzero()[0].tolist() == [5, 6, 7]
    assert damaged.nonzero()[0].tolist() == [0]
    assert records.read(1, 1) is None  # zeros: nothing is there
    records.close()


def test_a_file_that_is_only_read_must_be_there(tmp_path: Path):
    with pytest.raises(VicinalError, match=r"answers\.bin"):
        Records(tmp_path / "answers.bin", 20, create=False)
    assert not (tmp_path / "answers.bin").exists()
