"""A shipped student answers alike everywhere, also where vicinal cannot be imported; what cannot be shipped is refused in a line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from shipping_fixtures import CLASSES, WITHOUT_VICINAL, Shipped, elsewhere
from tiny_studies import Answer
from vicinal.shipping.finished import finished_run


def wanted(study: Path, run: str, folder: Path, files: list[Path]) -> np.ndarray:
    """Probabilities by the study's own network, preparation and the folder's temperature."""
    found = finished_run(study, run)
    temperature = json.loads((folder / "vicinal.json").read_text())["temperature"] or 1.0
    pixels = [torch.from_numpy(found.view.array(Image.open(file)).copy()).permute(2, 0, 1) / 255 for file in files]
    with torch.inference_mode():
        return (found.network(torch.stack(pixels)) / temperature).softmax(-1).numpy()


@pytest.mark.parametrize(
    ("kind", "run", "files"),
    [
        ("timm", "student", {"timm", "model.onnx", "int8.onnx"}),
        pytest.param("graphs", "teacher", {"model.onnx", "model.pt2"}, marks=pytest.mark.slow),
    ],
)
def test_every_file_answers_as_the_study_does_in_a_process_without_vicinal(
    shipped: Shipped, kind: str, run: str, files: set[str]
):
    folder, photographs = getattr(shipped, kind), sorted((shipped.images / "test").rglob("*.png"))[::4]
    answers = json.loads(elsewhere("-c", WITHOUT_VICINAL, folder, *photographs))
    assert answers.keys() == files
    for file, given in answers.items():
        if file == "int8.onnx":  # other probabilities: tests/shipping/test_int8.py
            continue
        assert np.abs(np.array(given) - wanted(shipped.study, run, folder, photographs)).max() < 1e-5, file


def test_the_temperature_is_in_the_classifier_and_the_plain_weights_lie_beside(shipped: Shipped):
    facts = json.loads((shipped.timm / "vicinal.json").read_text())
    plain, calibrated = (load_file(shipped.timm / f"{name}.safetensors") for name in ("model_uncalibrated", "model"))
    assert facts["temperature"] is not None
    assert abs(facts["temperature"] - 1) > 1e-3  # else nothing was tried
    assert plain.keys() == calibrated.keys()
    for name, tensor in plain.items():
        scale = facts["temperature"] if name.startswith("classifier.") else 1
        assert torch.allclose(calibrated[name] * scale, tensor, rtol=1e-6), name


def test_the_onnx_file_takes_batches_of_any_size_and_says_what_it_means(shipped: Shipped):
    import onnxruntime

    model = onnx.load(shipped.timm / "model.onnx")
    told = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert told["class_names"] == list(CLASSES)
    assert told["preparation"]["image_size"] == 32
    assert str(Path(__file__).parents[2]) not in str(model)  # no path of the machine that wrote it
    session = onnxruntime.InferenceSession(shipped.timm / "model.onnx")
    assert session.get_inputs()[0].shape == ["batch", "height", "width", 3]
    images = np.random.default_rng(0).integers(0, 256, (5, 41, 90, 3), dtype=np.uint8)
    together = session.run(None, {"images": images})[0]
    alone = np.concatenate([session.run(None, {"images": one[None]})[0] for one in images])
    assert np.abs(together - alone).max() < 1e-6
    assert np.allclose(together.sum(1), 1, atol=1e-6)


@pytest.mark.slow
def test_the_card_holds_its_numbers_and_its_code_runs(shipped: Shipped, tmp_path: Path):
    from huggingface_hub import ModelCard

    for folder in (shipped.timm, shipped.graphs):
        card = ModelCard.load(folder / "README.md")
        facts = json.loads((folder / "vicinal.json").read_text())
        told = {one.metric_type: one.metric_value for one in card.data.eval_results or []}
        assert told["accuracy"] == pytest.approx(facts["test"]["accuracy"], abs=1e-6)
        assert card.data.library_name == ("timm" if folder == shipped.timm else "onnx")
        named = set(re.findall(r"^- `([\w.]+)`:", card.text, re.MULTILINE))
        assert named | {"README.md"} == {file.name for file in folder.iterdir()}
        blocks = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
        assert len(blocks) == 2
        photograph = next((shipped.images / "test" / "north").iterdir())
        for block in blocks:
            code = block.replace("photo.jpg", str(photograph))
            name, probability = elsewhere("-c", code, cwd=folder).split()
            assert name in CLASSES
            assert 1 / 3 < float(probability) <= 1


def test_promises_are_calibrated_on_images_that_no_temperature_saw(shipped: Shipped):
    facts = json.loads((shipped.timm / "vicinal.json").read_text())
    found = finished_run(shipped.study).predictions
    assert found is not None
    assert facts["fitted_on_images"] + facts["conformal"]["images"] == len(found.validation_labels) == 90
    by_coverage = {entry["coverage"]: entry for entry in facts["conformal"]["quantiles"]}
    assert by_coverage[0.999]["quantile"] is None  # 45 images cannot promise it
    assert by_coverage[0.5]["quantile"] <= by_coverage[0.9]["quantile"]
    p = (found.test.double() / facts["temperature"]).softmax(-1)
    held = (1 - p.gather(1, found.test_labels[:, None])[:, 0] <= by_coverage[0.9]["quantile"]) | (
        p.argmax(1) == found.test_labels
    )
    assert by_coverage[0.9]["test_coverage"] == pytest.approx(float(held.double().mean()))


def test_mistakes_end_in_one_line(shipped: Shipped, vicinal: Callable[..., Answer], tmp_path: Path):
    def refused(*arguments: object, code: int = 2) -> str:
        answer = vicinal("export", *arguments)
        assert answer.code == code
        assert len(answer.err.strip().splitlines()) == 1, answer.err
        return answer.last

    assert "--force replaces it" in refused(shipped.study, "--out", shipped.timm)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    assert "holds other files and no student" in refused(shipped.study, "--out", tmp_path / "full", "--force")
    assert "holds no study" in refused(tmp_path / "full", "--out", tmp_path / "new")
    assert "no finished run named 'nobody'" in refused(shipped.study, "--run", "nobody", "--out", tmp_path / "new")
    assert "2 runs" in refused(shipped.study, "--run", "-", "--out", tmp_path / "new")
    run = next((shipped.study / "runs").glob("student-*"))
    assert "leave it out" in refused(run, "--run", "x", "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "full" / "diary.txt").read_text() == "mine"


def test_a_student_is_replaced_whole_when_asked(shipped: Shipped, vicinal: Callable[..., Answer], tmp_path: Path):
    out = tmp_path / "student"
    run = next((shipped.study / "runs").glob("student-*"))
    assert vicinal("export", run, "--out", out, "--no-onnx").code == 0
    assert not (out / "model.onnx").exists()
    (out / "old").write_text("of before")
    answer = vicinal("export", run, "--out", out, "--no-onnx", "--force")
    assert answer.code == 0, answer.err
    assert not (out / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
