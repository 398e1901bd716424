"""`vicinal distill`: what it decides, that it fits into the time, and that a command given again goes on."""

from __future__ import annotations

import time

import pytest
import torch
import yaml

from teacher_on_disk import new_teacher, save_teacher, trained_teacher
from tiny_studies import write_images
from vicinal.config import load_study
from vicinal.errors import UsageError
from vicinal.networks import NetworkCost
from vicinal.recipes import Request, practice
from vicinal.recipes.distill import STUDY_YAML, opened
from vicinal.recipes.fit import fit
from vicinal.study import Study

SIDE = 20
# One student of one epoch: what is tested here is not how well it learns.
SHORT = ("student.epochs=1", "arms=[kd]", "seeds=[0]", "measures.bootstrap_resamples=100", "measures.vicinity.pairs=12")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    write_images(root / "train", 40, seed=1, side=SIDE)
    write_images(root / "test", 15, seed=2, side=SIDE)
    return root


@pytest.fixture(scope="module")
def network(images):
    return trained_teacher(images / "train")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, network):
    return save_teacher(tmp_path_factory.mktemp("teacher") / "model_best.pth.tar", network, 3, SIDE)


def test_a_sitting_is_shown_first_runs_and_goes_on_as_it_was_decided(vicinal, images, teacher, tmp_path):
    out = tmp_path / "sitting"
    command = ("distill", teacher, images, "--out", out, "--minutes", "30", *SHORT, "runtime.trackers=tensorboard")
    shown = vicinal(*command, "--plan")
    assert shown.code == 0, shown.err
    assert not out.exists()
    plan = tmp_path / "plan.yaml"
    plan.write_text(shown.out)
    spec = load_study(plan)
    assert (spec.teachers["teacher"].head, spec.teachers["teacher"].epochs) == ("keep", 0)
    assert (spec.student.model, spec.student.epochs, spec.seeds) == ("vicinal_mobilenet", 1, (0,))

    first = vicinal(*command)
    assert first.code == 0, first.err
    assert yaml.safe_load(first.out.partition("\n\n\n")[0].partition("\nnetwork ")[0])["student"]["epochs"] == 1
    assert "of what was estimated" in first.err
    assert (out / "report.html").is_file()
    assert (out / "student" / "model.onnx").is_file()
    assert {path.name for path in (out / "tensorboard").iterdir() if path.is_dir()} == {
        run.name for run in (out / "runs").iterdir()
    }
    decided, runs = (out / STUDY_YAML).read_bytes(), sorted((out / "runs").iterdir())
    assert len(runs) == 2

    # As if it had been killed behind the teacher: what was decided stays, and the student is the same one.
    weights = (student := next(run for run in runs if "student" in run.name)) / "weights.safetensors"
    before = weights.read_bytes()
    for file in (*student.iterdir(), out / "results.json"):
        file.unlink()
    again = vicinal(*command)
    assert again.code == 0, again.err
    assert "it is continued as it was decided" in again.err
    assert "1 of 2 runs are done already" in again.err
    assert (out / STUDY_YAML).read_bytes() == decided
    assert weights.read_bytes() == before
    assert sorted((out / "runs").iterdir()) == runs

    other = vicinal(*("31" if part == "30" else part for part in command))
    assert other.code == 2
    assert other.last.startswith(f"vicinal: {out} holds a distillation with another minutes (30.0)")
    (out / STUDY_YAML).write_text("name: mine\n")
    damaged = vicinal(*command)
    assert damaged.code == 2
    assert "distill.yaml is damaged or was changed" in damaged.last


def test_a_teacher_whose_classes_stand_in_another_order_is_stopped(images, network, tmp_path):
    turned = new_teacher(3)
    turned.load_state_dict(network.state_dict())
    head = turned.get_classifier()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(parameter[torch.tensor([1, 2, 0])])
    path = save_teacher(tmp_path / "turned.pth.tar", turned, 3, SIDE)
    with pytest.raises(UsageError, match=r"state class_names: \[north, south, east\]; or teachers.teacher.head=linear"):
        _opened(path, images, tmp_path, 30, *SHORT)
    named = "teachers.teacher.class_names=[north, south, east]"
    assert "is right on" in _opened(path, images, tmp_path, 30, *SHORT, named).said[0]


def test_a_teacher_that_knows_nothing_of_the_classes_is_stopped(images, tmp_path):
    path = save_teacher(tmp_path / "new.pth.tar", new_teacher(3), 3, SIDE)
    with pytest.raises(UsageError, match=r"the commonest class is 33\.3% of them|clearly below chance"):
        _opened(path, images, tmp_path, 30, *SHORT)
    tuned = _opened(path, images, tmp_path, 30, *SHORT, "teachers.teacher.head=linear", "teachers.teacher.epochs=2")
    assert "is trained first" in tuned.said[0]


COSTS = {"teachers.teacher": NetworkCost(1, 1e-4, 3e-4), "student": NetworkCost(1, 1e-4, 1e-3)}


@pytest.fixture(scope="module")
def open_study(images, teacher, tmp_path_factory):
    """A study whose networks cost what `COSTS` says, and a sheet of it for each test."""
    out = tmp_path_factory.mktemp("fit") / "out"
    _, study = _sheet_and_study(teacher, images, out)
    vars(study.estimate)["network_costs"] = COSTS
    return lambda *overrides: (_sheet_and_study(teacher, images, None, *overrides)[0], study)


@pytest.fixture
def _unit(monkeypatch):
    monkeypatch.setattr("vicinal.recipes.fit.probe_s", lambda: 0.001)


@pytest.mark.usefixtures("_unit")
def test_more_minutes_never_ask_for_less_and_what_is_planned_fits(open_study):
    before = (0, 0)
    for minutes in (0.5, 1, 2, 4, 120):
        sheet, study = open_study()
        fitted, taken = fit(study, sheet, lambda minutes=minutes: 60 * minutes)
        assert taken.total_s <= 60 * minutes
        assert fitted.spec == study.with_plan(sheet.spec()).spec
        students = [run for run in fitted.plan.unique_runs if run.spec.role == "student"]
        assert {run.spec.network.epochs for run in students} == {sheet.values["student"]["epochs"]}
        size = (len(students), sheet.values["student"]["epochs"])
        good = practice.good_epochs(96, 16, False)
        assert size > before
        assert len(students) == 3 or size[1] >= good  # more students only once each has the epochs of practice
        before = size
    assert before == (12, 300)  # and no longer than is of use


@pytest.mark.usefixtures("_unit")
def test_too_few_minutes_are_told_with_those_that_are_needed(open_study):
    sheet, study = open_study()
    with pytest.raises(
        UsageError, match=r"one epoch of the smallest study takes about \d.* min here, and 0\.009 are left"
    ):
        fit(study, sheet, lambda: 0.6)


@pytest.mark.usefixtures("_unit")
def test_what_is_stated_is_kept_whatever_it_takes(open_study):
    sheet, study = open_study("student.epochs=400", "seeds=[7]")
    fitted, taken = fit(study, sheet, lambda: 10.0)
    assert taken.total_s > 10
    assert fitted.spec.seeds == (7,)
    assert fitted.spec.student.epochs == 400


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1e9])
def test_minutes_are_a_positive_number(minutes):
    with pytest.raises(UsageError, match="--minutes is a number above 0"):
        Request("a", "b", minutes=minutes)


def _opened(teacher, images, folder, minutes, *overrides):
    request = Request(str(teacher), str(images), minutes=minutes, overrides=overrides)
    return opened(request, folder / "out", time.monotonic(), lambda _: None, lambda _: None)


def _sheet_and_study(teacher, images, out, *overrides):
    from vicinal.config import DataSpec
    from vicinal.data import glance
    from vicinal.recipes.start import new_sheet

    sheet = new_sheet(glance(DataSpec(source=str(images))), str(teacher), None, None, "fit", [], overrides)
    return sheet, (Study(sheet.spec(), out) if out is not None else None)
