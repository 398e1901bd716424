"""The two small programs behind docs/scale.md."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import imagenet_estimate, plan_cost

PAGE = Path(__file__).resolve().parents[2] / "docs/scale.md"


def test_the_estimate_is_the_one_on_the_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["estimate"])
    imagenet_estimate.main()
    rows = [line.split(" | ", 1)[1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    page = PAGE.read_text(encoding="utf-8")
    assert len(rows) == 5
    assert all(row in page for row in rows)


def test_no_row_is_faster_than_its_slowest_part(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["estimate", "--read-ms", "24", "--epochs", "36"])  # 1,000 images/s are read
    imagenet_estimate.main()
    said = capsys.readouterr().out
    assert said.count("| 1,000 | reading | 13 |") == 5


def test_what_a_plan_costs_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["plan_cost", "--rounds", "1", "--most-images", "10000"])
    plan_cost.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == ["shuffled", "keyed", "blocks"]
    assert all(float(row[4].rstrip(" |")) < 5 for row in rows)
