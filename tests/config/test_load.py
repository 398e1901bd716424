"""Study files and overrides: every mistake is named by its path with what is allowed, in one line, and YAML stays data."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny_studies import merged
from vicinal.config import StudySpec, load_study, packaged_studies
from vicinal.config.load import parse_study
from vicinal.config.overrides import apply_override
from vicinal.errors import UsageError


@pytest.fixture
def file(tmp_path: Path, tiny: dict[str, Any]) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny), encoding="utf-8")
    return path


def refused(study: object, *overrides: str) -> str:
    """The error's text, which must be one line."""
    with pytest.raises(UsageError) as caught:
        load_study(str(study), overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- errors by path ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("foo=1", ["unknown key 'foo'", "teachers", "student", "arms"]),
        ("seeds=[true]", ["seeds", "true is not a value here"]),
        ("data.sorce=x", ["unknown key 'data.sorce'", "did you mean 'source'", "image_size"]),
        ("student.epoch=3", ["unknown key 'student.epoch'", "did you mean 'epochs'", "batch_size"]),
        ("student.augment.flipp=true", ["unknown key 'student.augment.flipp'", "did you mean 'flip'", "crop"]),
        ("teachers.one.mixin={}", ["unknown key 'teachers.one.mixin'", "did you mean 'mixing'", "inference_precision"]),
        ("arms.kd_mixup.mixing.share=1", ["unknown key 'arms.kd_mixup.mixing.share'", "clean_fraction"]),
        ("arms.kd_mixup.temp=1", ["unknown key 'arms.kd_mixup.temp'", "temperature", "label_smoothing"]),
        ("measures.vicinity.lams=3", ["unknown key 'measures.vicinity.lams'", "lam_points"]),
        ("runtime.gpu=1", ["unknown key 'runtime.gpu'", "device"]),
        ("student.epochs=abc", ["student.epochs", "integer", "'abc'"]),
        ("student.epochs=1.5", ["student.epochs", "integer", "1.5"]),
        ("student.lr=0", ["student.lr", "greater than 0"]),
        ("student.lr=.nan", ["student.lr", "finite"]),
        ("student.optimizer='Adam W'", ["student.optimizer", "pattern", "'Adam W'"]),
        ("selection=test", ["selection", "'last', 'best_validation' or 'paper_best_test'"]),
        ("student=3", ["student", "3"]),
        ("teachers=null", ["teachers"]),
        ("teachers.two={}", ["teachers.two.model is required", "teachers.two.epochs is required"]),
        ("arms.kd_mixup.temperature=0", ["arms.kd_mixup.temperature:", "positive number, sigma or teacher_sigma"]),
        ("arms.kd_mixup.temperature=[2,0]", ["arms.kd_mixup.temperature.1:", "positive number"]),
        ("arms.kd_mixup.alpha=-1", ["arms.kd_mixup.alpha:", "greater than or equal to 0 (given: -1)"]),
        ("arms.1.alpha=-1", ["arms.kd_mixup.alpha:"]),
        ("arms.baseline.temperature=4", ["arms.baseline.temperature:", "uses no teacher", "leave it out"]),
        ("arms=[kd,{name: kd, gamma: 1}]", ["unknown key 'arms.kd[1].gamma'"]),
        ("arms=[kd,{alpha: 1}]", ["arms.1:"]),
        (
            "arms=[linear_target,{name: linear_target, temperature: [1, teacher_sigma]}]",
            ["arms.linear_target[1]:", "no single"],
        ),
        ("measures.representation.foo=1", ["unknown key 'measures.representation.foo'", "images_per_class"]),
        ("teachers.a/b={model: m, epochs: 1}", ["teachers.a/b", "letters, digits"]),
        ("arms=[unheard]", ["arms.unheard", "'unheard'", "baseline, mixup, kd, kd_mixup"]),
        ("student.augment.crop=resize", ["student.augment", "resize: 236"]),
        ("measures.vicinity.lam_points=4", ["measures.vicinity.lam_points", "odd"]),
        ("runtime.device=tpu", ["runtime.device", "'tpu'"]),
        ("seeds=[0,0]", ["seeds", "twice"]),
    ],
)
def test_a_mistake_is_named_by_its_path(file: Path, override: str, words: list[str]):
    message = refused(file, override)
    assert str(file) in message
    for word in words:
        assert word in message


def test_all_mistakes_are_told_at_once(file: Path):
    message = refused(file, "foo=1", "student.epochs=abc")
    assert "foo" in message
    assert "student.epochs" in message


def test_a_missing_part_is_asked_for(tmp_path: Path):
    path = tmp_path / "s.yaml"
    path.write_text("name: s\n")
    message = refused(path)
    assert "data is required" in message
    assert "teachers is required" in message


@pytest.mark.parametrize("flag", ["student.epochs=true", "seeds=true", "student.batch_size=true", "student.lr=true"])
def test_yes_is_no_number(file: Path, flag: str):
    assert flag.split("=")[0].split(".")[-1] in refused(file, flag)


def test_one_mistake_in_a_list_is_told_once(file: Path):
    message = refused(file, "seeds=[a]")
    assert "seeds.0" in message
    assert "seeds.0: " in refused(file, "seeds=a")  # of a list of one
    assert "at least 1 item" not in message


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "hello", "3", "# only a comment\n"])
def test_a_study_file_is_a_mapping(tmp_path: Path, text: str):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    message = refused(path)
    assert str(path) in message
    assert "mapping" in message


@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object:os.system x",
        "!!python/object/apply:os.mkdir ['{ran}']",
        "name: !!python/object/apply:os.mkdir ['{ran}']",
        "name: !!python/name:os.system",
    ],
)
def test_yaml_is_data_and_never_code(tmp_path: Path, text: str):
    path, ran = tmp_path / "s.yaml", tmp_path / "ran"
    path.write_text(text.format(ran=ran))
    assert "nothing that a study holds" in refused(path)
    assert not ran.exists()


def test_overrides_are_data_and_never_code(file: Path, tmp_path: Path):
    ran = tmp_path / "ran"
    assert "student.epochs" in refused(file, f"student.epochs=!!python/object/apply:os.mkdir ['{ran}']")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\n\tdata: b\n", "line 2"),
        ("name: a: b\n", "line 1"),
        ("name: [a\n", "line"),
        ("name: a\nname: b\n", "the key 'name' stands twice"),
        ("name: a\ndata: {source: x, source: y}\n", "the key 'source' stands twice"),
        ("name: a\n---\nname: b\n", "document"),
        ("? [a, b]\n: c\n", "keys are words"),
    ],
)
def test_yaml_mistakes_say_where(tmp_path: Path, text: str, words: str):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    message = refused(path)
    assert str(path) in message
    assert words in message


def test_a_file_that_is_no_text(tmp_path: Path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xff\xfe\x00n")
    assert str(path) in refused(path)


def test_merge_keys_of_yaml_work(tmp_path: Path, tiny: dict[str, Any]):
    """`<<: *anchor` is plain YAML 1.1, which PyYAML's safe loader reads; two like teachers are the usual reason."""
    values = merged(tiny, {})
    values["teachers"] = values.pop("teachers")  # last, so that a second teacher can be appended
    text = yaml.safe_dump(values, sort_keys=False).replace("teachers:\n  one:\n", "teachers:\n  one: &one\n")
    path = tmp_path / "s.yaml"
    path.write_text(f"{text}  two:\n    <<: *one\n    epochs: 7\n")
    spec = load_study(str(path))
    assert spec.teachers["two"].epochs == 7
    assert spec.teachers["two"].lr == spec.teachers["one"].lr


@pytest.mark.parametrize("name", ["quickstar", "nope.yaml", ".", "", "../quickstart", "quick start"])
def test_an_unknown_study_lists_the_packaged_ones(name: str):
    assert "quickstart" in refused(name)


def test_a_close_name_is_suggested():
    assert "did you mean 'quickstart'" in refused("quikstart")


def test_packaged_studies_are_whole():
    studies = packaged_studies()
    assert "quickstart" in studies
    for name in studies:
        spec = load_study(name)
        assert spec.name == name
        assert spec.title
        assert spec.description


# --- overrides --------------------------------------------------------------------------------------------------------


def test_overrides_by_dotted_key(file: Path):
    spec = load_study(
        str(file),
        [
            "seeds=[0,1,2]",
            "student.epochs=10",
            "student.lr=1e-3",  # a string to YAML 1.1, a number to everyone else
            "student.augment.flip=true",
            "measures.vicinity.pairs=9",
            "arms.kd_mixup.temperature=[4,sigma]",
            "arms.0.alpha=0.5",
            "teachers.two={model: vicinal_resnet8, epochs: 1}",
            "title=a = b",
        ],
    )
    assert spec.seeds == (0, 1, 2)
    assert spec.student is not None
    assert (spec.student.epochs, spec.student.lr, spec.student.augment.flip) == (10, 1e-3, True)
    assert spec.measures.vicinity.pairs == 9
    assert spec.arms[1].temperatures == (4.0, "sigma")
    assert spec.arms[0].name == "baseline"
    assert spec.arms[0].objective.alpha == 0.5
    assert list(spec.teachers) == ["one", "two"]
    assert spec.title == "a = b"


@pytest.mark.parametrize(
    ("override", "same_as"),
    [
        ("seeds=0,1,2", "seeds=[0, 1, 2]"),
        ("seeds=4,", "seeds=[4]"),
        ("arms=kd", "arms=[kd]"),
        ("arms=baseline,{name: kd, temperature: [2, 4]}", "arms=[baseline, {name: kd, temperature: [2, 4]}]"),
        ("arms.kd_mixup.temperature=2,4,sigma", "arms.kd_mixup.temperature=[2, 4, sigma]"),
        ("arms.1.temperature=2,4", "arms.1.temperature=[2, 4]"),
        ("teachers.one.logit_scale=0.5,1e0", "teachers.one.logit_scale=[0.5, 1]"),
        ("data.class_order=cat,0224", "data.class_order=[cat, 0224]"),
        ("data.class_order='a,b',c", "data.class_order=['a,b', c]"),
        ("student.model_args.img_size=32,16", "student.model_args.img_size=[32, 16]"),
        (
            "student.lr_segments=[0,2,1,1,linear],[2,4,1,1,linear]",
            "student.lr_segments=[[0,2,1,1,linear],[2,4,1,1,linear]]",
        ),
    ],
)
def test_commas_make_a_list_where_the_key_takes_one(tiny: dict[str, Any], override: str, same_as: str):
    written, meant = copy.deepcopy(tiny), copy.deepcopy(tiny)
    apply_override(written, override)
    apply_override(meant, same_as)
    assert written == meant


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("title=one, two", "one, two"),
        ("data.source=a,b", "a,b"),
        ("data.class_order=natural", "natural"),
        ("student.lr=1,5", "1,5"),  # refused by the schema, as what it is
        ("student.model_args.x='32,16'", "32,16"),
        ("not.a.key=1,2", "1,2"),
    ],
)
def test_commas_stay_text_where_the_key_takes_no_list(tiny: dict[str, Any], override: str, value: str):
    written = copy.deepcopy(tiny)
    apply_override(written, override)
    for key in override.partition("=")[0].split("."):
        written = written[key]
    assert written == value


def test_the_last_override_of_a_key_holds(file: Path):
    assert load_study(str(file), ["seeds=1", "seeds=2"]).seeds == (2,)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("epochs", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("student.epochs: 3", "KEY=VALUE"),
        ("arms.nope.alpha=1", "baseline, kd_mixup"),
        ("arms.9.alpha=1", "baseline, kd_mixup"),
        ("name.x=1", "single value"),
        ("teachers.one.epochs.x=1", "teachers.one.epochs"),
        ("student.epochs=[1", "student.epochs"),
        ("student={epochs: 1, epochs: 2}", "stands twice"),
        ("seeds=0,,1", "nothing between two commas"),
        ("seeds=,1", "nothing between two commas"),
        ("seeds=0,a", "seeds.1"),
        ("student.lr=1,5", "student.lr"),
    ],
)
def test_an_override_that_cannot_be_set(file: Path, override: str, words: str):
    assert words in refused(file, override)


def test_an_override_leaves_the_packaged_study_as_it_is():
    before = load_study("quickstart")
    load_study("quickstart", ["arms.kd_mixup.temperature=[2,4]", "student.epochs=1"])
    assert load_study("quickstart") == before


def test_a_study_goes_to_plain_values_and_back(tiny: dict[str, Any]):
    spec = parse_study(tiny, "here")
    assert isinstance(spec, StudySpec)
    assert parse_study(spec.model_dump(mode="json"), "there") == spec


# --- extending --------------------------------------------------------------------------------------------------------


def test_a_study_extends_a_packaged_one(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "extends: quickstart\nname: mine\nstudent: {epochs: 3}\nteachers: {overconfident: null}\narms: [kd]\n"
    )
    mine, quickstart = load_study(str(file)), load_study("quickstart")
    assert (mine.name, mine.student.epochs, list(mine.teachers)) == ("mine", 3, ["calibrated"])
    assert mine.student.lr == quickstart.student.lr
    assert [arm.name for arm in mine.arms] == ["kd"]
    assert load_study(str(file), ["student.epochs=5"]).student.epochs == 5


def test_a_study_extends_a_file_beside_it(tmp_path: Path):
    (tmp_path / "below.yaml").write_text("extends: quickstart\nname: below\nseeds: [4]\n")
    (tmp_path / "above.yaml").write_text("extends: below.yaml\nname: above\n")
    assert load_study(str(tmp_path / "above.yaml")).seeds == (4,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: circle.yaml\n", "extends itself"),
        ("extends: [quickstart]\n", "extends is the name"),
        ("extends: nowhere\n", "no study"),
    ],
)
def test_an_extension_that_leads_nowhere(tmp_path: Path, text: str, words: str):
    (tmp_path / "circle.yaml").write_text(text)
    with pytest.raises(UsageError, match=words):
        load_study(str(tmp_path / "circle.yaml"))


@pytest.mark.parametrize("data", ["cifar10", "cifar100", "imagenet"])
@pytest.mark.parametrize("protocol", ["paper", "sound"])
def test_the_studies_at_the_papers_scale(data: str, protocol: str):
    study = load_study(f"{data}-{protocol}")
    assert study.name == f"{data}-{protocol}"
    assert {"convnext_large", "vit_base_patch16", "resnet152", "convnext_tiny"} <= study.teachers.keys()
    assert study.student.head == "bottleneck"
    asked = {
        name for arm in study.arms for name in arm.teachers or study.teacher_variants if arm.objective.uses_teacher
    }
    assert asked == set(study.teacher_variants)  # no teacher is trained for nothing
    if protocol == "paper":
        assert study.selection == "paper_best_test"
        assert (study.student.epochs, study.student.batch_size, study.student.head_warmup_epochs) == (500, 200, 10)
        assert study.student.schedule == "piecewise"
        for teacher in study.teachers.values():  # by the authors' logs
            assert (teacher.schedule, teacher.lr) == ("plateau", 1e-4)
            assert teacher.plateau.model_dump() == {
                "monitor": "loss", "patience_epochs": 1, "factor": 0.9, "min_delta": 1e-4, "min_lr": 1e-5
            }  # fmt: skip
        assert not {"linear_target", "label_smoothing"} & {arm.name for arm in study.arms}
    else:
        assert study.selection == "last"
        assert study.data.validation > 0
        assert {"linear_target", "label_smoothing"} <= {arm.name for arm in study.arms}
    alphas = {arm.objective.alpha for arm in study.arms if arm.objective.uses_teacher}
    assert alphas == ({0.2} if data == "imagenet" else {0.0})
