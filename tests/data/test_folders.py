"""A folder of class folders, or one for each split."""

import pytest
from sources_on_disk import png, write_classes

from vicinal.config import DataSpec
from vicinal.data import load_data
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
    assert data.notes[0] == "Left out of the class folders: 1 entries that are no image files by their ending."


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
        ("differ", r"the classes of the splits differ: .*test lacks dog; only .*test has emu; give every split"),
        ("untrained", r"untrained holds test/ but no train/ with class folders"),
        ("twice", r"twice holds both val/ and validation/: keep one"),
        ("single", r"cannot cut test images .*: class 'emu' has one image"),
        ("pair", r"cannot cut validation images .*: class 'emu' has one image.*, or set data.validation=0"),
    ],
)
def test_unusable_folders(tmp_path, name, message):
    with pytest.raises(UsageError, match=message) as caught:
        load(layout(tmp_path, name))
    assert "\n" not in str(caught.value)
