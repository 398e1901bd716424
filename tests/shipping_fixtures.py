"""One study of colour photographs of many sizes, and its student shipped, for every test of shipping."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

CLASSES = ("east", "north", "south")


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
    """A finished study and two students of it: one that timm builds, and its teacher, which timm does not know."""

    study: Path
    images: Path
    timm: Path
    graphs: Path
    said: list[str]


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    import vicinal
    from vicinal.config import StudySpec

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
    vicinal.api.export(root / "study", root / "student", say=said.append)
    vicinal.api.export(root / "study", root / "teacher", run="teacher-one", say=said.append)
    return Shipped(root / "study", images, root / "student", root / "teacher", said)
