"""Published corruption files: read by severity, and what does not fit is one line."""

import numpy as np
import pytest
import torch

from vicinal.config import CORRUPTIONS, SEVERITIES
from vicinal.data import corrupt, published_corruptions
from vicinal.errors import UsageError


@pytest.fixture
def published(tmp_path):
    """A folder of CIFAR-10-C's form: 6 test images, 8 px, RGB."""
    labels = np.array([3, 8, 8, 0, 6, 6], dtype=np.uint8)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8))
    for name in CORRUPTIONS:
        rows = [corrupt(images, name, severity).numpy() for severity in SEVERITIES]
        np.save(tmp_path / f"{name}.npy", np.concatenate(rows))
    np.save(tmp_path / "labels.npy", np.tile(labels, 5))
    return tmp_path, images, torch.from_numpy(labels.astype(np.int64))


def test_published_files_are_read_by_severity(published):
    folder, images, labels = published
    opened = published_corruptions(folder, labels)
    assert opened.corruptions == CORRUPTIONS
    assert torch.equal(opened.labels, labels)
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            expected = corrupt(images, name, severity)
            got = opened.images(name, severity)
            assert torch.equal(got, expected)
            assert torch.equal(opened.images(name, severity, 2, 5), expected[2:5])
            got.zero_()  # a copy: the file stays as it is
            assert torch.equal(opened.images(name, severity), expected)
    assert all(isinstance(array, np.memmap) for array in opened._arrays.values())
    with pytest.raises(UsageError, match="severity 6 is not known"):
        opened.images("fog", 6)


def test_some_corruptions_of_a_folder(published):
    folder, *_ = published
    (folder / "fog.npy").unlink()
    with pytest.raises(UsageError, match=r"fog\.npy is missing: unpack"):
        published_corruptions(folder)
    opened = published_corruptions(folder, corruptions=["contrast", "pixelate"])
    assert opened.corruptions == ("contrast", "pixelate")
    with pytest.raises(UsageError, match="fog was not opened from"):
        opened.images("fog", 1)
    with pytest.raises(UsageError, match="corruption 'snow' is not known"):
        published_corruptions(folder, corruptions=["snow"])


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-10])


def _archive(path):
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("fog.npy", lambda p: np.save(p, np.zeros((30, 8, 8, 3))), r"holds float64 \(30, 8, 8, 3\), not uint8 \(30, H"),
        ("fog.npy", lambda p: np.save(p, np.zeros((25, 8, 8, 3), np.uint8)), r"holds uint8 \(25, 8, 8, 3\)"),
        ("fog.npy", lambda p: np.save(p, np.zeros((30, 3, 8, 8), np.uint8)), r"holds uint8 \(30, 3, 8, 8\)"),
        ("fog.npy", lambda p: np.save(p, np.zeros(30, np.uint8)), r"holds uint8 \(30,\)"),
        ("fog.npy", lambda p: np.save(p, np.array([{}] * 30), allow_pickle=True), "cannot be read as an array"),
        ("fog.npy", lambda p: p.write_bytes(b""), "cannot be read as an array"),
        ("fog.npy", lambda p: p.write_bytes(b"no array at all"), "cannot be read as an array"),
        ("fog.npy", _truncated, "cannot be read as an array"),
        ("fog.npy", _archive, "is an archive, not one array"),
        ("fog.npy", lambda p: p.unlink(), "is missing: unpack the whole"),
        ("labels.npy", lambda p: p.unlink(), "is missing: unpack the whole"),
        ("labels.npy", lambda p: np.save(p, np.zeros(30)), r"holds float64 \(30,\), not the classes of 5 x N"),
        ("labels.npy", lambda p: np.save(p, np.zeros(31, int)), r"holds int64 \(31,\), not the classes of 5 x N"),
        ("labels.npy", lambda p: np.save(p, np.zeros((5, 6), int)), r"\(5, 6\), not the classes of 5 x N"),
        ("labels.npy", lambda p: np.save(p, np.arange(30)), "has other classes at one severity than at another"),
    ],
)
def test_damaged_published_files_are_one_line(published, name, spoil, message):
    folder, _, labels = published
    spoil(folder / name)
    with pytest.raises(UsageError, match=message) as caught:
        published_corruptions(folder, labels)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_published_labels_must_be_the_test_splits(published, tmp_path):
    folder, _, labels = published
    with pytest.raises(UsageError, match="6 test images at each severity, the test split has 5"):
        published_corruptions(folder, labels[:5])
    other = labels.clone()
    other[4] = 1
    with pytest.raises(UsageError, match=r"image 4 \(from 0\) is of class 6 there and of class 1 here"):
        published_corruptions(folder, other)
    with pytest.raises(UsageError, match="is not a folder: give the unpacked"):
        published_corruptions(tmp_path / "nowhere")
