"""A teacher that is several: learned from, stored in banks, and measured from what its members predicted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from safetensors.torch import load_file

from tiny_studies import merged, weights_of
from vicinal import api
from vicinal.config import StudySpec
from vicinal.inputs import ImagePipeline
from vicinal.results import read_results
from vicinal.study import Study, bank_layout
from vicinal.study.networks import load_network
from vicinal.training import training_plan


@pytest.fixture(scope="module")
def two_teachers(tiny: dict[str, Any]) -> dict[str, Any]:
    other = {**tiny["teachers"]["one"], "model": "vicinal_mobilenet", "epochs": 2}
    changes = {
        "name": "together",
        "teachers.one.epochs": 2,
        "teachers.other": other,
        "student.epochs": 2,
        "ensembles": {"both": ["one", "other"]},
        "arms": ["baseline", {"name": "kd_mixup", "temperature": [1, 3]}],
        "measures.corruptions": {"names": ["contrast"]},
        "measures.representation": {"images_per_class": 5},
        "measures.ood": {"source": tiny["data"]["source"], "name": "itself"},
        "seeds": [0, 1],
    }
    return merged(tiny, changes)


@pytest.fixture(scope="module")
def folder(two_teachers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ensembles") / "out"
    api.run(StudySpec.model_validate(two_teachers), out)
    return out


def probabilities(folder: Path, run: str, key: str) -> torch.Tensor:
    (file,) = folder.glob(f"runs/{run}/predictions-*.safetensors")
    return load_file(file)[key].double().softmax(-1)


def test_it_is_measured_from_what_its_members_predicted(folder: Path) -> None:
    results = read_results(folder)
    assert [(t.name, t.seed) for t in results.teachers] == [
        ("one", 0), ("other", 0), ("one", 1), ("other", 1), ("both", 0), ("both", 1),
    ]  # fmt: skip
    assert len(list(folder.glob("runs/teacher-*"))) == 4
    for both in results.teachers[4:]:
        members = [t for t in results.teachers[:4] if t.seed == both.seed]
        assert (both.run, both.ensemble, both.model) == (None, ["one", "other"], "ensemble of one, other")
        assert both.parameters == sum(t.parameters or 0 for t in members)
        (file,) = folder.glob(f"runs/{members[0].run}/predictions-*.safetensors")
        labels = load_file(file)["test_labels"]
        mean = sum(probabilities(folder, str(t.run), "test") for t in members) / 2
        assert both.accuracy == pytest.approx(float((mean.argmax(1) == labels).double().mean()))
        assert both.nll == pytest.approx(float(-mean[range(len(labels)), labels].log().mean()), rel=1e-5)
        i, j, mixed = (
            sum(probabilities(folder, str(t.run), f"pair_{part}") for t in members) / 2 for part in ("i", "j", "mixed")
        )
        half = len(both.vicinity.lam) // 2
        line = (i + j) / 2
        expected = (line * (line / mixed[:, half]).log()).sum(-1).mean()
        assert both.vicinity.nonlinearity[half] == pytest.approx(float(expected), rel=1e-4, abs=1e-6)
        assert both.corruptions is not None
        assert both.ood_auroc is not None
        assert both.ood_auroc["itself"] == pytest.approx(0.5, abs=1e-6)
        assert both.representation is None
        assert both.nll <= np.mean([t.nll for t in members]) + 1e-9


def test_students_learn_from_it_and_seeds_pair_up(folder: Path) -> None:
    results = read_results(folder)
    taught = [(s.teacher, s.temperature, s.seed) for s in results.students if s.arm == "kd_mixup"]
    assert taught == [(t, T, seed) for seed in (0, 1) for T in (1, 3) for t in ("one", "other", "both")]
    weights = weights_of(folder)
    assert len(set(weights.values())) == len(weights)
    assert all(set(s.versus_teacher) == {"one", "other", "both"} for s in results.students)


def test_the_report_has_it(folder: Path) -> None:
    api.report(folder)
    table = next(folder.glob("tables/*.md")).read_text(encoding="utf-8")
    assert "both" in table
    assert "ensemble of one, other" in (folder / "report.html").read_text(encoding="utf-8")


SHORT = {"seeds": 0, "student.epochs": 1, "teachers.one.epochs": 1, "teachers.other.epochs": 1, "measures.corruptions": None,
         "measures.representation": None, "measures.ood": None, "runtime.checkpoint_seconds": 0}  # fmt: skip
OF_BOTH = {"arms": [{"name": "kd_mixup", "temperature": [1, "sigma"], "teachers": ["both"]}]}


def test_a_bank_holds_its_answers_and_serves_the_same_weights(
    two_teachers: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
) -> None:
    file = study_file(two_teachers, {**SHORT, **OF_BOTH})
    alone = study_file(two_teachers, {**SHORT, **OF_BOTH, "runtime.students_at_once": 1, "runtime.bank_gb": 0})
    assert vicinal("bank", "build", file, "--out", tmp_path / "banked").code == 0
    verified = vicinal("bank", "verify", file, "--out", tmp_path / "banked")
    assert verified.code == 0
    assert "both, seed 0" in verified.out
    # By hand: the mean probability of both networks, asked about the plan's first batch.
    study = Study(StudySpec.model_validate(yaml.safe_load(file.read_text())), tmp_path / "banked")
    student = study.plan.students[0]
    assert student.teacher is not None
    bank = study.open_bank(student, bank_layout(student, study.plan), create=False)
    kept = bank.read(0, 0)
    bank.close()
    pipeline: ImagePipeline = study.context.pipeline(student)
    batch = pipeline.make(training_plan(student.spec, student.train_images).batch(0, 0))
    with torch.no_grad():
        networks = [load_network(study.context, run).eval() for run in student.teacher.members]
        mean = sum(network(batch.mixed).double().softmax(-1) for network in networks) / 2
    assert kept is not None
    torch.testing.assert_close(kept.double().softmax(-1), mean, rtol=1e-3, atol=1e-4)
    for name, command in (("banked", file), ("together", file), ("alone", alone)):
        assert vicinal("run", command, "--out", tmp_path / name).code == 0
    weights = [weights_of(tmp_path / name) for name in ("banked", "together", "alone")]
    assert weights[0] == weights[1] == weights[2]
    assert len(weights[0]) == 4  # two teachers, a student for each temperature


def test_a_bank_of_it_needs_both_members(
    two_teachers: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
) -> None:
    file = study_file(two_teachers, {**SHORT, **OF_BOTH})
    assert vicinal("bank", "build", file, "--out", tmp_path).code == 0
    (gone,) = tmp_path.glob("runs/teacher-other-*")
    gone.rename(tmp_path / "elsewhere")
    for command in ("run", "bank"):
        told = vicinal(*([command] if command == "run" else ["bank", "verify"]), file, "--out", tmp_path)
        assert told.code == 2
        assert gone.name in told.last


def test_it_resumes(
    two_teachers: dict[str, Any],
    study_file: Callable[..., Path],
    tmp_path: Path,
    vicinal: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = study_file(two_teachers, {**SHORT, **OF_BOTH})
    assert vicinal("run", file, "--out", tmp_path / "whole").code == 0
    from vicinal.training import Learner

    learn = Learner.learn

    def until(self: Learner, *arguments: Any) -> None:
        if self.run.objective.uses_teacher and self.state.step == 2:
            raise KeyboardInterrupt
        learn(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "learn", until)
        assert vicinal("run", file, "--out", tmp_path / "stopped").code == 130
    assert vicinal("run", file, "--out", tmp_path / "stopped").code == 0
    assert weights_of(tmp_path / "stopped") == weights_of(tmp_path / "whole")


def test_jobs_wait_for_all_members(two_teachers: dict[str, Any], tmp_path: Path) -> None:
    study = Study(StudySpec.model_validate(merged(two_teachers, {**SHORT, **OF_BOTH})), tmp_path)
    needs = [job.needs for job in study.jobs if job.runs[0].startswith("student")]
    assert {name.split("-")[1] for name in needs[0]} == {"one", "other"}
    assert len({run.teacher.spec.fingerprint() for run in study.plan.students if run.teacher}) == 1


def test_an_ensemble_is_its_members(two_teachers: dict[str, Any], tmp_path: Path) -> None:
    """What changes a member changes the students of the ensemble, and nobody else's; its name changes nothing."""
    base = merged(two_teachers, {**SHORT, "arms": [{"name": "kd"}]})

    def runs(changes: dict[str, Any]) -> dict[tuple[str, str], str]:
        plan = Study(StudySpec.model_validate(merged(base, changes)), tmp_path).plan
        return {(r.spec.role, r.label.get("teacher") or r.spec.name): r.spec.fingerprint() for r in plan.runs}

    first, changed = runs({}), runs({"teachers.other.lr": 0.5})
    assert {key for key in first if first[key] != changed[key]} == {
        ("teacher", "other"), ("student", "other"), ("student", "both"),
    }  # fmt: skip
    renamed = runs({"ensembles": {"all": ["one", "other"]}})
    assert renamed["student", "all"] == first["student", "both"]
    without = runs({"ensembles": {}})
    assert without.items() < first.items()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ensembles": {"both": ["one", "third"]}}, "ensembles.both: 'third' is not one of teachers: one, other"),
        ({"ensembles": {"both": ["one"]}}, "ensembles.both: a mean is of two teachers or more"),
        ({"ensembles": {"both": []}}, "ensembles.both: a mean is of two teachers or more"),
        ({"ensembles": {"both": ["one", "one"]}}, "lists 'one' twice"),
        ({"ensembles": {"one": ["one", "other"]}}, "ensembles.one has the name of a teacher"),
        ({"arms": [{"name": "kd", "teachers": ["all"]}]}, "which is not a teacher: one, other, both"),
    ],
)
def test_ensembles_that_cannot_be(two_teachers: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        StudySpec.model_validate(merged(two_teachers, changes))


def test_it_has_no_features(
    two_teachers: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
) -> None:
    hint = {"name": "hint", "like": "mixup", "terms": {"feature_regression": 1}}
    told = vicinal("run", study_file(two_teachers, {**SHORT, "arms": [hint]}), "--out", tmp_path)
    assert told.code == 2
    assert "arms.hint: a term of the loss wants features, and both is an ensemble" in told.last
    assert len(told.err.splitlines()) == 1


def test_the_plan_says_so(
    two_teachers: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
) -> None:
    told = vicinal("plan", study_file(two_teachers, {**SHORT, **OF_BOTH}), "--out", tmp_path)
    assert told.code == 0
    assert "Ensembles, which train nothing of their own: both (of one, other)." in " ".join(told.out.split())
