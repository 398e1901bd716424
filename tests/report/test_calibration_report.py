"""Calibration in the report: floors beside every ECE, a table of its own, consistency bars, and nothing of it for older results."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from made_up_results import make_results

from vicinal.report.figures import reliability_curve
from vicinal.report.floors import floor_words
from vicinal.report.rows import arrange
from vicinal.report.tables import calibration_csv, calibration_markdown, classes_csv, summary_markdown

SCALED = "_after_temperature_scaling"


def with_floors(seeds: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Made-up results whose networks were held against noise."""
    raw = make_results(seeds=seeds)
    for number, model in enumerate((*raw["teachers"], *raw["students"])):
        test = {"floor": 0.012, "floor_upper": 0.02, "p_value": 0.08 if number % 2 else 0.0002}
        model["calibration_tests"] = dict.fromkeys(("ece", "classwise_ece", "ece" + SCALED), test)
        model |= {"ece": 0.016, "ece" + SCALED: 0.013, "classwise_ece": 0.0051, "rms_calibration_error": 0.021}
        model |= {"rms_calibration_error" + SCALED: 0.0, "fitted_temperature": 1.52}
        model["brier_parts"] = {
            "calibration": 0.0123, "refinement": 0.4, "calibration_interval": [0.01, 0.015], "refinement_interval": [0.38, 0.42],
        }  # fmt: skip
        model["intervals"] = {
            **(model.get("intervals") or {}),
            "ece": [0.004, 0.025],
            "fitted_temperature": [1.41, 1.66],
        }
        bins = model["reliability"]
        bins["consistency_lower"] = [None if c is None else max(0.0, c - 0.03) for c in bins["confidence"]]
        bins["consistency_upper"] = [None if c is None else min(1.0, c + 0.03) for c in bins["confidence"]]
    return raw


def test_the_floor_and_p_stand_beside_every_ece_of_one_seed() -> None:
    results = arrange(with_floors())
    assert floor_words(results.rows[0], "ece") == "floor 0.012, p < 0.001"
    assert floor_words(results.rows[1], "ece") == "floor 0.012, p = 0.080"
    summary = summary_markdown(results)
    assert "0.016 (floor 0.012, p = 0.080)" in summary
    assert "0.013 (floor 0.012, p = 0.080)" in summary
    assert "perfectly calibrated model" in summary
    table = calibration_markdown(results)
    assert table is not None
    assert "0.016 (0.004 to 0.025; floor 0.012, p = 0.080)" in table
    assert "1.52 (1.41 to 1.66)" in table
    assert "0.0123 (0.0100 to 0.0150)" in table
    assert "the fit of the temperature" in table


def test_over_seeds_the_floor_is_the_mean_and_clear_ones_are_counted() -> None:
    raw = with_floors((0, 1))
    row = next(row for row in arrange(raw).rows if len(row.models) == 2)
    for model, p in zip(row.models, (0.01, 0.3), strict=True):
        model["calibration_tests"]["ece"] = {"floor": 0.02 * p / 0.31, "floor_upper": 0.03, "p_value": p}
    assert floor_words(row, "ece") == "floor 0.010, p < 0.05 in 1 of 2"
    assert floor_words(row, "ece", 0.5) == "floor 0.010, p < 0.5 in 2 of 2"
    assert "± " in (calibration_markdown(arrange(raw)) or "")


def test_the_csv_has_a_line_for_every_network_with_empty_cells_for_what_was_not_measured() -> None:
    raw = with_floors()
    lines = list(csv.DictReader(io.StringIO(calibration_csv(arrange(raw)) or "")))
    assert len(lines) == len(raw["teachers"]) + len(raw["students"])
    first = lines[0]
    assert (first["ece"], first["ece_lower"], first["ece_upper"], first["ece_floor"]) == (
        "0.016",
        "0.004",
        "0.025",
        "0.012",
    )
    assert (first["brier_calibration"], first["brier_calibration_upper"], first["nll_calibration"]) == (
        "0.0123",
        "0.015",
        "",
    )


def test_results_of_earlier_versions_have_no_table_and_no_floor() -> None:
    results = arrange(make_results(seeds=(0,)))
    assert calibration_markdown(results) is calibration_csv(results) is None
    assert "floor" not in summary_markdown(results)
    assert floor_words(results.rows[0], "ece") == ""
    assert reliability_curve(results.rows[0]).lower is None


def test_consistency_bars_are_those_of_the_bins_that_are_drawn() -> None:
    curve = reliability_curve(arrange(with_floors((0, 1))).rows[-1])
    assert curve.lower is not None
    assert curve.upper is not None
    assert curve.lower == pytest.approx([max(0.0, x - 0.03) for x in curve.x], abs=0.02)
    assert curve.upper == pytest.approx([min(1.0, x + 0.03) for x in curve.x], abs=0.02)


def test_classes_have_their_images_and_floors() -> None:
    raw = with_floors()
    model = raw["students"][0]
    classes = len(raw["data"]["class_names"])
    for each in (*raw["teachers"], *raw["students"]):
        each["answers"] = {
            "predicted_classes": classes, "commonest_answer": 0, "commonest_answer_share": 0.5, "balanced_accuracy": 0.5,
            "class_accuracy": [0.5] * classes, "information": 0.5, "prior_accuracy": 0.5, "prior_nll": 0.7,
        }  # fmt: skip
    model["class_calibration"] = {
        "images": list(range(classes)), "ece": [0.01] * classes, "floor": [0.02] * classes, "p_value": [0.9] * classes,
    }  # fmt: skip
    lines = list(csv.DictReader(io.StringIO(classes_csv(arrange(raw)) or "")))
    known = [line for line in lines if line["images"]]
    assert [int(line["images"]) for line in known] == list(range(classes))
    assert {(line["ece"], line["ece_floor"], line["ece_p_value"]) for line in known} == {("0.01", "0.02", "0.9")}
