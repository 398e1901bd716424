"""Random changes of training images: torchvision's distributions, and a pure function of the plan."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from pydantic import ValidationError
from torchvision.transforms import v2

from vicinal.config import AugmentSpec, NetworkSpec
from vicinal.errors import UsageError
from vicinal.functional import mix
from vicinal.inputs import ImagePipeline, Preparation, VicinalPlan
from vicinal.inputs.augment import crops_by_matrices, random_boxes, resized_crops
from vicinal.inputs.vicinity import Numbers

ALL = {
    "crop": "random_resized",
    "flip": True,
    "rand_augment": {},
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "erasing": {"probability": 0.5},
}
EACH = {key: {key: value} for key, value in ALL.items() if key != "flip"} | {"all": ALL}


def images(n: int = 12, height: int = 20, width: int = 20, channels: int = 3) -> torch.Tensor:
    """Smooth images, on which a shift of half a pixel shows, with some noise."""
    generator = np.random.default_rng(5)
    coarse = torch.from_numpy(generator.integers(0, 256, (n, channels, 5, 5))).float()
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").permute(0, 2, 3, 1)
    noise = torch.from_numpy(generator.integers(-20, 20, smooth.shape))
    return (smooth + noise).clamp(0, 255).to(torch.uint8)


def pipeline(augment: dict, size: int | None = 16, channels: int = 3) -> ImagePipeline:
    pixels = images(channels=channels)
    return ImagePipeline(pixels, torch.arange(len(pixels)) % 3, Preparation(AugmentSpec(**augment), size))


# --- crops of random size ---------------------------------------------------------------------------------------------

BOXES = torch.tensor(
    [[0, 0, 20, 30], [3, 5, 9, 4], [19, 29, 1, 1], [2, 0, 16, 30], [0, 7, 20, 12], [4, 4, 16, 16], [0, 1, 1, 29]]
)


@pytest.mark.parametrize("size", [(16, 16), (40, 40), (7, 33)])
@pytest.mark.parametrize("crops", [resized_crops, crops_by_matrices])
def test_crops_are_torchvisions(crops, size):
    stored, index = images(4, 20, 30), torch.tensor([0, 1, 2, 3, 0, 1, 2])
    got = crops(stored, index, BOXES, size)
    for made, image, box in zip(got, index, BOXES.tolist(), strict=True):
        pixels = stored[image].permute(2, 0, 1).float() / 255
        expected = v2.functional.resized_crop(pixels, *box, list(size), antialias=True)
        torch.testing.assert_close(made, expected, rtol=0, atol=2e-6)
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_boxes_have_torchvisions_distribution():
    augment = AugmentSpec(crop="random_resized", scale=(0.2, 0.9), ratio=(0.5, 2))
    boxes = random_boxes(augment, np.random.default_rng(0).integers(0, 2**63 - 1, 1500).tolist(), 60, 80).numpy()
    draw = v2.RandomResizedCrop(1, scale=(0.2, 0.9), ratio=(0.5, 2))
    torch.manual_seed(1)
    known = [draw.make_params([torch.empty(1, 60, 80)]) for _ in range(1500)]
    for column, key in enumerate(("top", "left", "height", "width")):
        assert scipy.stats.ks_2samp(boxes[:, column], [drawn[key] for drawn in known]).pvalue > 1e-3, key
    area, ratio = boxes[:, 2] * boxes[:, 3] / 4800, boxes[:, 3] / boxes[:, 2]
    assert 0.18 < area.min() < 0.25
    assert 0.8 < area.max() < 0.92
    assert 0.47 < ratio.min() < 0.6
    assert 1.7 < ratio.max() < 2.1
    assert ((boxes[:, :2] >= 0) & (boxes[:, :2] + boxes[:, 2:] <= [60, 80])).all()


def test_seeds_are_those_of_the_image_whoever_asks():
    plan = VicinalPlan(50, 20, seed=4)
    whole = plan.batch(1, 2)
    seeds = {kind: whole.image_seeds(kind) for kind in (Numbers.BOX, Numbers.ERASING)}
    assert len({*seeds[Numbers.BOX], *seeds[Numbers.ERASING]}) == 20  # the last batch is of ten
    of_image = dict(zip(whole.index.tolist(), seeds[Numbers.BOX], strict=True))
    for rank in range(3):
        part = plan.batch(1, 2, rank, 3)
        assert part.image_seeds(Numbers.BOX) == [of_image[image] for image in part.index.tolist()]
    assert plan.batch(2, 2).image_seeds(Numbers.BOX) != seeds[Numbers.BOX]
    assert plan.batch(1, 1).image_seeds(Numbers.BOX)[:10] != seeds[Numbers.BOX]
    assert VicinalPlan(50, 20, seed=5).batch(1, 2).image_seeds(Numbers.BOX) != seeds[Numbers.BOX]
    repeated = VicinalPlan(50, 20, seed=4, repeat_inputs_after_epochs=2)
    assert repeated.batch(3, 2).image_seeds(Numbers.BOX) == seeds[Numbers.BOX]


# --- every change -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EACH)
def test_a_change_is_a_pure_function_of_the_plan(name):
    made, plan = pipeline(EACH[name]), VicinalPlan(12, 12, seed=3)
    planned = plan.batch(0, 0)
    first = made.make(planned)
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    again = pipeline(EACH[name]).make(plan.batch(0, 0))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.clean, again.clean)
    assert torch.equal(torch.cat([made.make(plan.batch(0, 0, rank, 5)).mixed for rank in range(5)]), first.mixed)
    assert torch.equal(
        first.mixed, mix(first.clean, first.clean[planned.partner], planned.lam)
    )  # partners are changed too
    other = pipeline({}).make(planned)
    changed = (first.clean != other.clean).flatten(1).any(1).float().mean()
    assert changed > 0.3 if name in ("erasing", "rand_augment") else changed == 1
    assert not torch.equal(first.clean, made.make(plan.batch(1, 0)).clean[planned.index.argsort().argsort()])
    assert 0 <= first.clean.min() <= first.clean.max() <= 1
    assert torch.equal(first.labels, other.labels)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_change_is_torchvisions_with_the_images_seed(channels):
    planned = VicinalPlan(12, 12, seed=3).batch(0, 0)
    plain = pipeline({}, channels=channels).make(planned).clean
    bilinear = v2.InterpolationMode.BILINEAR
    known = {
        "rand_augment": (Numbers.RAND_AUGMENT, v2.RandAugment(2, 9, interpolation=bilinear)),
        "color_jitter": (Numbers.COLOR_JITTER, v2.ColorJitter(0.4, 0.4, 0.4, 0.1)),
        "erasing": (Numbers.ERASING, v2.RandomErasing(0.5, (0.02, 0.33), (0.3, 3.3), 0.5)),
    }
    for key, (numbers, transform) in known.items():
        clean = pipeline(EACH[key], channels=channels).make(planned).clean
        for made, image, seed in zip(clean, plain, planned.image_seeds(numbers), strict=True):
            torch.manual_seed(seed)
            assert torch.equal(made, transform(image))


def test_what_is_turned_on_does_not_move_the_rest():
    planned = VicinalPlan(12, 12, seed=3).batch(0, 0)
    cropped = pipeline({"crop": "random_resized"}).make(planned).clean
    with_erasing = pipeline({"crop": "random_resized", "erasing": {"probability": 0.5}}).make(planned).clean
    apart = with_erasing != cropped
    assert 0 < apart.float().mean() < 0.5
    assert bool((with_erasing[apart] == 0.5).all())
    flipped = pipeline({"crop": "random_resized", "flip": True}).make(planned)
    turned = torch.where(planned.flip[:, None, None, None], cropped.flip(3), cropped)
    assert torch.equal(flipped.clean, turned)


def test_without_an_image_size_a_crop_comes_out_as_the_images_are():
    made = ImagePipeline(images(5, 14, 18), torch.zeros(5).long(), Preparation(AugmentSpec(crop="random_resized")))
    assert made.make(VicinalPlan(5, 5, seed=0).batch(0, 0)).clean.shape == (5, 3, 14, 18)


def test_colours_of_other_images_have_no_meaning():
    with pytest.raises(UsageError, match="rand_augment needs grey or RGB images, and these have 4 channels"):
        pipeline({"rand_augment": {}}, channels=4)
    pipeline({"crop": "random_resized", "erasing": {}}, channels=4)


# --- the values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        ({"scale": [0.1, 1]}, "'scale' goes with crop: random_resized"),
        ({"crop": "pad", "ratio": [1, 1]}, "'ratio' goes with crop: random_resized"),
        ({"crop": "random_resized", "scale": [0.5, 0.1]}, "first of .lowest, highest. may not be above"),
        ({"crop": "random_resized", "scale": [0, 1]}, "greater than 0"),
        ({"crop": "resize"}, "that crop needs it"),
        ({"resize": 20}, "'resize' goes with"),
        ({"color_jitter": {}}, "at least one of brightness"),
        ({"color_jitter": {"hue": 0.6}}, "less than or equal to 0.5"),
        ({"rand_augment": {"magnitude": 31}}, "less than or equal to 30"),
        ({"erasing": {"probability": 0}}, "greater than 0"),
    ],
)
def test_values_that_do_not_fit(augment, words):
    with pytest.raises(ValidationError, match=words):
        AugmentSpec(**augment)


def test_test_images_are_cropped_where_training_crops_a_resized_one_alone():
    assert AugmentSpec(crop="resize", resize=20).centre_crop_from == 20
    kept_larger = AugmentSpec(crop="random_resized", resize=20)
    assert kept_larger.centre_crop_from is None
    stored = images(3)
    assert torch.equal(Preparation(kept_larger, 10).pixels(stored), Preparation(image_size=10).pixels(stored))


def test_what_is_not_used_is_in_no_fingerprint():
    assert AugmentSpec().model_dump() == {"crop": "none", "pad": 2, "resize": None, "flip": False}
    spelled = AugmentSpec(crop="random_resized", scale=(0.08, 1), ratio=(3 / 4, 4 / 3))
    assert spelled == AugmentSpec(crop="random_resized")
    used = NetworkSpec(model="m", epochs=1, augment=ALL)
    assert NetworkSpec.model_validate(used.model_dump(mode="json")) == used
    assert (
        Preparation(used.augment).fingerprint()
        != Preparation(AugmentSpec(crop="random_resized", flip=True)).fingerprint()
    )
