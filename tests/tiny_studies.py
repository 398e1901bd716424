"""Tiny image folders and study values that several test files share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

CLASSES = ("east", "north", "south")
BRIGHTER = 30  # hard enough that no network is right on every validation image: a fitted temperature stays finite


@dataclass(frozen=True)
class Answer:
    """What a command came back with."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line on stderr."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


def write_images(root: Path, per_class: int, seed: int, noise: int = 150, side: int = 12) -> Path:
    """ROOT/<class>/<n>.png: grey images with a brighter third in noise, which a small network learns in a few epochs."""
    generator = np.random.default_rng(seed)
    third = side // len(CLASSES)
    for position, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True, exist_ok=True)
        for n in range(per_class):
            pixels = generator.integers(0, noise, (side, side))
            pixels[:, position * third : (position + 1) * third] += BRIGHTER
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{n:03}.png")
    return root


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` by dotted key."""
    value = yaml.safe_load(yaml.safe_dump(dict(base)))
    for path, new in changes.items():
        here = value
        *parents, last = path.split(".")
        for part in parents:
            here = here.setdefault(part, {})
        here[last] = new
    return value


@contextmanager
def undrawn() -> Iterator[None]:
    """Reports have no pictures, which takes longer to draw than a tiny study to run."""
    from vicinal.report import write

    with pytest.MonkeyPatch.context() as patch:
        for name in ("all_figures", "paper_figures"):
            patch.setattr(write, name, lambda *_: ())
        for name in ("over_images_seen", "scaled_curves", "pareto", "risk_coverage", "information"):
            patch.setattr(write, name, lambda _: None)
        yield


def weights_of(out: Path) -> dict[str, bytes]:
    """The weights of every run of a study's folder, by the run's name."""
    return {file.parent.name: file.read_bytes() for file in out.glob("runs/*/weights.safetensors")}
