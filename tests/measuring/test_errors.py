"""`vicinal errors`: mistakes of a study's run and of a measurement, with their files, and users' mistakes."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from tiny_studies import CLASSES, merged, write_images
from vicinal import api
from vicinal.config import StudySpec
from vicinal.measuring import answers_of
from vicinal.report import recommended_run


@pytest.fixture(scope="module")
def study(smallest: dict[str, Any], image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("errors") / "out"
    return out, api.run(StudySpec.model_validate(merged(smallest, {"data.source": str(image_folder)})), out)


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_studys_student_is_shown_with_every_image(study, vicinal, tmp_path):
    out, results = study
    answer = vicinal("errors", out, "--out", tmp_path / "e")
    assert answer.code == 0, answer.err
    rows, student = lines(tmp_path / "e" / "errors.csv"), results.students[0]
    assert len(rows) == 60
    wrong = [row for row in rows if row["right"] == "False"]
    assert 1 - len(wrong) / 60 == pytest.approx(student.accuracy)
    assert rows[: len(wrong)] == wrong
    sure = [float(row["probability"]) for row in wrong]
    assert sure == sorted(sure, reverse=True)
    assert {row["path"].split("/")[-2] for row in rows} == set(CLASSES)
    assert all(row["path"].split("/")[-2] == row["true_class"] for row in rows)
    page = (tmp_path / "e" / "errors.html").read_text()
    assert wrong[0]["path"] in page
    assert page.count("data:image/png") >= min(60, len(wrong))
    run = vicinal("errors", out / "runs" / results.teachers[0].run, "--out", tmp_path / "t")
    assert run.code == 0, run.err
    assert results.teachers[0].run in run.out


def test_the_run_shown_is_the_one_that_the_report_says_to_take(study, vicinal, tmp_path, monkeypatch):
    out, results = study
    assert recommended_run(out) is not None
    assert answers_of(out).title.startswith(f"{recommended_run(out)} on ")
    monkeypatch.setattr("vicinal.measuring.errors.recommended_run", lambda folder: None)
    answer = vicinal("errors", out, "--out", tmp_path / "e")
    assert answer.code == 2
    assert f"choose one with --run, of {results.students[0].run}" in answer.last


def test_a_measurement_has_errors_too_and_says_when_its_images_are_gone(study, vicinal, tmp_path):
    photos = write_images(tmp_path / "photos", 6, seed=9)
    run = study[0] / "runs" / study[1].teachers[0].run
    assert vicinal("measure", run, photos, "--pairs", 0, "--out", tmp_path / "m", "--device", "cpu").code == 0
    assert vicinal("errors", tmp_path / "m").code == 0
    assert "data:image/png" in (tmp_path / "m" / "errors" / "errors.html").read_text()
    shutil.rmtree(photos)
    assert vicinal("errors", tmp_path / "m").code == 0
    page = (tmp_path / "m" / "errors" / "errors.html").read_text()
    assert "Without pictures" in page
    assert "data:image/png" not in page
    assert {row["path"] for row in lines(tmp_path / "m" / "errors" / "errors.csv")} == {
        f"{c}/{n:03}.png" for c in CLASSES for n in range(6)
    }


def test_what_is_no_run_is_refused_in_a_line(study, vicinal, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        ([tmp_path / "nowhere"], "there is no folder"),
        ([tmp_path / "empty"], "neither results.json"),
        ([study[0], "--run", "nobody"], "no run 'nobody'"),
        ([study[0], "--count", 0], "--count"),
    ):
        answer = vicinal("errors", *arguments)
        assert answer.code == 2, answer.err
        assert words in answer.last
