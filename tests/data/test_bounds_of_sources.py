"""Odd sources take memory in proportion to what is asked of them, and end in one line."""

from __future__ import annotations

import io
import logging
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sources_on_disk import png, write_classes, write_parquet

from vicinal.config import DataSpec
from vicinal.data import load_data
from vicinal.data.class_order import natural_key
from vicinal.data.decode import Reader
from vicinal.data.sources import parquet as parquet_source
from vicinal.errors import UsageError, VicinalError


def write_shard(file: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(file, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


NINE = [(f"{i}.{e}", c) for i in range(9) for e, c in (("png", png(i)), ("cls", str(i % 3).encode()))]


def test_more_names_than_images_are_refused_before_anything_is_done_with_them(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "p" / "train.parquet", [0, 1, 2] * 4, names=[str(i) for i in range(50_000)])
    with pytest.raises(UsageError, match="names 50,000 classes and has 12 training images"):
        load_data(DataSpec(source=str(file)))
    write_shard(tmp_path / "train-0.tar", NINE)
    (tmp_path / "classnames.txt").write_text("\n".join(map(str, range(50_000))))
    with pytest.raises(UsageError, match="names 50,000 classes and has 9 training images"):
        load_data(DataSpec(source=str(tmp_path)))


def test_two_classes_of_one_name_are_refused(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "train.parquet", [0, 1, 2] * 4, names=["a", "a", "b"])
    with pytest.raises(UsageError, match="names two classes 'a'"):
        load_data(DataSpec(source=str(file)))


@pytest.mark.parametrize("as_struct", [False, True])
def test_a_small_file_of_one_image_many_times_is_read_a_few_rows_at_a_time(
    tmp_path: Path, as_struct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dictionary of one image of 3 MB, 2,000 times in one row group: 6 GB in a file of some kB."""
    encoded = io.BytesIO()
    Image.fromarray(np.zeros((1000, 1000, 3), np.uint8)).save(encoded, "BMP")
    rows = 2_000
    index, bytes_of = pa.array(np.zeros(rows, np.int32)), pa.array([encoded.getvalue()])
    images = pa.DictionaryArray.from_arrays(index, bytes_of)
    if as_struct:
        images = pa.StructArray.from_arrays([images], names=["bytes"])
    table = pa.table({"image": images, "label": pa.array([0, 1] * (rows // 2))})
    file = tmp_path / "train.parquet"
    pq.write_table(table, file, store_schema=False, compression="zstd")
    assert file.stat().st_size < 20_000
    monkeypatch.setattr(parquet_source, "_ROWS_AT_ONCE", 16)
    before = pa.total_allocated_bytes()
    with pq.ParquetFile(file) as opened:
        read = parquet_source._read_images(opened, file, 0, "image", np.array([0, 1, 40]), 0)
        got = []
        for data, where in read:
            got.append((len(data), where))
            assert pa.total_allocated_bytes() - before < 40 * len(encoded.getvalue())
    assert got == [(len(encoded.getvalue()), f"{file}, row {row} (from 0)") for row in (0, 1, 40)]


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_columns_of_one_name_are_counted_in_the_message(tmp_path: Path, copies: int) -> None:
    image = pa.array([png(i) for i in range(12)])
    table = pa.Table.from_arrays([image] * copies + [pa.array([0, 1, 2] * 4)], names=["img"] * copies + ["label"])
    pq.write_table(table, tmp_path / "train.parquet")
    if copies == 1:
        assert len(load_data(DataSpec(source=str(tmp_path))).train)
        return
    with pytest.raises(UsageError, match=f"has {copies} columns 'img': rename all but one"):
        load_data(DataSpec(source=str(tmp_path)))


def test_strings_of_the_newest_kind_are_words(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", pa.array(["a", "b", "c"] * 4, pa.string_view()))
    assert load_data(DataSpec(source=str(tmp_path))).class_names == ("a", "b", "c")


def test_a_note_on_what_shards_hold_beside_images_stays_short(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", [*NINE, *((f"{i}.e{i}", b"") for i in range(500))])
    (note,) = [note for note in load_data(DataSpec(source=str(tmp_path))).notes if "Left out" in note]
    assert note.endswith("and 490 files of other endings.")
    assert len(note) < 200


def test_a_name_with_a_line_end_makes_no_second_line(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", [*NINE, ("a\nb\x1b[31m.png", png(1))])
    with pytest.raises(UsageError) as refused:
        load_data(DataSpec(source=str(tmp_path)))
    assert r"a\nb\x1b[31m.png has no class" in str(refused.value)
    folder = write_classes(tmp_path / "classes")
    (folder / "cat" / "x\ny.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"x\\ny\.png"):
        load_data(DataSpec(source=str(folder)))


@given(st.text("0123456789\u0663", min_size=1, max_size=12), st.text("0123456789\u0663", min_size=1, max_size=12))
def test_numbers_in_names_sort_by_value(one: str, other: str) -> None:
    assert (natural_key(f"c{one}") < natural_key(f"c{other}")) == ((int(one), one) < (int(other), other))


def test_numbers_of_any_length_sort() -> None:
    """Python reads no number of more than 4,300 digits."""
    assert natural_key("8" * 5000) < natural_key("9" * 5000) < natural_key("1" + "0" * 5000)


def big_rgba(side: int) -> bytes:
    """A transparent PNG of one colour, written row by row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pack = zlib.compressobj(1)
    row = b"\0" + bytes((10, 20, 30, 0)) * (side // 2) + bytes((10, 20, 30, 255)) * (side - side // 2)
    body = b"".join(pack.compress(row) for _ in range(side)) + pack.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_bands_on_the_background_are_what_the_whole_image_is() -> None:
    from vicinal.data import decode

    rng = np.random.default_rng(0)
    for mode, size in (("RGBA", (7, 50)), ("LA", (50, 7)), ("P", (9, 40))):
        image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8), "RGBA").convert(mode)
        if mode == "P":
            image.info["transparency"] = 3
        whole, seen_through = decode._on_background(image)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decode, "_BAND", 30)
            banded, also = decode._on_background(image)
        assert banded.mode == whole.mode == ("L" if mode == "LA" else "RGB")
        assert banded.tobytes() == whole.tobytes()
        layered = image.convert("RGBA")
        expected = Image.alpha_composite(Image.new("RGBA", size, (255, 255, 255, 255)), layered).convert(whole.mode)
        assert whole.tobytes() == expected.tobytes()
        assert seen_through is also is True
    pixels = Reader(8).read(big_rgba(64), "x")
    assert pixels[:, 0].tolist() == [[255, 255, 255]] * 8
    assert pixels[:, 7].tolist() == [[10, 20, 30]] * 8


def test_memory_that_runs_out_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", no_memory)
    with pytest.raises(VicinalError, match=r"^x: memory ran out while it was read") as failed:
        Reader(8).read(png(1), "x")
    assert failed.value.exit_code == 1  # no image is left out because memory is short now


def test_what_pillow_logs_of_a_damaged_tiff_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "TIFF")
    data = bytearray(file.getvalue())
    (directory,) = struct.unpack_from("<I", data, 4)
    for entry in range(struct.unpack_from("<H", data, directory)[0]):
        at = directory + 2 + 12 * entry
        if struct.unpack_from("<H", data, at)[0] == 277:  # samples per pixel
            data[at + 8 : at + 10] = struct.pack("<H", 14_649)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    with pytest.raises(UsageError, match="x cannot be read as an image"):
        Reader(8).read(bytes(data), "x")
    assert capfd.readouterr().err == ""
