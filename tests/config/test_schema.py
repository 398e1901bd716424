"""The JSON Schema of a study file: every file of ours fits it, a wrong key does not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tiny_studies import merged
from vicinal.config import ARMS, Objective, arm, objective, packaged_studies, study_file_schema
from vicinal.config.nodes import Node, study_schema

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
FILES = [*packaged_studies().values(), *EXAMPLES]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = study_file_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_study_file_of_ours_fits(validator, file: Any):
    assert [error.message for error in validator.iter_errors(yaml.safe_load(file.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seeds": 3},
        {"extends": "quickstart"},
        {"extends": "beside.yaml", "teachers": {"one": None}, "measures": {"corruptions": None, "vicinity": None}},
        {"arms": ["kd", {"name": "kd_mixup", "temperature": 4}]},
        {"arms": [{"name": "mine", "like": "kd", "temperature": ["sigma", 2.5], "teachers": ["one"]}]},
        {"measures.ood": {"source": "photos"}},
    ],
)
def test_what_may_stand_in_a_study_fits(validator, tiny: dict[str, Any], changes: dict[str, Any]):
    assert [error.message for error in validator.iter_errors(merged(tiny, changes))] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"foo": 1},
        {"extend": "quickstart"},
        {"student.epoch": 3},
        {"student.epochs": "three"},
        {"student.optimizer": "Adam W"},
        {"student.augment.flipp": True},
        {"teachers.one.mixin": {}},
        {"teachers": {"a/b": {"model": "m", "epochs": 1}}},
        {"arms": ["unheard"]},
        {"arms": [{"like": "kd"}]},
        {"arms": [{"name": "kd", "gamma": 1}]},
        {"arms": [{"name": "kd", "objective": {"alpha": 1}}]},
        {"arms": [{"name": "kd", "temperature": 0}]},
        {"arms": [{"name": "kd", "temperature": "cold"}]},
        {"arms": [{"name": "kd", "like": "unheard"}]},
        {"seeds": [-1]},
        {"measures.vicinity.lams": 3},
    ],
)
def test_what_may_not_stand_in_a_study_does_not_fit(validator, tiny: dict[str, Any], changes: dict[str, Any]):
    assert not validator.is_valid(merged(tiny, changes))


def test_an_editor_is_told_the_names_that_are_known():
    schema = study_file_schema()
    named, flat = schema["$defs"]["ArmSpec"]["anyOf"]
    assert named["enum"] == list(ARMS)
    assert flat["properties"].keys() == {"name", "like", "teachers", *Objective.model_fields}
    assert schema["properties"]["extends"]["anyOf"][0]["enum"] == list(packaged_studies())


def test_a_place_of_the_schema_knows_its_keys():
    root = Node(study_schema())
    assert "teachers" in root.keys
    teacher = root.below("teachers").below("whatever")
    assert "mixing" in teacher.keys
    assert "mixing" not in root.below("student").keys
    assert root.below("arms").below(7).below("mixing").below("lam") is not None
    assert root.below("arms").below("kd") is None
    assert root.below("nowhere") is None
    assert root.below("student").below("lr_segments").below(0).below(4).keys == []


def test_a_new_field_of_the_objective_is_a_key_of_every_arm(monkeypatch: pytest.MonkeyPatch):
    """A loss term is a field of Objective: arms read, dump and publish it without a change."""

    class Wider(Objective):
        margin: float = 0.0

    monkeypatch.setattr(objective, "Objective", Wider)
    monkeypatch.setattr(objective, "ARMS", {name: Wider(**dict(value)) for name, value in ARMS.items()})
    spec = importlib.util.spec_from_file_location("arm_of_wider", arm.__file__)
    again = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "arm_of_wider", again)
    spec.loader.exec_module(again)
    mine = again.ArmSpec.model_validate({"name": "mine", "like": "kd", "margin": 0.5, "temperature": [2, 4]})
    assert [own.margin for own in mine.objectives()] == [0.5, 0.5]
    assert again.ArmSpec.model_validate(mine.model_dump(mode="json")) == mine
    assert "margin" in again.ArmSpec.model_json_schema()["anyOf"][1]["properties"]
