"""Random crops of lazy images: cut from the originals, the same bits from every source, decoder and number of threads."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

import vicinal.data.jpeg as jpeg
from vicinal.config import UNIFORM_MIXING, AugmentSpec, DataSpec
from vicinal.data import load_data
from vicinal.data.crops import Cropper
from vicinal.data.lazy import LazyImages
from vicinal.errors import UsageError
from vicinal.inputs import ImagePipeline, Preparation, VicinalPlan

SIDE = 32
AUGMENT = AugmentSpec(crop="random_resized", scale=(0.3, 1), flip=True)
BOX = (3, 5, 20, 24)


def picture(seed: int, width: int = 100, height: int = 75) -> Image.Image:
    """Smooth enough that resizing once or twice shows nearly the same."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs as phones leave them: of several sizes, on their sides, grey, progressive, and some that are no JPEG."""
    root = tmp_path_factory.mktemp("photos")
    for n in range(24):
        image = picture(n, 60 + 3 * n, 100 - 2 * n)
        if n % 6 == 1:
            image = image.convert("L")
        if n % 6 == 2:
            image = image.convert("CMYK")
        path = root / f"{'ab'[n % 2]}" / f"{n:02}.{'png' if n % 6 == 3 else 'jpg'}"
        path.parent.mkdir(exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 1 + n % 8
        image.save(path, quality=92, **({} if n % 6 == 3 else {"exif": exif, "progressive": n % 6 == 4}))
    return root


def train_of(source: Path, **changes: object):
    return load_data(
        DataSpec(**{"source": str(source), "image_size": SIDE, "lazy": True, "validation": 0, **changes})
    ).train


def batches(source: Path, **changes: object) -> torch.Tensor:
    train = train_of(source, **changes)
    plan = VicinalPlan(len(train), 7, seed=3, mixing=UNIFORM_MIXING)
    pipeline = ImagePipeline(train.images, train.labels, Preparation(AUGMENT, SIDE))
    return torch.cat([batch.mixed for _, batch in pipeline.batches(plan.epoch(1))])


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_they_show_what_crops_of_stored_images_show(folder: Path, fit: str):
    """The same boxes, flips and partners; what is stored was resized before and is a little softer."""
    lazy, held = (batches(folder, lazy=lazy, fit=fit) for lazy in (True, False))
    if fit == "pad":
        assert torch.equal(lazy, held)  # borders are no part of an original
        return
    assert not torch.equal(lazy, held)
    assert (lazy - held).abs().mean() < 0.015
    per_image = (lazy - held).abs().mean((1, 2, 3))
    assert per_image.max() < 0.04, per_image
    assert (lazy - held.flip(3)).abs().mean() > 0.1


def test_a_crop_is_torchvisions_of_the_original():
    original = picture(1, 120, 80)
    pixels = np.array(original)
    rows, columns = Cropper(SIDE).where(80, 120, BOX)
    # By hand: the square is 80 px, from column 20 on; a px of the stored one is 2.5 px.
    assert (rows, columns) == (slice(8, 58), slice(33, 93))
    got = Cropper(SIDE).cut(pixels, BOX, SIDE)
    there = torch.from_numpy(pixels).permute(2, 0, 1)
    expected = v2.functional.resized_crop(there, 8, 33, 50, 60, [SIDE, SIDE], antialias=True)
    assert np.abs(got.astype(int) - expected.permute(1, 2, 0).numpy().astype(int)).max() <= 1
    pillow = np.asarray(original.crop((33, 8, 93, 58)).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    assert np.abs(got.astype(int) - pillow.astype(int)).max() <= 1
    squashed = Cropper(SIDE, squashed=True).where(80, 120, BOX)
    assert squashed == (slice(8, 58), slice(19, 109))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 3), (SIDE, SIDE), (5000, 20)])
def test_every_box_shows_something(height: int, width: int):
    for squashed in (False, True):
        for box in ((0, 0, 1, 1), (SIDE - 1, SIDE - 1, 1, 1), (0, 0, SIDE, SIDE), BOX):
            rows, columns = Cropper(SIDE, squashed).where(height, width, box)
            assert 0 <= rows.start < rows.stop <= height
            assert 0 <= columns.start < columns.stop <= width
    whole = Cropper(SIDE).where(height, width, (0, 0, SIDE, SIDE))
    assert {s.stop - s.start for s in whole} == {min(height, width)}


def test_neither_threads_nor_sources_nor_slices_change_a_bit(folder: Path, tmp_path: Path):
    expected = batches(folder)
    train = train_of(folder)
    images, index, boxes = train.images, torch.tensor([5, 0, 5, 11, 3]), torch.tensor([BOX] * 5)
    assert isinstance(images, LazyImages)
    some = images.start_crops(index, boxes, SIDE)()
    assert torch.equal(some[0], some[2])
    for workers in (1, 5):
        images._pool = ThreadPoolExecutor(workers)
        assert torch.equal(images.start_crops(index, boxes, SIDE)(), some)
    for place, position in enumerate(index.tolist()):
        alone = images.start_crops(torch.tensor([position]), boxes[:1], SIDE)()
        assert torch.equal(alone[0], some[place])
    plan = VicinalPlan(len(train), 7, seed=3, mixing=UNIFORM_MIXING)
    pipeline = ImagePipeline(train.images, train.labels, Preparation(AUGMENT, SIDE))
    parts = [pipeline.make(plan.batch(1, 0, rank, 3)).mixed for rank in range(3)]
    assert torch.equal(torch.cat(parts), expected[:7])


def test_the_same_bits_with_and_without_simplejpeg(folder: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("simplejpeg", reason="needs simplejpeg")
    decoded = []
    plain = jpeg.decode_jpeg
    monkeypatch.setattr("vicinal.data.crops.decode_jpeg", lambda *given: decoded.append(plain(*given)) or decoded[-1])
    files = sorted(folder.rglob("*.jpg"))
    big = folder.parent / "big.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(9, 1203, 801).save(big, exif=exif)
    asked = [(file, BOX, size) for file in [*files, big] for size in (SIDE, 4)]  # the small ones are decoded smaller
    fast = [Cropper(SIDE).read(file, str(file), box, size) for file, box, size in asked]
    assert sum(pixels is not None for pixels in decoded) > len(asked) // 2
    monkeypatch.setattr(jpeg, "_SIMPLEJPEG", None)
    decoded.clear()
    slow = [Cropper(SIDE).read(file, str(file), box, size) for file, box, size in asked]
    assert not decoded
    for (file, _, size), a, b in zip(asked, fast, slow, strict=True):
        assert np.array_equal(a, b), (file, size)


def test_large_photographs_are_decoded_smaller_and_look_the_same(tmp_path: Path):
    cropper, path = Cropper(SIDE), tmp_path / "large.jpg"
    picture(4, 1200, 900).save(path, quality=95)
    assert [cropper.shrink((900, 1200), BOX, size) for size in (4, 32, 64, 128, 300)] == [8, 8, 4, 2, 1]
    whole = cropper.cut(np.array(Image.open(path)), BOX, SIDE)
    off = np.abs(cropper.read(path, "large", BOX, SIDE).astype(int) - whole.astype(int))
    assert 0 < off.mean() < 1.5
    assert off.max() <= 10


@pytest.mark.parametrize("library", [True, False])
def test_what_is_broken_is_said_as_ever(tmp_path: Path, library: bool, monkeypatch: pytest.MonkeyPatch):
    if not library:
        monkeypatch.setattr(jpeg, "_SIMPLEJPEG", None)
    sound = encoded(picture(0))
    cases = {
        "cut off": (sound[: len(sound) // 2], r"photo cannot be read as an image \(image file is truncated"),
        "a stump": (sound[:30], "photo cannot be read as an image"),
        "no image": (b"\xff\xd8\xff nothing", "photo cannot be read as an image"),
        "empty": (b"", r"it holds no bytes"),
        "16 bits": (encoded(Image.fromarray(np.zeros((9, 9), np.uint16)), "PNG"), "more than 8 bits per channel"),
    }
    for data, message in cases.values():
        with pytest.raises(UsageError, match=message) as caught:
            Cropper(SIDE).read(data, "photo", BOX, SIDE)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no such file"):
        Cropper(SIDE).read(tmp_path / "gone.jpg", "gone", BOX, SIDE)
    generator = np.random.default_rng(0)
    for _ in range(30):  # whatever a byte does, it is the same image or the same complaint
        damaged = bytearray(sound)
        damaged[generator.integers(200, len(sound) - 2)] ^= int(generator.integers(1, 256))
        try:
            plain = np.array(Image.open(io.BytesIO(bytes(damaged))).convert("RGB"))
        except OSError:
            with pytest.raises(UsageError, match="cannot be read"):
                Cropper(SIDE).read(bytes(damaged), "photo", BOX, SIDE)
        else:
            found = Cropper(SIDE).read(bytes(damaged), "photo", BOX, SIDE)
            assert np.array_equal(found, Cropper(SIDE).cut(plain, BOX, SIDE))


def test_a_broken_image_ends_an_epoch_in_one_line(folder: Path, tmp_path: Path):
    for n in range(12):
        path = tmp_path / "ab"[n % 2] / f"{n}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(picture(n))[: -900 if n == 6 else None])
    with pytest.raises(UsageError, match=r"6\.jpg cannot be read as an image .*give the same command again"):
        batches(tmp_path, test=0.1)
