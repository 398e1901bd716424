"""What an export states of a preparation is what its study measured: asked of the original files, by timm alone and by ONNX."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image

import vicinal
from shipping_fixtures import CLASSES
from vicinal.config import StudySpec
from vicinal.data import View
from vicinal.errors import VicinalError
from vicinal.shipping import export
from vicinal.shipping.finished import FinishedRun, finished_run
from vicinal.shipping.shown import Shown, ShownPixels

TINY: dict[str, Any] = {"model": "test_resnet", "epochs": 1, "batch_size": 16, "lr": 1e-2}
TEACHERS: dict[str, dict[str, Any]] = {
    "bicubic": {"epochs": 8, "preparation": {"image_size": 40, "crop_pct": 0.875, "interpolation": "bicubic"}},
    "border": {"preparation": {"image_size": 32, "crop_mode": "border", "interpolation": "bicubic"}},
    "nearest": {"preparation": {"image_size": 32, "crop_pct": 0.9, "interpolation": "nearest"}},
    "data": {"preparation": "data"},
}


def write_pictures(root: Path, per_class: int, seed: int, grey_side: int | None = None) -> Path:
    """ROOT/<class>/<n>.png: smooth pictures in colour, some three times as high or as wide; or grey squares of two classes."""
    generator = np.random.default_rng(seed)
    for channel, name in enumerate(CLASSES if grey_side is None else CLASSES[:2]):
        (root / name).mkdir(parents=True)
        for n in range(per_class):
            width, height = generator.integers(28, 90, 2).tolist() if grey_side is None else (grey_side, grey_side)
            pixels = generator.integers(0, 216, (5, 5, 3))
            pixels[..., channel] += 40
            picture = Image.fromarray(pixels.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
            (picture if grey_side is None else picture.convert("L")).save(root / name / f"{n:03}.png")
    return root


def run_study(root: Path, **parts: Any) -> Path:
    """A finished study of the pictures in ROOT/images, in ROOT/study."""
    data = {"source": str(root / "images"), "validation": 0.3, **parts.pop("data", {})}
    measures = {"vicinity": {"pairs": 2, "lam_points": 3}, "bootstrap_resamples": 100}
    study = {"name": "pictures", "data": data, "student": TINY, "arms": ["baseline"], "measures": measures,
             "runtime": {"device": "cpu"}, **parts}  # fmt: skip
    vicinal.run(StudySpec.model_validate(study), root / "study")
    return root / "study"


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which every teacher is shown test images in another way."""
    root = tmp_path_factory.mktemp("colour")
    write_pictures(root / "images" / "train", 8, seed=1)
    write_pictures(root / "images" / "test", 9, seed=2)
    teachers = {name: {**TINY, **own} for name, own in TEACHERS.items()}
    return run_study(root, teachers=teachers, data={"image_size": 32})


@pytest.fixture
def said() -> list[str]:
    return []


def stated(folder: Path) -> dict[str, Any]:
    cfg: dict[str, Any] = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    return {key: cfg[key] for key in ("input_size", "crop_pct", "crop_mode", "interpolation")}


def by_timm(folder: Path, files: list[Path]) -> np.ndarray:
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform: Any = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.inference_mode():
        return torch.stack([model(transform(Image.open(file))[None])[0] for file in files]).softmax(-1).numpy()


def by_onnx(folder: Path, files: list[Path]) -> np.ndarray:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    channels = session.get_inputs()[0].shape[3]
    arrays = [np.asarray(Image.open(file)) for file in files]
    answers = [session.run(None, {"images": a.reshape(1, *a.shape[:2], channels)})[0][0] for a in arrays]
    return np.array(answers)


def measured(study: Path, name: str, folder: Path) -> tuple[np.ndarray, list[Path]]:
    """The study's stored answers at the folder's temperature, and the files that they are about: class by class, by name."""
    run: FinishedRun = finished_run(study, name)
    assert run.predictions is not None
    temperature = json.loads((folder / "vicinal.json").read_text())["temperature"] or 1.0
    files = sorted((study.parent / "images" / "test").rglob("*.png"))
    assert [CLASSES.index(file.parent.name) for file in files] == run.predictions.test_labels.tolist()
    return (run.predictions.test.double() / temperature).softmax(-1).numpy(), files


@pytest.mark.parametrize(
    ("name", "preparation", "onnx"),
    [
        ("bicubic", ([3, 40, 40], 0.875, "center", "bicubic"), False),
        pytest.param("bicubic", ([3, 40, 40], 0.875, "center", "bicubic"), True, marks=pytest.mark.slow),
        ("border", ([3, 32, 32], 1.0, "border", "bicubic"), False),
        ("nearest", ([3, 32, 32], 0.9, "center", "nearest"), False),
        ("data", ([3, 32, 32], 1.0, "center", "bilinear"), False),
    ],
)
def test_the_folder_states_the_preparation_that_the_study_measured(
    colour: Path, tmp_path: Path, said: list[str], name: str, preparation: tuple[object, ...], onnx: bool
):
    folder = vicinal.api.export(colour, tmp_path / "out", run=f"teacher-{name}", onnx=onnx, say=said.append)
    found = stated(folder)
    assert found.pop("crop_pct") == pytest.approx(preparation[1], abs=0.02)  # as the side before the crop rounds
    assert list(found.values()) == [preparation[0], preparation[2], preparation[3]]
    wanted, files = measured(colour, name, folder)
    assert len({Image.open(file).size for file in files}) > 20
    assert np.abs(by_timm(folder, files) - wanted).max() < 1e-5
    if onnx:
        assert np.abs(by_onnx(folder, files) - wanted).max() < 1e-2
    assert any("config.json: timm's own transform and model answer as the study measured" in line for line in said)


@pytest.mark.parametrize(
    "other",
    [View(40, 40, "center", "bicubic"), View(40, 45, "center", "bilinear"), View(40, 45, "squash", "bicubic")],
    ids=lambda view: view.text,
)
def test_another_preparation_is_refused_in_one_line(
    colour: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: View
):
    """The check itself, tried: a run that is read with a preparation that its study did not measure it with."""
    right = finished_run(colour, "teacher-bicubic")
    monkeypatch.setattr(export, "finished_run", lambda *_: replace(right, shown=Shown(other, other)))
    with pytest.raises(
        VicinalError, match=r"otherwise than the study measured \(a probability differs by up to "
    ) as refusal:
        vicinal.api.export(colour, tmp_path / "out", run="teacher-bicubic", onnx=False)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_graph_with_another_preparation_is_refused_too(colour: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    right, other = finished_run(colour, "teacher-bicubic"), View(40, 40, "center", "bicubic")
    monkeypatch.setattr(export, "finished_run", lambda *_: replace(right, shown=Shown(other, other)))
    monkeypatch.setattr(export._Export, "_check_timm", lambda _: None)
    with pytest.raises(VicinalError, match=r"model.onnx: onnxruntime answers otherwise than the study measured"):
        vicinal.api.export(colour, tmp_path / "out", run="teacher-bicubic")


def test_where_the_originals_are_gone_it_says_that_nothing_was_compared(colour: Path, tmp_path: Path, said: list[str]):
    images = colour.parent / "images"
    images.rename(colour.parent / "elsewhere")
    try:
        folder = vicinal.api.export(colour, tmp_path / "out", run="teacher-data", onnx=False, say=said.append)
    finally:
        (colour.parent / "elsewhere").rename(images)
    line = "not compared with the answers that the study measured: the test images are not to be had"
    assert any(line in one for one in said)
    assert line in (folder / "README.md").read_text()


@pytest.mark.slow
def test_a_grey_study_of_two_classes_ships_whole(tmp_path: Path, said: list[str]):
    for split, count in (("train", 12), ("test", 9)):
        write_pictures(tmp_path / "images" / split, count, seed=len(split), grey_side=28)
    study = run_study(
        tmp_path, teachers={"one": TINY}, data={"image_size": 48}
    )  # stored at 28 px, enlarged on the device
    folder = vicinal.api.export(study, tmp_path / "out", run="teacher-one", say=said.append)
    wanted, files = measured(study, "teacher-one", folder)
    assert wanted.shape == (18, 2)
    assert np.abs(by_onnx(folder, files) - wanted).max() < 1e-5
    assert stated(folder)["input_size"] == [1, 48, 48]
    assert np.abs(by_timm(folder, files) - wanted).max() < 1e-3


@pytest.mark.slow
def test_what_timm_cannot_say_ships_as_graphs_that_do_the_same(colour: Path, tmp_path: Path, said: list[str]):
    shutil.copytree(colour.parent / "images", tmp_path / "images")
    cropped = {**TINY, "epochs": 12, "augment": {"crop": "resize", "resize": 39}}  # answers that depend on what is seen
    vision = {**TINY, "model": "torchvision/mobilenet_v3_small"}
    study = run_study(tmp_path, teachers={"vision": vision, "cropped": cropped}, data={"image_size": 32})
    for name, reason in (("vision", "timm has no torchvision"), ("cropped", "images were cropped twice")):
        folder = vicinal.api.export(study, tmp_path / name, run=f"teacher-{name}", say=said.append)
        assert f"no timm model: {reason}" in "\n".join(said)
        assert not (folder / "config.json").exists()
        assert not list(folder.glob("*.safetensors"))
        assert (folder / "model.pt2").is_file()
        wanted, files = measured(study, f"teacher-{name}", folder)
        assert np.abs(by_onnx(folder, files) - wanted).max() < 1e-2


@pytest.mark.parametrize(
    ("stored", "resized", "crop", "inner"), [(28, 48, None, None), (60, 41, 32, 20), (32, None, None, 40)]
)
def test_the_graph_resizes_floats_as_the_study_does(
    stored: int, resized: int | None, crop: int | None, inner: int | None
):
    from vicinal.inputs import resize

    view = View(stored, stored)
    shown = Shown(view, view, resized, crop, inner)
    pixels = torch.rand(2, 3, stored, stored, generator=torch.Generator().manual_seed(0))
    wanted = resize(shown.pixels(pixels), inner)
    assert ShownPixels(shown)(pixels).shape == wanted.shape
    assert torch.allclose(ShownPixels(shown)(pixels), wanted, atol=1e-6)
