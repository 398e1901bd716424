"""Tensors as JSON has them."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor


def plain(values: Tensor) -> Any:
    """Numbers in lists, None where not finite."""
    if values.dim() > 0:
        return [plain(part) for part in values] if values.dim() > 1 else [_finite(v) for v in values.tolist()]
    return _finite(values.item())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
