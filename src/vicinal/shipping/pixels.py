"""Pillow's resizing as a graph of plain operations, so that an exported network sees the very bytes that its training saw.

Shapes: N images of one size, (H, W, C) an image, S the side of what a network sees.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vicinal.data import View

_UNIT = 1 << 22  # Pillow's fixed point: its weights are whole multiples of 1 / _UNIT
_PART = 1 << 8  # so split, sums of up to 258 weights times bytes stay below 2 ** 24, where float32 is exact
_SUPPORT: dict[str, float] = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}  # px, of each filter at scale 1


def crop_pct_of(view: View) -> float:
    """The share that timm's configuration states, by whose rounding the side before the crop comes out."""
    found = view.side / view.resize
    while math.floor(view.side / found) < view.resize:
        found = math.nextafter(found, 0)
    return found


class PillowPixels(nn.Module):
    """uint8 (N, H, W, C) of any size to (N, C, S, S) float32 in [0, 1], as timm's evaluation transform makes it of a Pillow image.

    Pillow's weights in its own fixed point, across columns and then down rows, each rounded to 8 bits, in sums that are exact, so
    that every runtime finds the same bytes. They are Pillow's to the last bit, but where it goes down the rows first, as new versions
    do with pictures more than twice as high as wide, and but for ties of `nearest`. Only what the crop keeps is computed.

    Args:
        view: what to do.
        channels: C.
    """

    fill: Tensor

    def __init__(self, view: View, channels: int) -> None:
        super().__init__()
        self.view = view
        fill = view.fill if len(view.fill) == channels else (view.fill or (128,))[:1] * channels
        self.register_buffer("fill", torch.tensor(fill, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, H, W, C) to (N, C, S, S) float32."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        rows = torch.arange(images.shape[1], dtype=torch.int64, device=images.device)
        columns = torch.arange(images.shape[2], dtype=torch.int64, device=images.device)
        height, width = rows.amax(0) + 1, columns.amax(0) + 1
        new_height, new_width = self._resized(height, width)
        across, inside_x = self._weights(columns, width, new_width)
        down, inside_y = self._weights(rows, height, new_height)
        side = self.view.side
        both = torch.matmul(pixels, across.transpose(0, 1))
        pixels = _to_bytes(both[..., :side], both[..., side:])
        both = torch.matmul(down, pixels)
        pixels = _to_bytes(both[..., :side, :], both[..., side:, :])
        if self.view.mode == "border":
            inside = (inside_y[:, None] * inside_x[None, :])[None, None].to(torch.float32)
            pixels = pixels * inside + self.fill * (1 - inside)
        return pixels / 255

    def _resized(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Height and width in px after resizing, () int64 each."""
        side = self.view.resize
        shorter, longer = torch.minimum(height, width), torch.maximum(height, width)
        if self.view.mode == "squash":
            return height * 0 + side, width * 0 + side
        if self.view.mode == "border":
            ratio = longer.to(torch.float64) / side
            return tuple(torch.round(one.to(torch.float64) / ratio).to(torch.int64) for one in (height, width))  # type: ignore[return-value]
        # The shorter side becomes `side`, the other keeps the shape, rounded down.
        return tuple(torch.div(side * one, shorter, rounding_mode="floor") for one in (height, width))  # type: ignore[return-value]

    def _weights(self, places: Tensor, size: Tensor, new_size: Tensor) -> tuple[Tensor, Tensor]:
        """(2S, size) float32 weights of one axis, and which of the S px lie in the image, (S,) float64.

        In whole units of 1 / `_UNIT`, upper and lower part one above the other: weight = `_PART` · upper + lower.

        Args:
            places: (size,) int64, 0 ... size - 1; size, new_size: () int64, before and after resizing.
        """
        old, new = size.to(torch.float64), new_size.to(torch.float64)
        # A crop starts at the rounded half of what is cut off; what is too small is padded, less at the start.
        cut = torch.round((new - self.view.side) / 2)
        padded = -torch.floor((self.view.side - new) / 2)
        start = torch.where(new >= self.view.side, cut, padded)
        out = torch.arange(self.view.side, dtype=torch.float64, device=places.device) + start
        inside = ((out >= 0) & (out < new)).to(torch.float64)
        scale = old / new
        centre = (out + 0.5)[:, None] * scale
        at = places.to(torch.float64)[None, :]
        if self.view.interpolation == "nearest":
            return _parts((at == torch.floor(centre)).to(torch.float64)), inside
        stretch = torch.clamp(scale, min=1.0)
        raw = _filter(self.view.interpolation, (at - centre + 0.5) * (1.0 / stretch))
        total = raw.sum(1, keepdim=True)
        return _parts(raw / torch.where(total == 0, torch.ones_like(total), total)), inside


def _filter(name: str, distance: Tensor) -> Tensor:
    """Pillow's filters at distances in px of the coarser grid."""
    x = torch.abs(distance)
    if name == "bilinear":
        return torch.clamp(1 - x, min=0.0)
    if name == "bicubic":  # Keys 1981, a = -1/2
        near = (1.5 * x - 2.5) * x * x + 1
        far = (((x - 5) * x + 8) * x - 4) * -0.5
        return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    return torch.where(x < _SUPPORT["lanczos"], _sinc(x) * _sinc(x / 3), torch.zeros_like(x))


def _sinc(x: Tensor) -> Tensor:
    angle = x * math.pi
    return torch.where(x == 0, torch.ones_like(x), torch.sin(angle) / torch.where(x == 0, torch.ones_like(x), angle))


def _parts(share: Tensor) -> Tensor:
    """(S, size) float64 weights as (2S, size) float32: whole units, rounded as Pillow does, upper parts above lower ones."""
    units = torch.sign(share) * torch.floor(torch.abs(share) * _UNIT + 0.5)
    upper = torch.floor(units / _PART)
    return torch.cat([upper, units - _PART * upper]).to(torch.float32)


def _to_bytes(upper: Tensor, lower: Tensor) -> Tensor:
    """Sums of bytes times weights, in two parts, as bytes: rounded, a half upwards, and cut to 0 ... 255."""
    units = _PART * upper.to(torch.float64) + lower.to(torch.float64)
    return torch.clamp(torch.floor((units + _UNIT / 2) / _UNIT), 0, 255).to(torch.float32)
