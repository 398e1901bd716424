"""Studies of weights that are there already: what they mean is kept to and said, what cannot be is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tiny_studies import merged, write_images

Json = dict[str, Any]


def reused(weights: Path, **more: Any) -> Json:
    return {"model": "vicinal_resnet8", "weights": str(weights), "head": "keep", "epochs": 0, **more}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Json, Path]:
    """A folder of easy images, a study of one teacher on them at 20 px, and its folder, run once."""
    from vicinal.cli.main import main

    root = tmp_path_factory.mktemp("trained")
    write_images(root / "images", 40, seed=1, noise=30)
    study = {
        "name": "one",
        "data": {"source": str(root / "images"), "validation": 0.3},
        "teachers": {"t": {"model": "vicinal_resnet8", "epochs": 6, "batch_size": 16, "lr": 3e-3, "image_size": 20}},
        "measures": {"vicinity": {"pairs": 8, "lam_points": 5}, "bootstrap_resamples": 100},
        "runtime": {"device": "cpu", "compile": "never"},
    }
    (root / "study.yaml").write_text(yaml.safe_dump(study))
    assert main(["run", str(root / "study.yaml"), "--out", str(root / "out")]) == 0
    return root / "images", study, root / "out"


def weights_of(out: Path) -> Path:
    return next(out.glob("runs/teacher-*/weights.safetensors"))


def results(out: Path) -> Json:
    value: Json = json.loads((out / "results.json").read_text())
    return value


def without_names(weights: Path, path: Path, order: list[int] | None = None) -> Path:
    """The same tensors, without a word of what they mean, the head in another order."""
    state = load_file(weights)
    if order is not None:
        state |= {name: state[name][order].clone() for name in ("head.weight", "head.bias")}
    save_file(state, path)
    return path


def test_weights_know_their_classes_their_side_and_their_model(trained, study_file, tmp_path: Path, vicinal):
    images, study, out = trained
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for name, new in (("east", "north-east"), ("north", "North"), ("south", "South")):
        (renamed / new).symlink_to(images / name)
    (renamed / "north-east").rename(renamed / "EAST")
    before = results(out)["teachers"][0]
    assert before["accuracy"] > 0.9
    changes = {"data.source": str(renamed), "teachers.t": reused(weights_of(out))}
    answer = vicinal("run", study_file(study, changes), "--out", tmp_path / "out")
    assert answer.code == 0
    after = results(tmp_path / "out")
    assert after["teachers"][0]["accuracy"] == pytest.approx(before["accuracy"], abs=0.1)
    assert any("at 20 px" in note for note in after["notes"])
    assert any("matched by name" in note for note in after["notes"])
    assert "matched by name" in answer.err
    assert str(tmp_path) not in " ".join(after["notes"])
    assert after["spec"]["teachers"]["t"]["image_size"] == 20
    plan = vicinal("plan", study_file(study, changes), "--out", tmp_path / "out")
    assert "matched by name" in " ".join(plan.out.split())


def test_the_same_weights_give_the_same_numbers(trained, study_file, tmp_path: Path, vicinal):
    _, study, out = trained
    answer = vicinal("run", study_file(study, {"teachers.t": reused(weights_of(out))}), "--out", tmp_path / "out")
    assert answer.code == 0
    for key in ("accuracy", "nll", "ece", "vicinity"):
        assert results(tmp_path / "out")["teachers"][0][key] == results(out)["teachers"][0][key]


@pytest.mark.parametrize("validation", [0.3, 0.0])
def test_an_order_that_nothing_names_is_checked(trained, study_file, tmp_path: Path, vicinal, validation: float):
    _, study, out = trained
    study = merged(study, {"data.validation": validation})
    right = without_names(weights_of(out), tmp_path / "right.safetensors")
    wrong = without_names(weights_of(out), tmp_path / "wrong.safetensors", [2, 0, 1])

    def run(weights: Path, name: str, **more: Any) -> Any:
        changes = {"teachers.t": reused(weights, image_size=20, **more)}
        return vicinal("run", study_file(study, changes), "--out", tmp_path / name)

    assert run(right, "right").code == 0
    notes = results(tmp_path / "right")["notes"]
    assert any("right.safetensors bring no names of classes" in note for note in notes)
    answer = run(wrong, "wrong")
    assert answer.code == 2
    assert "state class_names: [south, east, north]" in answer.last
    assert "teachers.t.check_classes: false" in answer.last
    assert ("validation" if validation else "training") in answer.last
    assert not (tmp_path / "wrong" / "results.json").exists()
    assert run(wrong, "on", check_classes=False).code == 0
    assert results(tmp_path / "on")["teachers"][0]["accuracy"] < 0.1
    assert run(wrong, "said", class_names=["south", "east", "north"]).code == 0
    assert results(tmp_path / "said")["teachers"][0]["accuracy"] > 0.9


def test_other_classes_are_refused_before_anything_is_written(trained, study_file, tmp_path: Path, vicinal):
    images, study, out = trained
    for name, new in (("east", "apple"), ("north", "north"), ("south", "south")):
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / new).symlink_to(images / name)
    changes = {"data.source": str(tmp_path / "other"), "teachers.t": reused(weights_of(out))}
    answer = vicinal("run", study_file(study, changes), "--out", tmp_path / "out")
    assert answer.code == 2
    assert "has the classes east, north, south, and the data has apple, north, south" in answer.last
    assert not (tmp_path / "out").exists()


def test_answers_that_are_not_finite_name_the_network_and_speak_of_no_lr(trained, study_file, tmp_path: Path, vicinal):
    """Weights as large as float32 has are finite, and what they answer is not."""
    _, study, out = trained
    state = load_file(weights_of(out))
    save_file(state | {"head.weight": torch.full_like(state["head.weight"], 3e38)}, tmp_path / "w.safetensors")
    changes = {"teachers.t": reused(tmp_path / "w.safetensors", image_size=20)}
    answer = vicinal("run", study_file(study, changes), "--out", tmp_path / "out")
    assert answer.code == 1
    assert answer.last.startswith("vicinal: t: its answers are not finite")
    assert "w.safetensors cannot be measured" in answer.last
    assert "lr" not in answer.last.replace(str(tmp_path), "")


def test_what_cannot_take_a_training_step_is_refused_by_plan(
    smallest: Json, study_file: Callable[..., Path], tmp_path: Path, vicinal: Any, monkeypatch: pytest.MonkeyPatch
):
    from vicinal.networks import TimmClassifier

    def broken(self: TimmClassifier, pixels: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise RuntimeError("no gradient of this")
        return torch.zeros(len(pixels), 3)

    monkeypatch.setattr(TimmClassifier, "forward", broken)
    answer = vicinal("plan", study_file(smallest), "--out", tmp_path / "out")
    assert answer.code == 2
    assert "teachers.one: vicinal_resnet8 cannot be trained here (no gradient of this)" in answer.last
