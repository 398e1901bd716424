import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.config import UNIFORM_MIXING, AugmentSpec, BlockOrder, MixingSpec
from vicinal.config.objective import NO_MIXING
from vicinal.functional import mix
from vicinal.inputs import ImagePipeline, Preparation, VicinalPlan, resize, slice_rows, to_float
from vicinal.inputs.pipeline import _on_device, _windows_at

PROPERTY = settings(max_examples=40, deadline=None)
FIELDS = ("index", "partner", "lam", "crop_y", "crop_x", "flip")
PLANS = st.builds(
    VicinalPlan,
    images=st.integers(1, 70),
    batch_size=st.integers(1, 20),
    seed=st.integers(0, 2**32),
    mixing=st.sampled_from([UNIFORM_MIXING, NO_MIXING, MixingSpec(distribution="beta", beta_concentration=0.4)]),
    purpose=st.sampled_from(["train", "head_warmup"]),
    order=st.sampled_from([None, "keyed", BlockOrder(block_images=4, blocks_at_once=3)]),
)


def same(a, b, fields=FIELDS):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in fields)


def whole_epoch(plan, epoch=0):
    return {name: torch.cat([getattr(b, name) for b in plan.epoch(epoch)]) for name in FIELDS}


# --- the plan ---------------------------------------------------------------------------------------------------------


@PROPERTY
@given(plan=PLANS, order=st.randoms(use_true_random=False))
def test_a_batch_is_the_same_whenever_it_is_asked_for(plan, order):
    places = [(epoch, position) for epoch in range(6) for position in range(plan.batches)]
    first = {place: plan.batch(*place) for place in places}
    order.shuffle(places)
    again = dataclasses.replace(plan)
    assert all(same(first[place], again.batch(*place)) for place in places)
    resumed = list(plan.epoch(1, start=plan.batches // 2))
    assert len(resumed) == plan.batches - plan.batches // 2
    assert all(same(b, first[1, plan.batches // 2 + k]) for k, b in enumerate(resumed))


def test_writing_into_a_batch_does_not_change_the_plan():
    plan = VicinalPlan(10, 5, seed=0)
    first = plan.batch(0, 0)
    kept = {name: getattr(first, name).clone() for name in FIELDS}
    for name in FIELDS:
        getattr(first, name).zero_()
    assert all(torch.equal(getattr(plan.batch(0, 0), name), kept[name]) for name in FIELDS)


def test_another_process_makes_the_same_plan():
    code = (
        "from vicinal.inputs import VicinalPlan; b = VicinalPlan(23, 5, seed=7).batch(3, 4);"
        "print(b.index.tolist(), b.partner.tolist(), b.lam.tolist(), b.crop_y.tolist(), b.crop_x.tolist(), b.flip.tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    batch = VicinalPlan(23, 5, seed=7).batch(3, 4)
    assert out == " ".join(str(getattr(batch, name).tolist()) for name in FIELDS)


def test_epochs_seeds_and_streams_differ():
    plans = [VicinalPlan(64, 8, seed=0), VicinalPlan(64, 8, seed=1), VicinalPlan(64, 8, seed=0, purpose="head_warmup")]
    epochs = [whole_epoch(plan, e) for plan in plans for e in (0, 1)]
    for k, one in enumerate(epochs):
        for other in epochs[k + 1 :]:
            assert not any(torch.equal(one[name], other[name]) for name in FIELDS)


@PROPERTY
@given(plan=PLANS, epoch=st.integers(0, 1000))
def test_every_image_comes_once_in_an_epoch(plan, epoch):
    batches = list(plan.epoch(epoch))
    assert len(batches) == plan.batches
    assert sorted(torch.cat([b.index for b in batches]).tolist()) == list(range(plan.images))
    assert all(len(b) == plan.batch_size for b in batches[:-1])
    assert 1 <= len(batches[-1]) <= plan.batch_size
    for b in batches:
        assert sorted(b.partner.tolist()) == list(range(len(b)))
        assert all(len(getattr(b, name)) == len(b) for name in FIELDS)
        assert bool(((b.lam >= 0) & (b.lam <= 1) & (b.crop_y >= 0) & (b.crop_y < 1) & (b.crop_x < 1)).all())
        assert (b.index.dtype, b.partner.dtype, b.lam.dtype) == (torch.int64, torch.int64, torch.float32)
        if not plan.mixing.mixes:
            assert bool((b.lam == 1).all())


def test_partners_are_random_and_not_the_reversed_batch():
    partners = [VicinalPlan(1000, 10, seed=0).batch(0, k).partner.tolist() for k in range(100)]
    assert len({tuple(p) for p in partners}) == 100
    assert list(range(9, -1, -1)) not in partners
    meets = np.bincount([p[0] for p in partners], minlength=10)  # whom the first sample of a batch meets
    assert scipy.stats.chisquare(meets).pvalue > 1e-3


@PROPERTY
@given(
    images=st.integers(1, 200),
    batch_size=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.1, 0.37, 0.5, 0.9, 1.0]) | st.floats(0, 1),
    seed=st.integers(0, 100),
)
def test_the_unmixed_share_is_exact(images, batch_size, share, seed):
    plan = VicinalPlan(images, batch_size, seed, MixingSpec(distribution="fixed", lam=0.25, clean_fraction=share))
    batches = [plan.batch(2, k).lam for k in range(plan.batches)]
    left = [int((lam == 1).sum()) for lam in batches]
    assert all(abs(n - share * len(lam)) <= 1 + 1e-9 for n, lam in zip(left, batches, strict=True))
    assert abs(sum(left) - share * images) <= 0.5 + 1e-9
    assert all(bool(((lam == 1) | (lam == 0.25)).all()) for lam in batches)


def test_who_is_left_unmixed_is_drawn_anew_and_evenly():
    plan = VicinalPlan(40, 10, 0, MixingSpec(clean_fraction=0.9))
    places = np.concatenate([np.flatnonzero(plan.batch(e, k).lam.numpy() < 1) for e in range(100) for k in range(4)])
    assert len(places) == 400
    assert scipy.stats.chisquare(np.bincount(places, minlength=10)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("mixing", "cdf"),
    [
        (UNIFORM_MIXING, scipy.stats.uniform.cdf),
        (MixingSpec(distribution="beta", beta_concentration=0.2), scipy.stats.beta(0.2, 0.2).cdf),
        (MixingSpec(distribution="beta", beta_concentration=3), scipy.stats.beta(3, 3).cdf),
    ],
)
def test_lam_has_its_distribution_and_is_drawn_for_each_sample(mixing, cdf):
    lam = whole_epoch(VicinalPlan(5000, 100, seed=0, mixing=mixing))["lam"].double().numpy()
    assert scipy.stats.kstest(lam, cdf).pvalue > 1e-3
    assert len(np.unique(lam)) > 4000 or mixing.beta_concentration == 0.2


def test_a_fixed_lam_is_that_of_every_sample():
    lam = whole_epoch(VicinalPlan(50, 7, seed=0, mixing=MixingSpec(distribution="fixed", lam=0.3)))["lam"]
    assert bool((lam == torch.tensor(0.3)).all())


def test_crops_and_flips_are_uniform_and_independent_of_lam():
    drawn = whole_epoch(VicinalPlan(5000, 100, seed=0))
    for name in ("crop_y", "crop_x"):
        assert scipy.stats.kstest(drawn[name].double().numpy(), "uniform").pvalue > 1e-3
        assert abs(np.corrcoef(drawn[name], drawn["lam"])[0, 1]) < 0.06
    assert abs(np.corrcoef(drawn["crop_y"], drawn["crop_x"])[0, 1]) < 0.06
    assert abs(float(drawn["flip"].double().mean()) - 0.5) < 0.03


def test_how_lam_is_drawn_does_not_change_which_images_meet():
    plain = VicinalPlan(30, 7, seed=5)
    for mixing in (MixingSpec(distribution="beta", beta_concentration=2), MixingSpec(clean_fraction=0.5)):
        other = VicinalPlan(30, 7, seed=5, mixing=mixing)
        assert all(same(plain.batch(1, k), other.batch(1, k), set(FIELDS) - {"lam"}) for k in range(5))
    lam = torch.cat([plain.batch(1, k).lam for k in range(5)])
    kept = torch.cat([VicinalPlan(30, 7, 5, MixingSpec(clean_fraction=0.5)).batch(1, k).lam for k in range(5)])
    assert torch.equal(kept[kept < 1], lam[kept < 1])


@pytest.mark.parametrize(("epoch", "position"), [(0, 3), (0, -1), (-1, 0)])
def test_places_beyond_the_epoch_are_an_error(epoch, position):
    with pytest.raises(IndexError, match="an epoch has batches 0 to 2"):
        VicinalPlan(11, 5, seed=0).batch(epoch, position)


@pytest.mark.parametrize(("images", "batch_size"), [(0, 5), (5, 0)])
def test_a_plan_of_nothing_is_an_error(images, batch_size):
    with pytest.raises(ValueError, match="at least 1"):
        VicinalPlan(images, batch_size, seed=0)


@PROPERTY
@given(plan=PLANS, share=st.sampled_from([0.0, 0.3, 1.0]), epoch=st.integers(0, 3), position=st.integers(0, 3))
def test_a_batch_is_that_of_draws_made_for_it_alone(plan, share, epoch, position):
    if plan.mixing.mixes:
        plan = dataclasses.replace(plan, mixing=plan.mixing.model_copy(update={"clean_fraction": share}))
    position %= plan.batches

    def drawn(purpose, dtype=np.float64, size=plan.images):
        key = [plan.seed, {"train": 0, "head_warmup": 1}[plan.purpose], epoch, purpose]
        key += [] if plan.is_drawn_whole else [0]  # the section
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(key))).random(size, dtype=dtype)

    start, stop = position * plan.batch_size, min((position + 1) * plan.batch_size, plan.images)
    got = plan.batch(epoch, position)
    if plan.mixing.mixes:
        assert got.partner.tolist() == np.argsort(drawn(1)[start:stop], kind="stable").tolist()
        due = np.floor(plan.mixing.clean_fraction * np.array([start, stop]) + 0.5)
        unmixed = np.argsort(drawn(3)[start:stop], kind="stable")[: int(due[1] - due[0])]
        assert set(unmixed) <= set(np.flatnonzero(got.lam.numpy() == 1))
        if plan.mixing == UNIFORM_MIXING.model_copy(update={"clean_fraction": share}):
            lam = drawn(2)[start:stop].astype(np.float32)
            lam[unmixed] = 1
            assert got.lam.tolist() == lam.tolist()
    else:
        assert got.partner.tolist() == list(range(stop - start))
        assert not got.mixes
    assert got.crop_y.tolist() == drawn(4, np.float32, (plan.images, 2))[start:stop, 0].tolist()
    assert got.flip.tolist() == (drawn(5)[start:stop] < 0.5).tolist()


# --- repeated streams and slices --------------------------------------------------------------------------------------


@PROPERTY
@given(plan=PLANS, repeat=st.integers(1, 5), epoch=st.integers(0, 20))
def test_a_repeated_stream_is_the_first_epochs_over_again(plan, repeat, epoch):
    again = dataclasses.replace(plan, repeat_inputs_after_epochs=repeat)
    assert again.drawn_epoch(epoch) == epoch % repeat
    assert same(again.batch(epoch, 0), plan.batch(epoch % repeat, 0))
    assert plan.drawn_epoch(epoch) == epoch


def test_a_stream_repeats_after_at_least_one_epoch():
    with pytest.raises(ValueError, match="repeat_inputs_after_epochs must be at least 1"):
        VicinalPlan(4, 2, seed=0, repeat_inputs_after_epochs=0)


@PROPERTY
@given(size=st.integers(0, 300), world_size=st.integers(1, 12))
def test_slices_are_contiguous_and_balanced(size, world_size):
    slices = [slice_rows(size, rank, world_size) for rank in range(world_size)]
    assert [row for part in slices for row in range(size)[part]] == list(range(size))
    lengths = [part.stop - part.start for part in slices]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_outside_the_processes_is_an_error(rank, world_size):
    with pytest.raises(ValueError, match="ranks go from 0"):
        slice_rows(10, rank, world_size)
    with pytest.raises(ValueError, match="ranks go from 0"):
        VicinalPlan(10, 5, seed=0).batch(0, 0, rank, world_size)


@PROPERTY
@given(plan=PLANS, position=st.integers(0, 3), world_size=st.integers(1, 8))
def test_a_slice_holds_its_own_rows_first_and_no_image_twice(plan, position, world_size):
    whole = plan.batch(1, position % plan.batches)
    for rank in range(world_size):
        part, rows = plan.batch(1, position % plan.batches, rank, world_size), slice_rows(len(whole), rank, world_size)
        assert len(part) == part.rows == len(part.lam) == rows.stop - rows.start
        assert torch.equal(part.index[: part.rows], whole.index[rows])
        assert torch.equal(part.index[part.partner], whole.index[whole.partner[rows]])
        assert len(set(part.index.tolist())) == len(part.index) <= 2 * part.rows
        if world_size == 1:
            assert same(part, whole)
    assert [len(b) for b in plan.epoch(0, 0, 0, world_size)] == [
        len(plan.batch(0, k, 0, world_size)) for k in range(plan.batches)
    ]


# --- images -----------------------------------------------------------------------------------------------------------

AUGMENTS = {
    "none": AugmentSpec(),
    "flip": AugmentSpec(flip=True),
    "pad": AugmentSpec(crop="pad", pad=2),
    "pad and flip": AugmentSpec(crop="pad", pad=3, flip=True),
    "resize": AugmentSpec(crop="resize", resize=14),
    "resize and flip": AugmentSpec(crop="resize", resize=14, flip=True),
}


def images(n=9, height=10, width=10, channels=3, seed=0):
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.integers(0, 256, (n, height, width, channels), dtype=np.uint8))


def naive(image, augment, size, crop_y, crop_x, flip):
    """One image, step by step: (H, W, C) uint8 to (C, size, size) float."""
    pixels = image.permute(2, 0, 1).float() / 255
    height, width = pixels.shape[1:]
    if augment.crop == "pad":
        pixels = F.pad(pixels, [augment.pad] * 4)
    elif augment.crop == "resize":
        height = width = size or min(height, width)
        pixels = F.interpolate(
            pixels[None],
            (augment.resize, augment.resize),
            mode="bilinear",
            antialias=augment.resize < max(image.shape[:2]),
        )[0]
    top = int(crop_y * (pixels.shape[1] - height + 1))
    left = int(crop_x * (pixels.shape[2] - width + 1))
    pixels = pixels[:, top : top + height, left : left + width]
    if augment.flip and flip:
        pixels = pixels.flip(2)
    if size is not None and (height, width) != (size, size):
        shrinks = size < max(height, width)
        pixels = F.interpolate(pixels[None], (size, size), mode="bilinear", antialias=shrinks)[0]
    return pixels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [None, 10, 6, 12])
@pytest.mark.parametrize("name", AUGMENTS)
def test_images_are_those_of_a_loop_over_samples(name, size, channels):
    augment, pixels = AUGMENTS[name], images(channels=channels)
    labels = torch.arange(9)
    pipeline, plan = ImagePipeline(pixels, labels, Preparation(augment, size)), VicinalPlan(9, 4, seed=3)
    kept = pixels.clone()
    for planned in plan.epoch(0):
        batch = pipeline.make(planned)
        expected = torch.stack(
            [
                naive(pixels[i], augment, size, float(y), float(x), bool(f))
                for i, y, x, f in zip(planned.index, planned.crop_y, planned.crop_x, planned.flip, strict=True)
            ]
        )
        torch.testing.assert_close(batch.clean, expected, rtol=1e-5, atol=1e-6)
        lam = planned.lam.view(-1, 1, 1, 1)
        mixed = lam * expected + (1 - lam) * expected[planned.partner]
        torch.testing.assert_close(batch.mixed, mixed, rtol=1e-5, atol=1e-6)
        assert torch.equal(batch.labels, planned.index)
        assert torch.equal(batch.partner_labels, planned.index[planned.partner])
        assert torch.equal(batch.lam, planned.lam)
        assert torch.equal(batch.partner, planned.partner)
        assert batch.clean.dtype == batch.mixed.dtype == torch.float32
    assert torch.equal(pixels, kept)


def per_sample(image, augment, size, crop_y, crop_x, flip):
    """As `naive`, with the very operations whose rounding the pipeline keeps: one image, resized as (1, C, H, W)."""
    height, width = image.shape[:2]
    pixels = to_float(image[None], augment.resize)
    room = 0
    if augment.crop == "pad":
        pixels, room = F.pad(pixels, [augment.pad] * 4), 2 * augment.pad
    room_y = room_x = room
    if augment.crop == "resize":
        height = width = size or min(height, width)
        room_y, room_x = augment.resize - height, augment.resize - width
    top, left = int(crop_y * (room_y + 1)), int(crop_x * (room_x + 1))
    pixels = pixels[:, :, top : top + height, left : left + width]
    pixels = pixels.flip(3) if augment.flip and flip else pixels
    return resize(pixels.contiguous(memory_format=torch.channels_last), size)[0]


@PROPERTY
@given(
    plan=PLANS,
    name=st.sampled_from(list(AUGMENTS)),
    size=st.sampled_from([None, 6, 12]),
    channels=st.sampled_from([1, 3]),
)
def test_pixels_are_bit_for_bit_those_of_each_sample(plan, name, size, channels):
    augment, pixels = AUGMENTS[name], images(plan.images, 10, 12, channels)
    pipeline, planned = ImagePipeline(pixels, torch.arange(plan.images), Preparation(augment, size)), plan.batch(0, 0)
    batch = pipeline.make(planned)
    samples = zip(planned.index, planned.crop_y, planned.crop_x, planned.flip, strict=True)
    clean = torch.stack([per_sample(pixels[i], augment, size, y, x, f) for i, y, x, f in samples])
    assert torch.equal(batch.clean, clean)
    assert torch.equal(batch.mixed, mix(clean, clean[planned.partner], planned.lam))
    lazy = ImagePipeline(Reads(pixels), torch.arange(plan.images), Preparation(augment, size)).make(planned)
    assert torch.equal(lazy.clean, clean)
    assert torch.equal(lazy.mixed, batch.mixed)


class Reads:
    """Images that are read when they are asked for."""

    def __init__(self, pixels):
        self._pixels, self.shape = pixels, tuple(pixels.shape)

    def __getitem__(self, key):
        return self._pixels[key]


@PROPERTY
@given(
    plan=PLANS,
    name=st.sampled_from(list(AUGMENTS)),
    size=st.sampled_from([None, 6]),
    world_size=st.integers(1, 8),
    epoch=st.integers(0, 5),
)
def test_any_number_of_processes_makes_the_same_mixed_images(plan, name, size, world_size, epoch):
    pipeline = ImagePipeline(images(plan.images), torch.arange(plan.images) % 7, Preparation(AUGMENTS[name], size))
    position = plan.batches - 1  # may be a small one
    whole = pipeline.make(plan.batch(epoch, position))
    parts = [pipeline.make(plan.batch(epoch, position, rank, world_size)) for rank in range(world_size)]
    for field in ("mixed", "labels", "partner_labels", "lam"):
        assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(whole, field)), field
    for part in parts:
        rows = len(part.mixed)
        weight = part.lam.view(-1, 1, 1, 1)
        again = weight * part.clean[:rows] + (1 - weight) * part.clean[part.partner]
        assert torch.equal(part.mixed, again)


@pytest.mark.parametrize("channels", [1, 3])
def test_windows_are_cut_where_they_should_be(channels):
    stored = images(5, 9, 8, channels)
    index, top, left = torch.tensor([4, 0, 4]), torch.tensor([0, 3, 2]), torch.tensor([3, 0, 1])
    got = _windows_at(stored, 6, 5, index, top, left)
    expected = [stored[i, y : y + 6, x : x + 5] for i, y, x in zip(index, top, left, strict=True)]
    assert torch.equal(got, torch.stack(expected))


def test_what_a_batch_needs_travels_whole():
    sent = [torch.arange(3), torch.zeros(0), torch.rand(5), torch.tensor([True, False]), images(2)]
    assert all(a is b for a, b in zip(sent, _on_device(sent, torch.device("cpu")), strict=True))
    arrived = _on_device(sent, torch.device("meta"))
    assert [(t.shape, t.dtype, t.device.type) for t in arrived] == [(t.shape, t.dtype, "meta") for t in sent]


def test_a_crop_is_drawn_anew_in_each_epoch():
    pipeline = ImagePipeline(
        images(n=1), torch.zeros(1, dtype=torch.int64), Preparation(AUGMENTS["pad and flip"], None)
    )
    plan = VicinalPlan(1, 1, seed=0)
    seen = {pipeline.make(plan.batch(epoch, 0)).clean.numpy().tobytes() for epoch in range(20)}
    assert len(seen) > 10


def test_padded_crops_reach_every_place():
    pixels = torch.full((400, 4, 4, 1), 255, dtype=torch.uint8)
    pipeline = ImagePipeline(
        pixels, torch.zeros(400, dtype=torch.int64), Preparation(AugmentSpec(crop="pad", pad=1), None)
    )
    clean = pipeline.make(VicinalPlan(400, 400, seed=0).batch(0, 0)).clean
    zeros = {(int((c[0].amax(1) == 0).sum()), int((c[0].amax(0) == 0).sum())) for c in clean}
    assert zeros == {(0, 0), (0, 1), (1, 0), (1, 1)}
    shares = np.array([float((c == 1).sum()) for c in clean])
    assert (
        scipy.stats.chisquare(np.unique(shares, return_counts=True)[1], [400 * k / 9 for k in (4, 4, 1)]).pvalue > 1e-3
    )


def test_nothing_is_mixed_where_the_plan_mixes_nothing():
    pipeline = ImagePipeline(images(), torch.arange(9), Preparation(AUGMENTS["flip"], None))
    batch = pipeline.make(VicinalPlan(9, 9, seed=0, mixing=NO_MIXING).batch(0, 0))
    assert torch.equal(batch.clean, batch.mixed)


def test_mixing_leaves_clean_images_as_they_were():
    pixels = images()
    pipeline = ImagePipeline(pixels, torch.arange(9), Preparation(AugmentSpec(), None))
    planned = VicinalPlan(9, 9, seed=0).batch(0, 0)
    batch = pipeline.make(planned)
    assert torch.equal(batch.clean, to_float(pixels[planned.index]))
    assert not torch.equal(batch.clean, batch.mixed)


@pytest.mark.parametrize("size", [None, 6, 14])
@pytest.mark.parametrize("name", AUGMENTS)
def test_batches_are_channels_last_in_memory(name, size):
    batch = ImagePipeline(images(), torch.arange(9), Preparation(AUGMENTS[name], size)).make(
        VicinalPlan(9, 5, seed=0).batch(0, 0)
    )
    assert batch.clean.is_contiguous(memory_format=torch.channels_last)
    assert batch.mixed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("bad", [torch.zeros(2, 4, 4, 3), torch.zeros(2, 4, 4, dtype=torch.uint8)])
def test_other_images_are_an_error(bad):
    with pytest.raises(ValueError, match=r"expected \(N, H, W, C\) uint8 images"):
        ImagePipeline(bad, torch.zeros(2, dtype=torch.int64), Preparation(AugmentSpec(), None))


def test_evaluation_pixels_are_resized_and_centre_cropped():
    pixels = images(height=12, width=10)
    plain = pixels.permute(0, 3, 1, 2).float() / 255
    assert torch.equal(Preparation(AUGMENTS["pad and flip"], None).pixels(pixels), plain)
    small = F.interpolate(plain, (8, 8), mode="bilinear", antialias=True)
    torch.testing.assert_close(Preparation(AugmentSpec(), 8).pixels(pixels), small, rtol=1e-5, atol=1e-6)
    cropped = Preparation(AugmentSpec(crop="resize", resize=8, flip=True), 6).pixels(pixels)
    torch.testing.assert_close(cropped, small[:, :, 1:7, 1:7], rtol=1e-5, atol=1e-6)
    assert Preparation(AUGMENTS["resize"], None).pixels(pixels).shape == (9, 3, 10, 10)


def test_resizing_keeps_range_and_size():
    pixels = torch.rand(2, 3, 7, 9)
    assert resize(pixels, None) is pixels
    assert resize(pixels[..., :7], 7).data_ptr() == pixels.data_ptr()
    for size in (3, 20):
        out = resize((pixels > 0.5).float(), size)
        assert out.shape == (2, 3, size, size)
        assert bool(((out >= 0) & (out <= 1)).all())
    assert torch.equal(resize(torch.ones(1, 1, 5, 5), 3), torch.ones(1, 1, 3, 3))
