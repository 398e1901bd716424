"""A second vicinity is registered by name and reaches plan, batches and a whole study without touching another room."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vicinal.config import MixingSpec
from vicinal.errors import UsageError
from vicinal.functional import mix
from vicinal.inputs import (
    BatchDraws,
    EpochDraws,
    Generators,
    ImagePipeline,
    Numbers,
    Places,
    Preparation,
    VicinalPlan,
    register_vicinity,
    vicinity_of,
)
from vicinal.inputs.vicinities import VICINITIES, Mixup

SIDE = 12


class Pasted:
    """A square of the partner is pasted, whole: CutMix without cutting at the border; the own share is the area that is left."""

    mixes = True

    def __init__(self, spec: MixingSpec) -> None:
        self.spec = spec

    def draw(self, places: Places, generators: Generators) -> EpochDraws:
        return EpochDraws(
            partner=places.order_in_batches(generators(Numbers.PARTNER).random(places.count)),
            lam=generators(Numbers.LAM).random(places.count, dtype=np.float32),
            extra={"corner": generators(Numbers.EXTRA).random((places.count, 2), dtype=np.float32)},
        )

    def apply(self, clean: Tensor, draws: BatchDraws) -> tuple[Tensor, Tensor]:
        rows, side = len(draws.lam), clean.shape[-1]
        mixed, share = clean[:rows].clone(), torch.ones(rows)
        for row in range(rows):
            box = int(side * float(1 - draws.lam[row]) ** 0.5)
            top, left = (draws.extra["corner"][row] * (side - box)).int().tolist()
            pasted = clean[draws.partner[row], :, top : top + box, left : left + box]
            mixed[row, :, top : top + box, left : left + box] = pasted
            share[row] = 1 - box * box / side**2
        return mixed, share


@pytest.fixture
def pasted() -> Iterator[str]:
    register_vicinity("pasted", Pasted)
    yield "pasted"
    del VICINITIES["pasted"]


def images(n: int = 23) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8))


def test_batches_are_mixed_as_the_registered_vicinity_says(pasted: str):
    pipeline = ImagePipeline(images(), torch.arange(23), Preparation())
    plan = VicinalPlan(23, 9, seed=4, mixing=MixingSpec(vicinity=pasted))
    batch = pipeline.make(plan.batch(1, 2))  # the last one, of 5
    assert batch.mixed.shape == (5, 3, SIDE, SIDE)
    own = (batch.mixed == batch.clean[:5]).all(1).double().mean((1, 2))
    partner = (batch.mixed == batch.clean[batch.partner]).all(1).double().mean((1, 2))
    moved = batch.partner != torch.arange(5)
    torch.testing.assert_close(own[moved], batch.lam.double()[moved], rtol=0, atol=1e-6)
    torch.testing.assert_close(partner[moved], 1 - batch.lam.double()[moved], rtol=0, atol=1e-6)


def test_slices_of_processes_are_rows_of_the_whole_batch(pasted: str):
    pipeline = ImagePipeline(images(), torch.arange(23), Preparation())
    plan = VicinalPlan(23, 10, seed=4, mixing=MixingSpec(vicinity=pasted))
    whole = pipeline.make(plan.batch(0, 1))
    parts = [pipeline.make(plan.batch(0, 1, rank, 3)) for rank in range(3)]
    assert torch.equal(torch.cat([part.mixed for part in parts]), whole.mixed)
    assert torch.equal(torch.cat([part.lam for part in parts]), whole.lam)


def test_a_study_trains_on_it(pasted: str, tiny: dict[str, Any], study_file, tmp_path: Path, vicinal):
    arms = ["mixup", {"name": "cut", "like": "kd_mixup", "mixing": {"vicinity": pasted}}]
    answer = vicinal("run", study_file(tiny, {"arms": arms}), "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [s["objective"]["mixing"]["vicinity"] for s in results["students"]] == ["mixup", "pasted"]


def test_an_unknown_vicinity_is_named_before_anything_is_spent(
    tiny: dict[str, Any], study_file, tmp_path: Path, vicinal
):
    arms = [{"name": "cut", "like": "kd_mixup", "mixing": {"vicinity": "cutmux"}}]
    answer = vicinal("run", study_file(tiny, {"arms": arms}), "--out", tmp_path / "out")
    assert answer.code == 2
    assert "'cutmux' is not known; known ones: mixup" in answer.last
    with pytest.raises(UsageError, match="register_vicinity"):
        vicinity_of(MixingSpec(vicinity="cutmux"))


def test_a_name_is_given_once(pasted: str):
    register_vicinity(pasted, Pasted)  # the same again changes nothing
    with pytest.raises(ValueError, match="pasted"):
        register_vicinity(pasted, Mixup)


def test_mixup_is_mix_bit_for_bit():
    pipeline = ImagePipeline(images(), torch.arange(23), Preparation())
    batch = pipeline.make(VicinalPlan(23, 23, seed=1).batch(0, 0))
    assert torch.equal(batch.mixed, mix(batch.clean, batch.clean[batch.partner], batch.lam))
