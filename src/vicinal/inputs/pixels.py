"""From stored bytes to what a network sees: scaling, resizing, cropping."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.config import AugmentSpec, fingerprint
from vicinal.data import View


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


NO_AUGMENT = AugmentSpec()


@dataclass(frozen=True)
class Preparation:
    """How a stored image becomes a network's input, in training (by `augment`) as at test time (by `pixels`).

    `image_size` is the side in px that comes out; None keeps the images' own. With a `view`, test images are those that
    `ImageSet.as_seen` gives for it, made from the originals, and reach the network as they are; training images are the stored ones.
    """

    augment: AugmentSpec = NO_AUGMENT
    image_size: int | None = None
    view: View | None = None

    def pixels(self, images: Tensor) -> Tensor:
        """(B, H, W, C) uint8 to (B, C, side, side) as at test time: resized, and centre-cropped where training crops a resized one.

        With a `view` the images are what it made, and only become floats.
        """
        if self.view is not None:
            return to_float(images)
        if self.augment.crop != "resize":
            return to_float(images, self.image_size)
        assert self.augment.resize is not None  # held by AugmentSpec
        side = self.image_size or min(images.shape[1:3])
        pixels = to_float(images, self.augment.resize)
        start = (self.augment.resize - side) // 2
        return pixels[:, :, start : start + side, start : start + side]

    def fingerprint(self) -> str:
        """12 hex digits over all that decides the pixels."""
        value = {"augment": self.augment.model_dump(mode="json"), "image_size": self.image_size}
        return fingerprint(value if self.view is None else {**value, "view": self.view.text})
