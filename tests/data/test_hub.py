"""A stand-in with the few calls of `datasets` that are used; where the package is installed, it is used on a local folder too."""

import sys
import types

import numpy as np
import pytest
from sources_on_disk import pixels, png, write_parquet

from vicinal.config import DataSpec
from vicinal.data import load_data
from vicinal.errors import UsageError


class Image:
    def __init__(self, decode=True):
        self.decode = decode


class ClassLabel:
    def __init__(self, names):
        self.names = names


class Rows:
    """A `datasets.Dataset` in memory: rows of a dict of columns."""

    cache_files = ()

    def __init__(self, columns, features):
        self.columns, self.features = columns, features

    def select_columns(self, names):
        return Rows({n: self.columns[n] for n in names}, {n: self.features[n] for n in names})

    def cast_column(self, name, feature):
        return Rows(self.columns, {**self.features, name: feature})

    def select(self, index):
        return Rows({n: [values[i] for i in index] for n, values in self.columns.items()}, self.features)

    def __getitem__(self, name):
        return list(self.columns[name])

    def __iter__(self):
        assert not any(isinstance(f, Image) and f.decode for f in self.features.values())
        for row in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, row, strict=True))


def rows(labels, start=0, **more):
    images = [{"bytes": png(start + i), "path": None} for i in range(len(labels))]
    features = {"image": Image(), "label": ClassLabel(["emu", "owl"]), **more}
    return Rows({"image": images, "label": labels, **dict.fromkeys(more, labels)}, features)


@pytest.fixture
def hub(monkeypatch):
    module = types.ModuleType("datasets")
    module.Image, module.ClassLabel, module.found = Image, ClassLabel, {}

    def load_dataset(name, **options):
        assert not options  # trust_remote_code above all
        if name not in module.found:
            raise ConnectionError("no such\ndata set")
        return module.found[name]

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module.found


def load(name, **options):
    return load_data(DataSpec(source=f"hfds/{name}", **options))


def test_splits_columns_and_names(hub, tmp_path):
    train = rows([0, 1] * 5)
    file = tmp_path / "image.png"
    file.write_bytes(png(500))
    train.columns["image"][3] = {"bytes": None, "path": str(file)}
    hub["me/birds"] = {"train": train, "test": rows([1, 0], start=100), "unsupervised": rows([1, 0])}
    data = load("me/birds", validation=0)
    assert data.name == "me/birds"
    assert data.class_names == ("emu", "owl")
    assert data.notes == ("Splits that were not used: unsupervised.",)
    assert data.test.labels.tolist() == [1, 0]
    assert data.train.labels.tolist() == [0, 1] * 5
    assert data.train.images[3].numpy().tobytes() == np.asarray(pixels(500)).tobytes()
    assert data.test.images[1].numpy().tobytes() == np.asarray(pixels(101)).tobytes()
    hub["me/birds"]["validation"] = rows([1, 0, 1])
    assert len(load("me/birds").validation) == 3


def test_unusable_data_sets(hub):
    hub["me/tests"] = {"test": rows([0, 1])}
    hub["me/two"] = {"train": rows([0, 1] * 3, fine_label=ClassLabel(["a", "b"]))}
    hub["me/two"]["train"].features["label"] = object()
    hub["me/two"]["train"].features["coarse_label"] = ClassLabel(["a", "b"])
    hub["me/none"] = {"train": rows([0, None, 1, 0, 1])}
    hub["me/hole"] = {"train": rows([0, 1] * 3)}
    hub["me/hole"]["train"].columns["image"][4] = None
    for name, options, message in (
        ("me/away", {}, r"cannot load hfds/me/away \(no such data set\): check the name and the connection"),
        ("me/tests", {}, r"hfds/me/tests has no split train; it has test"),
        (
            "me/two",
            {},
            r"say which column to use with data\.label_column=NAME; its columns: image \(Image\).*coarse_label",
        ),
        ("me/two", {"label_column": "label"}, r"data\.label_column=label: .* no such column of kind ClassLabel"),
        ("me/none", {}, r"has rows without a value in 'label'"),
        ("me/hole", {}, r"hfds/me/hole train, row 4 \(from 0\) has no image"),
        ("", {}, r"data\.source=hfds/ names no data set: give hfds/OWNER/NAME"),
    ):
        with pytest.raises(UsageError, match=message):
            load(name, **options)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r'hfds/me/birds needs the package datasets: pip install "vicinal\[hfds\]"'):
        load("me/birds")


def test_the_real_package_reads_what_parquet_reads(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    for part in ("train", "test"):
        write_parquet(tmp_path / "birds" / f"{part}-00000-of-00001.parquet", [0, 1] * 5, names=["emu", "owl"])
    real = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", lambda name: real(name, cache_dir=str(tmp_path / "cache")))
    data, parquet = load("birds"), load_data(DataSpec(source=str(tmp_path / "birds")))
    assert data.class_names == ("emu", "owl")
    assert data.content_hash == parquet.content_hash
