"""Views are timm's own transforms for evaluation, bit for bit, and every network sees its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from vicinal.config import DataSpec, PreparationSpec
from vicinal.data import ImageSet, View, load_data, load_test_images
from vicinal.errors import UsageError

SIZES = ((40, 31), (31, 40), (97, 90), (12, 12), (64, 64), (200, 33), (33, 70), (5, 9), (320, 213), (36, 36))
MEAN = (0.485, 0.456, 0.406)
SPECS = [
    PreparationSpec(image_size=32, crop_pct=0.875, interpolation="bicubic"),
    PreparationSpec(image_size=32, crop_pct=0.9),
    PreparationSpec(image_size=33, crop_pct=0.95, interpolation="bicubic"),
    PreparationSpec(image_size=32, crop_mode="squash", interpolation="bicubic"),
    PreparationSpec(image_size=30, crop_pct=0.9, crop_mode="squash", interpolation="lanczos"),
    PreparationSpec(image_size=32, crop_mode="border", interpolation="bicubic"),
    PreparationSpec(image_size=33, crop_pct=0.8, crop_mode="border"),
    PreparationSpec(image_size=32, interpolation="nearest"),
]


def photographs() -> list[Image.Image]:
    generator = np.random.default_rng(3)
    return [Image.fromarray(generator.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in SIZES]


def by_timm(spec: PreparationSpec, image: Image.Image) -> torch.Tensor:
    """(C, side, side) uint8."""
    transform = create_transform(
        (3, spec.image_size, spec.image_size),
        is_training=False,
        interpolation=spec.interpolation,
        crop_pct=spec.crop_pct,
        crop_mode=spec.crop_mode,
        mean=MEAN,
        normalize=False,
    )
    return transform(image)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_view_is_timms_transform_bit_for_bit(spec: PreparationSpec):
    view = View.of(spec, MEAN)
    for image in photographs():
        assert torch.equal(torch.from_numpy(view.array(image).copy()).permute(2, 0, 1), by_timm(spec, image)), (
            image.size
        )


def test_grey_images_are_seen_as_their_colours_would_be():
    for spec in SPECS:
        view = View.of(spec, (0.5, 0.5, 0.5))
        for image in photographs():
            grey = image.convert("L")
            seen, colour = view.array(grey), view.array(grey.convert("RGB"))
            assert seen.shape[2] == 1
            assert np.array_equal(np.repeat(seen, 3, 2), colour)


@pytest.mark.parametrize("size", [(60_000, 2), (4, 50_000), (1, 65_000)])
def test_a_long_strip_takes_no_gigabytes(size: tuple[int, int]):
    view = View.of(PreparationSpec(image_size=224, crop_pct=0.875, interpolation="bicubic"))
    strip = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    seen = view.array(Image.fromarray(strip))
    assert seen.shape == (224, 224, 3)
    # The same as the whole strip's, made smaller first where no crop keeps it.
    w, h = size
    cut = strip[h // 2 - 500 : h // 2 + 500] if h > w else strip[:, w // 2 - 500 : w // 2 + 500]
    assert np.array_equal(seen, view.array(Image.fromarray(cut)))


def test_a_part_of_a_set_is_seen_as_the_set_is():
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (6, 20, 30, 3), dtype=np.uint8))
    view = View.of(SPECS[0])
    whole = ImageSet(pixels, torch.arange(6)).with_view(view)
    part = whole.subset(torch.tensor([4, 1]))
    assert part.as_seen(None) is part
    assert torch.equal(part.as_seen(view).images, whole.as_seen(view).images[[4, 1]])
    assert part.as_seen(view).as_seen(view) is part.as_seen(view)
    assert len({s.content_hash() for s in (whole, whole.as_seen(view), part, part.as_seen(view))}) == 4
    assert whole.content_hash() == ImageSet(pixels, torch.arange(6)).content_hash()
    with pytest.raises(KeyError):
        whole.as_seen(View(8, 8))


def write_wide(root: Path, sizes: tuple[tuple[int, int], ...], mode: str = "RGB") -> Path:
    """ROOT/<class>/<n>.png, in which the ends of the longer side are white and all else is black."""
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for n, (width, height) in enumerate(sizes):
            pixels = np.zeros((height, width, 3), np.uint8)
            pixels[:, : width // 8] = pixels[:, -(width // 8) :] = 255
            Image.fromarray(pixels).convert(mode).save(root / name / f"{n}.png")
    return root


@pytest.mark.parametrize("lazy", [False, True], ids=["memory", "lazy"])
def test_what_cropping_cuts_away_is_said_and_can_be_kept(tmp_path: Path, lazy: bool):
    source = write_wide(tmp_path / "wide", ((400, 100),) * 6)
    values = {"source": str(source), "image_size": 32, "validation": 0, "lazy": lazy}
    crop, squash, pad = (load_data(DataSpec(**values, fit=fit)) for fit in ("crop", "squash", "pad"))
    assert int(crop.train.images[:].max()) == 0  # the ends never reach a network
    said = "leaves 25% of the median image's area, and less than half of 12 of 12 images"
    assert [said in " ".join(data.notes) for data in (crop, squash, pad)] == [True, False, False]
    assert squash.train.images[:][:, 16, 0].float().mean() > 250
    assert pad.train.images[:][:, 16, 0].float().mean() > 250
    assert bool((pad.train.images[:][:, :10] == 128).all())
    assert len({data.train.content_hash() for data in (crop, squash, pad)}) == 3


def test_a_few_wide_images_are_counted_and_squares_are_no_news(tmp_path: Path):
    few = write_wide(tmp_path / "few", ((100, 100),) * 8 + ((300, 100),))
    assert "less than half of 2 of 18 images" in " ".join(load_data(DataSpec(source=str(few), image_size=32)).notes)
    squares = write_wide(tmp_path / "squares", ((100, 90), (90, 100), (100, 100), (120, 100)))
    assert not any("Cutting out" in note for note in load_data(DataSpec(source=str(squares), image_size=32)).notes)


def test_views_count_as_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from vicinal.data import decode

    source = write_wide(tmp_path / "some", ((40, 50), (50, 40), (60, 60), (40, 40), (41, 40)))
    monkeypatch.setattr(decode, "available_memory", lambda: 200_000)
    load_data(DataSpec(source=str(source), image_size=16, validation=0))
    with pytest.raises(UsageError, match=r"10 images of 16 x 16 x 3 and 2 of them as 1 networks see them need 0\.0 GB"):
        load_data(DataSpec(source=str(source), image_size=16, validation=0), None, [View(160, 160)])


def test_images_to_measure_are_seen_through_views_in_any_split(tmp_path: Path):
    source, view = write_wide(tmp_path / "only", ((40, 50), (70, 40)), "L"), View(32, 36, interpolation="bicubic")
    data = load_test_images(str(source), views=[view])
    assert data.test.as_seen(view).images.shape == (4, 32, 32, 1)
    assert data.validation.as_seen(view).images.shape == data.train.as_seen(view).images[:].shape == (0, 32, 32, 1)
    file = sorted((source / "a").iterdir())[0]
    where = data.test.names.index("a/0.png")
    assert np.array_equal(data.test.as_seen(view).images[where].numpy(), view.array(Image.open(file)))
