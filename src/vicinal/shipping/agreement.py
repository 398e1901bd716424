"""What a student's files answer to the study's own test images, from the original files on, against what the study measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

from vicinal.shipping.finished import FinishedRun
from vicinal.shipping.graphs import INPUT, OUTPUT, StudentGraph, quiet
from vicinal.shipping.shown import Shown
from vicinal.shipping.stored_images import GoneError, stored_images

ALLOWED = (
    1e-3  # of a probability: float32 and batch norms folded in make less of a difference, another preparation more
)
ROUNDED_ALLOWED = 1e-2  # where resizing rounds otherwise
_LEVELS = 2
_BATCH = 25


@dataclass(frozen=True)
class Measured:
    """Test images and the answers that the study measured, at the temperature that ships.

    `images` are n originals (RGB or L), `answers` (n, K) probabilities.
    """

    images: Sequence[Image.Image]
    answers: NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How far answers are from those measured."""

    images: int
    largest: float  # difference of a probability
    others: int  # images with another most probable class, beyond ties

    @property
    def holds(self) -> bool:
        """Whether the same network sees the same images."""
        return self.largest <= ALLOWED and not self.others

    @property
    def nearly_holds(self) -> bool:
        """The same where resizing rounds otherwise, which may also move an answer between two classes."""
        return self.largest <= ROUNDED_ALLOWED

    def __str__(self) -> str:
        other = f"; {self.others:,} have another class" if self.others else ""
        return f"a probability differs by up to {self.largest:.2g} on {self.images:,} test images{other}"


def measured_images(run: FinishedRun, temperature: float | None, count: int) -> Measured | str:
    """Up to `count` test images as they are in their source, with what was measured; or why there are none, a clause."""
    try:
        stored = stored_images(run, "test")
        chosen = np.unique(np.linspace(0, len(stored) - 1, min(count, len(stored))).astype(int)).tolist()
        found = stored.read(chosen)
    except GoneError as why:
        return str(why)
    assert run.predictions is not None
    answers = (run.predictions.test[chosen].double() / (temperature or 1.0)).softmax(-1).numpy()
    return Measured(found, answers)


def compared(measured: Measured, answers: NDArray[np.floating[Any]]) -> Agreement:
    """Answers (n, K) against those measured; where two classes are as probable as each other, either may be the first."""
    known, rows = measured.answers, np.arange(len(answers))
    first = answers.argmax(1)
    behind = known.max(1, initial=0) - known[rows, first] > 2 * ALLOWED
    return Agreement(len(known), float(np.abs(known - answers).max(initial=0)), int(behind.sum()))


def timm_agreement(folder: Path, measured: Measured) -> Agreement:
    """Of the folder as timm alone loads it, on what timm's own transform makes of the images."""
    with quiet():
        model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform: Callable[[Image.Image], torch.Tensor]
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    answers = []
    with torch.inference_mode():
        for start in range(0, len(measured.images), _BATCH):
            batch = torch.stack([transform(image) for image in measured.images[start : start + _BATCH]])
            answers.append(model(batch).double().softmax(-1))
    return compared(measured, torch.cat(answers).numpy())


def graph_agreement(graph: StudentGraph, shown: Shown, session: Any, measured: Measured) -> tuple[Agreement, Agreement]:
    """Of an ONNX file, on the bytes of the images: those that it resizes to Pillow's very bytes, and those that it rounds otherwise.

    By up to `_LEVELS` grey levels, in images that are higher than wide, which Pillow resizes in another order.
    """
    answers, rounded = [], []
    for image in measured.images:
        wanted = shown.stored.array(image).astype(np.int64)
        array = np.asarray(image).reshape(image.height, image.width, wanted.shape[-1])[None]
        with torch.inference_mode():
            seen = (255 * graph.pixels(torch.from_numpy(array.copy()))[0]).round().permute(1, 2, 0).long().numpy()
        rounded.append(0 < np.abs(seen - wanted).max() <= _LEVELS)
        answers.append(session.run([OUTPUT], {INPUT: array})[0])
    every, apart = np.concatenate(answers), np.array(rounded)
    return tuple(compared(Measured([], measured.answers[k]), every[k]) for k in (~apart, apart))  # type: ignore[return-value]
