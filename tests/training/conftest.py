"""Made-up images, and training in fresh folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import CPU, a_teacher, training_data

from vicinal.config import RunSpec
from vicinal.data import ImageSet
from vicinal.distillation import TeacherBank
from vicinal.training import train
from vicinal.workspace import RunFolder, StudyProgress


@pytest.fixture(scope="module")
def images() -> ImageSet:
    """100 made-up images of 4 classes that a small network can tell apart: a bright quarter in noise."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(100) % 4
    pixels = torch.randint(0, 120, (100, 20, 20, 1), generator=generator)
    for n, label in enumerate(labels.tolist()):
        y, x = divmod(label, 2)
        pixels[n, y * 10 : y * 10 + 10, x * 10 : x * 10 + 10] += 80
    return ImageSet(pixels.to(torch.uint8), labels)


@pytest.fixture
def go(tmp_path: Path, images: ImageSet) -> Callable[..., RunFolder]:
    """Train a run in a fresh folder (or the one named) and give the folder."""

    def _go(
        run: RunSpec,
        teacher: Any = None,
        where: str = "study",
        train_set: ImageSet = images,
        bank: TeacherBank | None = None,
    ) -> RunFolder:
        folder = RunFolder(tmp_path / where, run)
        data = training_data(train_set, images, run)
        with StudyProgress(1) as progress:
            train([folder], data, teacher, CPU, progress, checkpoint_seconds=0.0, bank=bank)
        return folder

    return _go


@pytest.fixture
def together(tmp_path: Path, images: ImageSet) -> Callable[..., list[RunFolder]]:
    """Train runs together in a fresh folder (or the one named)."""

    def _together(runs: list[RunSpec], where: str = "together", compiled: bool = False) -> list[RunFolder]:
        folders = [RunFolder(tmp_path / where, run) for run in runs]
        data = training_data(images, images, runs[0])
        with StudyProgress(1) as progress:
            train(folders, data, a_teacher(), CPU, progress, checkpoint_seconds=0.0, compiled=compiled)
        return folders

    return _together
