"""Modules that Python code gives to a study: they teach, learn, come back, and are told from others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vicinal
from tiny_studies import write_images
from vicinal.config import NetworkSpec, StudySpec
from vicinal.errors import UsageError
from vicinal.networks import build_classifier, networks_given, weights_hash

CFG = {"mean": (0.5,), "std": (0.25,), "input_size": (1, 12, 12)}


def module(classes: int = 3, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), activation(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, classes)
    )
    network.pretrained_cfg = CFG  # type: ignore[assignment]
    return network


def study(images: Path) -> StudySpec:
    tiny = {"epochs": 1, "batch_size": 8, "lr": 1e-2}
    value: dict[str, Any] = {
        "name": "given",
        "data": {"source": str(images), "test": 0.3, "validation": 0.2},
        "teachers": {
            "mine": {"model": "given/mine", "head": "keep", "epochs": 0, "class_names": ["east", "north", "south"]}
        },
        "student": {"model": "given/small", **tiny},
        "arms": ["kd"],
        "measures": {"vicinity": {"pairs": 2, "lam_points": 3}, "bootstrap_resamples": 100},
        "runtime": {"device": "cpu"},
    }
    return StudySpec.model_validate(value)


def test_a_module_teaches_a_module_and_the_study_goes_on_with_it(tmp_path: Path):
    spec = study(write_images(tmp_path / "images", 12, seed=0))
    mine, small = module(), module()
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    results = vicinal.run(spec, tmp_path / "out", networks={"mine": mine, "small": small})
    assert [model.name for model in results.teachers] == ["mine"]
    for network in (mine, small):
        assert network.training
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    times = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("out/runs/*/weights.safetensors"))]
    assert len(times) == 2
    again = vicinal.run(spec, tmp_path / "out", networks={"mine": mine, "small": small})
    assert times == [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("out/runs/*/weights.safetensors"))]
    assert [t.nll for t in again.teachers] == [t.nll for t in results.teachers]
    with pytest.raises(UsageError, match=r"given/mine: no module of that name is given; give it from Python"):
        vicinal.run(spec, tmp_path / "out")
    with pytest.raises(UsageError, match="given/small: no module of that name is given; close ones: smal; give"):
        vicinal.run(spec, tmp_path / "out", networks={"mine": mine, "smal": small})


def test_modules_are_told_apart_by_parts_and_tensors():
    spec = NetworkSpec(model="given/mine", epochs=1)
    hashes = []
    for network in (module(), module(), module(activation=nn.GELU), module(classes=4)):
        with networks_given({"mine": network}):
            hashes.append(weights_hash(spec))
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    changed = module()
    with torch.no_grad():
        changed[0].bias[0] += 1e-6
    with networks_given({"mine": changed}):
        assert weights_hash(spec) not in hashes


def test_a_kept_module_answers_as_it_does_by_itself():
    mine, pixels = module().eval(), torch.rand(2, 1, 12, 12)
    with networks_given({"mine": mine}), torch.inference_mode():
        kept = build_classifier(NetworkSpec(model="given/mine", head="keep", epochs=0), None, 1)
        torch.testing.assert_close(kept(pixels), mine((pixels - 0.5) / 0.25))
    with (
        pytest.raises(UsageError, match=r"networks: mine is function and no torch.nn.Module"),
        networks_given({"mine": module}),
    ):  # type: ignore[dict-item]
        pass
