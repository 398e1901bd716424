"""Sizes and times as a person reads them."""

from __future__ import annotations

import pytest

from vicinal.workspace import format_bytes, format_seconds


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (7, "7 B"),
        (2880, "2,880 B"),
        (9_999, "9,999 B"),
        (10_000, "10 kB"),
        (71_280, "71.3 kB"),
        (5_000_000, "5 MB"),
        (5_100_000_000, "5.1 GB"),
        (3 * 10**12, "3 TB"),
    ],
)
def test_sizes(count: int, text: str):
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0:00"), (0.4, "0:00"), (95, "1:35"), (3599.6, "1:00:00"), (7265, "2:01:05")]
)
def test_times(seconds: float, text: str):
    assert format_seconds(seconds) == text
