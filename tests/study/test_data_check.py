"""`vicinal check`: what it says of images and of a teacher, what it writes, and how it ends."""

import csv

import pytest
import torch

import vicinal.study.data_check as data_check
from tiny_studies import CLASSES, write_images
from vicinal.networks import Classifier


def thirds(order=(0, 1, 2)):
    """Right about the images of `write_images`: the brightest third, with its classes in another order where one is given."""

    def answer(pixels):
        logits = torch.stack([part.mean((1, 2, 3)) for part in pixels.chunk(3, dim=3)], 1) * 100
        return logits[:, list(order)]

    return answer


@pytest.fixture
def photos(tmp_path):
    write_images(tmp_path / "photos" / "train", 30, seed=1, noise=60)
    write_images(tmp_path / "photos" / "test", 20, seed=2, noise=60)
    for path in sorted((tmp_path / "photos" / "train" / "south").iterdir())[5:]:
        path.unlink()
    (tmp_path / "photos" / "train" / "east" / "000.png").write_bytes(b"broken")
    (tmp_path / "photos" / "test" / "east" / "001.png").write_bytes(b"")
    return tmp_path / "photos"


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_tells_all_at_once_and_lists_it(photos, tmp_path, vicinal):
    found = vicinal("check", photos, "--out", tmp_path / "out")
    assert found.code == 0, found.err
    assert "57 training, 7 validation, 59 test images, 3 classes" in found.out
    assert "Class order (sorted as text): 0 east, 1 north, 2 south." in found.out
    assert "Originals are 12 x 12 px; an image becomes 12 x 12 px, grey." in found.out
    assert "Warning: 2 images cannot be read: repair or remove them, or run with data.on_error=skip." in found.out
    assert "'north' has 6.75 times the training images of 'south', as much as 2.5 classes of one size" in found.out
    assert {(row["path"], row["reason"]) for row in rows(tmp_path / "out" / "unreadable.csv")} == {
        ("train/east/000.png", "no known image format"),
        ("test/east/001.png", "no known image format"),
    }
    counts = {
        row["class"]: (row["training"], row["validation"], row["test"])
        for row in rows(tmp_path / "out" / "classes.csv")
    }
    assert counts["south"] == ("4", "1", "20")
    assert len(rows(tmp_path / "out" / "images.csv")) == 123


def test_images_to_measure_on_are_usable_and_others_are_not(photos, tmp_path, vicinal):
    only = vicinal("check", photos / "test", "--out", tmp_path / "a")
    assert only.code == 0
    (tmp_path / "tests").mkdir()
    (photos / "test").rename(tmp_path / "tests" / "test")
    measured = vicinal("check", tmp_path / "tests", "--out", tmp_path / "b")
    assert measured.code == 0, measured.err
    assert "No study can be trained on it, and a classifier can be measured" in measured.out
    for source, words in (
        (tmp_path / "gone", "no such folder or file"),
        (tmp_path / "tests" / "test" / "east", "no class folders"),
    ):
        refused = vicinal("check", source, "--out", tmp_path / "c")
        assert refused.code == 2
        assert words in refused.err
        assert len(refused.err.splitlines()) == 1
    assert vicinal("check", tmp_path / "tests", "--image-size", "1", "--out", tmp_path / "c").code == 2


@pytest.mark.parametrize(
    ("order", "names", "code", "words"),
    [
        ((0, 1, 2), CLASSES, 0, "the data's 3 were matched by name"),
        ((2, 0, 1), ("south", "east", "north"), 0, "is right on 100.0%"),
        ((0, 1, 2), None, 0, "does not name its classes"),
        ((2, 0, 1), None, 2, r"class_names: [south, east, north]"),
        ((0, 1, 2), ("ant", "bee", "cat"), 2, "the classifier knows 'ant', 'bee', 'cat'"),
    ],
)
def test_a_teacher_is_asked(photos, tmp_path, vicinal, monkeypatch, order, names, code, words):
    network = Classifier.of(thirds(order), class_names=names)
    monkeypatch.setattr(data_check, "load_classifier", lambda name, channels: network)
    found = vicinal("check", photos, "--teacher", "mine", "--out", tmp_path / "out")
    assert found.code == code, found.err
    assert words in found.out + found.err
