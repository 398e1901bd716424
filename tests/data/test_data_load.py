"""From a source to images in sets: cuts, hashes, and the table of kinds of sources."""

import time

import numpy as np
import pytest
import torch
from sources_on_disk import pixels, png, write_classes

import vicinal.data.decode
import vicinal.data.find
import vicinal.workspace.progress
from vicinal.config import DataSpec
from vicinal.data import ImageSet, load_data
from vicinal.data.find import SourceKind
from vicinal.data.types import Source, split_of_arrays
from vicinal.errors import UsageError


def load(source, **options):
    return load_data(DataSpec(source=str(source), **options))


def all_images(data):
    parts = [s.images for s in (data.train, data.validation, data.test)]
    return {image.numpy().tobytes() for part in parts for image in part}


def test_class_folders_are_cut_in_three(tmp_path):
    root = write_classes(tmp_path / "photos", per_class=20)
    data = load(root, validation=0.25, test=0.5)
    assert data.name == "photos (folder)"
    assert data.class_names == ("cat", "dog")
    assert data.notes == ("The source has no test split: 20 test images were cut from its 40 images.",)
    assert data.test.labels.bincount().tolist() == [10, 10]
    # round() goes to the even neighbour: a quarter of 10 is 2.
    assert data.validation.labels.bincount().tolist() == [2, 2]
    assert data.train.labels.bincount().tolist() == [8, 8]
    assert all_images(data) == {np.asarray(pixels(1000 * c + i)).tobytes() for c in range(2) for i in range(20)}
    for images in (data.train, data.validation, data.test):
        cats = {np.asarray(pixels(i)).tobytes() for i in range(20)}
        assert [image.numpy().tobytes() in cats for image in images.images] == [c == 0 for c in images.labels.tolist()]
    again, other = load(root, validation=0.25, test=0.5), load(root, validation=0.1, test=0.3, split_seed=1)
    assert torch.equal(again.train.images, data.train.images)
    assert other.content_hash == data.content_hash


def test_splits_of_the_source_are_used_as_they_are(tmp_path):
    for name, per_class, start in (("train", 6, 0), ("valid", 3, 100), ("test", 2, 200)):
        write_classes(tmp_path / "set" / name, per_class=per_class, start=start)
    data = load(tmp_path / "set", validation=0.5)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [12, 6, 4]
    assert data.notes == ()
    assert data.test.images[0].numpy().tobytes() == np.asarray(pixels(200)).tobytes()
    fewer = load(tmp_path / "set", train_images=4, test_images=2)
    assert [len(s) for s in (fewer.train, fewer.validation, fewer.test)] == [4, 6, 2]


def test_the_hash_knows_content_not_path(tmp_path):
    first, second = write_classes(tmp_path / "a"), write_classes(tmp_path / "b")
    assert load(first).content_hash == load(second).content_hash
    (second / "cat" / "000.png").write_bytes(png(77))
    changed = load(second).content_hash
    (second / "dog").rename(second / "wolf")
    assert len({load(first).content_hash, changed, load(second).content_hash}) == 3
    # The source's own boundary between training and test images is content too.
    for name, (train, test) in {"c": (3, 2), "d": (2, 3)}.items():
        write_classes(tmp_path / name / "train", per_class=train)
        write_classes(tmp_path / name / "test", per_class=test, start=train)
    assert load(tmp_path / "c").content_hash != load(tmp_path / "d").content_hash


def test_unusable_sources_and_options(tmp_path):
    root = write_classes(tmp_path / "photos")
    (tmp_path / "a.doc").write_text("")
    for source, message in (
        (
            tmp_path / "missing",
            r"missing: no such folder or file, and no known name; allowed are embedded/fashion-mnist",
        ),
        (
            "fashionmnist",
            r"data\.source=fashionmnist: no such folder or file, and no known name; allowed are embedded/",
        ),
        (tmp_path / "a.doc", r"a\.doc is a file, but neither \.parquet nor \.csv, .* allowed are"),
    ):
        with pytest.raises(UsageError, match=message):
            load(source)
    for key, value in (("image_column", "x"), ("label_column", "x"), ("root", "x")):
        with pytest.raises(UsageError, match=rf"data\.{key} goes with .* sources, not with .*: leave it out"):
            load(root, **{key: value})
    with pytest.raises(UsageError, match=r"data\.train_images=50: 50 images are asked for, but there are 8"):
        load(root, train_images=50)
    with pytest.raises(UsageError, match=r"data\.test_images=1: 1 images are asked for, but there are 2 classes"):
        load(root, test_images=1)


def test_a_set_has_one_hash_whoever_made_it(tmp_path):
    data = load(write_classes(tmp_path), validation=0)
    by_hand = ImageSet(data.train.images.clone(), data.train.labels)
    assert by_hand.content_hash() == data.train.content_hash()
    part = torch.tensor([4, 0, 2])
    assert by_hand.subset(part).content_hash() == data.train.subset(part).content_hash() != data.train.content_hash()
    assert len({data.train.content_hash(), data.test.content_hash(), data.validation.content_hash()}) == 3
    relabelled = ImageSet(data.train.images, data.train.labels.flip(0), data.train.digests)
    assert relabelled.content_hash() != data.train.content_hash()
    flat = ImageSet(data.train.images.reshape(-1, 4, 16, 3), data.train.labels)
    assert flat.content_hash() != data.train.content_hash()


@pytest.mark.parametrize("lazy", [False, True])
def test_the_hash_does_not_depend_on_how_images_are_cut(tmp_path, lazy):
    root = write_classes(tmp_path, per_class=20)
    cuts = ({"validation": 0}, {"validation": 0.5}, {"test": 0.5, "split_seed": 3})
    assert len({load(root, lazy=lazy, image_size=8, **cut).content_hash for cut in cuts}) == 1


def test_a_new_kind_of_source_is_a_reader_and_a_line(monkeypatch):
    def find_stripes(spec):
        images = np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4)
        splits = {"train": split_of_arrays(images, np.arange(40) % 2, spec.source)}
        return Source(f"stripes from {spec.root}", ("odd", "even"), splits)

    kind = SourceKind(
        "stripes/", "stripes/ANYTHING", lambda source: source.startswith("stripes/"), find_stripes, ("root",)
    )
    monkeypatch.setattr(vicinal.data.find, "KINDS", (kind, *vicinal.data.find.KINDS))
    data = load("stripes/here", root="afar", test=0.5)
    assert (data.name, data.class_names) == ("stripes from afar", ("odd", "even"))
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 20)
    with pytest.raises(
        UsageError, match=r"data\.image_column goes with hfds/ and Parquet and .* sources, not with stripes/here"
    ):
        load("stripes/here", image_column="x")


def test_the_help_lists_every_kind():
    for words in (
        "embedded/fashion-mnist",
        "torch/cifar100",
        "hfds/OWNER/NAME",
        "Parquet",
        "WebDataset",
        "class folders",
    ):
        assert words in vicinal.data.find.SOURCES_HELP


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("shown_after_s", [0.01, 60.0])
def test_reading_that_takes_long_is_told(tmp_path, monkeypatch, capsys, lazy, shown_after_s):
    write_classes(tmp_path, per_class=6)
    opened = vicinal.data.decode._opened

    def slowly(*arguments):
        time.sleep(0.02)
        return opened(*arguments)

    monkeypatch.setattr(vicinal.data.decode, "_opened", slowly)
    monkeypatch.setattr(vicinal.workspace.progress, "SHOWN_AFTER_SECONDS", shown_after_s)
    load(tmp_path, lazy=lazy, image_size=8)
    said = "looking at 12 images ...\n" if lazy else "reading 12 images ...\n"
    assert capsys.readouterr().err == (said if shown_after_s < 1 else "")
