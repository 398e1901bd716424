"""The error rates of verdicts, by the simulation whose table is in docs/statistics.md."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "simulate"))

import verdicts  # after the path

NO_END = verdicts.NOISE["no end of images"]
STUDIES = 400
SLACK = 0.025  # more than two standard errors of a share of .05 in 400 studies


@pytest.mark.slow
@pytest.mark.parametrize("name", verdicts.NOISE)
@pytest.mark.parametrize("seeds", verdicts.SEEDS)
def test_without_an_effect_a_verdict_is_rare(name: str, seeds: int) -> None:
    keys = verdicts.ACCURACY + verdicts.ECE
    most = (0.05 if verdicts.NOISE[name].uneven == 1 else 0.1) + SLACK  # uneven arms: see docs/statistics.md
    for key, found in verdicts.shares(STUDIES, seeds, verdicts.NOISE[name], 0.0, keys).items():
        assert found["supported"] <= most, key
        assert found["contradicted"] <= most, key
        assert (found["not testable"] == 1) == (seeds == 1), key


@pytest.mark.slow
def test_more_seeds_find_more() -> None:
    found = {
        seeds: min(own["supported"] for own in verdicts.shares(STUDIES, seeds, NO_END, 1.0, verdicts.BEATS).values())
        for seeds in verdicts.SEEDS
    }
    assert list(found.values()) == sorted(found.values())
    assert found[5] >= 0.8
    assert found[10] >= 0.99


@pytest.mark.slow
def test_no_difference_is_said_where_there_is_none() -> None:
    for key, own in verdicts.shares(STUDIES, 5, NO_END, 0.0, verdicts.ACCURACY + verdicts.ECE).items():
        assert own["no difference"] >= 0.8, key


@pytest.mark.slow
@pytest.mark.parametrize("seeds", verdicts.SEEDS[1:])
@pytest.mark.parametrize("name", list(verdicts.NOISE)[:2])
def test_intervals_cover(name: str, seeds: int) -> None:
    assert all(0.93 - 0.02 <= share <= 0.99 for share in verdicts.coverage(STUDIES, seeds, verdicts.NOISE[name]))


def test_unrelated_orders_support_nothing() -> None:
    assert verdicts.orders(30, 3)["not testable"] == 1
    assert verdicts.orders(60, 4)["supported"] <= 0.2


def test_a_small_simulation_of_each_kind() -> None:
    found = verdicts.shares(20, 3, NO_END, 0.0, ("beats_kd",))["beats_kd"]
    assert found["supported"] + found["contradicted"] <= 0.25
    assert verdicts.shares(20, 10, NO_END, 1.0, ("beats_kd",))["beats_kd"]["supported"] >= 0.8
