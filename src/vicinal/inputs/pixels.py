"""From stored bytes to what a network sees: scaling, resizing, cropping."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.config import AugmentSpec


def to_float(images: Tensor, size: int | None = None) -> Tensor:
    """(B, H, W, C) pixels, uint8 in 0 to 255 or float in [0, 1], as (B, C, size, size) float32 in [0, 1], channels last in memory."""
    pixels = images.permute(0, 3, 1, 2)
    pixels = pixels.float().div_(255) if images.dtype == torch.uint8 else pixels
    return resize(pixels, size)


def resize(pixels: Tensor, size: int | None) -> Tensor:
    """(B, C, H, W) float pixels at (size, size): bilinear, with antialiasing where it shrinks. None keeps them."""
    if size is None or tuple(pixels.shape[-2:]) == (size, size):
        return pixels
    if not len(pixels):  # an empty slice of a batch
        return pixels.new_empty(0, pixels.shape[1], size, size)
    shrinks = size < max(pixels.shape[-2:])
    return F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False, antialias=shrinks).clamp(0, 1)


def evaluation_pixels(images: Tensor, augment: AugmentSpec, image_size: int | None) -> Tensor:
    """(B, H, W, C) uint8 as networks see them at test time: resized, and centre-cropped where training cropped after resizing."""
    if augment.crop != "resize":
        return to_float(images, image_size)
    assert augment.resize is not None  # held by AugmentSpec
    side = image_size or min(images.shape[1:3])
    pixels = to_float(images, augment.resize)
    start = (augment.resize - side) // 2
    return pixels[:, :, start : start + side, start : start + side]
