"""Each corruption against another way to make it, image by image with numpy, SciPy or Pillow; then seeds and mistakes."""

import hashlib
import io
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, stats

from vicinal.config import CORRUPTIONS, SEVERITIES, DataSpec
from vicinal.data import corrupt, load_data
from vicinal.data.corruptions import make as vc
from vicinal.errors import UsageError

RANDOM = ("gaussian_noise", "motion_blur", "fog")


@pytest.fixture(scope="module")
def real():
    """500 real images, 28 px, grey, all classes."""
    return load_data(DataSpec(source="embedded/fashion-mnist")).test.images[::10].contiguous()


def random_images(n, height, width, channels, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, height, width, channels)).astype(np.uint8))


def smooth_images(n, side, channels=1, seed=0):
    """Pictures with edges and slopes, from 0 to 255."""
    values = np.random.default_rng(seed).normal(size=(n, side, side, channels))
    values = ndimage.gaussian_filter(values, (0, side / 12, side / 12, 0))
    low, high = values.min((1, 2, 3), keepdims=True), values.max((1, 2, 3), keepdims=True)
    return torch.from_numpy(np.round(255 * (values - low) / (high - low)).astype(np.uint8))


# --- the benchmark's strengths ----------------------------------------------------------------------------------------


def test_strengths_are_those_of_the_benchmark():
    assert {name: dict(values) for name, values in vc.STRENGTHS.items()} == {
        "cifar": {
            "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
            "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
            "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
            "jpeg_compression": (80, 65, 58, 50, 40),
            "contrast": (75, 50, 40, 30, 15),
            "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
        },
        "tiny_imagenet": {
            "gaussian_noise": (0.04, 0.08, 0.12, 0.15, 0.18),
            "motion_blur": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
            "fog": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
            "jpeg_compression": (65, 58, 50, 40, 25),
            "contrast": (40, 30, 20, 10, 5),
            "pixelate": (0.9, 0.8, 0.7, 0.6, 0.5),
        },
        "imagenet": {
            "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
            "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
            "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
            "jpeg_compression": (25, 18, 15, 10, 7),
            "contrast": (40, 30, 20, 10, 5),
            "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
        },
    }


@pytest.mark.parametrize(
    ("height", "width", "whose"),
    [(45, 90, "cifar"), (46, 46, "tiny_imagenet"), (130, 119, "tiny_imagenet"), (120, 140, "imagenet")],
)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_shorter_side_decides_whose_strengths(name, height, width, whose):
    images = random_images(2, height, width, 3)
    got = corrupt(images, name, 5)
    assert torch.equal(got, corrupt(images, name, 5, strengths=whose))
    for other in set(vc.STRENGTHS) - {whose}:
        same = vc.STRENGTHS[other][name][4] == vc.STRENGTHS[whose][name][4]
        assert torch.equal(got, corrupt(images, name, 5, strengths=other)) == same


# --- each against an independent way ----------------------------------------------------------------------------------


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("side", [32, 64])
def test_noise_is_normal_independent_and_cut_like_the_benchmark(side, severity):
    sigma = vc.STRENGTHS[vc.strengths_for(side, side)]["gaussian_noise"][severity - 1]
    grey = torch.full((60, side, side, 3), 128, dtype=torch.uint8)
    got = corrupt(grey, "gaussian_noise", severity).numpy()
    generator = np.random.default_rng(severity)
    expected = np.uint8(np.clip(128 / 255 + generator.normal(scale=sigma, size=got.shape), 0, 1) * 255)
    assert np.bincount(got.ravel(), minlength=256) / got.size == pytest.approx(
        np.bincount(expected.ravel(), minlength=256) / got.size, abs=6 * np.sqrt(0.06 / got.size)
    )
    inside = got[(got > 0) & (got < 255)]
    if inside.size == got.size:  # nothing clipped
        assert got.mean() == pytest.approx(127.5, abs=6 * 255 * sigma / np.sqrt(got.size))  # half a level is cut off
        assert got.std() == pytest.approx(255 * sigma, rel=0.01)
        assert stats.kurtosis(got.ravel()) == pytest.approx(0, abs=0.06)
    z = (got - got.mean()) / got.std()
    for a, b in (
        (z[:, 1:], z[:, :-1]),
        (z[:, :, 1:], z[:, :, :-1]),
        (z[..., 0], z[..., 1]),
        (z[1:], z[:-1]),
        (z[30:], z[:30]),
    ):
        assert float((a * b).mean()) == pytest.approx(0, abs=5 / np.sqrt(a.size))


def one_pixel(n, side):
    images = torch.zeros((n, side, side, 1), dtype=torch.uint8)
    images[:, side // 2, side // 2] = 255
    return images


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("side", "strengths"), [(41, "cifar"), (61, "tiny_imagenet"), (95, "imagenet")])
def test_a_blurred_pixel_is_half_a_gaussian_along_a_line_within_45_degrees(side, strengths, severity):
    radius, sigma = vc.STRENGTHS[strengths]["motion_blur"][severity - 1]
    blurred = corrupt(one_pixel(400, side), "motion_blur", severity, strengths=strengths)[..., 0].numpy().astype(float)
    assert blurred.sum((1, 2)) == pytest.approx(np.full(400, 255), abs=radius + 1)  # each step rounds by half a level
    y, x = np.mgrid[:side, :side] - side // 2
    mass = blurred.sum((1, 2))
    # Step i is read at +i along the line, so the pixel's trace runs the other way.
    down, along = (-(blurred * axis).sum((1, 2)) / mass for axis in (y, x))
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    length = (steps * weights).sum() / weights.sum()
    assert np.hypot(down, along) == pytest.approx(np.full(400, length), abs=0.4)
    angles = np.rad2deg(np.arctan2(down, along))
    assert np.abs(angles).max() < 45 + 8
    assert angles.mean() == pytest.approx(0, abs=4 * 26 / np.sqrt(400))
    assert angles.std() == pytest.approx(90 / np.sqrt(12), rel=0.15)
    if sigma > 2:  # a shorter line has few angles once its steps are rounded
        assert stats.kstest(angles, stats.uniform(-45, 90).cdf).statistic < 0.11
    reach = np.hypot(x, y)[blurred.max(0) > 0].max()
    assert reach <= 2 * radius + 1


def drawn_line(angle, radius, sigma):
    """The blur's kernel with no whole-pixel steps: a weighted line of many points, each shared by its four neighbours."""
    half = 2 * int(radius) + 2
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    for t in np.arange(0, 2 * radius + 1, 0.02) - 0.5:
        weight = np.exp(-(max(t, 0.0) ** 2) / (2 * sigma**2))
        y, x = half + t * np.sin(angle), half + t * np.cos(angle)
        for j in (int(y), int(y) + 1):
            for i in (int(x), int(x) + 1):
                kernel[j, i] += weight * (1 - abs(y - j)) * (1 - abs(x - i))
    return kernel / kernel.sum()


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("side", "strengths"), [(32, "cifar"), (64, "tiny_imagenet"), (64, "imagenet")])
def test_motion_blur_is_what_scipy_convolves_with_a_drawn_line(side, strengths, severity, monkeypatch):
    radius, sigma = vc.STRENGTHS[strengths]["motion_blur"][severity - 1]
    images = smooth_images(7, side, 3, seed=severity)
    angles = np.linspace(-44, 44, 7)
    words = ((angles + 45) / 90 * 2.0**64).astype(np.uint64)[:, None]
    monkeypatch.setattr(vc._Draws, "words", lambda self, images, first, count: words[first : first + images])
    got = corrupt(images, "motion_blur", severity, strengths=strengths).double().numpy()
    for image, angle, blurred in zip(images.double().numpy(), angles, got, strict=True):
        kernel = drawn_line(np.deg2rad(angle), radius, sigma)[:, :, None]
        expected = ndimage.correlate(image, kernel, mode="nearest")
        moved = np.abs(expected - image).mean()
        assert moved > 1
        # Whole-pixel steps lie up to half a pixel off the line, which matters the less the longer it is.
        assert np.abs(blurred - expected).mean() < 0.5 / sigma * moved
        mirrored = ndimage.correlate(image, drawn_line(np.deg2rad(-angle), radius, sigma)[:, :, None], mode="nearest")
        if abs(angle) > 20:
            assert np.abs(blurred - mirrored).mean() > 1.5 * np.abs(blurred - expected).mean()


def test_motion_blur_is_the_sum_of_its_shifted_copies(monkeypatch):
    """To the level, on images with all frequencies."""
    images = random_images(9, 30, 26, 3)
    angles = np.linspace(-44.9, 44.3, 9)
    words = ((angles + 45) / 90 * 2.0**64).astype(np.uint64)[:, None]
    monkeypatch.setattr(vc._Draws, "words", lambda self, images, first, count: words[first : first + images])
    got = corrupt(images, "motion_blur", 5).numpy()
    steps = np.arange(19)
    weights = np.exp(-(steps**2) / (2 * 2.5**2))
    y, x = np.mgrid[:30, :26]
    for image, angle, blurred in zip(images.double().numpy(), np.deg2rad(angles), got, strict=True):
        total = sum(
            w * image[np.clip(y + round(i * np.sin(angle)), 0, 29), np.clip(x + round(i * np.cos(angle)), 0, 25)]
            for i, w in zip(steps, weights, strict=True)
        )
        assert np.abs(blurred - total / weights.sum()).max() <= 0.52


def cloud(side, decay, generator):
    """Plasma by the diamond-square algorithm, point by point."""
    points = {(0, 0): 0.0}
    step, wobble = side, 100.0

    def near(*where):
        return sum(points[y % side, x % side] for y, x in where) / 4 + wobble * generator.uniform(-wobble, wobble)

    while step >= 2:
        half, grid = step // 2, range(0, side, step)
        for y in grid:
            for x in grid:
                points[y + half, x + half] = near((y, x), (y + step, x), (y, x + step), (y + step, x + step))
        edges = {}
        for y in grid:
            for x in grid:
                edges[y, x + half] = near((y, x), (y, x + step), (y - half, x + half), (y + half, x + half))
                edges[y + half, x] = near((y, x), (y + step, x), (y + half, x - half), (y + half, x + half))
        points |= edges
        step, wobble = half, wobble / decay
    values = np.array([[points[y, x] for x in range(side)] for y in range(side)])
    return (values - values.min()) / (values.max() - values.min())


def slope(pictures):
    """Of log power over log frequency, rings 1 to side / 2."""
    side = pictures.shape[-1]
    power = (np.abs(np.fft.fft2(pictures - pictures.mean((1, 2), keepdims=True))) ** 2).mean(0)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(side) * side] * 2))
    rings = np.arange(1, side // 2)
    values = [power[(frequency >= r - 0.5) & (frequency < r + 0.5)].mean() for r in rings]
    return np.polyfit(np.log(rings), np.log(values), 1)[0]


@pytest.mark.parametrize(
    ("side", "severity"), [(32, 1), (32, 2), (32, 3), (32, 4), (32, 5), (64, 1), (64, 2), (64, 3), (64, 4), (64, 5)]
)
def test_fog_is_plasma_by_another_hand(side, severity):
    amount, decay = vc.STRENGTHS[vc.strengths_for(side, side)]["fog"][severity - 1]
    value, brightest, n = 100, 200, 150 if side == 32 else 60
    images = torch.full((n, side, side, 3), value, dtype=torch.uint8)
    images[:, -1, -1] = brightest
    got = corrupt(images, "fog", severity).double().numpy()
    assert (got[..., 0] == got[..., 1]).all()
    scale = brightest / (brightest + 255 * amount)
    plasma = (got[..., 0] / scale - value) / (255 * amount)  # up to the decimals that were cut off
    plasma[:, -1, -1] = plasma[:, -1, -2]
    cut = 1 / scale / (255 * amount)
    assert plasma.min() > -cut
    assert plasma.max() <= 1
    assert (
        plasma.max((1, 2)) > 1 - 2 * cut
    ).mean() > 0.95  # each cloud reaches from 0 to 1; the last corner was covered
    assert (plasma.min((1, 2)) < cut).mean() > 0.95
    generator = np.random.default_rng(severity)
    expected = np.stack([cloud(side, decay, generator) for _ in range(n)])
    means, other = plasma.mean((1, 2)) + cut / 2, expected.mean((1, 2))
    spread = np.hypot(means.std(), other.std()) / np.sqrt(n)
    assert means.mean() == pytest.approx(other.mean(), abs=4 * spread)
    assert stats.ks_2samp(means, other).pvalue > 1e-4
    deviations, theirs = plasma.std((1, 2)), expected.std((1, 2))
    assert deviations.mean() == pytest.approx(theirs.mean(), rel=0.12)
    coarse = np.floor(expected / cut) * cut  # the same cut, since it lifts high frequencies
    assert slope(plasma) == pytest.approx(slope(coarse), abs=0.2)
    # Neighbours differ as much, from left to right and from top to bottom.
    for axis in (1, 2):
        assert np.abs(np.diff(plasma, axis=axis)).mean() == pytest.approx(
            np.abs(np.diff(coarse, axis=axis)).mean(), rel=0.1, abs=cut / 8
        )


def test_fog_lifts_the_dark_more_than_the_bright_and_keeps_the_brightest_level():
    images = smooth_images(20, 32, 3)
    got = corrupt(images, "fog", 4).double()
    x = images.double()
    assert bool((got.amax((1, 2, 3)) <= x.amax((1, 2, 3))).all())
    # out = (x + amount · p) · m / (m + amount) with 0 ≤ p ≤ 1: each pixel lies between its two ends.
    brightest = x.amax((1, 2, 3), keepdim=True)
    scale = brightest / (brightest + 255)
    assert bool((got > x * scale - 1).all())
    assert bool((got <= (x + 255) * scale + 1e-3).all())
    assert not corrupt(torch.zeros(2, 32, 32, 3, dtype=torch.uint8), "fog", 5).any()


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("side", "channels"), [(28, 1), (32, 3), (70, 3), (70, 1)])
def test_jpeg_is_pillows(side, channels, severity):
    images = smooth_images(5, side, channels)
    quality = ([80, 65, 58, 50, 40] if side < 46 else [65, 58, 50, 40, 25])[severity - 1]
    got = corrupt(images, "jpeg_compression", severity).numpy()
    for image, corrupted in zip(images.numpy(), got, strict=True):
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if channels == 1 else image).save(file, format="JPEG", quality=quality)
        assert (np.asarray(Image.open(io.BytesIO(file.getvalue()))).reshape(image.shape) == corrupted).all()


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("side", [28, 65])
def test_contrast_is_the_formula(side, severity):
    images = random_images(4, side, side - 1, 3, seed=severity)
    images[0] = 77  # a flat image stays as it is
    share = ([0.75, 0.5, 0.4, 0.3, 0.15] if side == 28 else [0.4, 0.3, 0.2, 0.1, 0.05])[severity - 1]
    got = corrupt(images, "contrast", severity).numpy()
    assert (got[0] == 77).all()
    x = images.numpy() / 255.0
    mean = x.mean((1, 2), keepdims=True)
    # The benchmark cuts decimals off in floating point, so a value just below a whole number may fall to the next.
    expected = np.clip((x - mean) * share + mean, 0, 1) * 255
    assert np.abs(np.floor(expected + 1e-9) - got).max() == 0
    exact = Fraction(str(share))
    channel = images[1, :, :, 0].numpy().astype(int)
    middle = Fraction(int(channel.sum()), channel.size)
    for y, x0 in ((0, 0), (3, 5), (20, 20)):
        assert got[1, y, x0, 0] == int((int(channel[y, x0]) - middle) * exact + middle)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 130),
    width=st.integers(1, 130),
    channels=st.sampled_from([1, 3]),
    severity=st.sampled_from(SEVERITIES),
    seed=st.integers(0, 99),
)
def test_pixelate_is_pillows(height, width, channels, severity, seed):
    images = random_images(2, height, width, channels, seed)
    side = min(height, width)
    table = [0.95, 0.9, 0.85, 0.75, 0.65] if side < 46 else [0.9, 0.8, 0.7, 0.6, 0.5]
    table = table if side < 120 else [0.6, 0.5, 0.4, 0.3, 0.25]
    small = tuple(max(1, int(side * table[severity - 1])) for side in (width, height))
    got = corrupt(images, "pixelate", severity).numpy()
    for image, corrupted in zip(images.numpy(), got, strict=True):
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        expected = picture.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)
        # Of an image that is not square, Pillow may do the height first: roundings then fall otherwise.
        apart = np.abs(np.asarray(expected).reshape(image.shape).astype(int) - corrupted).max()
        assert apart <= (height != width)


@pytest.mark.parametrize("side", [28, 32, 64, 96, 224])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixelate_of_square_images_is_pillows(side, severity):
    images = random_images(2, side, side, 3, severity)
    small = int(side * vc.STRENGTHS[vc.strengths_for(side, side)]["pixelate"][severity - 1])
    for image, corrupted in zip(images.numpy(), corrupt(images, "pixelate", severity).numpy(), strict=True):
        made = Image.fromarray(image).resize((small, small), Image.Resampling.BOX)
        assert (np.asarray(made.resize((side, side), Image.Resampling.BOX)) == corrupted).all()


# --- properties -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 9),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    name=st.sampled_from(CORRUPTIONS),
    severity=st.sampled_from(SEVERITIES),
    seed=st.integers(0, 2**63),
    offset=st.integers(0, 10**9),
    cut=st.integers(0, 9),
    at_once=st.integers(1, 4000),
)
def test_slices_and_batches_give_the_same_pixels(
    n, height, width, channels, name, severity, seed, offset, cut, at_once
):
    images = random_images(n, height, width, channels)
    before = images.clone()
    whole = corrupt(images, name, severity, seed, offset=offset)
    assert (whole.shape, whole.dtype, whole.is_contiguous()) == (images.shape, torch.uint8, True)
    assert torch.equal(images, before)
    cut = min(cut, n)
    parts = [
        corrupt(images[:cut], name, severity, seed, offset=offset),
        corrupt(images[cut:], name, severity, seed, offset=offset + cut),
    ]
    assert torch.equal(torch.cat(parts), whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vc, "_VALUES_AT_ONCE", at_once)
        assert torch.equal(corrupt(images, name, severity, seed, offset=offset), whole)
    turned = images.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(corrupt(turned, name, severity, seed, offset=offset), whole)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_seed_severity_and_position_decide_the_draw(name):
    image = smooth_images(1, 32)
    twice = corrupt(image.repeat(2, 1, 1, 1), name, 4)
    same = (corrupt(image, name, 4), corrupt(image, name, 4, seed=1), twice[1:])
    random = name in RANDOM
    assert torch.equal(same[0], corrupt(image, name, 4))
    assert torch.equal(same[0], twice[:1])
    assert torch.equal(same[0], same[1]) is not random
    assert torch.equal(same[0], same[2]) is not random


def test_noise_differs_from_severity_to_severity_by_more_than_its_strength():
    grey = torch.full((4, 32, 32, 3), 128, dtype=torch.uint8)
    first, last = (corrupt(grey, "gaussian_noise", severity).double().flatten() for severity in (4, 5))
    assert abs(float(np.corrcoef(first, last)[0, 1])) < 0.05


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_real_images_move_further_with_severity(name, real):
    moved = [float((corrupt(real, name, severity).double() - real.double()).abs().mean()) for severity in SEVERITIES]
    assert moved[0] > 1
    if name == "pixelate":
        # 28 px: severity 1 leaves 26 rows, severity 2 leaves 25, whose windows happen to fit better.
        assert moved[2] > max(moved[:2])
        assert moved[4] > max(moved[2:4])
        return
    # Motion blur 3 and 4 differ in radius alone, and their Gaussian ends long before either.
    slack = 0.98 if name == "motion_blur" else 1
    assert all(after > slack * before for before, after in pairwise(moved)), moved


def test_pixels_are_the_same_on_every_machine_and_version(real):
    """JPEG apart, which is libjpeg's. Images of 28 px with CIFAR's strengths and of 64 px with ImageNet's."""
    large = torch.from_numpy(np.kron(real[:4].numpy(), np.ones((1, 3, 3, 1), dtype=np.uint8)))[:, :64, :64]
    digests = {}
    for name in CORRUPTIONS:
        digest = hashlib.sha256()
        for severity in SEVERITIES:
            for images, strengths in ((real[:16], "cifar"), (large, "imagenet")):
                digest.update(corrupt(images, name, severity, 3, offset=5, strengths=strengths).numpy().tobytes())
        digests[name] = digest.hexdigest()[:16]
    del digests["jpeg_compression"]
    assert digests == PINNED


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_pixels_are_the_same_on_cuda(name, real):
    for severity in SEVERITIES:
        assert torch.equal(corrupt(real.cuda(), name, severity).cpu(), corrupt(real, name, severity))


PINNED = {
    "contrast": "668c0ae92f30cdd4",
    "fog": "8659e9477f70eb98",
    "gaussian_noise": "ed9f592b09ad96a1",
    "motion_blur": "8bb28dda6026a91f",
    "pixelate": "37fdec82da0cd692",
}


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_unknown_names_are_one_line():
    images = random_images(1, 8, 8, 1)
    with pytest.raises(UsageError, match="corruption 'snow' is not known: choose one of gaussian_noise, motion_blur"):
        corrupt(images, "snow", 1)
    for severity in (0, 6, 2.5, True):
        with pytest.raises(UsageError, match="is not known: choose one of 1"):
            corrupt(images, "fog", severity)
    with pytest.raises(
        UsageError, match="strengths 'mnist' are not known: choose one of cifar, tiny_imagenet, imagenet"
    ):
        corrupt(images, "fog", 1, strengths="mnist")


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 8, 8, 3),
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(8, 8, 3, dtype=torch.uint8),
        torch.zeros(2, 0, 8, 3, dtype=torch.uint8),
    ],
)
def test_other_forms_are_an_error(images):
    with pytest.raises(ValueError, match=r"images are uint8 \(N, H, W, 1 or 3\)"):
        corrupt(images, "fog", 1)


@pytest.mark.parametrize("values", [{"seed": -1}, {"offset": -1}])
def test_seed_and_offset_are_not_negative(values):
    with pytest.raises(ValueError, match="seed and offset are at least 0"):
        corrupt(random_images(1, 8, 8, 1), "fog", 1, **values)
