"""The vicinities of the package: what holds for all of them, and each against an outside implementation where there is one."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import v2

from vicinal.config import AugmentSpec, MixingSpec, NetworkSpec, Objective, RunSpec
from vicinal.config.mixing import KEYS
from vicinal.inputs import ClassLabels, ImagePipeline, Preparation, VicinalBatch, VicinalPlan
from vicinal.inputs.vicinities import VICINITIES, standard_normal
from vicinal.report.rows import VICINITY_LABELS
from vicinal.training import trained_row_count, training_plan

PROPERTY = settings(max_examples=30, deadline=None)
CLASSES = 4
SPECS: dict[str, dict[str, Any]] = {
    "mixup": {},
    "mixup, partly": {"clean_fraction": 0.4, "distribution": "beta", "beta_concentration": 0.3},
    "cutmix": {"vicinity": "cutmix"},
    "cutmix, fixed": {"vicinity": "cutmix", "distribution": "fixed", "lam": 0.4, "clean_fraction": 0.3},
    "regmixup": {"vicinity": "regmixup", "eta": 3, "clean_fraction": 0.3},
    "noise": {"vicinity": "gaussian_noise", "noise_std": 0.2, "clean_fraction": 0.25},
    "two crops": {"vicinity": "two_crops"},
    "same class": {"partners": "same_class"},
    "other class": {"vicinity": "cutmix", "partners": "other_class", "clean_fraction": 0.3},
    "two views, other class": {"vicinity": "regmixup", "partners": "other_class"},
}
every_spec = pytest.mark.parametrize("spec", [MixingSpec(**values) for values in SPECS.values()], ids=list(SPECS))


def images(count: int = 23, height: int = 12, width: int = 10) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def labels_of(count: int = 23) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, CLASSES, count))


def pipeline_of(count: int = 23, labels: Tensor | None = None) -> ImagePipeline:
    augment = AugmentSpec(crop="pad", pad=2, flip=True, erasing={"probability": 0.5})
    return ImagePipeline(images(count), labels_of(count) if labels is None else labels, Preparation(augment))


def plan_of(spec: MixingSpec, count: int = 23, batch_size: int = 9, seed: int = 3, **more: Any) -> VicinalPlan:
    labels = ClassLabels.of(more.pop("labels", labels_of(count)))
    return VicinalPlan(count, batch_size, seed, spec, labels=labels, **more)


def rows(batch: VicinalBatch) -> Tensor:
    """The clean image of each row."""
    return batch.of_rows(batch.clean[: batch.samples])


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
        others = renamed[labels_of()]
        other = pipeline_of(labels=others).make(plan_of(spec, labels=others).batch(0, position))
        assert torch.equal(one.mixed, other.mixed)
        assert torch.equal(one.lam, other.lam)
        assert torch.equal(renamed[one.labels], other.labels)
        assert torch.equal(renamed[one.partner_labels], other.partner_labels)


@every_spec
def test_an_own_share_of_one_is_the_clean_image_bit_for_bit(spec: MixingSpec):
    plan = plan_of(spec.model_copy(update={"clean_fraction": 1.0}))
    batch = pipeline_of().make(plan.batch(0, 0))
    assert bool((batch.lam == 1).all())
    assert torch.equal(batch.mixed, rows(batch))


@every_spec
def test_an_own_share_below_one_is_another_image(spec: MixingSpec):
    batch = pipeline_of().make(plan_of(spec).batch(0, 0))
    same = (batch.mixed == rows(batch)).flatten(1).all(1)
    moved = batch.partner != torch.arange(batch.samples).repeat_interleave(batch.views)
    assert bool(same[batch.lam == 1].all()) or spec.vicinity == "gaussian_noise"
    assert not bool(same[(batch.lam < 1) & moved].any())


@every_spec
def test_inputs_are_channels_last_in_memory(spec: MixingSpec):
    batch = pipeline_of().make(plan_of(spec).batch(0, 0))
    assert batch.mixed.is_contiguous(memory_format=torch.channels_last)


# --- until ------------------------------------------------------------------------------------------------------------

EPOCHS = 6
CUT = [0, 1, 2, 3, 4, 7, 9, 17, 18]  # of 18 batches


@every_spec
@pytest.mark.parametrize("repeat", [None, 1, 2, 4])
def test_after_mixing_has_ended_images_are_as_they_are_and_before_nothing_changes(spec: MixingSpec, repeat: int | None):
    pipeline, plan = pipeline_of(), plan_of(spec, repeat_inputs_after_epochs=repeat)
    for cut in CUT:
        ending = dataclasses.replace(plan, mixed_batches=cut)
        for epoch in range(EPOCHS):
            for position in range(plan.batches):
                batch = pipeline.make(ending.batch(epoch, position))
                images = len(ending.batch(epoch, position).index.unique())
                assert len(batch.mixed) == images * ending.rows_of(epoch, position)
                if epoch * plan.batches + position >= cut:
                    assert len(batch.mixed) == images
                    assert torch.equal(batch.mixed, batch.clean)
                    assert bool((batch.lam == 1).all())
                    assert not ending.batch(epoch, position).mixes
                elif (
                    epoch < cut // plan.batches
                ):  # the epoch in which it ends has draws of its own where the stream repeats
                    assert torch.equal(batch.mixed, pipeline.make(plan.batch(epoch, position)).mixed)
        for world_size in (2, 5):
            whole = pipeline.make(ending.batch(3, 1))
            parts = [pipeline.make(ending.batch(3, 1, rank, world_size)) for rank in range(world_size)]
            assert torch.equal(torch.cat([part.mixed for part in parts]), whole.mixed)


@PROPERTY
@given(cut=st.integers(0, 40), repeat=st.integers(1, 8), epochs=st.integers(1, 10))
def test_a_bank_has_one_place_for_each_batch_that_differs(cut: int, repeat: int, epochs: int):
    plan = VicinalPlan(10, 3, 0, repeat_inputs_after_epochs=repeat, mixed_batches=min(cut, 4 * epochs))
    seen: dict[tuple[int, int], bool] = {}
    for epoch in range(epochs):
        for position in range(plan.batches):
            place, mixed = (plan.drawn_epoch(epoch), position), plan.is_mixed(epoch, position)
            assert seen.setdefault(place, mixed) == mixed
    drawn = sorted({epoch for epoch, _ in seen})
    assert drawn == list(range(plan.drawn_epochs(epochs)))
    for epoch in drawn:
        assert plan.drawn_epoch(plan.epoch_drawn_as(epoch)) == epoch
        assert plan.epoch_drawn_as(epoch) < epochs
    sizes = [min(3, 10 - 3 * position) for position in range(4)]
    assert plan.drawn_mixed_images == sum(sizes[position] for (_, position), mixed in seen.items() if mixed)


def test_a_runs_plan_ends_mixing_at_its_share_of_the_steps():
    run = RunSpec(
        role="student",
        name="x",
        network=NetworkSpec(model="vicinal_mobilenet", epochs=5, batch_size=10),
        objective=Objective(mixing=MixingSpec(until=0.5, vicinity="two_crops")),
        seed=0,
        data={},
    )
    plan = training_plan(run, 35)  # 20 batches
    assert plan.mixed_batches == 10
    assert trained_row_count(run, 35) == 5 * 35 + 2 * 35 + 20
    assert training_plan(run.model_copy(update={"objective": Objective(mixing=MixingSpec())}), 35).mixed_batches is None


# --- Gaussian noise ---------------------------------------------------------------------------------------------------


def test_noise_is_normal_and_independent_of_pixel_row_and_epoch():
    seeds = torch.from_numpy(np.random.default_rng(5).integers(0, 2**63 - 1, 300))
    drawn = standard_normal(seeds, 401).double()
    assert scipy.stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-3
    assert torch.equal(standard_normal(seeds[7:9], 401), drawn[7:9].float())
    for k in (1, 2, 200, 201):  # neighbours, and the two numbers of one output
        assert abs(float((drawn[:, k:] * drawn[:, :-k]).mean())) < 4 / (300 * (401 - k)) ** 0.5
    correlations = torch.corrcoef(drawn)
    assert float((correlations - torch.eye(300)).abs().max()) < 6 / 401**0.5


def test_splitmix64_is_the_published_generator():
    # The first outputs for seed 1234567 of the reference implementation (Vigna, prng.di.unimi.it/splitmix64.c).
    bits = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    upper, lower = (np.array([(b >> s) & 0xFFFFFF for b in bits], np.float64) for s in (40, 0))
    radius, angle = np.sqrt(-2 * np.log((upper + 1) / 2**24)), 2 * np.pi * lower / 2**24
    expected = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    np.testing.assert_allclose(standard_normal(torch.tensor([1234567]), 8)[0].numpy(), expected, rtol=2e-5, atol=1e-6)


def test_noise_has_its_deviation_and_leaves_the_share_asked_for_alone():
    pixels = torch.full((200, 8, 8, 3), 255, dtype=torch.uint8)
    spec = MixingSpec(vicinity="gaussian_noise", noise_std=0.1, clean_fraction=0.3)
    batch = ImagePipeline(pixels, labels_of(200), Preparation()).make(plan_of(spec, 200, 50).batch(0, 1))
    noise = (batch.mixed - 1).flatten(1)
    assert int((noise == 0).all(1).sum()) == 15
    kept = noise[(noise != 0).any(1)]
    assert float(kept.std()) == pytest.approx(0.1, abs=0.004)
    assert float(kept.mean()) == pytest.approx(0, abs=0.004)  # white stays white on average: nothing is clipped
    assert torch.equal(batch.labels, batch.partner_labels)


# --- two rows an image ------------------------------------------------------------------------------------------------


def test_regmixups_rows_are_the_clean_image_and_its_mixup_with_the_weights_of_the_loss():
    spec = MixingSpec(vicinity="regmixup", eta=3)
    batch, plain = pipeline_of().make(plan_of(spec).batch(0, 0)), pipeline_of().make(plan_of(MixingSpec()).batch(0, 0))
    assert torch.equal(batch.mixed[0::2], plain.clean)
    assert torch.equal(batch.mixed[1::2], plain.mixed)
    assert torch.equal(batch.lam[1::2], plain.lam)
    assert batch.weight is not None
    assert batch.weight.view(-1, 2)[0].tolist() == [0.5, 1.5]  # (clean + 3 mixed) / 4 is the mean of both, so weighted
    assert pipeline_of().make(plan_of(MixingSpec(vicinity="regmixup")).batch(0, 0)).weight is None


def test_two_crops_are_two_changes_of_the_same_image():
    planned = plan_of(MixingSpec(vicinity="two_crops")).batch(0, 0)
    batch = pipeline_of().make(planned)
    assert torch.equal(planned.index[0::2], planned.index[1::2])
    assert len(planned.index) == 18
    assert not torch.equal(batch.mixed[0::2], batch.mixed[1::2])
    assert not torch.equal(planned.crop_y[0::2], planned.crop_y[1::2])
    plain = plan_of(MixingSpec(distribution="none")).batch(0, 0)
    assert torch.equal(planned.index[0::2], plain.index)


# --- partners by class ------------------------------------------------------------------------------------------------


@PROPERTY
@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    classes=st.integers(1, 8),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["same_class", "other_class"]),
    order=st.sampled_from([None, "keyed"]),
)
def test_partners_are_of_the_class_asked_for_or_the_image_is_left(
    count: int, batch_size: int, classes: int, seed: int, kind: Any, order: Any
):
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, classes, count))
    spec = MixingSpec(partners=kind, distribution="fixed", lam=0.25)
    plan = plan_of(spec, count, batch_size, seed, labels=labels, order=order)
    left = 0
    for position in range(plan.batches):
        planned = plan.batch(0, position)
        own, other = labels[planned.index], labels[planned.index[planned.partner]]
        alone = planned.lam == 1
        place = torch.arange(len(planned.index))
        left += int(alone.sum())
        assert torch.equal(planned.partner == place, alone)
        among = (own[:, None] == own) & (place[:, None] != place) if kind == "same_class" else own[:, None] != own
        assert torch.equal(among.any(1), ~alone)
        assert bool(((own == other) == (kind == "same_class"))[~alone].all())
        if kind == "same_class":
            assert sorted(planned.partner.tolist()) == place.tolist()
    assert plan.share_without_partner == pytest.approx(left / count)


@pytest.mark.parametrize("kind", ["same_class", "other_class"])
def test_every_possible_partner_is_alike_probable(kind: Any):
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    spec = MixingSpec(partners=kind)
    plan = VicinalPlan(6, 6, 0, spec, labels=ClassLabels.of(labels))
    met = np.zeros((6, 6))
    for epoch in range(3000):
        planned = plan.batch(epoch, 0)
        met[planned.index, planned.index[planned.partner]] += 1
    for image in range(6):
        same = labels == labels[image]
        possible = (same if kind == "same_class" else ~same).numpy() & (np.arange(6) != image)
        if possible.sum() > 1:
            assert met[image][~possible].sum() == 0
            assert scipy.stats.chisquare(met[image][possible]).pvalue > 1e-3


def test_partners_by_class_need_labels():
    with pytest.raises(ValueError, match="give the plan `labels`"):
        VicinalPlan(6, 6, 0, MixingSpec(partners="same_class")).batch(0, 0)


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
        ({"noise_std": 0.1}, "'noise_std' has no meaning with vicinity: mixup"),
        ({"vicinity": "cutmix", "eta": 1}, "'eta' has no meaning with vicinity: cutmix"),
        ({"vicinity": "gaussian_noise"}, "needs 'noise_std'"),
        ({"vicinity": "gaussian_noise", "noise_std": 0.1, "distribution": "uniform"}, "'distribution' has no meaning"),
        ({"vicinity": "gaussian_noise", "noise_std": 0.1, "partners": "any"}, "'partners' has no meaning"),
        ({"vicinity": "two_crops", "lam": 0.5}, "'lam' has no meaning with vicinity: two_crops, which takes until"),
        ({"vicinity": "two_crops", "clean_fraction": 0.5}, "'clean_fraction' has no meaning"),
        ({"distribution": "none", "until": 0.5}, "'until' has no meaning with distribution: none"),
        ({"distribution": "none", "partners": "same_class"}, "'partners' has no meaning with distribution: none"),
        ({"until": 0}, "greater than 0"),
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
    assert set(rows) == set(VICINITIES) == {arm["mixing"].get("vicinity", "mixup") for arm in EXAMPLES}
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
        name = arm["mixing"].get("vicinity", "mixup")
        assert trained[arm["name"]]["objective"]["mixing"] == MixingSpec(**arm["mixing"]).model_dump(mode="json")
        assert trained[arm["name"]]["run"] != trained["kd"]["run"]
        shown = (
            f"{arm['name']} ({VICINITY_LABELS.get(name, name.replace('_', ' '))})" if name != "mixup" else arm["name"]
        )
        assert re.search(rf"\| {re.escape(shown)} +\|", table), table
    losses = [student["history"]["loss"][-1] for student in trained.values()]
    assert len(set(losses)) == len(losses)
