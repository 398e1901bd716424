"""Sizes and times as a person reads them."""

from __future__ import annotations


def format_seconds(seconds: float) -> str:
    """95 as 1:35, 7265 as 2:01:05."""
    whole = max(round(seconds), 0)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def format_bytes(count: int) -> str:
    """2880 as 2,880 B, 5100000000 as 5.1 GB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e4)):
        if count >= size:
            return f"{count / (1e3 if unit == 'kB' else size):.3g} {unit}"
    return f"{count:,} B"
