"""No range goes beyond what is possible, no network is compared with itself, budgets and epochs are named as they are."""

from __future__ import annotations

import csv
import io
import re

import pytest
from made_up_budgets import with_budgets
from made_up_results import make_results

from vicinal.claims import Number, difference, infer, mean
from vicinal.report.budget_comparisons import at_budget
from vicinal.report.findings import findings
from vicinal.report.rows import arrange
from vicinal.report.tables import comparisons_csv, summary_markdown

PERCENT = (0.0, 100.0)


def two_seeds(low: float, high: float) -> Number:
    return Number((low + high) / 2, {0: low, 1: high}, of_arm=True, possible=PERCENT)


def test_an_interval_ends_where_what_is_possible_ends():
    a, b = two_seeds(20.0, 90.0), two_seeds(85.0, 30.0)
    for number, ends in (
        (a, PERCENT),
        (difference(a, b), (-100.0, 100.0)),
        (mean([a, b]), PERCENT),
        (-a, (-100.0, 0.0)),
    ):
        assert number.possible == ends
        found = infer(number)
        assert found is not None
        assert ends[0] <= found.interval[0] < found.interval[1] <= ends[1]
    assert not infer(difference(a, b)).could_be_found  # type: ignore[union-attr]
    free = infer(Number(55.0, {0: 20.0, 1: 90.0}, of_arm=True))
    assert free is not None
    assert free.interval[0] < -300
    assert free.could_be_found
    assert difference(a, Number(1.0, {0: 1.0, 1: 1.0})).possible == (float("-inf"), float("inf"))


def test_two_seeds_far_apart_give_no_impossible_differences():
    raw = make_results(seeds=(0, 1))
    for student in raw["students"]:
        swing = 0.35 if student["arm"] in ("kd", "baseline") else -0.3
        student["accuracy"] = 0.5 + (swing if student["seed"] else -swing)
    results = arrange(raw)
    lines = [line for line in csv.DictReader(io.StringIO(comparisons_csv(results))) if line["quantity"] == "accuracy"]
    assert lines
    for line in lines:
        assert -100 <= float(line["lower"]) <= float(line["upper"]) <= 100
    ranges = re.findall(r"\((-?[\d.]+) to (-?[\d.]+)\)", summary_markdown(results).replace("−", "-").split("NLL")[0])
    words = " ".join(finding.text for finding in findings(results)).replace("−", "-")
    ranges += re.findall(r"points \(([+-][\d.]+) to ([+-][\d.]+)\)", words)
    assert ranges
    assert all(-100 <= float(low) <= float(high) <= 100 for low, high in ranges)
    assert not re.search(r"difference of \+?[\d,]{3,}\.\d+ points", words)


def test_a_teacher_is_not_compared_with_its_own_scale():
    raw = make_results(teachers=1, arms=())
    other = {**raw["teachers"][0], "name": "calibrated@2", "logit_scale": 2.0}
    raw["teachers"].append(other)
    results = arrange(raw)
    first = findings(results)[0]
    assert first.question == "Accuracy"
    assert "@2" not in first.text
    assert len(comparisons_csv(results).splitlines()) == 1


def test_the_budget_that_is_meant_is_named_and_one_epoch_is_one():
    gains = {"baseline": (0.80, 0.81, 0.82), "kd_mixup": (0.84, 0.85, 0.86)}
    results = arrange(with_budgets(gains))
    epochs = results.students[0].models[0]["epochs"]
    best = next(one for one in findings(results) if "more accurate than the baseline" in one.question)
    assert f"of the students trained {epochs} epochs (the study’s first budget)" in best.text
    row = results.students[0]
    row.models[0]["epochs"] = 1
    assert at_budget(row) == "accuracy after 1 epoch"
    with pytest.raises(StopIteration):
        next(one for one in findings(arrange(make_results())) if "budget" in one.text)
