"""The temperature of a distillation: a number, a multiple of each network's own deviation, or the teacher's deviation."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

COLDEST, HOTTEST = 1e-3, 1e6
# 2sigma and the like, beside sigma, which is 1sigma, and teacher_sigma.
SIGMA_PATTERN = r"^(teacher_sigma|([0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?)?sigma)$"
_WORDS = (
    f"a positive number, sigma or teacher_sigma (numbers from {COLDEST:g} to {HOTTEST:,.0f}), or a multiple of sigma such "
    "as 2sigma"
)


def sigma_multiple(temperature: float | str) -> float | None:
    """T of a temperature that divides each network's logits by T times their own deviation (`sigma`: 1); None for any other.

    >>> [sigma_multiple(t) for t in ("sigma", "2sigma", "teacher_sigma", 2.0)]
    [1.0, 2.0, None, None]
    """
    if not isinstance(temperature, str) or not re.match(SIGMA_PATTERN, temperature) or temperature == "teacher_sigma":
        return None
    return float(temperature.removesuffix("sigma") or 1)


def _check_temperature(value: Any) -> Any:
    """As it is kept: a number, or the one way of writing a σ variant."""
    if value == "teacher_sigma":
        return value
    multiple = sigma_multiple(value)
    if multiple is not None and COLDEST <= multiple <= HOTTEST:
        return "sigma" if multiple == 1 else f"{multiple:.12g}sigma"
    try:
        number = float(value if not isinstance(value, str) or (value.isascii() and "_" not in value) else "")
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"a temperature is {_WORDS}, not {value!r}") from None
    if isinstance(value, bool) or not COLDEST <= number <= HOTTEST:
        raise ValueError(f"a temperature is {_WORDS}, not {value!r}")
    return number


Temperature = Annotated[
    Annotated[float, Field(ge=COLDEST, le=HOTTEST)] | Annotated[str, Field(pattern=SIGMA_PATTERN, max_length=40)],
    BeforeValidator(_check_temperature),
]
