"""How a list, a temperature and a corruption are said, in sentences and tables alike."""

from __future__ import annotations

from collections.abc import Sequence

TEMPERATURE_SYMBOLS = {"sigma": "σ", "teacher_sigma": "σ_t"}
_ABBREVIATED = {"jpeg_compression": "JPEG"}


def listed(words: Sequence[str]) -> str:
    """a, b and c; nothing for no words."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def temperature_text(temperature: float | str) -> str:
    """2.0 as 2, sigma as σ, 2sigma as 2σ."""
    if not isinstance(temperature, str):
        return f"{temperature:g}"
    return TEMPERATURE_SYMBOLS.get(temperature) or temperature.replace("sigma", TEMPERATURE_SYMBOLS["sigma"])


def corruption_text(name: str) -> str:
    """motion_blur as motion blur, for the middle of a sentence."""
    return _ABBREVIATED.get(name, name.replace("_", " "))


def corruption_heading(name: str) -> str:
    """motion_blur as Motion blur, for the start of a line."""
    text = corruption_text(name)
    return text[:1].upper() + text[1:]


def p_value_text(value: float) -> str:
    """A p-value: "p = 0.012", "p < 0.001"."""
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"
