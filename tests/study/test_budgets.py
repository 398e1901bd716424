"""A student's budget: which runs it makes, with which schedule, beside which baseline, and what results.json calls them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_plan import facts, planned

from tiny_studies import merged
from vicinal.config import NetworkSpec, load_study
from vicinal.config.load import parse_study
from vicinal.distillation import Manifest
from vicinal.errors import UsageError
from vicinal.report.rows import arrange
from vicinal.results import read_results
from vicinal.study.groups import banks_of_groups, banks_of_study, groups_of
from vicinal.study.plan import plan_study

BUDGETS = {"arms": ["baseline", "kd"], "budgets": [1, 2, 4]}


def network(**changes: Any) -> NetworkSpec:
    return NetworkSpec(**({"model": "vicinal_mobilenet", "epochs": 30} | changes))


def test_a_schedule_is_stretched_with_the_epochs_and_the_heads_warmup_stays():
    segments = [[0, 10, 1e-5, 5e-4, "linear"], [10, 30, 5e-4, 1e-5, "cosine"]]
    spec = network(schedule="piecewise", lr_segments=segments, head_warmup_epochs=3)
    twice = spec.stretched(2)
    assert (twice.epochs, twice.head_warmup_epochs) == (60, 3)
    assert twice.lr_segments == ((0, 20, 1e-5, 5e-4, "linear"), (20, 60, 5e-4, 1e-5, "cosine"))
    tenth = spec.stretched(0.1)
    assert (tenth.epochs, tenth.lr_segments[-1][1]) == (3, 3)
    plateau = network(schedule="plateau", plateau={"patience_epochs": 3, "factor": 0.5}).stretched(2)
    assert (plateau.plateau.patience_epochs, plateau.plateau.factor) == (6, 0.5)
    assert spec.stretched(1) == spec


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budgets": [1, 0.3]}, "budgets: 4 epochs times 0.3 is no whole number of epochs above 0"),
        ({"budgets": [1, 1.0]}, "budgets: lists 1.0 twice"),
        ({"budgets": 0}, "budgets: input should be greater than 0"),
        ({"budgets": []}, "budgets: give at least one"),
        ({"budgets": [True]}, "true is not a value here"),
        ({"budgets": [900], "student.epochs": 1000}, "student.epochs times 900: Input should be less than or equal to 100000"),
        ({"budgets": [2], "student.epochs": 0, "student.weights": "w.safetensors"}, "0 epochs times 2"),
        ({"budgets": [2], "student": None, "arms": []}, "there is no 'student'"),
    ],
)  # fmt: skip
def test_what_budgets_may_not_be(tiny: dict[str, Any], changes: dict[str, Any], words: str):
    with pytest.raises(UsageError) as caught:
        parse_study(merged(tiny, changes), "tiny")
    assert words in str(caught.value)


def test_every_arm_is_trained_at_every_budget_and_teachers_once(tiny: dict[str, Any]):
    plan = planned(tiny, BUDGETS)
    assert [run.spec.name for run in plan.runs] == [
        "one", "baseline", "kd-T2-one", "baseline-x2", "kd-T2-one-x2", "baseline-x4", "kd-T2-one-x4",
    ]  # fmt: skip
    assert [run.spec.network.epochs for run in plan.students] == [4, 4, 8, 8, 16, 16]
    assert len({run.spec.fingerprint() for run in plan.runs}) == 7
    for run in plan.students:
        baseline = plan.baseline_of(run)
        assert baseline is None or (baseline.budget, baseline.label["arm"]) == (run.budget, "baseline")
    assert [plan.baseline_of(run) is None for run in plan.students] == [True, False] * 3


def test_one_budget_is_the_study_without_that_key_and_a_longer_one_the_study_of_longer_training(tiny: dict[str, Any]):
    folders = [run.folder.path for run in planned(tiny, {"arms": ["baseline", "kd"]}).runs]
    assert [run.folder.path for run in planned(tiny, {"arms": ["baseline", "kd"], "budgets": [1]}).runs] == folders
    assert [run.folder.path for run in planned(tiny, BUDGETS).runs][:3] == folders
    long = planned(tiny, {"arms": ["baseline", "kd"], "student.epochs": 8})
    assert [run.spec.fingerprint() for run in long.students] == [
        run.spec.fingerprint() for run in planned(tiny, BUDGETS).students if run.budget == 2
    ]


def test_budgets_share_a_bank_as_long_as_the_longest(tiny: dict[str, Any]):
    plan = planned(tiny, BUDGETS)
    ((run, layout),) = banks_of_study(plan).values()
    assert (run.budget, layout.epochs) == (4, 16)
    assert {layout.epochs for layout in banks_of_groups(plan, groups_of(plan, 9), frozenset()).values()} == {4, 8, 16}
    room = (layout.bytes - 1) / 1e9  # enough for the shorter two, not for all three
    poor = planned(tiny, BUDGETS | {"runtime.bank_gb": room})
    assert banks_of_groups(poor, groups_of(poor, 9), frozenset()) == {}


def test_what_a_longer_training_learned_stands_in_the_results_apart(
    tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
):
    file = study_file(
        tiny, {"arms": ["baseline", "kd"], "budgets": [1, 2], "teachers.one.epochs": 1, "student.epochs": 1}
    )
    assert vicinal("run", file, "--out", tmp_path).code == 0
    results = read_results(tmp_path)
    assert [(s.arm, s.budget, s.epochs) for s in results.students] == [
        ("baseline", 1, 1), ("kd", 1, 1), ("baseline", 2, 2), ("kd", 2, 2)
    ]  # fmt: skip
    rows = arrange(results.to_json())
    assert [row.label for row in rows.students] == ["Baseline", "KD"]
    assert [row.label for row in rows.other_budgets] == ["Baseline × 2", "KD × 2"]
    one, two = (s for s in results.students if s.arm == "kd")
    for student, baseline in ((one, results.students[0]), (two, results.students[2])):
        assert student.minus_baseline is not None
        assert student.minus_baseline.accuracy_pp == pytest.approx(100 * (student.accuracy - baseline.accuracy))
    # Answers to the first epoch are those that the shorter training had: one bank, of the longer.
    (bank,) = (tmp_path / "banks").iterdir()
    assert Manifest(bank).layout.epochs == 2


def test_the_packaged_study_trains_its_arms_three_times_as_long_as_asked():
    spec = load_study("budgets")
    plan = plan_study(spec, Path("out"), facts(spec))
    assert sorted({run.spec.network.epochs for run in plan.students}) == [30, 60, 120]
    assert {run.label["seed"] for run in plan.students} == {0, 1, 2}
