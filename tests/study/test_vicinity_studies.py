"""Whole studies of every vicinity: exact from banks, also where streams repeat and mixing ends, continued, and told in results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ARMS = [
    {"name": "mixup", "mixing": {"until": 0.6}},
    {"name": "cutmix", "mixing": {"vicinity": "cutmix", "partners": "other_class"}},
    {"name": "within", "mixing": {"partners": "same_class", "until": 0.6}},
    {"name": "noise", "mixing": {"vicinity": "gaussian_noise", "noise_std": 0.1, "until": 0.6}},
    {"name": "regmixup", "mixing": {"vicinity": "regmixup", "eta": 2, "until": 0.6}},
    {"name": "regmixup_all", "alpha": 0.3, "mixing": {"vicinity": "regmixup"}},
    {"name": "two_crops", "mixing": {"vicinity": "two_crops", "until": 0.6}},
    {"name": "linear", "target": "linear", "mixing": {"vicinity": "regmixup", "until": 0.6}},
]


@pytest.fixture(scope="module")
def file(tiny: dict[str, Any], study_file: Callable[..., Path]) -> Path:
    arms = [{"like": "kd_mixup", **arm} for arm in ARMS]
    arms[0]["name"] = "ending"  # the name of a known arm, which learns from no teacher
    changes = {
        "arms": arms,
        "teachers.one.epochs": 1,
        "teachers.one.inference_precision": "fp32",
        "student.epochs": 5,
        "student.repeat_inputs_after_epochs": 1,
        "student.augment": {"crop": "pad", "pad": 2, "flip": True},
    }
    return study_file(tiny, changes)


def student_weights(out: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in out.glob("runs/student-*/weights.safetensors")}


@pytest.fixture(scope="module")
def live(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vicinal.cli.main import main

    out = tmp_path_factory.mktemp("live")
    assert main(["run", str(file), "--out", str(out), "runtime.bank_gb=0"]) == 0
    return out


def test_students_of_banks_are_those_of_a_live_teacher(
    file: Path, live: Path, tmp_path: Path, vicinal: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    answer = vicinal("bank", "build", file, "--out", tmp_path)
    assert answer.code == 0, answer.err
    assert "100 %" in vicinal("bank", "verify", file, "--out", tmp_path).out
    again = vicinal("bank", "build", file, "--out", tmp_path)
    assert again.out.count(" 0 answers made now") == len(again.out.splitlines()) == len(ARMS)
    with monkeypatch.context() as patch:
        patch.setattr("vicinal.distillation.teacher.FrozenTeacher.forward", lambda *_: pytest.fail("asked"))
        answer = vicinal("run", file, "--out", tmp_path)
    assert answer.code == 0, answer.err
    assert len(student_weights(live)) == len(ARMS)
    assert student_weights(tmp_path) == student_weights(live)


def test_slices_fill_a_bank_of_every_vicinity(file: Path, tmp_path: Path, vicinal: Callable[..., Any]):
    for part in ("0/2", "1/2"):
        answer = vicinal("bank", "build", file, "--out", tmp_path, "--slice", part)
        assert answer.code == 0, answer.err
    verified = vicinal("bank", "verify", file, "--out", tmp_path, "--batches", 100)
    assert verified.code == 0, verified.err
    assert verified.out.count(" 100 % of ") == len(ARMS)


def test_results_say_how_many_found_no_partner(live: Path):
    results = json.loads((live / "results.json").read_text())
    shares = {student["arm"]: student.get("without_partner") for student in results["students"]}
    assert shares.pop("within") == 0  # batches of 15 hold each of three classes twice
    assert shares.pop("cutmix") == 0
    assert set(shares.values()) == {None}


def test_the_report_says_how_many_found_no_partner_and_along_which_path_it_measures(
    file: Path, tmp_path: Path, vicinal: Callable[..., Any]
):
    answer = vicinal("run", file, "--out", tmp_path, "student.epochs=1", "student.batch_size=3")
    assert answer.code == 0, answer.err
    results = json.loads((tmp_path / "results.json").read_text())
    share = next(s["without_partner"] for s in results["students"] if s["arm"] == "within")
    assert 0.2 < share < 0.8  # of three images of three classes
    words = f"within: {100 * share:.1f} % of an epoch&#39;s images found none of their own class in their batch"
    page = (tmp_path / "report.html").read_text(encoding="utf-8").replace("'", "&#39;")
    assert words in page
