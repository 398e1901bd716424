"""results.json as one value: what was run on what, and every network with its measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from vicinal.config import SCHEMA
from vicinal.results.base import Part
from vicinal.results.frames import curves_table, model_table
from vicinal.results.models import Student, Teacher

if TYPE_CHECKING:
    import pandas as pd


class Environment(Part):
    """The machine and the versions that the numbers come from."""

    python: str | None = None
    torch: str | None = None
    torchvision: str | None = None
    timm: str | None = None
    torchmetrics: str | None = None
    numpy: str | None = None
    platform: str | None = None
    processor: str | None = None
    cores: int | None = None
    threads: int | None = Field(None, description="of torch on the CPU")
    memory_gib: float | None = None
    device: str | None = None


class ImagesByClass(Part):
    """How many images each of K classes has in each split, (K,) in the order of `class_names`."""

    train: list[int]
    validation: list[int]
    test: list[int]


class Data(Part):
    """The images of the study."""

    name: str
    source: str | None = None
    content_hash: str | None = Field(None, description="of pixels and labels")
    test_hash: str | None = Field(
        None, description="of the pixels and labels of the test images as stored, in order; null in older results"
    )
    class_names: list[str] | None = None
    image_shape: list[int] | None = Field(None, description="height, width and channels as stored")
    image_size: int | None = Field(None, description="side in px that networks see; null: as stored")
    stored_side: int | None = Field(None, description="side in px that networks cut theirs from; null: as stored")
    class_order: str | None = Field(
        None, description="what the numbers of the classes go by: source, text, natural or as given"
    )
    remembered_hashes: int = Field(
        0, description="files not read for their hashes, since nothing about them had changed"
    )
    train: int = Field(description="images")
    validation: int = Field(description="images")
    test: int = Field(description="images")
    images_by_class: ImagesByClass | None = Field(None, description="null in older results")
    notes: list[str] = Field([], description="what the reader of the images has to say")


class Measures(Part):
    """How everything is measured."""

    ece_bins: int = 15
    pairs: int = Field(description="of images behind the vicinal curves")
    pairs_from: str | None = None
    pair_images: int | None = Field(None, description="distinct images in these pairs")
    pair_images_hash: str | None = Field(
        None, description="of the images that pairs are drawn from, as test_hash; null in older results"
    )
    held_out_pairs: int | None = Field(None, description="of test images; null without two")
    held_out_pair_images: int | None = None
    lam_points: int | None = Field(None, description="L, the values of λ")
    path: Literal["mixup", "cutmix"] = Field(
        "mixup", description="between two images, along which the curves are measured"
    )
    confidence_level: float = Field(0.95, description="of every interval, a fraction")
    bootstrap_resamples: int | None = None
    resamples_sha256: str | None = Field(None, description="of resamples.npz, the deviations behind these results")
    corruption_strengths: Literal["cifar", "tiny_imagenet", "imagenet"] | None = Field(
        None, description="whose strengths corruptions made here have; null: published files, or none"
    )
    calibrated_on: Literal["validation"] | None = Field(
        None, description="what temperatures were fitted on; null: none"
    )


class MutualTests(Part):
    """McNemar's test of every two of the n students of a seed, as (n, n) matrices."""

    seed: int
    students: list[int] = Field(description="(n,) their positions in `students`")
    only_first: list[list[int]] = Field(description="images that the row's student alone classifies correctly")
    p_value: list[list[float]] = Field(description="two-sided")


class StudyResults(Part):
    """All of results.json."""

    schema_version: int = Field(
        alias="schema", ge=SCHEMA, le=SCHEMA, description="raised when an older reader would go wrong"
    )
    study: str
    title: str = ""
    description: str = ""
    version: str = Field(description="of vicinal, that wrote it")
    command: str = ""
    created: str | None = Field(None, description="ISO 8601, UTC")
    environment: Environment
    selection: str = Field(description="which epoch of a network is kept")
    selection_images: Literal["test", "validation"] | None = Field(
        None, description="looked at while training; null where there are none"
    )
    wall_time_s: float | None = Field(None, description="seconds, all commands together")
    data: Data
    measures: Measures
    spec: dict[str, Any] = Field({}, description="the study file, all defaults filled in; a study file itself")
    notes: list[str] = Field([], description="what was done otherwise than a reader expects")
    teachers: list[Teacher]
    students: list[Student]
    mcnemar: list[MutualTests] = Field([], description="a seed each")
    sha256: str | None = Field(None, description="of all other keys, in the file alone: tested when it is read")

    def to_json(self) -> dict[str, Any]:
        """As plain values; keys that were not given stay out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"sha256"})

    def to_frame(self) -> pd.DataFrame:
        """A row for each model: its labels (role, name, arm, teacher, temperature, seed, model) and every scalar number.

        Scalars of `vicinity`, `alignment` and the like that are one number have the mapping's name before them, as in
        `alignment.kl_real`. Units are those of `StudyResults`.

        Raises UsageError where pandas is not installed.
        """
        return model_table(self.to_json())

    def curves_frame(self) -> pd.DataFrame:
        """The vicinal curves in long form: labels, scaled, lam, quantity, value, lower and upper.

        `scaled` says whether the logits were divided by the fitted temperature; lower and upper are the bootstrap interval.

        Raises UsageError where pandas is not installed.
        """
        return curves_table(self.to_json())
