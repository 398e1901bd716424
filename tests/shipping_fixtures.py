"""One study of colour photographs of many sizes, and its student shipped, for every test of shipping."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

CLASSES = ("east", "north", "south")


# Loads everything that lies in a folder and answers about images, in a process that has no vicinal.
WITHOUT_VICINAL = """
import json, sys
import numpy as np

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "vicinal":
            raise ImportError("vicinal is not to be had here")

sys.meta_path.insert(0, Blocked())
from pathlib import Path
import onnxruntime, timm, torch
from PIL import Image

folder, files = Path(sys.argv[1]), sys.argv[2:]
answers = {}
images = [Image.open(file).convert("RGB") for file in files]
if (folder / "config.json").exists():
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.inference_mode():
        answers["timm"] = [model(transform(image)[None])[0].softmax(-1).tolist() for image in images]
    assert model.pretrained_cfg["label_names"] == (folder / "class_names.txt").read_text().splitlines()
arrays = [np.asarray(image)[None] for image in images]
for name in ("model.onnx", "int8.onnx"):
    if (folder / name).exists():
        session = onnxruntime.InferenceSession(folder / name)
        answers[name] = [session.run(None, {"images": array})[0][0].tolist() for array in arrays]
        assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
if (folder / "model.pt2").exists():
    student = torch.export.load(folder / "model.pt2").module()
    answers["model.pt2"] = [student(torch.from_numpy(array.copy()))[0].tolist() for array in arrays]
assert not [name for name in sys.modules if name.partition(".")[0] == "vicinal"]
print(json.dumps(answers))
"""


def write_photographs(root: Path, per_class: int, seed: int) -> Path:
    """ROOT/<class>/<n>.png: noise of many sizes, wider than high, that is a little redder, greener or bluer."""
    generator = np.random.default_rng(seed)
    for channel, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True, exist_ok=True)
        for n in range(per_class):
            low, high = sorted(generator.integers(30, 80, 2))
            pixels = generator.integers(0, 200, (low, high, 3)) + generator.normal(0, 12, 3)
            pixels[..., channel] += 14
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{n:03}.png")
    return root


class Shipped(NamedTuple):
    """A finished study and two students of it.

    One that timm builds, with an int8.onnx; and its teacher, which timm does not know and whose int8.onnx was `refused`.
    """

    study: Path
    images: Path
    timm: Path
    graphs: Path
    said: list[str]
    refused: str


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    import vicinal
    from vicinal.config import StudySpec
    from vicinal.errors import VicinalError
    from vicinal.shipping import int8

    root = tmp_path_factory.mktemp("shipping")
    images = root / "images"
    write_photographs(images / "train", 50, seed=1)
    write_photographs(images / "test", 20, seed=2)
    study = {
        "name": "photographs",
        "data": {"source": str(images), "validation": 0.6, "image_size": 32},
        "teachers": {"one": {"model": "vicinal_resnet8", "epochs": 1, "batch_size": 20, "lr": 1e-2}},
        "student": {"model": "test_efficientnet", "epochs": 12, "batch_size": 15, "lr": 3e-3},
        "arms": ["baseline"],
        "measures": {"vicinity": {"pairs": 2, "lam_points": 3}, "bootstrap_resamples": 100},
        "runtime": {"device": "cpu"},
    }
    vicinal.run(StudySpec.model_validate(study), root / "study")
    said: list[str] = []
    vicinal.api.export(root / "study", root / "student", int8=True, say=said.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "SAME_ANSWERS_AT_LEAST", 1.01)
        patch.setattr(int8, "FORMS", int8.FORMS[:1])
        with pytest.raises(VicinalError) as refused:
            vicinal.api.export(root / "study", root / "teacher", run="teacher-one", int8=True, say=said.append)
    return Shipped(root / "study", images, root / "student", root / "teacher", said, str(refused.value))


def elsewhere(*arguments: object, cwd: Path | None = None) -> str:
    """What a process prints that knows nothing of this one's paths."""
    done = subprocess.run(
        [sys.executable, "-I", *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
