"""Every loss term of the package, from a line of docs/losses.md to the weights of a student that was stopped and resumed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import ValidationError

from tiny_studies import weights_of
from vicinal import api
from vicinal.config import Objective, StudySpec, TermsSpec
from vicinal.distillation.objective import TERMS
from vicinal.errors import UsageError
from vicinal.results import read_results

PAGE = (Path(__file__).parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")
ARMS: list[Any] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])["arms"]
SHORT = {"teachers.one.epochs": 1, "student.epochs": 2, "runtime.checkpoint_seconds": 0, "arms": ARMS}


def test_the_page_has_every_term_and_its_keys(tiny: dict[str, Any]) -> None:
    table = PAGE.split("|---|---|---|---|")[1]
    assert {name for name in TERMS if f"| `{name}`" in table} == set(TERMS)
    study = StudySpec.model_validate({**tiny, "arms": ARMS})
    used = {name for arm in study.arms for name in arm.objective.terms.weights}
    assert used == set(TermsSpec.model_fields)
    for name in TermsSpec.model_fields:
        row = next(line for line in table.splitlines() if line.startswith(f"| `{name}`"))
        keys = getattr(Objective(terms={name: 1}).terms, name).model_dump().keys() - {"weight"}
        assert all(f"`{key}" in row for key in keys)


def test_every_term_trains_and_resumes(
    tiny: dict[str, Any],
    study_file: Callable[..., Path],
    tmp_path: Path,
    vicinal: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One by one, killed in the middle of each student: the weights of an undisturbed run, each another than all others."""
    file = study_file(tiny, {**SHORT, "runtime.students_at_once": 1})
    assert vicinal("run", file, "--out", tmp_path / "whole").code == 0
    whole = weights_of(tmp_path / "whole")
    students = {name: content for name, content in whole.items() if name.startswith("student")}
    assert len(students) == len(ARMS) + 1  # one arm has two temperatures
    assert len(set(students.values())) == len(students)
    original, calls = torch.Tensor.backward, 0

    def stopping(self: torch.Tensor, *arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        original(self, *arguments, **options)

    codes = []
    for _ in range(len(students) + 2):
        calls = 0
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "backward", stopping)
            codes.append(vicinal("run", file, "--out", tmp_path / "stopped").code)
    assert codes.count(0) <= 2
    assert vicinal("run", file, "--out", tmp_path / "stopped").code == 0
    assert weights_of(tmp_path / "stopped") == whole


def test_students_of_all_terms_share_an_answer_and_a_bank(
    tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
) -> None:
    file = study_file(tiny, SHORT)
    alone = study_file(tiny, {**SHORT, "runtime.students_at_once": 1, "runtime.bank_gb": 0})
    assert vicinal("run", file, "--out", tmp_path / "together").code == 0
    assert vicinal("run", alone, "--out", tmp_path / "alone").code == 0
    assert vicinal("bank", "build", file, "--out", tmp_path / "banked").code == 0
    assert vicinal("run", file, "--out", tmp_path / "banked").code == 0
    weights = [weights_of(tmp_path / out) for out in ("together", "alone", "banked")]
    assert weights[0] == weights[1] == weights[2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("arms.dkd.terms.dkd.gamma=1", "unknown key 'arms.dkd.terms.dkd.gamma'; allowed here: weight, alpha, beta"),
        ("arms.dkd.terms.dkd=much", "arms.dkd.terms.dkd"),
        ("arms.dkd.terms.dkk=1", "arms.dkd.terms: 'dkk' is not known; known ones: cross_entropy, kd"),
        ("arms.standardised.temperature=2 sigma", "a multiple of sigma such as 2sigma"),
        ("arms.trusted.terms.confidence_kd.by=luck", "arms.trusted.terms.confidence_kd.by"),
    ],
)
def test_a_mistake_is_one_line(
    tiny: dict[str, Any],
    study_file: Callable[..., Path],
    tmp_path: Path,
    vicinal: Callable[..., Any],
    change: str,
    words: str,
) -> None:
    answer = vicinal("run", study_file(tiny, SHORT), change, "--out", tmp_path / "out")
    assert answer.code == 2
    assert words in answer.last
    assert len(answer.err.splitlines()) == 1


def test_a_key_of_a_term_is_reached_by_its_path(
    tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
) -> None:
    answer = vicinal("plan", study_file(tiny, SHORT), "arms.dkd.terms.dkd.beta=2", "--out", tmp_path / "out")
    assert answer.code == 0


HINT = {"name": "hint", "like": "mixup", "terms": {"feature_regression": 0.5}}


def test_no_bank_holds_features(
    tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
) -> None:
    alone, beside = (study_file(tiny, {**SHORT, "arms": arms}) for arms in ([HINT], ["kd_mixup", HINT]))
    refused = vicinal("bank", "build", alone, "--out", tmp_path / "alone")
    assert refused.code == 2
    assert refused.last.endswith(
        "arms.hint learns from its teacher's features, and a bank holds logits alone: run it without one"
    )
    told = vicinal("bank", "build", beside, "--out", tmp_path / "beside")
    assert told.code == 0
    assert "hint: features of the teacher are in no bank, so it predicts as the students train" in told.out
    assert len(list((tmp_path / "beside" / "banks").iterdir())) == 1


class HeadInside(torch.nn.Module):
    """A network whose classifier is a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 12), torch.nn.Flatten())
        self.num_classes, self.in_chans, self.num_features = 3, 1, 3
        self.pretrained_cfg = {"mean": (0.5,), "std": (0.5,), "input_size": (1, 12, 12)}

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layers(pixels)


def test_a_network_that_keeps_its_head_inside_is_refused(tiny: dict[str, Any], tmp_path: Path) -> None:
    other = {"model": "given/other", "head": "keep", "epochs": 0}
    study = {**tiny, "arms": [HINT], "teachers": {**tiny["teachers"], "other": other}}
    with pytest.raises(
        UsageError, match=r"^arms.hint: .*features, and teachers.other \(given/other\) keeps its own head inside"
    ):
        api.plan(StudySpec.model_validate(study), tmp_path, networks={"other": HeadInside()})
    of_one = {**study, "arms": [{**HINT, "teachers": ["one"]}]}
    api.plan(StudySpec.model_validate(of_one), tmp_path, networks={"other": HeadInside()})


def test_an_arm_of_features_alone_has_no_temperature(
    tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
) -> None:
    """And is a student of its teacher all the same, in results and tables."""
    answer = vicinal("run", study_file(tiny, {"arms": ["baseline", HINT]}), "--out", tmp_path)
    assert answer.code == 0
    student = read_results(tmp_path).students[1]
    assert (student.arm, student.teacher, student.temperature) == ("hint", "one", None)
    assert student.versus_teacher.keys() == {"one"}
    assert student.versus_teacher["one"].information_at_training_temperature is None
    assert "hint + 0.5 features" in (tmp_path / "report.html").read_text(encoding="utf-8")
    shipped = tmp_path / "student"
    assert vicinal("export", tmp_path, "--run", "hint", "--out", shipped, "--no-onnx").code == 0
    assert "teacher one (vicinal\\_resnet8)" in (card := (shipped / "README.md").read_text(encoding="utf-8"))
    assert "arm hint + 0.5 features. It tells" in card
    with pytest.raises(ValidationError, match="learns from features alone has no temperature"):
        StudySpec.model_validate({**tiny, "arms": [{**HINT, "temperature": 2}]})
    with pytest.raises(ValidationError, match="nothing to learn from, for features teach no head"):
        StudySpec.model_validate({**tiny, "arms": [{**HINT, "alpha": 0}]})
