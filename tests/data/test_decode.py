"""From encoded images to uint8 arrays: modes, sizes, orientation, threads, and what cannot be read."""

import numpy as np
import pytest
from PIL import Image
from sources_on_disk import pixels, png, write_classes

from vicinal.config import DataSpec
from vicinal.data import decode, load_data
from vicinal.errors import UsageError


def load(source, **options):
    return load_data(DataSpec(source=str(source), **options))


def all_images(data):
    parts = [s.images for s in (data.train, data.validation, data.test)]
    return {image.numpy().tobytes() for part in parts for image in part}


def test_grey_only_if_all_are_grey(tmp_path):
    write_classes(tmp_path, mode="L")
    assert load(tmp_path).train.images.shape[1:] == (8, 8, 1)
    (tmp_path / "dog" / "004.png").write_bytes(png(5))
    data = load(tmp_path)
    assert data.train.images.shape[1:] == (8, 8, 3)
    assert np.asarray(pixels(5)).tobytes() in all_images(data)


def test_modes_become_rgb(tmp_path):
    write_classes(tmp_path)
    image = pixels(9)
    for i, mode in enumerate(("RGBA", "CMYK", "P", "1", "LA")):
        image.convert(mode).save(tmp_path / "cat" / f"m{i}.{'tif' if mode == 'CMYK' else 'png'}")
    palette = image.convert("P")
    palette.info["transparency"] = bytes(range(256))
    palette.save(tmp_path / "cat" / "transparent.png")
    assert load(tmp_path).train.images.shape[3] == 3


def test_resize_and_centre_crop_match_torchvision(tmp_path):
    transforms = pytest.importorskip("torchvision.transforms.functional")
    sizes = ((40, 31), (31, 40), (17, 90), (12, 12), (8, 20), (6, 11))
    for c in ("a", "b"):
        (tmp_path / c).mkdir()
    for i, size in enumerate(sizes * 2):
        pixels(i, size).save(tmp_path / "ab"[i >= len(sizes)] / f"{i:02}.png")
    found = all_images(load(tmp_path, image_size=12))
    for i, size in enumerate(sizes * 2):
        image = transforms.center_crop(transforms.resize(pixels(i, size), 12), 12)
        assert np.asarray(image).tobytes() in found
    with pytest.raises(UsageError, match=r"images differ in size: .* give data.image_size=SIDE"):
        load(tmp_path)


def test_equal_sizes_are_kept_even_if_not_square(tmp_path):
    write_classes(tmp_path, size=(10, 6))
    assert load(tmp_path).train.images.shape[1:] == (6, 10, 3)


def test_exif_orientation_is_applied(tmp_path):
    write_classes(tmp_path, size=(10, 6))
    for name in ("000.png", "001.png"):
        upright = Image.open(tmp_path / "cat" / name)
        upright.load()
        exif = Image.Exif()
        exif[0x0112] = 6  # stored turned by 90 degrees
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "cat" / name, exif=exif)
    assert np.asarray(pixels(0, (10, 6))).tobytes() in all_images(load(tmp_path))


def test_large_images_are_read_in_threads_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "_SMALL", 0)
    monkeypatch.setattr(decode.os, "cpu_count", lambda: 3)
    root = write_classes(tmp_path, per_class=300)
    threaded = load(root)
    monkeypatch.undo()
    assert threaded.content_hash == load(root).content_hash
    (root / "cat" / "017.png").write_bytes(b"broken")
    monkeypatch.setattr(decode, "_SMALL", 0)
    monkeypatch.setattr(decode.os, "cpu_count", lambda: 3)
    with pytest.raises(UsageError, match=r"cat.017\.png cannot be read"):
        load(root)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda b: b[: len(b) // 2], "truncated"),
        (lambda b: b"text", "no known image format"),
        (lambda b: b"", "no known"),
    ],
)
def test_a_broken_image_is_named(tmp_path, damage, reason):
    write_classes(tmp_path, size=(64, 64))
    broken = tmp_path / "dog" / "002.png"
    broken.write_bytes(damage(broken.read_bytes()))
    with pytest.raises(
        UsageError, match=rf"dog.002\.png cannot be read as an image \(.*{reason}.*\): repair or remove it"
    ):
        load(tmp_path)


def test_a_decompression_bomb_is_an_error(tmp_path, monkeypatch):
    write_classes(tmp_path, size=(64, 64))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UsageError, match=r"10 images cannot be used: .*it has more than [0-9,]+ px"):
        load(tmp_path)


def test_sixteen_bit_images_are_refused(tmp_path):
    write_classes(tmp_path, mode="L")
    Image.fromarray(np.full((8, 8), 3000, dtype=np.uint16)).save(tmp_path / "cat" / "002.png")
    with pytest.raises(UsageError, match=r"002\.png has more than 8 bits per channel"):
        load(tmp_path)


def test_too_many_images_for_memory(tmp_path, monkeypatch):
    write_classes(tmp_path)
    Image.new("RGB", (9, 8)).save(tmp_path / "cat" / "002.png")  # one that differs, so all are resized
    monkeypatch.setattr(decode, "available_memory", lambda: 250_000_000)
    load(tmp_path, image_size=16)
    message = r"^10 images of 4000 x 4000 x 3 need 0\.5 GB .* 0\.2 GB free may take 60%: lower data\.image_size or data\.train"
    with pytest.raises(UsageError, match=message):
        load(tmp_path, image_size=4000)


def test_small_images_of_one_size_are_kept_and_others_resized(tmp_path):
    write_classes(tmp_path)
    kept = load(tmp_path, image_size=64)
    assert kept.train.images.shape[1:] == load(tmp_path).train.images.shape[1:] == (8, 8, 3)
    Image.new("RGB", (12, 12)).save(tmp_path / "cat" / "002.png")
    assert load(tmp_path, image_size=64).train.images.shape[1:] == (64, 64, 3)
    assert decode.available_memory() > 0
