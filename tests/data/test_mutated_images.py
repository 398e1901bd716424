"""Images, Parquet files and shards with a few bytes changed: read or refused in one line, in bounded memory, nothing on stderr."""

from __future__ import annotations

import io
import random
import tarfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from sources_on_disk import pixels, png, write_classes, write_parquet

from vicinal.config import DataSpec
from vicinal.data import load_data
from vicinal.data.decode import Reader
from vicinal.errors import UsageError

FORMATS = [
    "JPEG",
    "PNG",
    "GIF",
    "TIFF",
    "BMP",
    "WEBP",
    "PPM",
    "JPEG2000",
    "QOI",
    *(["AVIF"] if features.check("avif") else []),
]


def mutated(data: bytes, seed: int) -> bytes:
    """Cut, doubled, or with bytes flipped, set, put in or taken out."""
    draw = random.Random(seed)
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 8))):
        at = draw.randrange(max(1, min(len(changed), draw.choice((40, 400, 10**9)))))
        match draw.choice(("flip", "set", "cut", "in", "out", "double")):
            case "flip":
                changed[at : at + 1] = bytes([changed[at] ^ (1 << draw.randrange(8))]) if at < len(changed) else b""
            case "set":
                changed[at : at + 4] = draw.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
            case "cut":
                del changed[max(at, 8) :]
            case "in":
                changed[at:at] = draw.randbytes(draw.randrange(1, 20))
            case "out":
                del changed[at : at + draw.randrange(1, 20)]
            case "double":
                changed[at:at] = changed[:at]
    return bytes(changed)


def encoded(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    pixels(1, size=(20, 16)).save(file, form, **options)
    return file.getvalue()


def read_or_refused(call) -> None:
    said = ""
    try:
        call()
    except UsageError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize("form", FORMATS)
def test_mutated_images(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    data, reader = encoded(form), Reader(8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(60):
            read_or_refused(lambda: reader.read(mutated(data, seed), "x"))  # noqa: B023
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "jpeg", "group4"])
def test_mutated_tiffs(compression: str, capfd: pytest.CaptureFixture[str]) -> None:
    if compression == "group4":
        file = io.BytesIO()
        pixels(1, size=(20, 16)).convert("1").save(file, "TIFF", compression=compression)
        data = file.getvalue()
    else:
        data = encoded("TIFF", compression=compression)
    for seed in range(60):
        read_or_refused(lambda: Reader(8).read(mutated(data, seed), "x"))  # noqa: B023
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("size", [(1, 65_000), (65_000, 1), (3, 50_000)])
def test_a_long_strip_takes_no_more_memory_than_its_middle(size: tuple[int, int]) -> None:
    file = io.BytesIO()
    strip = np.zeros((size[1], size[0], 3), np.uint8)
    row, column = size[1] // 2, size[0] // 2
    strip[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = 200
    Image.fromarray(strip).save(file, "PNG")
    seen = Reader(224).read(file.getvalue(), "x")
    assert seen.shape == (224, 224, 3)
    assert seen[112, 112].tolist() == [200, 200, 200]


def test_a_png_that_says_it_is_gigantic_is_refused_by_its_header() -> None:
    data = bytearray(png(1))
    data[16:24] = (170_000_000).to_bytes(4, "big") + (2).to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(UsageError, match="px"):
        Reader(8).read(bytes(data), "x")


def test_mutated_parquet(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "train.parquet", [0, 1, 2] * 4, names=["a", "b", "c"])
    sound = file.read_bytes()
    for seed in range(60):
        data = bytearray(mutated(sound, seed))
        if seed % 2:  # damage in the footer, where the numbers stand
            data = bytearray(sound)
            data[len(data) - 9 - seed * 11 % 900] ^= 1 << (seed % 8)
        file.write_bytes(bytes(data))
        read_or_refused(lambda: load_data(DataSpec(source=str(file), image_size=8)))


def test_mutated_shards(tmp_path: Path) -> None:
    file = tmp_path / "train-0.tar"
    with tarfile.open(file, "w") as tar:
        for i in range(9):
            for ending, content in (("png", png(i)), ("cls", str(i % 3).encode())):
                info = tarfile.TarInfo(f"{i}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    sound = file.read_bytes()
    for seed in range(60):
        file.write_bytes(mutated(sound, seed))
        read_or_refused(lambda: load_data(DataSpec(source=str(tmp_path), image_size=8)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_colour_under_transparency_is_not_seen(tmp_path: Path, mode: str) -> None:
    """Two images alike but for what lies under transparent pixels are one image, with the background there."""
    seen = []
    for hidden in (10, 200):
        canvas = np.zeros((8, 8, 4), np.uint8)
        canvas[..., :3] = hidden
        canvas[2:6, 2:6] = (90, 90, 90, 255)
        image = Image.fromarray(canvas)
        if mode == "P":
            image = image.convert("RGB").quantize(4)
            image.info["transparency"] = image.getpixel((0, 0))
        elif mode != "RGBA":
            image = image.convert(mode if mode == "LA" else "RGBA").convert(mode)
        file = io.BytesIO()
        image.save(file, "TIFF" if mode == "PA" else "PNG")
        seen.append(Reader(8).read(file.getvalue(), "x"))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert seen[0][0, 0].tolist() == [255, 255, 255]


def test_images_with_transparency_are_counted(tmp_path: Path) -> None:
    write_classes(tmp_path)
    Image.fromarray(np.full((8, 8, 4), 100, np.uint8)).save(tmp_path / "cat" / "glass.png")
    Image.fromarray(np.full((8, 8, 4), 255, np.uint8)).save(tmp_path / "cat" / "solid.png")
    notes = load_data(DataSpec(source=str(tmp_path))).notes
    assert "1 images have transparent parts: they are seen on a white background." in notes
