import dataclasses
import gzip
import hashlib
import tarfile
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from torchvision.datasets import utils

from vicinal.config import DataSpec
from vicinal.data import load_data
from vicinal.data.sources import named
from vicinal.errors import UsageError

CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def load(name, root, **options):
    return load_data(DataSpec(source=f"torch/{name}", root=str(root), **options))


def records(labels, label_bytes):
    """CIFAR's binary records; pixel (row, column, channel) of image i is a known number."""
    i, c, row, column = np.ogrid[: len(labels), :3, :32, :32]
    planes = ((i * 7 + c * 50 + row * 3 + column) % 256).astype(np.uint8)
    front = np.zeros((len(labels), label_bytes), dtype=np.uint8)
    front[:, -1] = labels
    return np.concatenate([front, planes.reshape(len(labels), -1)], axis=1).tobytes()


def write_cifar10(folder):
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(records(np.arange(10), 1))
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES) + "\n\n")


@pytest.mark.parametrize("inside", [True, False])
def test_cifar10_is_read_from_its_binary_version(tmp_path, inside):
    write_cifar10(tmp_path / "root" / ("cifar-10-batches-bin" if inside else ""))
    data = load("cifar10", tmp_path / "root", validation=0)
    assert data.name == "CIFAR-10"
    assert data.class_names == tuple(CIFAR10_NAMES)
    assert data.train.images.shape == (50, 32, 32, 3)
    assert data.test.labels.tolist() == list(range(10))
    assert data.train.labels.tolist() == list(range(10)) * 5
    assert int(data.test.images[2, 5, 9, 1]) == 2 * 7 + 1 * 50 + 5 * 3 + 9


def test_cifar100_uses_the_fine_labels(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for name in ("train.bin", "test.bin"):
        (folder / name).write_bytes(records(np.arange(100), 2))
    (folder / "fine_label_names.txt").write_text("\n".join(f"thing {i}" for i in range(100)))
    data = load("cifar100", tmp_path, validation=0)
    assert data.name == "CIFAR-100"
    assert len(data.class_names) == 100
    assert data.train.labels.tolist() == list(range(100))
    (folder / "test.bin").write_bytes(b"123")
    with pytest.raises(UsageError, match=r"test\.bin is not a file of CIFAR's binary version"):
        load("cifar100", tmp_path)


def idx(values):
    return b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.tobytes()


@pytest.mark.parametrize(
    ("name", "folder"), [("fashion-mnist", "FashionMNIST/raw"), ("mnist", "MNIST/raw"), ("mnist", ".")]
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_mnist_family_is_read_from_idx_files(tmp_path, name, folder, suffix):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    images = np.arange(20 * 28 * 28).astype(np.uint8).reshape(20, 28, 28)
    labels = (np.arange(20) % 10).astype(np.uint8)
    for part in ("train", "t10k"):
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            content = gzip.compress(idx(values)) if suffix else idx(values)
            (tmp_path / folder / f"{part}-{kind}-ubyte{suffix}").write_bytes(content)
    data = load(name, tmp_path, validation=0)
    assert data.class_names[9] == ("9" if name == "mnist" else "Ankle boot")
    assert torch.equal(data.train.images, torch.from_numpy(images)[..., None])
    assert data.test.labels.tolist() == labels.tolist()
    broken = tmp_path / folder / f"t10k-labels-idx1-ubyte{suffix}"
    for content in (broken.read_bytes()[:-3], b"text", b""):
        broken.write_bytes(content)
        with pytest.raises(UsageError, match=r"t10k-labels-idx1-ubyte.* is damaged"):
            load(name, tmp_path)
    broken.write_bytes(idx(labels[:5]))
    with pytest.raises(UsageError, match=r"do not hold one label for each image"):
        load(name, tmp_path)


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_args, **_options):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.parametrize(("name", "shown"), [("cifar10", "CIFAR-10"), ("cifar100", "CIFAR-100"), ("mnist", "MNIST")])
def test_a_failed_download_says_what_to_do(tmp_path, offline, name, shown):
    message = rf"cannot download {shown} \(.*no network.*\): give data\.root=FOLDER that holds"
    with pytest.raises(UsageError, match=message) as caught:
        load(name, tmp_path)
    assert "\n" not in str(caught.value)


def test_an_archive_is_checked_unpacked_and_read(tmp_path, offline, monkeypatch, capsys):
    write_cifar10(tmp_path / "packed" / "cifar-10-batches-bin")
    (tmp_path / "root").mkdir()
    archive = tmp_path / "root" / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "packed" / "cifar-10-batches-bin", "cifar-10-batches-bin")
    with pytest.raises(UsageError, match=r"cannot download CIFAR-10"):  # not the published archive
        load("cifar10", tmp_path / "root")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(named.KNOWN, "cifar10", dataclasses.replace(named.KNOWN["cifar10"], md5=md5))
    assert len(load("cifar10", tmp_path / "root", validation=0).train) == 50
    assert capsys.readouterr().out == ""


def test_archives_without_the_files_are_errors(tmp_path, monkeypatch):
    monkeypatch.setattr(utils, "download_and_extract_archive", lambda *_args, **_options: print("Extracting"))
    with pytest.raises(UsageError, match=r"cifar-100-binary\.tar\.gz in .* does not hold train\.bin"):
        load("cifar100", tmp_path)
    with pytest.raises(UsageError, match=r"files of MNIST in .* are not complete"):
        load("mnist", tmp_path)


def test_an_unknown_name_lists_the_known(tmp_path):
    with pytest.raises(
        UsageError, match=r"torch/svhn is not known: use one of torch/cifar10, torch/cifar100, torch/fashion-m"
    ):
        load("svhn", tmp_path)
