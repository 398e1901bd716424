"""Images are resized once, from the original, also where a network crops out of a larger one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from vicinal.config import StudySpec
from vicinal.data import load_data
from vicinal.study.context import StudyContext

SIDE, RESIZE = 48, 56
CROPPED = {"crop": "resize", "resize": RESIZE}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fine texture in sizes of its own: what a second resampling blurs."""
    root = tmp_path_factory.mktemp("photographs")
    for k, name in enumerate(("ant", "bee")):
        (root / name).mkdir()
        for i in range(8):
            draw = np.random.default_rng(10 * k + i)
            noise = draw.integers(0, 256, (150, 110 + 5 * i, 3)).astype(np.uint8)
            Image.fromarray(noise).resize((220 + 10 * i, 300), Image.Resampling.BICUBIC).save(root / name / f"{i}.png")
    return root


def context(root: Path, **networks: object) -> StudyContext:
    network = {"model": "vicinal_resnet8", "epochs": 1}
    value = {
        "name": "s",
        "data": {"source": str(root), "image_size": SIDE, "validation": 0},
        "teachers": {"t": {**network, "augment": networks["teacher"]}},
        "student": {**network, "augment": networks["student"]},
        "arms": ["baseline"],
        "runtime": {"device": "cpu"},
    }
    return StudyContext.load(StudySpec.model_validate(value))


def as_torchvision(root: Path, labels: torch.Tensor) -> list[torch.Tensor]:
    """Every image resized and cropped by an outside library."""
    crop = v2.Compose([v2.Resize(RESIZE, antialias=True), v2.CenterCrop(SIDE), v2.PILToTensor()])
    return [crop(Image.open(path)).float() / 255 for path in sorted(root.rglob("*.png"))]


def test_a_crop_of_a_resized_image_is_resized_once(photographs: Path) -> None:
    found = context(photographs, teacher=CROPPED, student=CROPPED)
    assert found.stored_side == RESIZE
    assert found.notes == found.data.notes
    seen = found.preparation(found.spec.teachers["t"]).pixels(found.data.test.images)
    expected = as_torchvision(photographs, found.data.test.labels)
    twice = load_data(found.spec.data)  # kept at the side that is cropped out, as if nobody needed more
    enlarged = found.preparation(found.spec.teachers["t"]).pixels(twice.test.images)
    for once, blurred in zip(seen, enlarged, strict=True):
        errors = [float((once - other).abs().mean()) for other in expected]
        worse = [float((blurred - other).abs().mean()) for other in expected]
        assert min(errors) < 1 / 255
        assert min(worse) > 5 * min(errors)


def test_networks_that_need_other_sides_say_that_some_are_resized_twice(photographs: Path) -> None:
    found = context(photographs, teacher=CROPPED, student={"crop": "none"})
    assert any("resized twice: student" in note for note in found.notes)
    assert found.preparation(found.spec.student).pixels(found.data.test.images).shape[-1] == SIDE  # type: ignore[arg-type]
