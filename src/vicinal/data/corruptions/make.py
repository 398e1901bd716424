"""The six corruptions the paper measures on, at five severities, made for any images.

Formulas and strengths are those of Hendrycks and Dietterich (ICLR 2019, arXiv:1903.12261), who chose strengths for three sizes:
CIFAR-10-C's at 32 px, Tiny-ImageNet-C's at 64 px, ImageNet-C's at 224 px. Images get those of the size nearest in proportion.
The published sets were drawn without a fixed seed; here image k's randomness is a function of (seed, corruption, severity, k) and
the image shape alone. All but JPEG is computed in integers, or in floating-point steps that round alike everywhere, so that the
same call gives the same pixels whatever the batch size, the device and the version of torch. JPEG is Pillow's: its pixels are the
same for the same libjpeg.

Shapes: N images, H and W their sides in px, C = 1 (grey) or 3 (RGB) channels.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vicinal.config import CORRUPTIONS, Corruption, corruption_named
from vicinal.errors import UsageError

Strengths = Literal["cifar", "tiny_imagenet", "imagenet"]
# Sides in px that the benchmark's authors chose strengths for, and what their sets are called.
SIDES_PX: Mapping[Strengths, int] = MappingProxyType({"cifar": 32, "tiny_imagenet": 64, "imagenet": 224})
STRENGTHS_OF: Mapping[Strengths, str] = MappingProxyType(
    {"cifar": "CIFAR-10-C", "tiny_imagenet": "Tiny-ImageNet-C", "imagenet": "ImageNet-C"}
)

# By corruption, mild to severe. Noise: deviation, of pixels in [0, 1]. Motion blur: radius and sigma in px. Fog: amount and
# decay. JPEG: quality. Contrast: percent that is left. Pixelate: share of the side.
STRENGTHS: Mapping[Strengths, Mapping[Corruption, tuple[Any, ...]]] = MappingProxyType(
    {
        "cifar": MappingProxyType(
            {
                "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
                "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
                "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
                "jpeg_compression": (80, 65, 58, 50, 40),
                "contrast": (75, 50, 40, 30, 15),
                "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
            }
        ),
        "tiny_imagenet": MappingProxyType(
            {
                "gaussian_noise": (0.04, 0.08, 0.12, 0.15, 0.18),
                "motion_blur": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
                "fog": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
                "jpeg_compression": (65, 58, 50, 40, 25),
                "contrast": (40, 30, 20, 10, 5),
                "pixelate": (0.9, 0.8, 0.7, 0.6, 0.5),
            }
        ),
        "imagenet": MappingProxyType(
            {
                "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
                "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
                "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
                "jpeg_compression": (25, 18, 15, 10, 7),
                "contrast": (40, 30, 20, 10, 5),
                "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
            }
        ),
    }
)

_VALUES_AT_ONCE = 2_000_000  # pixels × channels worked on together: bounds memory, changes no result
_SMALL = 64 * 64  # px; up to here JPEG is mostly Python, and threads waiting for each other double the time


def strengths_for(height: int, width: int) -> Strengths:
    """Whose strengths images of this size get unless told otherwise: those for the side that is nearest in proportion.

    That is "cifar" up to 45 px, "tiny_imagenet" from 46 to 119, "imagenet" from 120.
    """
    side = min(height, width)
    return min(SIDES_PX, key=lambda name: abs(math.log(side / SIDES_PX[name])))


def corrupt(
    images: Tensor,
    corruption: str,
    severity: int,
    seed: int = 0,
    *,
    offset: int = 0,
    strengths: Strengths | None = None,
) -> Tensor:
    """Images as they look under a corruption.

    Args:
        images: uint8 (N, H, W, 1 or 3), on any device; left as they are.
        corruption: one of `CORRUPTIONS`; severity: 1 (mild) to 5.
        seed: at least 0. Noise, blur angles and fog are drawn from it; JPEG, contrast and pixelate draw nothing.
        offset: position of the first image in its set, so that the corruption of a slice is the slice of the corruption.
        strengths: a key of `STRENGTHS`; default: by `strengths_for`. Give "cifar" for CIFAR images that were enlarged.

    Returns:
        uint8 (N, H, W, C) on the device of `images`.

    Raises UsageError for an unknown corruption, severity or strengths, ValueError for images of another form.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise ValueError(f"images are uint8 (N, H, W, 1 or 3), not {images.dtype} {tuple(images.shape)}")
    if seed < 0 or offset < 0:
        raise ValueError(f"seed and offset are at least 0, not {seed} and {offset}")
    name = corruption_named(corruption, severity)
    chosen = strengths or strengths_for(*images.shape[1:3])
    if chosen not in STRENGTHS:
        raise UsageError(f"strengths {chosen!r} are not known: choose one of {', '.join(STRENGTHS)}")
    strength = STRENGTHS[chosen][name][severity - 1]
    draws = _Draws(seed, CORRUPTIONS.index(name), severity)
    at_once = max(1, _VALUES_AT_ONCE // images[:1].numel()) if len(images) else 1
    corrupted = torch.empty_like(images, memory_format=torch.contiguous_format)
    for start in range(0, len(images), at_once):
        part = images[start : start + at_once]
        corrupted[start : start + at_once] = _MAKERS[name](part, strength, draws, offset + start)
    return corrupted


@dataclass(frozen=True)
class _Draws:
    """Random words of a set: image k takes a fixed stretch of one Philox stream, so none depends on the batch around it."""

    seed: int
    corruption: int
    severity: int

    def words(self, images: int, first: int, count: int) -> NDArray[np.uint64]:
        """At least `count` random 64-bit words for each of the images `first`, `first + 1`, ...: (images, words)."""
        blocks = -(-count // 4)  # Philox gives four words for each step of its counter
        sequence = np.random.SeedSequence([self.seed, self.corruption, self.severity])
        stream = np.random.Philox(key=sequence.generate_state(2, np.uint64), counter=first * blocks)
        # Raw words: numpy promises these for all versions, unlike the distributions of its Generator.
        return stream.random_raw(images * blocks * 4).reshape(images, -1)


@cache
def _noise_levels(sigma: float) -> NDArray[np.int16]:
    """floor(255 σ z) at 65,536 equally likely quantiles z of the standard normal: a uniform 16-bit word picks one."""
    middle = (torch.arange(65536, dtype=torch.float64) + 0.5) / 65536
    levels: NDArray[np.int16] = (255 * sigma * torch.special.ndtri(middle)).floor().to(torch.int16).numpy()
    return levels


def _gaussian_noise(images: Tensor, sigma: float, draws: _Draws, first: int) -> Tensor:
    """x + σ z, clipped; the benchmark cuts off decimals, and x is an integer, so that the noise alone can be cut."""
    size = images[0].numel()
    words = draws.words(len(images), first, -(-size // 4)).astype("<u8", copy=False).view("<u2")[:, :size]
    noise = torch.from_numpy(_noise_levels(sigma)[words]).to(images.device).view(images.shape)
    return (images.to(torch.int16) + noise).clamp_(0, 255).to(torch.uint8)


def _motion_blur(images: Tensor, strength: tuple[float, float], draws: _Draws, first: int) -> Tensor:
    """ImageMagick's motion blur: half a Gaussian along a line at an angle uniform in ±45°, edges repeated.

    Step i of the line lies at (i cos, i sin) rounded to whole pixels, i = 0 to 2 · radius.
    """
    radius, sigma = strength
    number, height, width, _ = images.shape
    steps = np.arange(2 * int(np.ceil(radius)) + 1)
    weights = _fixed_point(np.exp(-(steps**2) / (2 * sigma**2)))
    fractions = (draws.words(number, first, 1)[:, 0] >> np.uint64(11)).astype(np.float64) / 2**53
    # By angle, images with the same rounded step are neighbours: one slice serves them all.
    order = np.argsort(fractions, kind="stable")
    angles = np.deg2rad(90 * fractions[order] - 45)
    along = np.ceil(steps * np.cos(angles)[:, None] - 0.5).astype(np.int64)
    down = np.ceil(steps * np.sin(angles)[:, None] - 0.5).astype(np.int64)
    above = max(0, -int(down.min()))
    rows = torch.arange(-above, height + max(0, int(down.max()))).clamp_(0, height - 1).to(images.device)
    columns = torch.arange(width + int(along.max())).clamp_(0, width - 1).to(images.device)
    position = torch.from_numpy(order).to(images.device)
    padded = images[position].index_select(1, rows).index_select(2, columns).float()
    total = torch.zeros(images.shape, device=images.device)
    for step, weight in enumerate(weights.tolist()):
        turns = np.flatnonzero(np.diff(along[:, step]) | np.diff(down[:, step])) + 1
        for start, stop in zip([0, *turns], [*turns, number], strict=True):
            top, left = above + int(down[start, step]), int(along[start, step])
            # Sums stay below 2**24: float32 holds them exactly.
            total[start:stop].add_(padded[start:stop, top : top + height, left : left + width], alpha=weight)
    blurred = torch.empty_like(images)
    blurred[position] = ((total + 2**15) / 2**16).floor_().to(torch.uint8)
    return blurred


def _fixed_point(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Weights as integers that sum to 2**16."""
    fixed: NDArray[np.int64] = np.rint(weights / weights.sum() * 2**16).astype(np.int64)
    fixed[0] += 2**16 - fixed.sum()
    return fixed


def _fog(images: Tensor, strength: tuple[float, float], draws: _Draws, first: int) -> Tensor:
    """(x + amount · plasma) · m / (m + amount) with m the image's brightest value."""
    amount, decay = strength
    _, height, width, _ = images.shape
    side = 1 << max(1, (max(height, width) - 1).bit_length())
    plasma = _plasma(len(images), side, decay, draws, first).to(images.device)[:, :height, :width, None]
    pixels, brightest = images.float(), images.flatten(1).amax(1).float()[:, None, None, None]
    return ((pixels + plasma * (255 * amount)) * brightest / (brightest + 255 * amount)).to(torch.uint8)


def _plasma(images: int, side: int, decay: float, draws: _Draws, first: int) -> Tensor:
    """Plasma clouds by the diamond-square algorithm on a torus: (images, side, side) float32, each from 0 to 1.

    From one step size to the next, half as large, the deviations fall by decay² (the benchmark's code multiplies twice).
    """
    values = side * side
    words = draws.words(images, first, -(-values // 2)).astype("<u8", copy=False).view("<u4")[:, :values]
    deviations = torch.from_numpy((words >> 8).astype(np.float32)) / 2**23 - 1
    clouds, taken, step, amplitude = torch.zeros(images, side, side), 0, side, 1.0

    def fill(rows: int, columns: int, four: Tensor) -> Tensor:
        """Set the points from (rows, columns) on, `step` apart, to a quarter of their neighbours' sum plus a deviation."""
        nonlocal taken
        points = clouds[:, rows::step, columns::step]
        size = points.shape[1] * points.shape[2]
        deviation = deviations[:, taken : taken + size].view(points.shape)
        taken += size
        return points.copy_(four / 4 + deviation * amplitude)

    while step >= 2:
        half = step // 2
        corners = clouds[:, ::step, ::step]
        sides = corners + corners.roll(-1, 1)
        centres = fill(half, half, sides + sides.roll(-1, 2))
        fill(0, half, (corners + corners.roll(-1, 2)) + (centres + centres.roll(1, 1)))
        fill(half, 0, sides + (centres + centres.roll(1, 2)))
        step, amplitude = half, amplitude / decay**2
    low = clouds.amin((1, 2), keepdim=True)
    return (clouds - low) / (clouds.amax((1, 2), keepdim=True) - low)


def _jpeg_compression(images: Tensor, quality: int, _draws: _Draws, _first: int) -> Tensor:
    """Written as JPEG and read again, by Pillow."""
    pixels = images.cpu().numpy()

    def through(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        file = io.BytesIO()
        Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file)).reshape(image.shape)

    if images.shape[1] * images.shape[2] <= _SMALL:
        read = [through(image) for image in pixels]
    else:
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            read = list(pool.map(through, pixels))
    return torch.from_numpy(np.stack(read)).to(images.device)


def _contrast(images: Tensor, percent: int, _draws: _Draws, _first: int) -> Tensor:
    """(x - mean) · c + mean about each channel's mean, decimals cut off as the benchmark does, as one fraction of integers."""
    count = images.shape[1] * images.shape[2]
    sums = images.sum((1, 2), keepdim=True, dtype=torch.int64) * (100 - percent)
    return torch.div(images.to(torch.int64) * (percent * count) + sums, 100 * count, rounding_mode="floor").to(
        torch.uint8
    )


def _pixelate(images: Tensor, share: float, _draws: _Draws, _first: int) -> Tensor:
    """Made smaller and large again by Pillow's box filter, width first, as Pillow does square images."""
    _, height, width, _ = images.shape
    small_height, small_width = max(1, int(height * share)), max(1, int(width * share))
    small = _box_resize(_box_resize(images, 2, small_width), 1, small_height)
    return _box_resize(_box_resize(small, 2, width), 1, height)


def _box_resize(images: Tensor, axis: int, size: int) -> Tensor:
    """One axis resized by the box filter, in Pillow's fixed-point arithmetic, to the last bit."""
    first, count = (torch.from_numpy(a).to(images.device) for a in _box_windows(images.shape[axis], size))
    shape = [-1 if dim == axis else 1 for dim in range(images.ndim)]
    weight = torch.floor(0.5 + 2**22 / count.double().cpu()).to(images.device, torch.int32).view(shape)
    total = torch.full((), 2**21, dtype=torch.int32, device=images.device)
    for tap in range(int(count.max())):
        inside = (tap < count).to(torch.int32).view(shape)
        total = total + images.index_select(axis, (first + tap).clamp(max=images.shape[axis] - 1)) * (weight * inside)
    return (total >> 22).to(torch.uint8)


@cache
def _box_windows(before: int, after: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which pixels Pillow's box filter averages for each new pixel: the first and how many, (after,) each."""
    ones = Image.fromarray(np.eye(before, dtype=np.float32))
    taken = np.asarray(ones.resize((after, before), Image.Resampling.BOX)) > 0
    return taken.argmax(0), taken.sum(0)


_MAKERS: Mapping[Corruption, Callable[[Tensor, Any, _Draws, int], Tensor]] = MappingProxyType(
    {
        "gaussian_noise": _gaussian_noise,
        "motion_blur": _motion_blur,
        "fog": _fog,
        "jpeg_compression": _jpeg_compression,
        "contrast": _contrast,
        "pixelate": _pixelate,
    }
)
