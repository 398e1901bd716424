"""Values: frozen, validated with words, and fingerprinted by what decides a run's weights and by nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tiny_studies import merged, write_images
from vicinal.config import (
    ARMS,
    ArmSpec,
    AugmentSpec,
    MixingSpec,
    NetworkSpec,
    Objective,
    RunSpec,
    StudySpec,
    VicinitySpec,
    fingerprint,
)
from vicinal.config.network import TeacherSpec


def network(**changes: Any) -> NetworkSpec:
    return NetworkSpec(**({"model": "vicinal_mobilenet", "epochs": 3} | changes))


def run_spec(**changes: Any) -> RunSpec:
    values: dict[str, Any] = {
        "role": "student",
        "name": "kd",
        "network": network(),
        "objective": ARMS["kd"],
        "seed": 0,
        "data": {"train": "abc", "classes": ["a", "b"], "image_size": None},
        "teacher": "0123456789ab",
        "teacher_precision": "fp32",
    }
    return RunSpec(**(values | changes))


# --- frozen -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [network(), MixingSpec(), ARMS["kd"], run_spec(), AugmentSpec(), VicinitySpec()])
def test_values_cannot_be_changed(value: Any):
    field = next(iter(type(value).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, field, getattr(value, field))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_no_value_is_nan_or_infinite(number: float):
    with pytest.raises(ValidationError):
        network(lr=number)
    with pytest.raises(ValidationError):
        Objective(alpha=number)


# --- what a spec refuses, and in which words --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"distribution": "beta"}, "beta needs it"),
        ({"distribution": "uniform", "beta_concentration": 0.4}, "'beta_concentration' goes with distribution: beta"),
        ({"distribution": "fixed"}, "fixed needs it"),
        ({"distribution": "beta", "beta_concentration": 1, "lam": 0.5}, "'lam' goes with distribution: fixed"),
        ({"distribution": "fixed", "lam": 1.5}, "less than or equal to 1"),
        ({"distribution": "beta", "beta_concentration": 0}, "greater than or equal to 0.001"),
        ({"distribution": "none", "clean_fraction": 0.1}, "'clean_fraction' has no meaning"),
        ({"clean_fraction": 1.1}, "less than or equal to 1"),
    ],
)
def test_mixing_says_what_does_not_fit(values: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        MixingSpec(**values)


@pytest.mark.parametrize("temperature", [0, -1, "cold", None, float("inf"), float("nan"), [2]])
def test_a_temperature_is_a_positive_number_or_a_name(temperature: Any):
    with pytest.raises(ValidationError, match=r"a positive number, sigma or teacher_sigma"):
        Objective(temperature=temperature)


@pytest.mark.parametrize(
    ("given", "kept"), [(2, 2.0), (0.5, 0.5), ("sigma", "sigma"), ("teacher_sigma", "teacher_sigma")]
)
def test_a_temperature_is_kept_whole(given: Any, kept: Any):
    assert Objective(temperature=given).temperature == kept  # 0.5 became 0 in code that cast it to int


def test_an_objective_without_weight_teaches_nothing():
    with pytest.raises(ValidationError, match="nothing to learn from"):
        Objective(alpha=0, beta=0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mean": (0.5,)}, "'mean' and 'std' together"),
        ({"std": (0.5,)}, "'mean' and 'std' together"),
        ({"mean": (0.5,), "std": (0.0,)}, "greater than 0"),
        ({"schedule": "piecewise"}, "piecewise needs it"),
        ({"lr_segments": [[0, 3, 0.1, 0.1, "linear"]]}, "goes with schedule: piecewise"),
        ({"schedule": "piecewise", "lr_segments": [[0, 2, 0.1, 0.1, "linear"]]}, "end at epoch 2, before the 3"),
        ({"schedule": "piecewise", "lr_segments": [[1, 3, 0.1, 0.1, "linear"]]}, "start at epoch 0"),
        (
            {"schedule": "piecewise", "lr_segments": [[0, 1, 0.1, 0.1, "linear"], [2, 3, 0.1, 0.1, "linear"]]},
            "without gaps",
        ),
        ({"head": "keep"}, "needs 'weights'"),
        ({"epochs": 0}, "needs 'weights'"),
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"optimizer": "Adam W"}, "optimizer"),
    ],
)
def test_a_network_says_what_does_not_fit(values: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        network(**values)


def test_crop_sizes_go_with_their_crop():
    with pytest.raises(ValidationError, match="goes with crop: resize"):
        AugmentSpec(crop="resize")
    with pytest.raises(ValidationError, match="goes with crop: resize"):
        AugmentSpec(resize=32)


@pytest.mark.parametrize("points", [2, 4, 20])
def test_the_grid_holds_one_half(points: int):
    with pytest.raises(ValidationError):
        VicinitySpec(lam_points=points)


# --- arms -------------------------------------------------------------------------------------------------------------


def test_the_arms_are_values_of_one_objective():
    told = {name: (arm.alpha, arm.beta, arm.mixing.distribution) for name, arm in ARMS.items()}
    assert told == {
        "baseline": (1, 0, "none"),
        "mixup": (1, 0, "uniform"),
        "kd": (0, 1, "none"),
        "kd_mixup": (0, 1, "uniform"),
        "linear_target": (0, 1, "uniform"),
        "label_smoothing": (1, 0, "none"),
    }
    assert [name for name, arm in ARMS.items() if arm.uses_teacher] == ["kd", "kd_mixup", "linear_target"]


def test_an_arm_is_a_name_or_starts_from_one():
    assert ArmSpec.model_validate("mixup").objectives() == (ARMS["mixup"],)
    partial = ArmSpec.model_validate({"name": "partial", "like": "kd_mixup", "alpha": 0.2, "temperature": [1, "sigma"]})
    assert [(o.alpha, o.beta, o.temperature) for o in partial.objectives()] == [(0.2, 1, 1.0), (0.2, 1, "sigma")]
    assert partial.objective.mixing == ARMS["kd_mixup"].mixing
    own = ArmSpec.model_validate(
        {"name": "own", "alpha": 1, "beta": 2, "mixing": {"distribution": "fixed", "lam": 0.5}}
    )
    assert own.objectives()[0].mixing.lam == 0.5


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ("unheard", "not a known one"),
        ({"name": "own", "alpha": 1}, "like: <a known arm>"),
        ({"name": "kd", "temperature": []}, "at least one temperature"),
        ({"name": "kd", "temperature": [2, 2.0]}, "twice"),
        ({"name": "baseline", "temperature": [1, 2]}, "uses no teacher"),
        ({"name": "baseline", "temperature": 4}, "has no temperature"),
        ({"name": "baseline", "temperature": 2}, "has no temperature"),
        ({"name": "baseline", "teachers": ["one"]}, "uses no teacher"),
        ({"name": "own", "like": "unheard"}, "no arm is known as 'unheard'"),
        ({"name": "own", "objective": {"alpha": 1}}, "stand beside the arm's name"),
        ({"name": "linear_target", "temperature": ["sigma", "teacher_sigma"]}, "no single teacher_sigma"),
        ({"name": "a/b", "like": "kd"}, "pattern"),
        ({"name": "kd", "alpha": 0, "beta": 0}, "nothing to learn from"),
    ],
)
def test_an_arm_says_what_does_not_fit(arm: Any, words: str):
    with pytest.raises(ValidationError, match=words):
        ArmSpec.model_validate(arm)


@pytest.mark.parametrize(
    "arm",
    [
        "baseline",
        {"name": "kd", "teachers": ["one"]},
        {"name": "mine", "like": "kd_mixup", "alpha": 0.2, "temperature": [2, "sigma"]},
        {"name": "own", "alpha": 1, "beta": 0, "mixing": {"distribution": "fixed", "lam": 0.5}},
    ],
)
def test_an_arm_is_dumped_as_a_study_file_writes_it(arm: Any):
    spec = ArmSpec.model_validate(arm)
    dump = spec.model_dump(mode="json")
    assert ArmSpec.model_validate(dump) == spec
    assert "objective" not in dump
    assert {"alpha", "beta", "mixing"} <= dump.keys()
    assert ("temperature" in dump) == spec.objective.uses_teacher
    assert json.loads(json.dumps(dump)) == dump


def test_a_known_arm_brings_its_temperature(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ARMS, "hot", Objective(alpha=0.5, temperature=8))
    assert ArmSpec.model_validate("hot").temperatures == (8.0,)
    assert ArmSpec.model_validate({"name": "mine", "like": "hot"}).objectives() == (ARMS["hot"],)
    assert ArmSpec.model_validate({"name": "hot", "temperature": 3}).temperatures == (3.0,)


def test_an_arm_may_hold_an_objective_from_python():
    assert ArmSpec(name="mine", objective=Objective(alpha=0.3, temperature=4)).objectives() == (
        Objective(alpha=0.3, temperature=4),
    )


# --- studies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"student": None}, "no 'student'"),
        ({"arms": []}, "no 'arms'"),
        ({"arms": ["kd", "kd"]}, "two arms have one name, teacher and temperature: kd"),
        ({"seeds": [1, 1]}, "twice"),
        ({"seeds": []}, "at least 1"),
        ({"teachers": {}}, "at least 1"),
        ({"selection": "best_validation", "data.validation": 0}, "needs data.validation"),
        ({"arms": [{"name": "kd", "teachers": ["two"]}]}, "arm 'kd' learns from 'two', which is not a teacher: one"),
        (
            {"arms": [{"name": "kd", "temperature": [2, "sigma"]}], "answers.top_k": 2},
            "arm 'kd' at temperature sigma needs",
        ),
        ({"student.schedule": "plateau", "student.plateau": {}, "data.validation": 0}, "must be above 0"),
        ({"student.schedule": "plateau", "student.plateau": {}, "validate_every_epochs": 2}, "must be 1"),
        ({"student.augment": {"crop": "resize", "resize": 20}}, "data.image_size must be given"),
        ({"data.image_size": 32, "student.augment": {"crop": "resize", "resize": 20}}, "no larger"),
        ({"name": "a/b"}, "pattern"),
    ],
)
def test_a_study_says_what_does_not_fit(tiny: dict[str, Any], changes: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        StudySpec.model_validate(merged(tiny, changes))


def test_one_seed_needs_no_list(tiny: dict[str, Any]):
    assert StudySpec.model_validate(merged(tiny, {"seeds": 3})).seeds == (3,)


def test_networks_by_path(tiny: dict[str, Any]):
    assert list(StudySpec.model_validate(tiny).networks()) == ["teachers.one", "student"]


# --- fingerprints -----------------------------------------------------------------------------------------------------


def test_a_fingerprint_reads_values_not_their_order():
    assert fingerprint({"a": 1, "b": [2.0]}) == fingerprint({"b": [2.0], "a": 1}) != fingerprint({"a": 1, "b": [2.5]})
    assert len(run_spec().fingerprint()) == 12


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},  # the readable part of the folder's name
        {"validate_every_epochs": 5},  # looked at, not chosen by
    ],
)
def test_what_decides_no_weights_is_not_in_the_fingerprint(changes: dict[str, Any]):
    assert run_spec(**changes).fingerprint() == run_spec().fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "teacher"},
        {"seed": 1},
        {"network": network(lr=2e-3)},
        {"network": network(epochs=4)},
        {"network": network(augment={"flip": True})},
        {"network": network(repeat_inputs_after_epochs=2)},
        {"objective": Objective(temperature=3)},
        {"objective": Objective(temperature="sigma")},
        {"objective": Objective(alpha=0.1)},
        {"objective": ARMS["kd_mixup"]},
        {"data": {"train": "abd", "classes": ["a", "b"], "image_size": None}},
        {"data": {"train": "abc", "classes": ["a", "b"], "image_size": 32}},
        {"teacher": "0123456789ac"},
        {"teacher_precision": "bf16"},
        {"weights_hash": "1"},
        {"selection": "best_validation"},
    ],
)
def test_what_decides_the_weights_is_in_the_fingerprint(changes: dict[str, Any]):
    assert run_spec(**changes).fingerprint() != run_spec().fingerprint()


def test_how_often_is_looked_counts_where_the_best_is_chosen():
    first = run_spec(selection="best_validation", validate_every_epochs=1)
    assert first.fingerprint() != run_spec(selection="best_validation", validate_every_epochs=2).fingerprint()


def test_a_temperature_that_scales_nothing_is_not_in_the_fingerprint():
    plain = run_spec(objective=ARMS["baseline"])
    assert run_spec(objective=Objective(alpha=1, beta=0, temperature=4)).fingerprint() == plain.fingerprint()
    assert run_spec(objective=Objective(alpha=1, beta=0, label_smoothing=0.1)).fingerprint() != plain.fingerprint()


def test_weights_are_known_by_content_not_by_path():
    def run(path: str, content: str) -> str:
        return run_spec(network=network(weights=path), weights_hash=content).fingerprint()

    assert run("a.safetensors", "1") == run("b.safetensors", "1") != run("a.safetensors", "2")


# What a study makes of it: the folders that its runs get.


@pytest.fixture(scope="module")
def folders(
    tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[tuple[Any, ...], str]]:
    """folders({"dotted.key": value}): the fingerprint of each run by (teacher's name) or (arm, teacher, temperature, seed)."""
    from vicinal.study import Study

    out = tmp_path_factory.mktemp("out")

    def plan(changes: dict[str, Any]) -> dict[tuple[Any, ...], str]:
        study = Study(StudySpec.model_validate(merged(tiny, changes)), out)
        return {tuple(run.label.values()): run.spec.fingerprint() for run in study.plan.runs}

    return plan


TEACHER, BASELINE = ("one", 0), ("baseline", None, None, 0, 1.0)
KD, SIGMA = ("kd_mixup", "one", 2.0, 0, 1.0), ("kd_mixup", "one", "sigma", 0, 1.0)


def test_titles_paths_and_runtime_change_no_run(folders, tmp_path: Path, image_folder: Path):
    other = tmp_path / "moved"
    other.symlink_to(image_folder)
    changes = {
        "name": "renamed",
        "title": "A title",
        "description": "words",
        "data.source": str(other),
        "data.name": "Pictures",
        "runtime": {"device": "cpu", "threads": 1, "checkpoint_seconds": 3},
        "measures.bootstrap_resamples": 200,
        "measures.vicinity.pairs": 20,
        "validate_every_epochs": 2,
    }
    assert folders(changes) == folders({})


def changed(before: dict[Any, str], after: dict[Any, str]) -> set[Any]:
    assert before.keys() == after.keys()
    return {label for label in before if before[label] != after[label]}


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ({"student.lr": 2e-2}, {BASELINE, KD, SIGMA}),
        ({"student.train_images": 42}, {BASELINE, KD, SIGMA}),
        ({"teachers.one.lr": 2e-2}, {TEACHER, KD, SIGMA}),
        ({"teachers.one.mixing": {"distribution": "uniform"}}, {TEACHER, KD, SIGMA}),
        ({"teachers.one.inference_precision": "bf16"}, {KD, SIGMA}),
        ({"arms": ["baseline", {"name": "kd_mixup", "temperature": [2, "sigma"], "alpha": 0.5}]}, {KD, SIGMA}),
        ({"data.image_size": 16}, {TEACHER, BASELINE, KD, SIGMA}),
        ({"data.split_seed": 1}, {TEACHER, BASELINE, KD, SIGMA}),
        ({"selection": "best_validation"}, {TEACHER, BASELINE, KD, SIGMA}),
    ],
)
def test_a_change_reaches_what_depends_on_it_and_no_more(folders, changes: dict[str, Any], runs: set[Any]):
    assert changed(folders({}), folders(changes)) == runs


def test_one_other_pixel_makes_other_runs(folders, tmp_path: Path):
    write_images(tmp_path / "train", 30, seed=1)
    write_images(tmp_path / "test", 20, seed=2)
    same = folders({"data.source": str(tmp_path), "student.train_images": None, "data.validation": 0})
    from PIL import Image

    file = tmp_path / "train" / "north" / "003.png"
    image = Image.open(file)
    image.putpixel((0, 0), (image.getpixel((0, 0)) + 1) % 256)
    image.save(file)
    after = folders({"data.source": str(tmp_path), "student.train_images": None, "data.validation": 0})
    assert changed(same, after) == {TEACHER, BASELINE, KD, SIGMA}


def test_other_test_images_train_nothing_anew_except_in_the_papers_protocol(folders):
    assert not changed(folders({}), folders({"data.test_images": 30}))
    paper = folders({"selection": "paper_best_test"})
    assert changed(paper, folders({"selection": "paper_best_test", "data.test_images": 30})) == set(paper)


def test_a_teacher_spec_states_its_objective():
    teacher = TeacherSpec(model="vicinal_resnet8", epochs=1, mixing={"distribution": "uniform"})
    assert teacher.objective() == ARMS["mixup"]


def test_an_arm_may_stand_twice_for_other_teachers(tiny: dict[str, Any]):
    other = {"model": "vicinal_resnet8", "epochs": 1}
    arms = ["baseline", {"name": "kd_mixup", "teachers": ["one"], "temperature": [2, 4]}]
    twice = merged(tiny, {"teachers.other": other, "arms": [*arms, {"name": "kd_mixup", "teachers": ["other"]}]})
    assert len(StudySpec.model_validate(twice).arms) == 3
    with pytest.raises(ValidationError, match="one name, teacher and temperature: kd_mixup"):
        StudySpec.model_validate(merged(tiny, {"arms": [*arms, {"name": "kd_mixup", "temperature": [2]}]}))


# --- loss terms -------------------------------------------------------------------------------------------------------


def test_a_weight_alone_is_a_term_as_by_default():
    short, long = (Objective(terms={"dkd": value}) for value in (0.5, {"weight": 0.5, "alpha": 1, "beta": 8}))
    assert short == long
    assert short.terms.weights == {"dkd": 0.5}
    assert short.model_dump(mode="json")["terms"] == {"dkd": {"weight": 0.5, "alpha": 1.0, "beta": 8.0}}
    assert Objective(**short.model_dump()) == short


def test_terms_of_before_are_what_they_were_in_a_fingerprint():
    """Names and numbers: runs that exist keep their folders."""
    assert Objective().model_dump(mode="json")["terms"] == {}
    assert Objective(terms={"kd": 1, "own": -0.5}).model_dump(mode="json")["terms"] == {"kd": 1.0, "own": -0.5}
    assert run_spec(objective=Objective()).fingerprint() == "b6e186747037"


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"dkd": {"alpha": 1}}, "weight"),
        ({"dkd": {"weight": 1, "gamma": 1}}, "gamma"),
        ({"dkd": {"weight": 1, "alpha": -1}}, "greater than or equal to 0"),
        ({"dkd": True}, "true"),
        ({"mine": True}, "true is not a value here"),
        ({"mine": {"weight": 1}}, "valid number"),
        ({"soft_cross_entropy": {"weight": 1, "student_temperature": 0}}, "0.001"),
        ({"hard_cross_entropy": {"weight": 1, "label": "smaller"}}, "'larger' or 'own'"),
        ({"confidence_kd": {"weight": 1, "by": "luck"}}, "'label', 'correct', 'entropy' or 'relative'"),
        ({"": 1}, "names of 1 to"),
    ],
)
def test_terms_that_cannot_be(terms: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        Objective(terms=terms)


def test_what_teaches_is_needed():
    for terms in ({}, {"mine": 1}, {"dkd": 0}):
        with pytest.raises(ValidationError, match="nothing to learn from"):
            Objective(alpha=0, beta=0, terms=terms)
    for terms in ({"dkd": 1}, {"hard_cross_entropy": 1}, {"kd": 1}):
        Objective(alpha=0, beta=0, terms=terms)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2sigma", "2sigma"),
        ("2.50sigma", "2.5sigma"),
        ("1sigma", "sigma"),
        ("1e1sigma", "10sigma"),
        ("1.0sigma", "sigma"),
    ],
)
def test_a_multiple_of_sigma_is_written_in_one_way(given: str, kept: str):
    assert Objective(temperature=given).temperature == kept


@pytest.mark.parametrize(
    "given", ["0sigma", "2 sigma", "-2sigma", "2teacher_sigma", "1e9sigma", "sigma2", "١sigma", "σ"]
)
def test_no_multiple_of_sigma(given: str):
    with pytest.raises(ValidationError, match="such as 2sigma"):
        Objective(temperature=given)


@pytest.mark.parametrize(
    ("values", "is_open"),
    [
        ({"temperature": "sigma"}, True),
        ({"temperature": "2sigma"}, True),
        ({"temperature": "2sigma", "alpha": 0.1}, False),
        ({"temperature": "teacher_sigma"}, False),
        ({"temperature": 2}, False),
        ({"temperature": "2sigma", "terms": {"dkd": 1}}, True),
        ({"temperature": "2sigma", "beta": 0, "terms": {"dkd": 1}}, True),
        ({"temperature": "2sigma", "terms": {"hard_cross_entropy": 1}}, False),
        ({"temperature": "2sigma", "terms": {"soft_cross_entropy": {"weight": 1, "student_temperature": 1}}}, False),
    ],
)
def test_a_loss_by_deviations_alone_leaves_the_scale_open(values: dict[str, Any], is_open: bool):
    assert Objective(**values).leaves_scale_open is is_open


def test_a_temperature_of_no_term_is_not_in_the_fingerprint():
    hard = [Objective(beta=0, temperature=t, terms={"hard_cross_entropy": 1}) for t in (2, 4)]
    assert len({run_spec(objective=objective).fingerprint() for objective in hard}) == 1
    taught = [Objective(alpha=1, beta=0, temperature=t, terms={"dkd": 1}) for t in (2, 4)]
    assert len({run_spec(objective=objective).fingerprint() for objective in taught}) == 2


def test_an_arm_without_kd_has_the_temperatures_of_its_terms():
    arm = ArmSpec.model_validate(
        {"name": "mine", "like": "kd", "beta": 0, "terms": {"dkd": 1}, "temperature": [2, "4sigma"]}
    )
    assert [objective.temperature for objective in arm.objectives()] == [2.0, "4sigma"]
    assert ArmSpec.model_validate(arm.model_dump(mode="json")) == arm
