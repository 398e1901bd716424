"""Every command of the guides runs as it stands there, in one folder, one after the other; on tiny images and for one epoch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision

from teacher_on_disk import save_teacher, trained_teacher
from tiny_studies import Answer, write_images

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
SIDE = 20
SMALL = ("measures.vicinity.pairs=8", "measures.bootstrap_resamples=100")
# What follows a command, so that it takes seconds: a smaller student, shorter training, fewer images, and so less to promise.
SHORTER = {
    "distill": ("--student", "vicinal_mobilenet", "student.epochs=4", "student.lr=0.01", "arms=kd", "seeds=0", *SMALL),
    "run": ("data.train_images=40", "teachers.calibrated.epochs=1", "student.epochs=1", "seeds=0", *SMALL),
    "predict": ("--risk", "0.3"),
    "measure": ("--pairs", "0"),
    "compare": ("--pairs", "0"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of photographs in classes, as the guides have it, as current folder."""
    write_images(tmp_path / "photos" / "train", 180, seed=1, side=SIDE)
    write_images(tmp_path / "photos" / "val", 15, seed=2, side=SIDE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(guide: str, language: str) -> list[str]:
    """The blocks of code in a language, as they stand in a guide."""
    return re.findall(rf"```{language}\n(.*?)```", (GUIDES / f"{guide}.md").read_text(encoding="utf-8"), re.DOTALL)


def run_all(guide: str, vicinal: Callable[..., Answer]) -> list[str]:
    """Run a guide's commands; gives their verbs."""
    verbs = []
    for line in "".join(blocks(guide, "sh")).splitlines():
        program, verb, *arguments = shlex.split(line, comments=True)
        assert program == "vicinal"
        answer = vicinal(verb, *arguments, *SHORTER.get(verb, ()))
        assert answer.code == 0, f"{line}: {answer.err}"
        verbs.append(verb)
    return verbs


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
def test_ship_a_student(here: Path, vicinal: Callable[..., Answer]):
    save_teacher(here / "model_best.pth.tar", trained_teacher(here / "photos" / "train"), 3, SIDE)
    assert run_all("ship", vicinal) == ["check", "distill", "predict", "errors"]
    assert len((here / "answers.csv").read_text().splitlines()) == 46
    for file in ("report.html", "student/model.onnx", "student/README.md"):
        assert (here / "runs/fruit" / file).is_file(), file


@pytest.mark.slow
def test_measure_a_classifier(here: Path, vicinal: Callable[..., Answer]):
    for name in ("resnet18", "resnet34"):
        torch.save(getattr(torchvision.models, name)(num_classes=3).state_dict(), here / f"{name}.pth")
    assert run_all("measure", vicinal) == ["measure", "compare"]
    for file in ("resnet18/measurement.html", "both/measurement.json"):
        assert (here / "runs" / file).is_file(), file


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.slow
def test_run_a_study(here: Path, vicinal: Callable[..., Answer]):
    (here / "mine.yaml").write_text(blocks("study", "yaml")[0])
    assert run_all("study", vicinal)[:2] == ["plan", "run"]
    assert (here / "runs/mine/report.html").is_file()
