"""What tells stored answers to corrupted images apart: the content of published files, the table of strengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.config import CorruptionsSpec
from vicinal.data import ImageData, ImageSet
from vicinal.evaluation import CorruptedSet
from vicinal.evaluation.corrupted import halved
from vicinal.inputs import Preparation


def data_of_side(side: int) -> ImageData:
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, side, side, 3), dtype=np.uint8))
    some = ImageSet(images, torch.tensor([0, 1, 1, 0]))
    return ImageData("made up", "made/up", ("a", "b"), "0" * 64, some, some, some)


def test_published_corruptions_are_known_by_their_content(tmp_path: Path) -> None:
    """A file replaced by one of the same size gives other answers, so it has another fingerprint."""
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "labels.npy", np.tile(np.array([0, 1, 1, 0]), 5))

    def fingerprint() -> str:
        np.save(tmp_path / "fog.npy", images)
        spec = CorruptionsSpec(names=("fog",), published=str(tmp_path))
        return CorruptedSet.of(spec, data_of_side(8), 0).fingerprint("fog", Preparation())

    first, size = fingerprint(), (tmp_path / "fog.npy").stat().st_size
    images[7, 3, 3, 1] ^= 1
    second = fingerprint()
    assert (tmp_path / "fog.npy").stat().st_size == size
    assert second != first
    images[7, 3, 3, 1] ^= 1
    assert fingerprint() == first


@pytest.mark.parametrize(
    ("side", "strengths"), [(28, "cifar"), (32, "cifar"), (64, "tiny_imagenet"), (224, "imagenet")]
)
def test_the_table_of_strengths_is_stated_and_part_of_the_fingerprint(
    side: int, strengths: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers stored before 64 px had a table of its own are not taken for answers of today."""
    made = CorruptedSet.of(CorruptionsSpec(), data_of_side(side), 0)
    assert made.strengths == strengths
    today = made.fingerprint("fog", Preparation())
    monkeypatch.setattr("vicinal.evaluation.corrupted.strengths_for", lambda *_: "another")
    assert made.fingerprint("fog", Preparation()) != today


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 1e-2, 1.0, 30.0, 2e4]))
def test_answers_are_halved_without_ties(seed: int, scale: float):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(40, 5, generator=generator)
    logits[:, 1] = logits[:, 0] * (1 + 1e-5 * torch.randn(40, generator=generator))  # closer than float16 tells apart
    kept = halved(logits)
    assert torch.equal(kept.argmax(-1), logits.argmax(-1))
    top = kept.double().topk(2, -1).values
    if kept.dtype == torch.float16:
        assert bool((top[:, 0] > top[:, 1]).all())
        assert bool(((kept.double() - logits).abs() <= 2**-9 * logits.abs() + 1e-7).all())
    else:
        assert float(logits.abs().max()) > 6e4


def test_logits_beyond_float16_are_kept_as_they_are():
    logits = torch.tensor([[7e4, 1.0], [0.0, 1.0]])
    assert halved(logits) is logits
