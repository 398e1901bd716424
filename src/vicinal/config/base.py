"""What every value of a study shares: immutability, no unknown keys, no NaN, and fingerprints."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

SCHEMA = 2  # of study folders and results.json; raised when an older reader or writer would go wrong
TRAINING_SEMANTICS = 4  # raised when the same RunSpec would train to other weights; part of every run's fingerprint

# A name becomes part of a folder's name, of which file systems take 255 bytes.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=64)]


class Frozen(BaseModel):
    """A value: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _reject_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's true would pass as 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError(
                f"{str(value).lower()} is not a value here; only keys that are switches take true or false"
            )
        return value


def fingerprint(value: Any) -> str:
    """12 hex digits of the SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
