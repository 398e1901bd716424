"""A loss term of a user's own, from a study file to the weights of a student, without a change of any room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vicinal.distillation import MixedLabels, StudentOutputs, TeacherAnswers, register_term
from vicinal.distillation.objective import TERMS


@pytest.fixture
def clean_agreement(monkeypatch: pytest.MonkeyPatch) -> list[TeacherAnswers]:
    """A term that learns from the clean answers and keeps features small; what it was given."""
    seen: list[TeacherAnswers] = []

    def per_sample(student: StudentOutputs, batch: MixedLabels, answers: TeacherAnswers, _: object) -> torch.Tensor:
        seen.append(answers)
        assert answers.own is not None
        assert student.features is not None
        return (student.logits - answers.own).square().mean(1) + student.features.square().mean(1)

    monkeypatch.setattr("vicinal.distillation.objective.TERMS", dict(TERMS))
    register_term("clean_agreement", per_sample, needs=["clean_answers", "features"])
    return seen


def weights(out: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(out.glob("runs/student-*/weights.safetensors"))]


def test_a_term_is_reached_from_a_study_live_and_by_a_bank(
    tiny: dict[str, Any],
    study_file: Callable[..., Path],
    tmp_path: Path,
    vicinal: Callable[..., Any],
    clean_agreement: list[TeacherAnswers],
) -> None:
    short = {"teachers.one.epochs": 1, "student.epochs": 2}
    arms = {"plain": {}, "own": {"terms": {"clean_agreement": 0.5}}}
    files = {name: study_file(tiny, {**short, "arms": [{"name": "kd_mixup", **arm}]}) for name, arm in arms.items()}
    assert vicinal("run", files["plain"], "--out", tmp_path / "plain").code == 0
    assert clean_agreement == []
    assert vicinal("run", files["own"], "--out", tmp_path / "own").code == 0
    assert len(clean_agreement) == 2 * 3  # epochs of 45 images in batches of 15
    assert weights(tmp_path / "own") != weights(tmp_path / "plain")
    # A bank holds the answers to the mixed images; those to the clean ones are predicted beside it.
    assert vicinal("bank", "build", files["own"], "--out", tmp_path / "banked").code == 0
    assert vicinal("run", files["own"], "--out", tmp_path / "banked").code == 0
    assert weights(tmp_path / "banked") == weights(tmp_path / "own")


def test_a_term_that_cannot_be_is_one_line_before_anything_is_trained(
    tiny: dict[str, Any],
    study_file: Callable[..., Path],
    tmp_path: Path,
    vicinal: Callable[..., Any],
    clean_agreement: list[TeacherAnswers],
) -> None:
    for arm, words in (
        ({"name": "kd", "terms": {"mine": 1}}, "'mine' is not known"),
        ({"name": "baseline", "terms": {"clean_agreement": 1}}, "needs beta above 0"),
    ):
        answer = vicinal("run", study_file(tiny, {"arms": [arm]}), "--out", tmp_path / "out")
        assert answer.code == 2
        assert words in answer.last
        assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "out" / "runs").exists()
