"""Figure and table over the images seen, of studies with several budgets and of no others."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_budgets import with_budgets
from made_up_results import make_results, write_results

from vicinal.report import write_report
from vicinal.report.budgets import budget_lines, images_seen
from vicinal.report.figures.budgets import _curve, over_images_seen
from vicinal.report.rows import arrange
from vicinal.report.tables import budgets_csv, budgets_markdown

GAINS = {"baseline": (0.80, 0.81, 0.82), "kd": (0.82, 0.82, 0.83), "kd_mixup": (0.81, 0.83, 0.85)}


def test_the_first_budget_is_what_every_other_table_is_about():
    results = arrange(with_budgets(GAINS))
    assert [row.label for row in results.students] == ["Baseline", "KD", "KD + mixup"]
    assert {model["epochs"] for row in results.rows for model in row.models if not row.is_teacher} == {30}
    lines = budget_lines(results)
    assert [[row.budget for row in line.rows] for line in lines] == [[1, 2, 4]] * 3
    assert [images_seen(row) for row in lines[0].rows] == [54_000, 108_000, 216_000]


def test_a_study_that_lists_its_longest_budget_first_is_about_that():
    raw = with_budgets(GAINS)
    raw["students"] = raw["students"][::-1]
    results = arrange(raw)
    assert {row.budget for row in results.students} == {4}
    assert [[row.budget for row in line.rows] for line in budget_lines(results)] == [[1, 2, 4]] * 3
    assert [row.label for row in results.other_budgets if row.arm == "baseline"] == ["Baseline × 2", "Baseline × 1"]


def test_the_figure_has_the_means_and_deviations_of_every_budget():
    (line,) = [line for line in budget_lines(arrange(with_budgets(GAINS))) if line.row.arm == "kd_mixup"]
    curve = _curve(line, "accuracy", 100.0)
    assert curve.x.tolist() == [54_000, 108_000, 216_000]
    assert curve.y == pytest.approx([81, 83, 85])
    assert curve.upper - curve.y == pytest.approx(np.full(3, 0.1))  # seeds stand a tenth of a point apart
    figure = over_images_seen(arrange(with_budgets(GAINS)))
    assert len(figure.panels) == 3
    assert "one sample standard deviation" in figure.caption
    one_seed = over_images_seen(arrange(with_budgets(GAINS, seeds=(1,))))
    assert "95\u00a0% interval" in one_seed.caption


def test_scale_free_students_are_drawn_after_temperature_scaling():
    raw = with_budgets(GAINS, temperatures=("sigma",))
    figure = over_images_seen(arrange(raw))
    assert "†" in figure.caption
    assert "†" in budgets_markdown(arrange(raw))


def test_the_table_has_a_line_for_every_training():
    results = arrange(with_budgets(GAINS))
    lines = list(csv.DictReader(io.StringIO(budgets_csv(results))))
    assert len(lines) == 3 * 3 * 3
    last = lines[-1]
    assert (last["arm"], last["budget"], last["epochs"], last["images_seen"]) == ("kd_mixup", "4.0", "120", "216000")
    assert float(last["accuracy"]) == pytest.approx(0.851)
    text = budgets_markdown(results)
    assert re.search(r"\| KD \+ mixup × 4 \| 120 \| 216,000 \| 85\.0 ± 0\.1 \|", text)


@pytest.mark.parametrize("budgets", [True, False])
def test_a_report_has_them_where_there_are_budgets(tmp_path: Path, budgets: bool):
    raw: dict[str, Any] = with_budgets(GAINS) if budgets else make_results()
    for stale in ("tables/budgets.csv", "figures/budgets.svg"):
        (tmp_path / stale).parent.mkdir(exist_ok=True)
        (tmp_path / stale).write_text("of an earlier report")
    write_results(tmp_path, raw)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert ('id="budgets"' in page) is ('id="budgets_table"' in page) is budgets
    for name in ("tables/budgets.csv", "tables/budgets.md", "tables/budget_comparisons.csv", "figures/budgets.svg"):
        assert (tmp_path / name).exists() is budgets
