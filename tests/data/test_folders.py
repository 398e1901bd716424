"""A folder of class folders, or one for each split."""

import json
import os
import re
import shutil
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sources_on_disk import png, write_classes
from timm.utils.misc import natural_key as timm_natural_key

from vicinal.config import DataSpec
from vicinal.data import load_data
from vicinal.data.class_order import natural_key
from vicinal.data.formats import SUFFIXES
from vicinal.errors import UsageError


def load(source, **options):
    return load_data(DataSpec(source=str(source), **options))


def all_images(data):
    parts = [s.images for s in (data.train, data.validation, data.test)]
    return {image.numpy().tobytes() for part in parts for image in part}


def test_the_imagenet_layout_tests_on_val_and_says_so(tmp_path):
    write_classes(tmp_path / "train", per_class=10)
    write_classes(tmp_path / "val", per_class=4, start=100)
    (tmp_path / "annotations").mkdir()
    data = load(tmp_path)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [18, 2, 8]
    assert data.notes == (
        "Folders beside the splits that were not used: annotations.",
        "The source has no test split: its validation split is the test split.",
    )


def test_a_class_may_be_called_train(tmp_path):
    write_classes(tmp_path, classes=("bus", "train"))
    assert load(tmp_path).class_names == ("bus", "train")


def test_hidden_and_other_files_are_left_out(tmp_path):
    write_classes(tmp_path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "cat" / ".DS_Store").write_text("")
    (tmp_path / "cat" / "notes.txt").write_text("")
    (tmp_path / "cat" / "upper.PNG").write_bytes(png(3))
    data = load(tmp_path)
    assert len(all_images(data)) == 10  # upper.PNG repeats an image
    assert sum(len(s) for s in (data.train, data.validation, data.test)) == 11
    assert data.notes[0] == "Left out of the class folders: 1 entries that are no image files by their ending (1 .txt)."


def layout(tmp_path, name):
    root = tmp_path / name
    root.mkdir()
    match name:
        case "bare":
            (root / "image.png").write_bytes(png(0))
        case "one":
            write_classes(root, classes=("cat",))
        case "hollow":
            write_classes(root)
            (root / "emu").mkdir()
        case "differ":
            write_classes(root / "train", classes=("cat", "dog"))
            write_classes(root / "test", classes=("cat", "emu"))
        case "untrained":
            write_classes(root / "test")
        case "twice":
            for part in ("train", "val", "validation"):
                write_classes(root / part)
        case "single":
            write_classes(root)
            write_classes(root, classes=("emu",), per_class=1)
        case "pair":
            write_classes(root)
            write_classes(root, classes=("emu",), per_class=2)
    return root


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", r"empty is empty: give one that holds a folder of images for each class"),
        ("bare", r"bare holds no class folders: sort the images into one folder for each class"),
        ("one", r"one holds one class folder, cat/: a classifier needs at least two"),
        ("hollow", r"the class folder .*emu holds no images \(\.jpg .*\): add some or remove it"),
        (
            "differ",
            r"the classes of the splits differ: .*test lacks dog; only .*test has emu; a class needs training images",
        ),
        ("untrained", r"untrained holds test/ but no train/ with class folders"),
        ("twice", r"twice holds both val/ and validation/: keep one"),
        ("single", r"cannot cut test images .*: of the 1 image of class 'emu' one is left"),
        (
            "pair",
            r"cannot cut validation images .*: of the 2 images of class 'emu' one is left .*, or set data.validation=0",
        ),
    ],
)
def test_unusable_folders(tmp_path, name, message):
    with pytest.raises(UsageError, match=message) as caught:
        load(layout(tmp_path, name))
    assert "\n" not in str(caught.value)


def test_images_in_folders_of_a_class_folder_are_the_classes(tmp_path):
    write_classes(tmp_path)
    write_classes(tmp_path / "dog", classes=("day1", "day2"), per_class=3, start=50)
    (tmp_path / "dog" / "day2" / "round").symlink_to(tmp_path / "dog")  # a circle
    data = load(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert len(all_images(data)) == 16
    assert "Images in folders of a class folder, taken as images of the class: 6." in data.notes


def test_folders_that_all_hold_the_classes_are_not_taken_for_classes(tmp_path):
    for fold in ("fold1", "fold2"):
        write_classes(tmp_path / fold)
    with pytest.raises(UsageError, match=r"fold1, fold2 .* hold the same folders \(cat, dog\)"):
        load(tmp_path)


@pytest.mark.parametrize("ending", [".jfif", ".jpe", ".mpo", ".JPG", ".apng", ".dib", ".jp2", ".qoi", ".avif", ".pbm"])
def test_endings_of_images_that_pillow_reads(tmp_path, ending):
    if ending.lower() not in SUFFIXES:
        pytest.skip(f"this Pillow has no {ending}")
    write_classes(tmp_path)
    for path in list((tmp_path / "cat").iterdir())[:3]:
        form = {".jfif": "JPEG", ".jpe": "JPEG", ".mpo": "JPEG", ".apng": "PNG", ".pbm": "PPM"}.get(ending)
        with Image.open(path) as image:
            image.convert("1" if ending == ".pbm" else "RGB").save(path.with_suffix(ending), form)
        path.unlink()
    data = load(tmp_path)
    assert sum(len(s) for s in (data.train, data.validation, data.test)) == 10


def test_a_class_on_a_disk_that_is_not_mounted_is_named(tmp_path):
    write_classes(tmp_path)
    (tmp_path / "emu").symlink_to("/not/mounted/emu")
    with pytest.raises(UsageError, match=r"emu is a link to nowhere .*mount"):
        load(tmp_path)


def test_entries_with_an_images_name_that_are_none_are_all_named(tmp_path):
    write_classes(tmp_path)
    (tmp_path / "cat" / "gone.png").symlink_to("/not/there.png")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    with pytest.raises(UsageError, match=r"gone\.png .*link to nowhere.*pipe\.png .*no regular file.*on_error=skip"):
        load(tmp_path)
    data = load(tmp_path, on_error="skip")
    assert len(all_images(data)) == 10
    assert any("2 entries" in note for note in data.notes)


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "testing"), ("TRAIN", "VALID")])
def test_split_folders_go_by_other_names_too(tmp_path, names):
    for i, name in enumerate(names):
        write_classes(tmp_path / name, start=100 * i)
    data = load(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert len(data.test) == 10


@pytest.mark.parametrize("folder", [True, False])
def test_a_rare_class_may_lack_validation_images(tmp_path, folder):
    for i, name in enumerate(("train", "val", "test")):
        write_classes(tmp_path / name, classes=("cat", "dog", "emu"), start=100 * i)
    shutil.rmtree(tmp_path / "val" / "emu")
    if folder:
        (tmp_path / "val" / "emu").mkdir()
    data = load(tmp_path)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [15, 10, 15]
    assert data.notes == ("No validation image is of the class 'emu'.",)


def test_names_that_differ_by_unicode_form_only_are_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    for i, (part, name) in enumerate((("train", composed), ("val", decomposed), ("test", composed))):
        write_classes(tmp_path / part, classes=(name, "tea"), start=100 * i)
    data = load(tmp_path)
    assert data.class_names == (composed, "tea")
    assert any("Unicode form" in note for note in data.notes)
    write_classes(tmp_path / "train", classes=(decomposed,), start=500)
    with pytest.raises(UsageError, match=r"two folders .*Unicode form"):
        load(tmp_path)


def test_names_that_differ_by_case_only_are_not(tmp_path):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", classes=("Cat", "dog"))
    with pytest.raises(UsageError, match="Cat and cat differ by case only"):
        load(tmp_path)


def test_a_folder_whose_name_is_not_utf_8_is_a_class(tmp_path):
    write_classes(tmp_path)
    (tmp_path / "dog").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    data = load(tmp_path)
    assert data.class_names == (r"caf\xe9", "cat")
    assert any("not UTF-8" in note for note in data.notes)
    json.dumps(data.class_names).encode()


def test_all_broken_images_are_named_at_once_or_left_out(tmp_path):
    write_classes(tmp_path, per_class=20)
    for i in range(3):
        (tmp_path / "cat" / f"{i:03}.png").write_bytes(png(i)[: 30 * i])
    with pytest.raises(
        UsageError, match=r"3 images cannot be used: .*000\.png.*001\.png.*002\.png.*on_error=skip"
    ) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    data = load(tmp_path, on_error="skip")
    assert sum(len(s) for s in (data.train, data.validation, data.test)) == 37
    assert (
        sorted(label for s in (data.train, data.validation, data.test) for label in s.labels.tolist())
        == [0] * 17 + [1] * 20
    )
    assert any(note.startswith("Left out by data.on_error=skip: 3 images") for note in data.notes)
    with pytest.raises(UsageError, match="2 images cannot be used"):  # by their headers, before anything is decoded
        load(tmp_path, lazy=True, image_size=8)
    assert len(load(tmp_path, lazy=True, image_size=8, on_error="skip").class_names) == 2


def test_a_class_of_broken_images_alone_is_no_class(tmp_path):
    write_classes(tmp_path)
    for path in (tmp_path / "cat").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(UsageError, match="no training image of class 'cat' can be read"):
        load(tmp_path, on_error="skip")


def test_images_in_two_splits_or_two_classes_are_counted_and_named(tmp_path):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "val", start=100)
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    shutil.copy(tmp_path / "train" / "cat" / "000.png", tmp_path / "train" / "dog" / "x.png")
    for options in ({}, {"lazy": True, "image_size": 8}):
        notes = load(tmp_path, **options).notes
        assert not any(str(tmp_path) in note for note in notes)
        assert any(
            re.search(r"10 of 10 test images are also training images \(test.*000\.png is train.*000\.png\)", n)
            for n in notes
        )
        assert any(re.search(r"1 images stand under more than one class .*as 'cat' and .*as 'dog'", n) for n in notes)
    assert load(write_classes(tmp_path / "clean")).notes[1:] == ()


def test_classes_are_numbered_as_asked(tmp_path):
    write_classes(tmp_path, classes=("1", "2", "10"))
    plain = load(tmp_path)
    assert (plain.class_names, plain.class_order) == (("1", "10", "2"), "text")
    assert any("data.class_order=natural" in note for note in plain.notes)
    natural = load(tmp_path, class_order="natural")
    assert (natural.class_names, natural.class_order) == (("1", "2", "10"), "natural")
    given = load(tmp_path, class_order=("10", "1", "2"))
    assert (given.class_names, given.class_order) == (("10", "1", "2"), "as given")
    meant = {
        image.numpy().tobytes(): plain.class_names[k]
        for image, k in zip(plain.train.images, plain.train.labels.tolist(), strict=True)
    }
    for other in (natural, given):
        for image, k in zip(other.train.images, other.train.labels.tolist(), strict=True):
            name = other.class_names[k]
            assert meant.get(image.numpy().tobytes(), name) == name
    with pytest.raises(UsageError, match=r"class_order .*it lacks '2'; there is no class 'two'"):
        load(tmp_path, class_order=("10", "1", "two"))


@given(st.lists(st.text("aB1209 _", max_size=6), unique_by=lambda name: str(timm_natural_key(name))))
def test_the_natural_order_is_timms(names):
    assert sorted(names, key=natural_key) == sorted(names, key=timm_natural_key)


def test_hidden_folders_of_images_and_archives_beside_classes_are_said(tmp_path):
    write_classes(tmp_path, ("cat", "dog", ".old"))
    write_classes(tmp_path / "cat", (".thumbs",))
    (tmp_path / "fox.zip").write_bytes(b"PK")
    notes = load_data(DataSpec(source=str(tmp_path))).notes
    assert "Left out: 2 hidden folders that hold images (their names begin with a dot)." in notes
    assert "Files beside the class folders that may hold images and were not used: fox.zip." in notes
