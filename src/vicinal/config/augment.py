"""How training images are changed at random, the same way for the same seed, epoch and place in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from vicinal.config.base import LARGEST_SIDE, Frozen


def _rising(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise ValueError(f"the first of [lowest, highest] may not be above the second, and {values[0]:g} is")
    return values


_Share = Annotated[float, Field(gt=0, le=1)]
_Shares = Annotated[tuple[_Share, _Share], AfterValidator(_rising)]
_Ratio = Annotated[float, Field(ge=0.01, le=100)]
_Ratios = Annotated[tuple[_Ratio, _Ratio], AfterValidator(_rising)]
_Strength = Annotated[float, Field(ge=0, le=1)]


class RandAugmentSpec(Frozen):
    """RandAugment (Cubuk et al. 2020) as torchvision has it: `ops` of its 14 operations in turn, each as strong as `magnitude`."""

    ops: int = Field(2, ge=1, le=14)
    magnitude: int = Field(9, ge=0, le=30, description="0 changes least, 30 most")


class ColorJitterSpec(Frozen):
    """torchvision's ColorJitter: factors from 1 − x to 1 + x, hue turned by up to x of the circle, in random order."""

    brightness: _Strength = 0.0
    contrast: _Strength = 0.0
    saturation: _Strength = 0.0
    hue: float = Field(0.0, ge=0, le=0.5, description="by far the slowest of the four")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not any(dict(self).values()):
            raise ValueError("give at least one of brightness, contrast, saturation and hue above 0")
        return self


class ErasingSpec(Frozen):
    """Random erasing (Zhong et al. 2020) as torchvision has it: one rectangle of the finished image becomes plain."""

    probability: float = Field(0.25, gt=0, le=1)
    scale: _Shares = Field((0.02, 0.33), description="[lowest, highest] share of the image's area")
    ratio: _Ratios = Field((0.3, 3.3), description="[lowest, highest] height over width")
    value: float = Field(0.5, ge=0, le=1, description="of the erased pixels: 0 is black, 1 white")


PLAIN_SCALE, PLAIN_RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # torchvision's, and the field's for ImageNet
_GIVEN_ONLY = ("scale", "ratio", "rand_augment", "color_jitter", "erasing")


class AugmentSpec(Frozen):
    """Random changes of training images, drawn from the seed. Test images are resized (and centre-cropped after `resize`) only."""

    crop: Literal["none", "pad", "resize", "random_resized"] = "none"
    pad: int = Field(
        2,
        ge=1,
        le=LARGEST_SIDE,
        description="crop: pad — zero pixels added on each side of the image as it is stored, before the random crop",
    )
    resize: int | None = Field(
        None,
        ge=1,
        le=LARGEST_SIDE,
        description="crop: resize — side before the random crop to the image size; crop: random_resized — side at which images are "
        "kept, so that small crops are sharp; default: the image size",
    )
    scale: _Shares | None = Field(
        None, description="crop: random_resized — [lowest, highest] share of the area; default: [0.08, 1]"
    )
    ratio: _Ratios | None = Field(
        None, description="crop: random_resized — [lowest, highest] width over height; default: [0.75, 1.3333]"
    )
    flip: bool = False
    rand_augment: RandAugmentSpec | None = Field(None, description="{} for its defaults; default: none")
    color_jitter: ColorJitterSpec | None = None
    erasing: ErasingSpec | None = Field(None, description="{} for its defaults; default: none")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, value: Any) -> Any:
        """What a random crop leaves open, so that its default and the same values given are one augmentation."""
        if not isinstance(value, dict) or value.get("crop") != "random_resized":
            return value
        given = {key: item for key, item in value.items() if item is not None}
        return {"scale": PLAIN_SCALE, "ratio": PLAIN_RATIO, **given}

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        if (self.crop == "resize" and self.resize is None) or (
            self.crop in ("none", "pad") and self.resize is not None
        ):
            raise ValueError(
                "'resize' goes with crop: resize, and that crop needs it (for example resize: 236); random_resized may have it"
            )
        for key in ("scale", "ratio"):
            if getattr(self, key) is not None and self.crop != "random_resized":
                raise ValueError(f"'{key}' goes with crop: random_resized")
        return self

    @property
    def centre_crop_from(self) -> int | None:
        """Side in px that test images are resized to before their centre is taken; None where they are only resized."""
        return self.resize if self.crop == "resize" else None

    @model_serializer(mode="wrap")
    def _without_what_is_not_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """So that fingerprints of what does not use the younger keys stay as they are."""
        value: dict[str, Any] = handler(self)
        return {key: item for key, item in value.items() if item is not None or key not in _GIVEN_ONLY}
