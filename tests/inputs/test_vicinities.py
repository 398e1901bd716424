"""The vicinities of the package: what holds for all of them, and each against an outside implementation where there is one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import v2

from vicinal.config import MixingSpec
from vicinal.config.mixing import KEYS
from vicinal.inputs import ImagePipeline, Preparation, VicinalBatch, VicinalPlan
from vicinal.inputs.vicinities import VICINITIES
from vicinal.report.rows import VICINITY_LABELS

PROPERTY = settings(max_examples=30, deadline=None)
CLASSES = 4
SPECS: dict[str, dict[str, Any]] = {
    "mixup": {},
    "mixup, partly": {"clean_fraction": 0.4, "distribution": "beta", "beta_concentration": 0.3},
    "cutmix": {"vicinity": "cutmix"},
    "cutmix, fixed": {"vicinity": "cutmix", "distribution": "fixed", "lam": 0.4, "clean_fraction": 0.3},
}
every_spec = pytest.mark.parametrize("spec", [MixingSpec(**values) for values in SPECS.values()], ids=list(SPECS))


def images(count: int = 23, height: int = 12, width: int = 10) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def labels_of(count: int = 23) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, CLASSES, count))


def pipeline_of(count: int = 23, labels: Tensor | None = None) -> ImagePipeline:
    return ImagePipeline(images(count), labels_of(count) if labels is None else labels, Preparation())


def plan_of(spec: MixingSpec, count: int = 23, batch_size: int = 9, seed: int = 3, **more: Any) -> VicinalPlan:
    return VicinalPlan(count, batch_size, seed, spec, **more)


# --- what holds for every vicinity ------------------------------------------------------------------------------------


@every_spec
def test_slices_of_processes_are_the_rows_of_the_whole_batch(spec: MixingSpec):
    plan, pipeline = plan_of(spec), pipeline_of()
    for position in range(plan.batches):
        whole = pipeline.make(plan.batch(1, position))
        for world_size in (2, 3, 12):
            parts = [pipeline.make(plan.batch(1, position, rank, world_size)) for rank in range(world_size)]
            for field in ("mixed", "labels", "partner_labels", "lam"):
                assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(whole, field)), field


@every_spec
def test_a_batch_is_the_same_whenever_it_is_made(spec: MixingSpec):
    first, again = plan_of(spec), plan_of(spec)
    made = [pipeline_of().make(first.batch(2, k)) for k in range(first.batches)]
    resumed = [batch for _, batch in pipeline_of().batches(again.epoch(2, start=1))]
    for one, other in zip(made[1:], resumed, strict=True):
        assert torch.equal(one.mixed, other.mixed)
        assert torch.equal(one.lam, other.lam)
    assert not torch.equal(made[0].mixed, pipeline_of().make(first.batch(3, 0)).mixed)


@every_spec
def test_renaming_the_classes_changes_no_pixel_and_no_share(spec: MixingSpec):
    renamed = torch.tensor([2, 0, 3, 1])
    for position in range(3):
        one = pipeline_of().make(plan_of(spec).batch(0, position))
        other = pipeline_of(labels=renamed[labels_of()]).make(plan_of(spec).batch(0, position))
        assert torch.equal(one.mixed, other.mixed)
        assert torch.equal(one.lam, other.lam)
        assert torch.equal(renamed[one.labels], other.labels)
        assert torch.equal(renamed[one.partner_labels], other.partner_labels)


@every_spec
def test_an_own_share_of_one_is_the_clean_image_bit_for_bit(spec: MixingSpec):
    plan = plan_of(spec.model_copy(update={"clean_fraction": 1.0}))
    batch = pipeline_of().make(plan.batch(0, 0))
    assert bool((batch.lam == 1).all())
    assert torch.equal(batch.mixed, batch.clean[: len(batch.mixed)])


@every_spec
def test_inputs_are_channels_last_in_memory(spec: MixingSpec):
    batch = pipeline_of().make(plan_of(spec).batch(0, 0))
    assert batch.mixed.is_contiguous(memory_format=torch.channels_last)


# --- CutMix -----------------------------------------------------------------------------------------------------------


def cut_by_torchvision(batch: VicinalBatch, row: int, lam: float, centre: tuple[float, float], monkeypatch: Any):
    """(C, H, W) and the own share, by `torchvision.transforms.v2.CutMix` with our numbers in place of its own."""
    pair = torch.stack([batch.clean[row], batch.clean[batch.partner[row]]])  # it mixes in the one before, so the last
    transform = v2.CutMix(num_classes=CLASSES)
    height, width = pair.shape[-2:]
    drawn = iter([torch.tensor([int(centre[1] * width)]), torch.tensor([int(centre[0] * height)])])
    with monkeypatch.context() as patch:
        patch.setattr(transform, "_dist", type("Drawn", (), {"sample": staticmethod(lambda _: lam)}))
        patch.setattr(torch, "randint", lambda *_, **__: next(drawn))
        params = transform.make_params([pair])
    cut = transform.transform(pair, {**params, "labels": None, "batch_size": 2})
    return cut[0], params["lam_adjusted"]


@pytest.mark.parametrize(
    "values", [{}, {"distribution": "beta", "beta_concentration": 0.5}, {"distribution": "fixed", "lam": 0.3}], ids=str
)
def test_cutmix_is_torchvisions_pixel_for_pixel(values: dict[str, Any], monkeypatch: Any):
    plan = plan_of(MixingSpec(vicinity="cutmix", **values))
    for position in range(plan.batches):
        planned = plan.batch(0, position)
        batch = pipeline_of().make(planned)
        for row in range(len(batch.mixed)):
            centre = planned.draws.extra["centre"][row].tolist()
            cut, share = cut_by_torchvision(batch, row, float(planned.lam[row]), centre, monkeypatch)
            assert torch.equal(batch.mixed[row], cut)
            assert float(batch.lam[row]) == pytest.approx(share, abs=1e-7)


@PROPERTY
@given(lam=st.floats(0, 1), seed=st.integers(0, 50), height=st.integers(1, 20), width=st.integers(1, 20))
def test_cutmixs_share_is_the_area_that_is_its_own(lam: float, seed: int, height: int, width: int):
    # Image k is the number k all over, so that every pixel tells whose it is.
    pixels = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, height, width, 1).contiguous()
    pipeline = ImagePipeline(pixels, torch.arange(8), Preparation())
    plan = VicinalPlan(8, 8, seed, MixingSpec(vicinity="cutmix", distribution="fixed", lam=lam))
    batch = pipeline.make(plan.batch(0, 0))
    own = (batch.mixed == batch.clean[:8]).double().mean((1, 2, 3))
    moved = batch.partner != torch.arange(8)
    torch.testing.assert_close(batch.lam.double()[moved], own[moved], rtol=0, atol=1e-6)
    assert bool((batch.lam >= lam - 1e-6).all())  # cut off at the border, and of whole pixels: never larger than drawn


def test_cutmixs_rectangle_lies_anywhere_with_the_area_of_lam():
    # With sides far above a pixel and no border in reach the share is λ; over all centres every pixel is pasted at times.
    pixels = torch.arange(200, dtype=torch.uint8).view(200, 1, 1, 1).expand(200, 64, 64, 1).contiguous()
    plan = VicinalPlan(200, 200, 0, MixingSpec(vicinity="cutmix", distribution="fixed", lam=0.75))
    batch = ImagePipeline(pixels, torch.arange(200), Preparation()).make(plan.batch(0, 0))
    assert float(batch.lam.min()) == 0.75
    pasted = (batch.mixed != batch.clean).double().mean((0, 1))
    assert float(pasted.min()) > 0
    assert float(pasted[24:40, 24:40].mean()) == pytest.approx(0.25, abs=0.06)


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"vicinity": "cutmix", "distribution": "none"}, "cutmix has no meaning with distribution: none"),
    ],
    ids=str,
)
def test_keys_without_a_meaning_are_refused(values: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        MixingSpec(**values)


@every_spec
def test_a_dump_reads_back(spec: MixingSpec):
    assert MixingSpec(**spec.model_dump(mode="json")) == spec


def test_what_older_runs_were_told_by_is_told_as_it_was():
    assert MixingSpec().model_dump(mode="json") == {
        "vicinity": "mixup",
        "distribution": "uniform",
        "beta_concentration": None,
        "lam": None,
        "clean_fraction": 0.0,
    }


# --- the page and whole studies ---------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "vicinities.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[str, Any]] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])


def test_the_page_has_every_vicinity_with_its_source_and_an_example():
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", PAGE.split("Each in one line")[0], re.MULTILINE))
    assert set(rows) == set(VICINITIES) == {arm["mixing"]["vicinity"] for arm in EXAMPLES}
    assert all(re.search(r"et al\. \d{4}", source) for source in rows.values())
    keys = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", PAGE.split("Keys of")[1], re.MULTILINE))))
    assert keys == {key for known in KEYS.values() for key in known}


def test_a_study_trains_every_vicinity_and_its_tables_name_it(
    tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Any]
):
    arms = [{**arm, "name": f"arm{k}"} for k, arm in enumerate(EXAMPLES)]
    study = study_file(
        tiny, {"arms": ["kd", *arms], "student.epochs": 2, "teachers.one.mixing": {"vicinity": "cutmix"}}
    )
    answer = vicinal("run", study, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    trained = {student["arm"]: student for student in results["students"]}
    table = (tmp_path / "out" / "tables" / "summary.md").read_text(encoding="utf-8")
    for arm in arms:
        name = arm["mixing"]["vicinity"]
        assert trained[arm["name"]]["objective"]["mixing"] == MixingSpec(**arm["mixing"]).model_dump(mode="json")
        assert trained[arm["name"]]["run"] != trained["kd"]["run"]
        shown = f"{arm['name']} ({VICINITY_LABELS.get(name, name)})" if name != "mixup" else arm["name"]
        assert re.search(rf"\| {re.escape(shown)} +\|", table), table
    losses = [student["history"]["loss"][-1] for student in trained.values()]
    assert len(set(losses)) == len(losses)
