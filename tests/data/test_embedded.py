import hashlib
import lzma
from pathlib import Path

import pytest
import torch

from vicinal.config import DataSpec
from vicinal.data import load_data
from vicinal.data.sources import embedded
from vicinal.errors import UsageError, VicinalError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data():
    return load_data(DataSpec(source="embedded/fashion-mnist"))


def test_file_is_small_published_and_licensed():
    packed = embedded.embedded_file().read_bytes()
    assert len(packed) <= 7_000_000
    assert hashlib.sha256(packed).hexdigest() == embedded.FILE_SHA256
    assert hashlib.sha256(lzma.decompress(packed)).hexdigest() == embedded.CONTENT_SHA256
    licence = REPOSITORY / "src/vicinal/data/assets/LICENSE-fashion-mnist"
    assert "Zalando SE" in licence.read_text()
    assert "Permission is hereby granted, free of charge" in licence.read_text()


def test_images_are_balanced_distinct_and_named(data):
    assert data.name == "Fashion-MNIST (embedded part)"
    assert data.class_names[0] == "T-shirt/top"
    assert len(data.class_names) == 10
    assert data.train.images.shape == (9000, 28, 28, 1)
    for images, per_class in ((data.train, 900), (data.validation, 100), (data.test, 500)):
        assert images.labels.bincount().tolist() == [per_class] * 10
        assert images.images.is_contiguous()
    # Trousers are tall and ankle boots are not: labels belong to their images.
    mean = [data.test.images[data.test.labels == c].float().mean(dim=(0, 3)) for c in range(10)]
    assert mean[1][2:26, 10:18].mean() > 3 * mean[1][:, :5].mean()
    assert mean[9][:4].mean() < 0.2 * mean[9][16:26].mean()
    assert data.notes == ()


def test_splits_share_no_image(data):
    whole = load_data(DataSpec(source="embedded/fashion-mnist", validation=0))
    assert len(whole.validation) == 0
    assert whole.validation.images.shape == (0, 28, 28, 1)
    every = {row.numpy().tobytes() for row in whole.train.images}
    train = [row.numpy().tobytes() for row in data.train.images]
    validation = [row.numpy().tobytes() for row in data.validation.images]
    assert sorted(train + validation) == sorted(row.numpy().tobytes() for row in whole.train.images)
    assert not set(train) & set(validation)
    assert len(every) >= 9990  # the published set holds a few exact repeats


def test_content_hash_ignores_cuts_and_sees_content(data):
    other_cut = load_data(DataSpec(source="embedded/fashion-mnist", validation=0.3, split_seed=5))
    fewer = load_data(DataSpec(source="embedded/fashion-mnist", train_images=200, test_images=100))
    smaller = load_data(DataSpec(source="embedded/fashion-mnist", train_images=200, test_images=100, image_size=20))
    assert other_cut.content_hash == data.content_hash
    assert len({data.content_hash, fewer.content_hash, smaller.content_hash}) == 3
    assert len(data.content_hash) == 64
    assert (len(fewer.train), len(fewer.validation), len(fewer.test)) == (180, 20, 100)
    assert smaller.train.images.shape == (180, 20, 20, 1)
    assert not torch.equal(other_cut.validation.images[:1000], data.validation.images)


def test_a_damaged_file_is_one_clear_error(tmp_path, monkeypatch):
    packed = bytearray(embedded.embedded_file().read_bytes())
    packed[100_000] ^= 1
    (tmp_path / "damaged.xz").write_bytes(packed)
    monkeypatch.setattr(embedded, "embedded_file", lambda: tmp_path / "damaged.xz")
    with pytest.raises(VicinalError, match=r"damaged\.xz are damaged \(the file's SHA-256.*install vicinal again"):
        load_data(DataSpec(source="embedded/fashion-mnist"))
    monkeypatch.setattr(embedded, "embedded_file", lambda: tmp_path / "missing.xz")
    with pytest.raises(VicinalError, match=r"missing\.xz are damaged"):
        load_data(DataSpec(source="embedded/fashion-mnist"))
    other = lzma.compress(b"other")
    (tmp_path / "other.xz").write_bytes(other)
    monkeypatch.setattr(embedded, "embedded_file", lambda: tmp_path / "other.xz")
    monkeypatch.setattr(embedded, "FILE_SHA256", hashlib.sha256(other).hexdigest())
    with pytest.raises(VicinalError, match="the content's SHA-256"):
        load_data(DataSpec(source="embedded/fashion-mnist"))


def test_only_fashion_mnist_is_embedded():
    with pytest.raises(
        UsageError, match=r"embedded/cifar10 is not known: the embedded images are embedded/fashion-mnist"
    ):
        load_data(DataSpec(source="embedded/cifar10"))
