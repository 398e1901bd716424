"""Images to measure a classifier on: all that are given, in the classifier's classes; and where each image lies."""

import csv

import numpy as np
import pytest
import torch
from sources_on_disk import png, write_classes, write_parquet

from vicinal.config import DataSpec
from vicinal.data import IMAGES_FILE, load_data, load_test_images, write_image_list
from vicinal.errors import UsageError


def counts(data):
    return tuple(len(images) for images in (data.train, data.validation, data.test))


def test_every_image_given_is_measured(tmp_path):
    write_classes(tmp_path / "plain", per_class=7)
    assert counts(load_test_images(tmp_path / "plain")) == (0, 0, 14)
    write_classes(tmp_path / "only" / "test", per_class=3)
    assert counts(load_test_images(tmp_path / "only")) == (0, 0, 6)
    assert counts(load_test_images(DataSpec(source=str(tmp_path / "only"), lazy=True, image_size=8))) == (0, 0, 6)
    for i, (name, n) in enumerate((("train", 5), ("val", 2), ("test", 4))):
        write_classes(tmp_path / "three" / name, per_class=n, start=100 * i)
    three = load_test_images(tmp_path / "three")
    assert counts(three) == (0, 4, 8)
    assert three.test.names[:2] == ("test/cat/000.png", "test/cat/001.png")
    assert three.validation.names[-1] == "val/dog/001.png"
    assert counts(load_test_images(DataSpec(source=str(tmp_path / "three"), test_images=4))) == (0, 4, 4)
    write_parquet(tmp_path / "tables" / "test.parquet", [0, 1, 1], names=["cat", "dog"])
    assert counts(load_test_images(tmp_path / "tables")) == (0, 0, 3)
    assert counts(load_test_images("embedded/fashion-mnist")) == (0, 0, 5000)


def test_what_cannot_be_trained_on_says_how_to_measure(tmp_path):
    write_classes(tmp_path / "only" / "test")
    write_parquet(tmp_path / "tables" / "test.parquet", [0, 1, 1], names=["cat", "dog"])
    for source in (tmp_path / "only", tmp_path / "tables"):
        with pytest.raises(UsageError, match=rf"no(ne named)? train.*; vicinal measure MODEL {source} measures"):
            load_data(DataSpec(source=str(source)))


def labels_by_name(data):
    return {name.split("/")[-2]: label for name, label in zip(data.test.names, data.test.labels.tolist(), strict=True)}


@pytest.mark.parametrize(
    ("folders", "classes", "positions"),
    [
        (("cat", "dog"), ("emu", "dog", "cat"), {"cat": 2, "dog": 1}),
        (("cat",), ("emu", "dog", "cat"), {"cat": 2}),  # one class alone
        (("Cat", "dog"), ("dog", "CAT"), {"Cat": 1, "dog": 0}),
        (("tench", "Great White"), ("great white, Carcharodon", "tench, Tinca tinca"), {"tench": 1, "Great White": 0}),
        (("1", "10", "2"), tuple(f"c{i}" for i in range(11)), {"1": 1, "10": 10, "2": 2}),
        (("1", "0"), ("1", "0"), {"1": 0, "0": 1}),  # names before numbers
    ],
)
def test_labels_are_positions_among_the_classifiers_classes(tmp_path, folders, classes, positions):
    data = load_test_images(write_classes(tmp_path, folders), class_names=classes)
    assert data.class_names == classes
    assert labels_by_name(data) == positions


@pytest.mark.parametrize(
    ("folders", "classes", "words"),
    [
        (
            ("cat", "wolf"),
            ("cat", "dog"),
            r"has the classes 'cat', 'wolf', and the classifier knows 'cat', 'dog': .*'wolf'",
        ),
        (("cat", "CAT"), ("cat", "dog"), r"none called"),  # two folders for one class
        (("crane", "kite"), ("crane, bird", "crane, machine", "kite"), "none called"),  # a synonym of two
        (("1", "3"), ("a", "b", "c"), r"none called '1', '3'"),
    ],
)
def test_classes_that_the_classifier_lacks_are_named(tmp_path, folders, classes, words):
    with pytest.raises(UsageError, match=words) as caught:
        load_test_images(write_classes(tmp_path, folders), class_names=classes)
    assert "\n" not in str(caught.value)


def test_numbers_in_a_table_are_positions_of_the_classifier(tmp_path):
    file = write_parquet(tmp_path / "few.parquet", [700, 3])
    data = load_test_images(file, class_names=[f"name {i}" for i in range(1000)])
    assert data.test.labels.tolist() == [700, 3]
    assert data.test.names == ("few.parquet#0", "few.parquet#1")
    with pytest.raises(UsageError, match="no class number"):
        load_test_images(write_parquet(tmp_path / "many.parquet", [10**9, 0]), class_names=["a", "b"])


def test_names_follow_their_images_through_cuts_and_broken_files(tmp_path):
    write_classes(tmp_path, per_class=12)
    (tmp_path / "cat" / "004.png").write_bytes(b"broken")
    made = {png(1000 * c + i): f"{name}/{i:03}.png" for c, name in enumerate(("cat", "dog")) for i in range(12)}
    pixels = {np.asarray(_decoded(data)).tobytes(): name for data, name in made.items()}
    for options in ({}, {"lazy": True, "image_size": 8}):
        data = load_data(DataSpec(source=str(tmp_path), on_error="skip", **options))
        sets = (data.train, data.validation, data.test)
        assert sorted(name for images in sets for name in images.names) == sorted(set(made.values()) - {"cat/004.png"})
        for images in sets:
            for image, name in zip(images.images[:], images.names, strict=True):
                assert pixels[image.numpy().tobytes()] == name
            part = torch.tensor([1, 0])
            if len(images) > 1:
                assert images.subset(part).names == (images.names[1], images.names[0])
                assert images.subset(part).content_hash() == images.subset(part).content_hash()


def _decoded(data):
    import io

    from PIL import Image

    return Image.open(io.BytesIO(data))


def test_the_list_of_images(tmp_path):
    data = load_data(DataSpec(source=str(write_classes(tmp_path / "photos", ("cat", "d,og"), per_class=10))))
    path = tmp_path / IMAGES_FILE
    write_image_list(path, data)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["position"] for row in rows if row["split"] == "test"] == ["0", "1", "2", "3"]
    for row in rows:
        images = getattr(data, row["split"])
        at = int(row["position"])
        assert row["path"] == images.names[at]
        assert row["class"] == row["path"].split("/")[0] == data.class_names[images.labels[at]]
    before = path.stat().st_mtime_ns
    write_image_list(path, data)
    assert path.stat().st_mtime_ns == before
