"""What every part of results.json shares: no unknown keys, no conversions, and numbers that may be missing."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Number = float | None  # None where the number is not finite
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]  # lower and upper end of an interval


class Part(BaseModel):
    """A mapping of results.json. Keys without a default are always there; others may be lacking in a file of an earlier version."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Bounds(Part):
    """Bootstrap interval of a curve, percentiles; of the study's confidence level (`measures.confidence_level`)."""

    lower: list[Number]
    upper: list[Number]
