"""How an original image becomes the pixels that a network sees: resized once, by Pillow, with timm's and torchvision's arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vicinal.config import CropMode, Interpolation, PreparationSpec

_FILTERS: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_MOST_RESIZED = (
    1 << 26
)  # px; beyond it only what is kept of a long strip is resized, else one of 1 x 65,000 px takes gigabytes
_MARGIN = (
    4  # px that a filter reads beyond what is kept, in px of the original or of what comes out, whichever are larger
)
_TALL = 8  # longer side over shorter; beyond it only the part that is kept is resized, else a strip of 1 x 65,000 px takes gigabytes
GREY = (128,)  # of borders where nobody says
Fit = Literal["crop", "squash", "pad"]  # how images of other shapes become the square that training cuts from


@dataclass(frozen=True)
class View:
    """How an original image becomes stored uint8 pixels (side, side, C), the same bits as timm's transform for evaluation.

    Originals are upright (EXIF), on a white background and RGB or grey.
    """

    side: int  # px that come out
    resize: int  # px of the shorter side (center), both (squash) or the longer one (border) before the centre crop
    mode: CropMode = "center"
    interpolation: Interpolation = "bilinear"
    fill: tuple[int, ...] = ()  # of borders, 0 to 255, for each channel or one for all

    @classmethod
    def of(cls, spec: PreparationSpec, mean: tuple[float, ...] | None = None) -> View:
        """The view that a study or a model states.

        Args:
            mean: of the network's pixels, in [0, 1], which borders have where `spec.fill` says nothing.
        """
        fill: tuple[int, ...] = ()
        if spec.crop_mode == "border":
            fill = spec.fill or (tuple(round(255 * value) for value in mean) if mean else GREY)
        return cls(spec.image_size, spec.resize_side, spec.crop_mode, spec.interpolation, fill)

    @property
    def text(self) -> str:
        """Always the same for the same view, as fingerprints hold it."""
        fill = ",".join(map(str, self.fill))
        return f"{self.mode} {self.resize} {self.interpolation} {self.side}" + (f" on {fill}" if fill else "")

    def see(self, image: Image.Image) -> Image.Image:
        """An RGB or grey image as (side, side)."""
        if self.mode == "squash":
            return _centre(_resized(image, (self.resize, self.resize), self.interpolation), self.side)
        if self.mode == "border":
            ratio = max(image.width / self.resize, image.height / self.resize)
            size = max(1, round(image.width / ratio)), max(1, round(image.height / ratio))
            return _padded(_resized(image, size, self.interpolation), self.side, self._filling(image))
        shorter, longer = min(image.size), max(image.size)
        if self.resize * max(self.resize, int(self.resize * longer / shorter)) > _MOST_RESIZED:
            image = self._middle(image)
            shorter, longer = min(image.size), max(image.size)
        around = int(self.resize * longer / shorter)
        size = (self.resize, around) if image.width <= image.height else (around, self.resize)
        return _centre(_resized(image, size, self.interpolation), self.side)

    def pixels(self, images: Tensor) -> Tensor:
        """(N, H, W, C) uint8 originals, C = 1 or 3, as (N, side, side, C)."""
        seen = np.empty((len(images), self.side, self.side, images.shape[3]), dtype=np.uint8)
        for place, image in zip(seen, images.cpu().numpy(), strict=True):
            place[:] = self.array(Image.fromarray(image[..., 0] if image.shape[2] == 1 else image))
        return torch.from_numpy(seen)

    def array(self, image: Image.Image) -> NDArray[np.uint8]:
        """An RGB or grey image as (side, side, C)."""
        return np.asarray(self.see(image)).reshape(self.side, self.side, -1)

    def _middle(self, image: Image.Image) -> Image.Image:
        """A long strip without ends that no crop keeps."""
        shorter, longer = min(image.size), max(image.size)
        kept = math.ceil(shorter * self.side / self.resize + 2 * _MARGIN * max(1, shorter / self.resize))
        kept = min(longer, kept + (longer - kept) % 2)  # so that the middle stays in the middle
        wide, high = (kept, shorter) if image.width > image.height else (shorter, kept)
        left, top = (image.width - wide) // 2, (image.height - high) // 2
        return image.crop((left, top, left + wide, top + high))

    def _filling(self, image: Image.Image) -> tuple[int, ...] | int:
        fill = self.fill or GREY
        if image.mode == "RGB":
            return fill if len(fill) == 3 else fill[:1] * 3
        return round(sum(fill) / len(fill))


def canvas_view(side: int, fit: Fit) -> View | None:
    """The view behind a study's stored images; None for the centre square, which `decode` cuts as it always did."""
    if fit == "crop":
        return None
    return View(side, side, "squash") if fit == "squash" else View(side, side, "border", fill=GREY)


def kept_share(size: tuple[int, int]) -> float:
    """Of an image's area, what its centre square holds."""
    return min(size) / max(1, *size)


def _resized(image: Image.Image, size: tuple[int, int], interpolation: Interpolation) -> Image.Image:
    return image if image.size == size else image.resize(size, _FILTERS[interpolation])


def _centre(image: Image.Image, side: int) -> Image.Image:
    """The centre square, of an image that is at least as large."""
    left, top = round((image.width - side) / 2.0), round((image.height - side) / 2.0)
    return image if image.size == (side, side) else image.crop((left, top, left + side, top + side))


def _padded(image: Image.Image, side: int, fill: tuple[int, ...] | int) -> Image.Image:
    """The centre square, with borders where the image ends."""
    if min(image.size) < side:
        width, height = max(side, image.width), max(side, image.height)
        ground = Image.new(image.mode, (width, height), fill)
        ground.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
        image = ground
    return _centre(image, side)


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """Resize the shorter side to `side` px and cut out the centre square, by torchvision's arithmetic."""
    shorter, longer = min(image.size), max(image.size)
    if longer > _TALL * shorter:
        return _fit_strip(image, side)
    if shorter != side:
        width, height = (side if s == shorter else max(side, int(side * s / shorter)) for s in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return image if image.size == (side, side) else image.crop((left, top, left + side, top + side))


def _fit_strip(image: Image.Image, side: int) -> Image.Image:
    """The same of a long strip, whose ends are cut off before it is enlarged."""
    shorter = min(image.size)
    left, top = (image.width - shorter) // 2, (image.height - shorter) // 2
    square = image.crop((left, top, left + shorter, top + shorter))
    return square if shorter == side else square.resize((side, side), Image.Resampling.BILINEAR)
