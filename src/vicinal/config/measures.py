"""What is measured of every network."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from vicinal.config.base import MOST_IMAGES, Frozen, Seed, Text, each_once
from vicinal.config.data import DataSpec
from vicinal.errors import UsageError


class VicinitySpec(Frozen):
    """The vicinal curves: NL, H, D and I_lin over a grid of λ, on pairs of the students' training images and of test images.

    They are measured along a path from one image to the other: mixup's line, or a rectangle of one that grows over the other.
    """

    pairs: int = Field(
        1000,
        ge=2,
        le=10_000_000,
        description="distinct pairs, each measured in both orders; with precision_nats at most these",
    )
    precision_nats: float | None = Field(
        None,
        ge=1e-6,
        le=1000,
        description="as many pairs as bring NL's interval to ± this at every λ, by a pilot on the first teacher; default: all",
    )
    lam_points: int = Field(
        21, ge=3, le=1001, description="grid from 0 to 1, both ends included; odd, so that it holds 0.5"
    )
    seed: Seed = 0
    path: Literal["mixup", "cutmix"] = Field(
        "mixup",
        description="from one image to the other: mixup's line, or CutMix's rectangle, growing about a fixed centre",
    )

    @model_serializer(mode="wrap")
    def _path_where_it_is_another(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Older studies were measured along mixup's line and say nothing of it."""
        value: dict[str, Any] = handler(self)
        if self.path == "mixup":
            value.pop("path", None)
        return value

    @field_validator("lam_points")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd, so that the grid holds λ = 0.5")
        return value


Corruption = Literal["gaussian_noise", "motion_blur", "fog", "jpeg_compression", "contrast", "pixelate"]
CORRUPTIONS: tuple[Corruption, ...] = (
    "gaussian_noise",
    "motion_blur",
    "fog",
    "jpeg_compression",
    "contrast",
    "pixelate",
)  # the six of the paper's section 7.5, in its order
SEVERITIES = (1, 2, 3, 4, 5)  # from mild to severe


def corruption_named(corruption: str, severity: int = 1) -> Corruption:
    """The corruption of this name. Raises UsageError if it or the severity is unknown."""
    for name in CORRUPTIONS:
        if name == corruption:
            if severity not in SEVERITIES or isinstance(severity, bool):
                raise UsageError(f"severity {severity!r} is not known: choose one of 1 (mild) to 5 (severe)")
            return name
    raise UsageError(f"corruption {corruption!r} is not known: choose one of {', '.join(CORRUPTIONS)}")


class CorruptionsSpec(Frozen):
    """Accuracy and ECE on corrupted test images (section 7.5), at five severities."""

    names: Annotated[tuple[Corruption, ...], AfterValidator(each_once)] = Field(CORRUPTIONS, min_length=1)
    images: int | None = Field(
        None, ge=1, le=MOST_IMAGES, description="corrupt this many test images (class-balanced); default: all"
    )
    published: Text | None = Field(
        None, description="folder of published .npy files (CIFAR-10-C, CIFAR-100-C) to read instead"
    )
    seed: Seed = 0

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        if self.published is not None and self.images is not None:
            raise ValueError("'images' goes with corruptions made here; the published files have all test images")
        return self


class RepresentationSpec(Frozen):
    """Penultimate features of a few classes of test images: t-SNE, V-score and silhouette (appendix A)."""

    classes: Annotated[tuple[Text, ...], Field(min_length=2, max_length=1000), AfterValidator(each_once)] | None = (
        Field(None, description="default: the paper's five, else the five that the first teacher confuses most")
    )
    images_per_class: int = Field(100, ge=2, le=100_000)
    seed: Seed = 0


class MarginsSpec(Frozen):
    """What counts as no difference: claims whose every case lies within it are judged "no difference"."""

    accuracy_pp: float = Field(1.0, gt=0, le=100, description="percentage points of accuracy")
    ece: float = Field(0.01, gt=0, le=1, description="of ECE, a fraction")
    nats: float = Field(0.02, gt=0, le=1000, description="of NL, linearity gain and KL")


class MeasuresSpec(Frozen):
    """What is measured of every network. Calibration, the vicinal curves and alignment always are."""

    ece_bins: int = Field(15, ge=1, le=10_000)
    vicinity: VicinitySpec = VicinitySpec()
    corruptions: CorruptionsSpec | None = Field(None, description="{} for the six corruptions; default: not measured")
    representation: RepresentationSpec | None = Field(None, description="{} for its defaults; default: not measured")
    ood: DataSpec | None = Field(
        None, description="other images, as under data: how well confidence tells them from the test images"
    )
    bootstrap_resamples: int = Field(1000, ge=100, le=100_000, description="resamples behind every interval")
    confidence_level: float = Field(0.95, ge=0.5, le=0.9999, description="coverage of the intervals")
    margins: MarginsSpec = MarginsSpec()
