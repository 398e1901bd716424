"""How an original image becomes what a network sees at test time."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vicinal.config.base import LARGEST_SIDE, Frozen

CropMode = Literal["center", "squash", "border"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class PreparationSpec(Frozen):
    """How an original image becomes what a network sees, in the terms of timm's data config: resized once, then cropped.

    center: the shorter side to `resize_side`, then the centre square of `image_size`; squash: both sides to `resize_side`, then the
    same; border: the longer side to `resize_side`, then the same with borders where the image ends.
    """

    image_size: int = Field(ge=4, le=LARGEST_SIDE, description="side in px that the network sees")
    crop_pct: float = Field(1.0, ge=0.05, le=1, description="share of the resized side that the centre crop keeps")
    crop_mode: CropMode = Field(
        "center",
        description="center: shorter side resized, ends cut off; squash: both sides resized; border: longer side "
        "resized, borders added",
    )
    interpolation: Interpolation = "bilinear"
    resize: int | None = Field(
        None, ge=4, le=20 * LARGEST_SIDE, description="side in px before the crop, in place of crop_pct"
    )
    fill: tuple[Annotated[int, Field(ge=0, le=255)], ...] | None = Field(
        None,
        min_length=1,
        max_length=3,
        description="border: its value, 0 to 255, for each channel; default: the network's mean",
    )

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        if self.resize is not None and self.crop_pct != 1:
            raise ValueError("give 'resize' or 'crop_pct', not both")
        if self.resize is not None and self.resize < self.image_size and self.crop_mode != "border":
            raise ValueError("'resize' is the side before the crop: at least 'image_size'")
        return self

    @property
    def resize_side(self) -> int:
        """Side in px before the crop, rounded as timm does."""
        return self.resize or math.floor(self.image_size / self.crop_pct)
