"""results.json as a value: all that a study writes is in its schema, what is not in it is refused, and it becomes tables."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from vicinal.cli.main import main
from vicinal.config import MixingSpec, Objective, StudySpec, TermsSpec
from vicinal.errors import UsageError
from vicinal.results import StudyResults, read_results, results_schema, write_results

OPTIONAL = {"corruptions", "representation", "ood_auroc"}  # of a model: only where the study asks for them


@pytest.fixture(scope="module")
def folder(
    tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, image_folder: Path
) -> Path:
    """A finished study with every measure."""
    out = tmp_path_factory.mktemp("results") / "out"
    changes = {
        "teachers.one.epochs": 1,
        "student.epochs": 1,
        "measures.corruptions": {"images": 9, "names": ["contrast", "gaussian_noise"]},
        "measures.representation": {"images_per_class": 5},
        "measures.ood": {"source": str(image_folder), "name": "others"},
    }
    assert main(["run", str(study_file(tiny, changes)), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def written(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.fixture
def raw(written: dict[str, Any]) -> dict[str, Any]:
    """What was written, to change: without the checksum, as older versions wrote it."""
    return {key: value for key, value in copy.deepcopy(written).items() if key != "sha256"}


def put(folder: Path, raw: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(raw if isinstance(raw, str) else json.dumps(raw), encoding="utf-8")
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_results(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what a study writes ----------------------------------------------------------------------------------------------


def unset(part: Any, path: str = "") -> Iterator[str]:
    """The paths of fields that were not given; a loss has the terms, a mixing the keys that it has."""
    if isinstance(part, BaseModel) and not isinstance(part, TermsSpec | MixingSpec):
        for name in type(part).model_fields:
            if name in part.model_fields_set:
                yield from unset(getattr(part, name), f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(part, list | dict):
        for item in part if isinstance(part, list) else part.values():
            yield from unset(item, path)


def test_all_that_is_promised_is_written(folder: Path):
    assert set(unset(read_results(folder))) == {".sha256"}


def test_a_measure_that_was_not_asked_for_is_not_there(raw: dict[str, Any]):
    for model in [*raw["teachers"], *raw["students"]]:
        for key in OPTIONAL:
            del model[key]
    assert {path.rpartition(".")[2] for path in unset(StudyResults.model_validate(raw))} >= OPTIONAL


def test_what_is_read_is_what_was_written(folder: Path, written: dict[str, Any], tmp_path: Path):
    results = read_results(folder)
    assert results.to_json() == {key: value for key, value in written.items() if key != "sha256"}
    write_results(tmp_path, results)
    assert (tmp_path / "results.json").read_bytes() == (folder / "results.json").read_bytes()
    assert results.students[1].objective == Objective(mixing={"distribution": "uniform"})
    assert results.students[0].corruptions["contrast"].gain_pp is None
    assert len(results.students[1].corruptions["contrast"].gain_pp) == 5
    assert results.students[1].versus_teacher.keys() == {"one"}


def test_the_study_in_it_can_be_run_again(folder: Path):
    spec = read_results(folder).spec
    assert StudySpec.model_validate(spec).model_dump(mode="json") == spec
    assert [arm["name"] for arm in spec["arms"]] == ["baseline", "kd_mixup"]
    assert spec["arms"][1]["temperature"] == [2.0, "sigma"]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_no_results(tmp_path: Path):
    assert "has no results.json" in refused(tmp_path)
    assert "vicinal run STUDY --out" in refused(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ("[]", "not a mapping"),
        ("{}", "has schema None, written by an unknown version"),
        ('{"schema": 1, "version": "0.0.9"}', "schema 1, written by vicinal 0.0.9"),
        ('{"schema": 2, "version": "0.1.0"}', "lacks 'study'"),
    ],
)
def test_damaged_results(tmp_path: Path, content: str, words: str):
    assert words in refused(put(tmp_path, content))


def test_a_lacking_key_is_named_by_its_path(raw: dict[str, Any], tmp_path: Path):
    del raw["students"][2]["vicinity"]["lam"]
    assert "lacks 'students[2].vicinity.lam'" in refused(put(tmp_path, raw))


def test_a_key_that_nobody_knows_is_named(raw: dict[str, Any], tmp_path: Path):
    raw["teachers"][0]["reliability"]["mean"] = 0.5
    assert "does not know, 'teachers[0].reliability.mean'" in refused(put(tmp_path, raw))
    with pytest.raises(ValidationError, match="mean"):
        StudyResults.model_validate(raw)


@pytest.mark.parametrize("value", ["0.5", True, [0.5], None])
def test_a_value_of_another_kind_is_named(raw: dict[str, Any], tmp_path: Path, value: Any):
    raw["students"][0]["ece"] = value
    assert "has a wrong value at 'students[0].ece'" in refused(put(tmp_path, raw))


def test_an_interval_has_two_ends(raw: dict[str, Any], tmp_path: Path):
    raw["students"][0]["intervals"]["ece"] = [0.1]
    assert "students[0].intervals.ece" in refused(put(tmp_path, raw))


def test_no_model_is_no_result(raw: dict[str, Any], tmp_path: Path):
    assert "lacks 'teachers[0]'" in refused(put(tmp_path, raw | {"teachers": [], "students": []}))


def test_a_number_that_is_not_finite_is_missing(raw: dict[str, Any], tmp_path: Path):
    raw["students"][0]["vicinity"]["dominance"][2] = float("nan")
    assert read_results(put(tmp_path, raw)).students[0].vicinity.dominance[2] is None


# --- the published schema ---------------------------------------------------------------------------------------------


def test_the_published_schema_says_the_same(written: dict[str, Any]):
    schema = results_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(written)] == []
    for part in ({"schema": 1}, {"wall_time": 3}, {"teachers": [{"name": "one"}]}):
        assert not validator.is_valid({**written, **part})


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_row_for_every_model(folder: Path, written: dict[str, Any]):
    frame = read_results(folder).to_frame()
    assert list(frame.columns[:7]) == ["role", "name", "arm", "teacher", "temperature", "seed", "model"]
    assert list(frame["role"]) == ["teacher", "student", "student", "student"]
    students = frame[frame["role"] == "student"]
    assert list(students["ece"]) == [student["ece"] for student in written["students"]]
    assert list(students["temperature"])[1:] == [2.0, "sigma"]
    assert list(students["alignment.kl_real"])[1:] == [s["alignment"]["kl_real"] for s in written["students"][1:]]
    assert frame["ood_auroc.others"].iloc[0] == written["teachers"][0]["ood_auroc"]["others"]
    assert frame["minus_baseline.accuracy_pp"].isna().tolist() == [True, True, False, False]
    assert not [column for column in frame if frame[column].map(lambda value: isinstance(value, list | dict)).any()]


def test_the_curves_in_long_form(folder: Path, written: dict[str, Any]):
    frame = read_results(folder).curves_frame()
    keys = {False: "vicinity", True: "vicinity_after_temperature_scaling"}
    curves_of_all = [model[key] for model in written["teachers"] + written["students"] for key in keys.values()]
    assert len(frame) == sum(curves is not None for curves in curves_of_all) * 4 * 5  # quantities, λ
    for scaled, key in keys.items():
        curves = written["students"][2][key]
        if curves is None:  # no temperature was fitted
            assert written["students"][2]["no_fitted_temperature"]
            continue
        own = frame[(frame["temperature"] == "sigma") & (frame["scaled"] == scaled) & (frame["quantity"] == "entropy")]
        assert list(own["lam"]) == curves["lam"]
        assert list(own["value"]) == curves["entropy"]
        assert list(own["upper"]) == curves["intervals"]["entropy"]["upper"]


def test_without_intervals_and_scaling_curves_stand_alone(raw: dict[str, Any]):
    for model in [*raw["teachers"], *raw["students"]]:
        del model["vicinity"]["intervals"]
        model["vicinity_after_temperature_scaling"] = None
    frame = StudyResults.model_validate(raw).curves_frame()
    assert len(frame) == 4 * 4 * 5
    assert frame["lower"].isna().all()


def test_without_pandas_one_line_says_how(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    results = read_results(folder)
    for table in (results.to_frame, results.curves_frame):
        with pytest.raises(UsageError, match="pip install pandas"):
            table()
