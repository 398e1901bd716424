"""What joins runs: fingerprints, whose student is whose, and which stored answers belong to what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_studies import merged
from vicinal.config import StudySpec, VicinitySpec
from vicinal.data import ImageData, ImageSet
from vicinal.evaluation import PredictionInputs
from vicinal.inputs import Preparation
from vicinal.study.groups import bank_layout, banks_of_groups, groups_of, students_at_once
from vicinal.study.plan import DataFacts, StudyPlan, plan_study
from vicinal.study.results import is_scale_free


def facts(spec: StudySpec, **changes: Any) -> DataFacts:
    keys = list(spec.networks())
    made = DataFacts(
        ("a", "b", "c"), dict.fromkeys(keys, 45), dict.fromkeys(keys, "hash"), None, "selection", dict.fromkeys(keys)
    )
    return replace(made, **changes)


def planned(tiny: dict[str, Any], changes: dict[str, Any], out: Path = Path("out"), **other: Any) -> StudyPlan:
    spec = StudySpec.model_validate(merged(tiny, changes))
    return plan_study(spec, out, facts(spec, **other))


SEEDS = {"seeds": [0, 1], "arms": ["baseline", "mixup", "kd"]}


def test_a_baseline_and_a_teacher_are_those_of_the_students_seed(tiny: dict[str, Any]):
    plan = planned(tiny, SEEDS)
    for run in plan.students:
        assert {teacher.spec.seed for teacher in plan.teachers_of(run).values()} == {run.spec.seed}
        baseline = plan.baseline_of(run)
        if run.label["arm"] == "baseline":
            assert baseline is None
        else:
            assert baseline is not None
            assert (baseline.label["arm"], baseline.spec.seed) == ("baseline", run.spec.seed)
    assert [plan.baseline_of(teacher) for teacher in plan.teachers] == [None, None]


def test_one_teacher_of_all_seeds_is_everyones(tiny: dict[str, Any]):
    plan = planned(tiny, SEEDS | {"teacher_seed": 7})
    assert [run.spec.seed for run in plan.teachers] == [7]
    assert {teacher.spec.seed for run in plan.students for teacher in plan.teachers_of(run).values()} == {7}


def test_class_names_are_part_of_every_run(tiny: dict[str, Any]):
    one, other = planned(tiny, {}), planned(tiny, {}, class_names=("b", "a", "c"))
    assert not {run.spec.fingerprint() for run in one.runs} & {run.spec.fingerprint() for run in other.runs}


def test_crops_of_originals_are_other_inputs_and_nothing_else_is(tiny: dict[str, Any]):
    """Lazy images are told from images in memory by their hashes; this alone is told by the study's own words."""

    def runs(crop: dict[str, Any], **data: Any) -> list[str]:
        changes = {"student.augment": {"crop": "none", **crop}, "data.image_size": 28}
        plan = planned(tiny, changes | {f"data.{key}": value for key, value in data.items()})
        layouts = [bank_layout(run, plan).fingerprint for run in plan.students if run.teacher is not None]
        return [run.spec.fingerprint() for run in plan.students] + layouts

    cut = {"crop": "random_resized"}
    assert not set(runs(cut, lazy=True)) & set(runs(cut))
    assert runs({}, lazy=True) == runs({})
    assert runs(cut, lazy=True, fit="pad") == runs(cut, fit="pad")  # cut from stored squares


def test_only_a_sigma_loss_without_labels_leaves_the_scale_open(tiny: dict[str, Any]):
    arms = [
        {"name": "kd_mixup", "temperature": [2, "sigma", "teacher_sigma"]},
        {"name": "both", "like": "kd_mixup", "alpha": 0.5, "temperature": "sigma"},
    ]
    plan = planned(tiny, {"arms": arms})
    open_scale = [(run.label["arm"], run.label["temperature"]) for run in plan.students if is_scale_free(run)]
    assert open_scale == [("kd_mixup", "sigma")]


@pytest.mark.parametrize(
    "changes",
    [
        {"student.augment": {"flip": True}},
        {"data.image_size": 10},
        {"student.batch_size": 16},
        {"student.order": "keyed"},
        {"student.order": {"block_images": 10}},
        {"input_seed": 3},
        {"teachers.one.epochs": 5},
        {"teachers.one.inference_precision": "bf16"},
    ],
    ids=str,
)
def test_a_bank_is_named_by_all_that_decides_an_answer(tiny: dict[str, Any], changes: dict[str, Any]):
    def names(changes: dict[str, Any]) -> list[str]:
        plan = planned(tiny, {"arms": ["kd", "kd_mixup"], **changes})
        return [bank_layout(run, plan).fingerprint for run in plan.students]

    first, second = names({}), names(changes)
    assert len({*first, *second}) == 4


def test_what_students_do_with_an_answer_names_no_other_bank(tiny: dict[str, Any]):
    plan = planned(tiny, {"arms": [{"name": "kd", "temperature": [1, 2]}, "linear_target"]})
    assert len({bank_layout(run, plan).fingerprint for run in plan.students}) == 1


def test_groups_are_cut_where_memory_ends(tiny: dict[str, Any]):
    arms = ["baseline", {"name": "kd_mixup", "temperature": [1, 2, 3, 4, 5]}]
    plan = planned(tiny, {"arms": arms})
    assert [len(group) for group in groups_of(plan, 9)] == [1, 1, 5]
    assert [len(group) for group in groups_of(plan, 2)] == [1, 1, 2, 2, 1]
    assert students_at_once(plan, parameters=1000, free_bytes=4 * 16 * 1000 * 3) == 3
    assert students_at_once(plan, parameters=1000, free_bytes=0) == 1
    assert students_at_once(planned(tiny, {"runtime.students_at_once": 4}), 1000, 0) == 4


def test_a_bank_is_taken_where_it_exists_or_groups_share_it_within_the_budget(tiny: dict[str, Any]):
    changes = {"arms": [{"name": "kd_mixup", "temperature": [1, 2, 3]}, "kd"]}
    plan = planned(tiny, changes)
    alone = groups_of(plan, 1)
    (mixed,) = {bank_layout(run, plan).fingerprint for run in plan.students[:3]}
    assert {layout.fingerprint for layout in banks_of_groups(plan, alone, frozenset()).values()} == {mixed}
    assert banks_of_groups(plan, groups_of(plan, 9), frozenset()) == {}  # one group needs no bank
    clean = bank_layout(plan.students[3], plan).fingerprint
    assert len(banks_of_groups(plan, groups_of(plan, 9), frozenset({clean}))) == 1  # one that is there serves one run
    poor = planned(tiny, changes | {"runtime.bank_gb": 1e-9})
    assert banks_of_groups(poor, groups_of(poor, 1), frozenset()) == {}
    none = planned(tiny, changes | {"runtime.bank_gb": 0})
    assert banks_of_groups(none, groups_of(none, 9), frozenset({clean})) == {}


def image_set(seed: int) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (6, 8, 8, 1), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(6) % 3)


def test_stored_predictions_are_named_by_all_that_decides_them():
    def name(test: int = 0, validation: int = 1, pairs: int = 2, flip: bool = False, seed: int = 0) -> str:
        data = ImageData("x", "x", ("a", "b", "c"), "", image_set(9), image_set(validation), image_set(test))
        prepared = Preparation(Preparation().augment.model_copy(update={"flip": flip}))
        return PredictionInputs(
            data, image_set(pairs), prepared, VicinitySpec(pairs=4, seed=seed), torch.device("cpu")
        ).fingerprint()

    changed = [name(test=7), name(validation=7), name(pairs=7), name(flip=True), name(seed=1)]
    assert len({name(), *changed}) == 6
