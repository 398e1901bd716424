"""`vicinal init`: the file that it writes is a study that holds what the data shows."""

from __future__ import annotations

import pytest

from teacher_on_disk import new_teacher, save_teacher
from tiny_studies import write_images
from vicinal.config import DataSpec, load_study
from vicinal.data import glance
from vicinal.recipes.practice import good_epochs, most_epochs
from vicinal.recipes.sheet import Sheet
from vicinal.recipes.start import new_sheet


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """24 training images of three classes, 40 px, and a broken one."""
    root = write_images(tmp_path_factory.mktemp("data") / "photographs", 8, seed=3, side=40)
    (root / "east" / "broken.png").write_bytes(b"no image")
    return root


def checkpoint(path, classes):
    return save_teacher(path, new_teacher(classes), classes, 40)


def test_a_glance_counts_and_reads_no_pixel(photographs):
    seen = glance(DataSpec(source=str(photographs)))
    assert seen.counts == {"train": (9, 8, 8)}
    assert set(seen.sizes) == {(40, 40)}
    assert seen.grey
    assert seen.one_size
    assert len(seen.sizes) == 24


def test_a_file_with_its_teacher_as_it_is(vicinal, photographs, tmp_path):
    teacher, out = checkpoint(tmp_path / "model_best.pth.tar", 3), tmp_path / "mine.yaml"
    answer = vicinal("init", photographs, "--teacher", teacher, "--student", "test_efficientnet", "--out", out)
    assert answer.code == 0, answer.err
    spec, text = load_study(out), out.read_text()
    kept = spec.teachers["teacher"]
    assert (kept.model, kept.weights, kept.head, kept.epochs, kept.image_size) == (
        "test_resnet",
        str(teacher),
        "keep",
        0,
        40,
    )
    assert spec.student.model == "test_efficientnet"
    assert spec.data.image_size == 40
    assert [arm.name for arm in spec.arms] == ["baseline", "kd", "kd_mixup"]
    assert "25 train images; of a class 8 to 9" in text
    keys = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    reasons = [line for line in text.splitlines() if line.strip().startswith("# ")]
    assert len(reasons) > 20
    assert all(len(line) < 300 for line in keys)


def test_a_teacher_of_other_classes_is_trained_first(vicinal, photographs, tmp_path):
    teacher, out = checkpoint(tmp_path / "other.pth.tar", 7), tmp_path / "mine.yaml"
    assert vicinal("init", photographs, "--teacher", teacher, "--student-weights", "none", "--out", out).code == 0
    spec = load_study(out)
    assert (spec.teachers["teacher"].head, spec.teachers["teacher"].epochs > 0) == ("linear", True)
    assert "7 classes" in out.read_text()


def test_classes_are_numbered_as_timm_does_for_its_teacher(vicinal, tmp_path):
    root = tmp_path / "numbers"
    for source, target in (("east", "1"), ("north", "2"), ("south", "10")):
        write_images(tmp_path / "made", 4, seed=1, side=40)
        (root / target).parent.mkdir(exist_ok=True)
        (tmp_path / "made" / source).rename(root / target)
    teacher = checkpoint(tmp_path / "timm.pth.tar", 3)
    vicinal("init", root, "--teacher", teacher, "--student-weights", "none", "--out", tmp_path / "a.yaml")
    vicinal(
        "init", root, "--teacher", f"test_resnet={teacher}", "--student-weights", "none", "--out", tmp_path / "b.yaml"
    )
    vicinal("init", root, "--teacher", "vicinal_resnet8", "--out", tmp_path / "c.yaml")
    assert load_study(tmp_path / "a.yaml").data.class_order == "natural"
    assert load_study(tmp_path / "b.yaml").data.class_order == "natural"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--teacher", "no_such_model"], "no timm model is named 'no_such_model'"),
        (["--teacher", "missing.pth.tar"], "there is no file missing.pth.tar"),
        (["--teacher", "test_resnet=missing.pth"], "no weights file missing.pth"),
        (["--student", "no_such_model"], "no timm model is named 'no_such_model'"),
        (["--student-weights", "missing.safetensors"], "--student-weights missing.safetensors: no such file"),
    ],
)
def test_mistakes_are_one_line(vicinal, photographs, tmp_path, arguments, said):
    answer = vicinal("init", photographs, "--out", tmp_path / "study.yaml", *arguments)
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not (tmp_path / "study.yaml").exists()


def test_a_file_that_is_there_stays(vicinal, photographs, tmp_path):
    out = tmp_path / "study.yaml"
    out.write_text("mine")
    answer = vicinal("init", photographs, "--out", out)
    assert answer.code == 2
    assert "--force writes it anew" in answer.err
    assert out.read_text() == "mine"
    assert vicinal("init", photographs, "--out", out, "--force", "--student-weights", "none").code == 0
    assert load_study(out).teachers


def test_what_was_asked_for_is_not_decided():
    sheet = Sheet(["a line\nwith a break"])
    sheet.put("student.epochs", 3, "a reason")
    sheet.override(["student.epochs=7", "seeds=[0,1]"])
    sheet.put("student.epochs", 9)
    sheet.put("seeds", [0], "another")
    sheet.put("student.lr", 0.1, "low")
    assert sheet.values == {"student": {"epochs": 7, "lr": 0.1}, "seeds": [0, 1]}
    assert sheet.is_fixed("student")
    assert not sheet.is_fixed("student.lr")
    assert sheet.text().startswith("# a line\\nwith a break\n")
    assert "  # as asked on the command line\n  epochs: 7\n  # low\n  lr: 0.1\n" in sheet.text()


@pytest.mark.parametrize("images", [10, 500, 5_000, 100_000, 1_000_000])
def test_epochs_of_practice_lie_within_bounds(images):
    for pretrained in (False, True):
        good = good_epochs(images, 64, pretrained)
        assert 5 <= good <= most_epochs(good) <= 300
    assert good_epochs(images, 64, True) <= good_epochs(images, 64, False)


def test_what_was_asked_of_the_data_counts_in_all_that_is_decided(photographs):
    seen = glance(DataSpec(source=str(photographs)))
    sides = {}
    for asked in ("data.image_size=96", "data.image_size=160"):
        sheet = new_sheet(seen, None, "test_efficientnet", "none", "mine", [], [asked])
        sides[asked] = sheet.values["student"]["augment"]["pad"]
    assert sides == {"data.image_size=96": 12, "data.image_size=160": 20}  # an eighth
