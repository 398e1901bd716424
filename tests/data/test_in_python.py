"""Data sets of the calling program, torchvision's among them, as a source."""

import numpy as np
import pytest
import torch
from photos import photo
from PIL import Image
from sources_on_disk import write_classes
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import to_tensor

import vicinal
from vicinal.config import DataSpec
from vicinal.data import data_of, load_data, load_test_images
from vicinal.errors import UsageError


def test_torchvisions_data_sets_give_what_their_folder_gives(tmp_path):
    write_classes(tmp_path, per_class=10)
    source = data_of(ImageFolder(str(tmp_path)), name="mine")
    assert source == "python/mine"
    own, folder = load_data(DataSpec(source=source)), load_data(DataSpec(source=str(tmp_path)))
    assert own.class_names == ("cat", "dog")
    for role in ("train", "validation", "test"):
        assert torch.equal(getattr(own, role).images, getattr(folder, role).images)
        assert torch.equal(getattr(own, role).labels, getattr(folder, role).labels)
    assert own.content_hash == folder.content_hash
    again = load_data(DataSpec(source=data_of(ImageFolder(str(tmp_path), to_tensor), name="tensors")))
    assert torch.equal(again.train.images, own.train.images)


def test_a_list_of_pairs_is_a_data_set(tmp_path):
    images = [photo(i, (20, 20)) for i in range(6)]
    forms = [
        images[0],
        np.asarray(images[1]),
        to_tensor(images[2]),
        np.asarray(images[3]),
        images[4].convert("RGBA"),
        images[5],
    ]
    labels = [0, np.int64(1), torch.tensor(0), 1, 0, 1]
    found = load_test_images(vicinal.data_of(test=list(zip(forms, labels, strict=True)), class_names=["a", "b"]))
    assert torch.equal(found.test.images, torch.from_numpy(np.stack([np.asarray(image) for image in images])))
    assert found.test.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.test.names == tuple(f"test#{i}" for i in range(6))
    with pytest.raises(UsageError, match="has no training images: give data_of"):
        load_data(DataSpec(source="python/dataset"))


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ([], "is empty"),
        ([1, 2], r"what stands at 0 is int, not \(image, label\)"),
        ([(Image.new("L", (4, 4)), 0.5)], r"the label of image 0 is 0\.5"),
        ([(torch.full((3, 4, 4), 2.0), 0), (torch.zeros(3, 4, 4), 1)], "without normalisation"),
        (
            [(np.zeros((4, 4, 5), np.uint8), 0), (np.zeros((4, 4, 5), np.uint8), 1)],
            r"image 0 is ndarray uint8 \(4, 4, 5\)",
        ),
    ],
)
def test_what_is_no_data_set_is_told_in_a_line(dataset, words):
    with pytest.raises(UsageError, match=words):
        load_test_images(data_of(test=dataset, name="wrong"))


def test_names_that_nobody_gave():
    with pytest.raises(UsageError, match=r"python/other is not known in this process: call vicinal\.data_of"):
        load_data(DataSpec(source="python/other"))
    with pytest.raises(UsageError, match="may have letters"):
        data_of([], name="a/b")
    with pytest.raises(UsageError, match="at least one data set"):
        data_of()
