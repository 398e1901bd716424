"""A teacher at several scales of its own logits: one network, one inference and one bank, several teachers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from test_plan import planned

from tiny_studies import merged
from vicinal.config.load import parse_study
from vicinal.errors import UsageError
from vicinal.report.evidence import study_evidence
from vicinal.report.rows import arrange, load_results
from vicinal.results import read_resamples, read_results
from vicinal.study.groups import bank_layout, groups_of
from vicinal.study.plan import PlannedRun
from vicinal.workspace import read_sealed_json

SCALES = {"teachers.one.logit_scale": [0.5, 1, 2]}


def names(runs: tuple[PlannedRun, ...]) -> list[str]:
    return [run.spec.name for run in runs]


def test_every_scale_is_a_teacher_of_one_network(tiny: dict[str, Any]):
    plan = planned(tiny, SCALES | {"arms": ["kd"]})
    assert names(plan.teachers) == ["one"]
    assert [(run.label["name"], run.logit_scale) for run in plan.teacher_variants] == [
        ("one@0.5", 0.5), ("one", 1), ("one@2", 2)
    ]  # fmt: skip
    assert names(plan.students) == ["kd-T2-one@0.5", "kd-T2-one", "kd-T2-one@2"]
    assert all(run.teacher is plan.teachers[0] for run in plan.students)
    assert [run.spec.teacher_logit_scale for run in plan.students] == [0.5, None, 2]
    assert len({run.spec.fingerprint() for run in plan.students}) == 3
    assert list(plan.teachers_of(plan.students[0])) == ["one@0.5", "one", "one@2"]
    assert len({bank_layout(run, plan).fingerprint for run in plan.students}) == 1
    assert sorted(map(len, groups_of(plan, 9))) == [1, 3]


def test_scale_one_is_a_study_without_that_key(tiny: dict[str, Any]):
    folders = {run.folder.path for run in planned(tiny, {}).runs}
    assert {run.folder.path for run in planned(tiny, {"teachers.one.logit_scale": 1}).runs} == folders
    scaled = planned(tiny, SCALES)
    assert folders < {run.folder.path for run in scaled.runs}
    only = planned(tiny, {"teachers.one.logit_scale": 2, "arms": ["kd"]})
    assert names(only.teachers) == ["one"]
    assert only.teachers[0].folder.path in folders
    assert names(only.students) == ["kd-T2-one@2"]
    assert [run.label for run in only.teacher_variants] == [{"name": "one@2", "seed": 0, "logit_scale": 2}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teachers.one.logit_scale": [1, 1.0]}, "teachers.one.logit_scale: lists '1' twice"),
        ({"teachers.one.logit_scale": [2, 2.0000001]}, "teachers.one.logit_scale: lists '2' twice"),
        ({"teachers.one.logit_scale": 0}, "teachers.one.logit_scale: input should be greater than or equal to 0.01"),
        ({"teachers.one.logit_scale": [1, 200]}, "less than or equal to 100"),
        ({"teachers.one.logit_scale": []}, "teachers.one.logit_scale: give at least one"),
        ({"teachers.one.logit_scale": True}, "true is not a value here"),
        (
            SCALES | {"arms": [{"name": "kd", "teachers": ["one@3"]}]},
            "'one@3', which is not a teacher: one@0.5, one, one@2 (teachers.one.logit_scale: 0.5, 1, 2)",
        ),
        (
            {"teachers.one.logit_scale": 2, "arms": [{"name": "kd", "teachers": ["one"]}]},
            "'one', which is not a teacher: one@2 (teachers.one.logit_scale: 2)",
        ),
        (SCALES | {"arms": ["kd", {"name": "kd", "teachers": ["one@2"]}]}, "one name, teacher and temperature: kd"),
        (SCALES | {"answers.top_k": 2, "arms": ["kd"]}, "teachers.one.logit_scale cannot be applied"),
    ],
)
def test_what_a_scale_may_not_be(tiny: dict[str, Any], changes: Mapping[str, Any], words: str):
    with pytest.raises(UsageError) as caught:
        parse_study(merged(tiny, changes), "tiny")
    assert words in str(caught.value)


def test_what_is_measured_of_a_scaled_teacher_is_that_of_its_scaled_answers(
    tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
):
    changes = {
        **SCALES, "arms": ["baseline", "kd"], "teachers.one.epochs": 2, "student.epochs": 1,
        "measures.corruptions": {"names": ["contrast"], "images": 20},
    }  # fmt: skip
    answer = vicinal("run", study_file(tiny, changes), "--out", tmp_path)
    assert answer.code == 0, answer.err
    results = read_results(tmp_path)
    half, one, two = results.teachers
    assert [t.name for t in results.teachers] == ["one@0.5", "one", "one@2"]
    assert len({t.run for t in results.teachers}) == 1
    assert len({t.accuracy for t in results.teachers}) == 1
    assert half.confidence < one.confidence < two.confidence
    # Whatever scale its logits have, temperature scaling brings them to one answer.
    for scaled in (half, two):
        assert scaled.fitted_temperature == pytest.approx(scaled.logit_scale * one.fitted_temperature, rel=1e-4)
        assert scaled.nll_after_temperature_scaling == pytest.approx(one.nll_after_temperature_scaling, rel=1e-5)
    assert half.corruptions["contrast"].accuracy == two.corruptions["contrast"].accuracy
    assert half.corruptions["contrast"].ece != two.corruptions["contrast"].ece
    kd = [s for s in results.students if s.arm == "kd"]
    assert [s.teacher for s in kd] == ["one@0.5", "one", "one@2"]
    assert set(kd[0].versus_teacher) == {"one@0.5", "one", "one@2"}
    assert kd[0].alignment.kl_real == kd[0].versus_teacher["one@0.5"].alignment.kl_real
    described = read_sealed_json(tmp_path / "runs" / one.run / "network.json")
    assert described["fitted_temperature"] == one.fitted_temperature
    moved = read_resamples(tmp_path, results)
    assert moved is not None
    assert (moved.of(0, "accuracy") == moved.of(2, "accuracy")).all()
    assert not (moved.of(0, "confidence") == moved.of(2, "confidence")).all()
    assert moved.of(4, "versus_teacher.one@0.5.kl_real") is not None
    evidence = study_evidence(load_results(tmp_path))
    assert [(t.name, t.logit_scale, t.scaled_from) for t in evidence.teachers] == [
        ("one@0.5", 0.5, "one"), ("one", 1, None), ("one@2", 2, "one")
    ]  # fmt: skip
    assert [t.name for t in evidence.plain_teachers] == ["one"]
    assert vicinal("report", tmp_path).code == 0
    assert "one@0.5" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_network_that_no_teacher_leaves_as_it_is_is_described_as_it_is(
    tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
):
    changes = {"teachers.one.logit_scale": 4, "teachers.one.epochs": 1, "student": None, "arms": []}
    assert vicinal("run", study_file(tiny, changes), "--out", tmp_path).code == 0
    (teacher,) = read_results(tmp_path).teachers
    assert (teacher.name, teacher.logit_scale) == ("one@4", 4)
    described = read_sealed_json(tmp_path / "runs" / teacher.run / "network.json")
    assert described["fitted_temperature"] == pytest.approx(teacher.fitted_temperature / 4)
    assert math.isfinite(described["fitted_temperature"])
    assert [row.label for row in arrange(read_results(tmp_path).to_json()).teachers] == ["one@4"]
