"""What every value of a study shares: immutability, no unknown keys, no NaN, and fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

SCHEMA = 2  # of study folders and results.json; raised when an older reader or writer would go wrong
TRAINING_SEMANTICS = 5  # raised when the same RunSpec would train to other weights; part of every run's fingerprint

# What every library behind takes: scikit-learn's take 32 bits.
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), BeforeValidator(lambda value: no_boolean(value))]
# No study comes near them: they stop what would take all memory or time, or leave the range of a float32.
MOST_IMAGES, MOST_EPOCHS, LARGEST_SIDE = 1_000_000_000, 100_000, 4096
Rate = Annotated[float, Field(ge=0, le=1000)]  # of learning or decay
Weight = Annotated[float, Field(ge=0, le=1e6)]  # of a term of a loss
Text = Annotated[str, Field(min_length=1, max_length=4096)]  # a path or a name in data
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"
# A name becomes part of a folder's name, of which file systems take 255 bytes.
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]


Item = TypeVar("Item")


class Frozen(BaseModel):
    """A value: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _reject_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's true would pass as 1."""
        return value if cls.model_fields[str(info.field_name)].annotation is bool else no_boolean(value)


def no_boolean(value: Any) -> Any:
    """The value; ValueError for true and false, which YAML would have pass as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a value here; only keys that are switches take true or false")
    return value


def one_or_many(value: Any) -> Any:
    """A single number as a list of one; anything else as it is."""
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def each_once(values: tuple[Item, ...]) -> tuple[Item, ...]:
    """The values of a list in which none stands twice; ValueError otherwise."""
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"lists {twice[0]!r} twice")
    return values


def fingerprint(value: Any) -> str:
    """12 hex digits of the SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
