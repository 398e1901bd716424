"""What several tests of studies share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vicinal.config import StudySpec
from vicinal.study import Study, execute


@pytest.fixture(scope="module")
def alone(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study that a module's `values` make, one run after another in this process."""
    out = tmp_path_factory.mktemp("alone") / "out"
    execute(Study(StudySpec.model_validate(values), out), "alone")
    return out
