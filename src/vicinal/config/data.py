"""Where images come from and how they are split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from vicinal.config.base import LARGEST_SIDE, MOST_IMAGES, Frozen, Seed, Text, each_once


class DataSpec(Frozen):
    """Where images come from and how they are split."""

    source: Text = Field(
        description="embedded/fashion-mnist, torch/cifar100, hfds/OWNER/NAME, a folder, Parquet, or a CSV, TSV or JSONL table",
    )
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="what tables call the data; default: the source's own name"
    )
    image_size: int | None = Field(
        None,
        ge=4,
        le=LARGEST_SIDE,
        description="side in px that networks are trained at; default: the images' own size where they have one (smaller ones are "
        "stored as they are), else the size that the student's weights are for",
    )
    fit: Literal["crop", "squash", "pad"] = Field(
        "crop",
        description="how images of other shapes become the square that training cuts from: crop (the centre), squash (sides drawn "
        "together) or pad (grey borders)",
    )
    validation: float = Field(0.1, ge=0, lt=1, description="share of the training images kept for validation")
    test: float = Field(0.2, gt=0, lt=1, description="share cut off for testing where the source has no test split")
    split_seed: Seed = 0
    class_order: Literal["text", "natural"] | Annotated[tuple[Text, ...], AfterValidator(each_once)] | None = Field(
        None,
        description="how classes are numbered: text (1, 10, 2), natural (1, 2, 10, as timm), or all names in their order; "
        "default: the source's own numbers, for class folders text",
    )
    on_error: Literal["raise", "skip"] = Field(
        "raise", description="images that cannot be read: list them all and stop, or go on without them and say so"
    )
    lazy: bool = Field(False, description="read images as they are needed instead of holding all in memory")
    train_images: int | None = Field(
        None, ge=2, le=MOST_IMAGES, description="keep this many training images (class-balanced); default: all"
    )
    test_images: int | None = Field(
        None, ge=1, le=MOST_IMAGES, description="keep this many test images (class-balanced); default: all"
    )
    image_column: Text | None = Field(
        None, description="Parquet and hfds: default img or image; of tables path or file_name"
    )
    label_column: Text | None = Field(None, description="default label, of tables also class or category")
    root: Text | None = Field(None, description="torch/...: folder that holds (or receives) the files")
