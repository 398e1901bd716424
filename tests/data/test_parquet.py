from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sources_on_disk import pixels, png, write_classes, write_parquet

from shared_data import SHARED_DATA
from vicinal.config import DataSpec
from vicinal.data import load_data
from vicinal.errors import UsageError


@pytest.fixture
def cifar10_jpeg() -> Path:
    folder = SHARED_DATA / "cifar10-jpeg"
    if not folder.is_dir():
        pytest.skip("needs the CIFAR-10 (JPEG) files: set VICINAL_SHARED_DATA to the folder that holds cifar10-jpeg/")
    return folder


def load(path, **options):
    return load_data(DataSpec(source=str(path), **options))


def test_one_file_gives_pixels_labels_and_names(tmp_path):
    labels = [0, 1] * 5
    data = load(write_parquet(tmp_path / "birds.parquet", labels, names=["emu", "owl"]), validation=0, test=0.2)
    assert data.name == f"{tmp_path.name}/birds (Parquet)"
    assert data.class_names == ("emu", "owl")
    assert "2 test images were cut" in data.notes[0]
    found = {
        image.numpy().tobytes(): label
        for part in (data.train, data.test)
        for image, label in zip(part.images, part.labels.tolist(), strict=True)
    }
    assert found == {np.asarray(pixels(i)).tobytes(): label for i, label in enumerate(labels)}


def test_a_folder_of_shards_in_data(tmp_path):
    root = tmp_path / "birds"
    for i in range(2):
        write_parquet(root / "data" / f"train-0000{i}-of-00002.parquet", [0, 1, 2] * 4, image="image")
    write_parquet(root / "data" / "validation.parquet", [0, 1, 2], image="image")
    write_parquet(root / "data" / "test-00000-of-00001-ab12.parquet", [2, 1, 0], image="image")
    write_parquet(root / "data" / "extra.parquet", [2, 1, 0], image="image")
    data = load(root)
    assert data.name == "birds (Parquet)"
    assert data.class_names == ("0", "1", "2")
    assert [len(s) for s in (data.train, data.validation, data.test)] == [24, 3, 3]
    assert data.test.labels.tolist() == [2, 1, 0]
    assert torch.equal(data.train.images[:12], data.train.images[12:])
    assert data.notes[0] == "Parquet files that were not used: data/extra.parquet."
    assert data.notes[1].startswith("3 of 3 test images are also training images")
    part = load(root, train_images=7)
    assert len(part.train) == 7
    whole = {image.numpy().tobytes() for image in data.train.images}
    assert all(image.numpy().tobytes() in whole for image in part.train.images)
    (root / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(UsageError, match=r"should hold 2 shards of one split but holds train-00000-of-00002\.parquet"):
        load(root)


def test_the_data_sets_own_name_is_shown(tmp_path):
    file = write_parquet(tmp_path / "a.parquet", [0, 1] * 4, info={"dataset_name": "owls"})
    assert load(file).name == "owls (Parquet)"


def test_columns_by_name_and_plain_bytes(tmp_path):
    table = {"jpg": pa.array([png(i) for i in range(8)], pa.binary()), "thumb": pa.array([b"x"] * 8, pa.binary())}
    pq.write_table(pa.table({**table, "fine_label": [0, 1] * 4, "coarse_label": [0] * 8}), tmp_path / "a.parquet")
    data = load(tmp_path / "a.parquet", image_column="jpg", label_column="fine_label")
    assert data.train.images.shape[1:] == (8, 8, 3)
    with pytest.raises(
        UsageError, match=r"no column img or image: say which one with data\.image_column=NAME; its columns: "
    ):
        load(tmp_path / "a.parquet")
    with pytest.raises(
        UsageError, match=r"no column label: .*data\.label_column=NAME; .*fine_label \(int64\), coarse_label \(int64\)"
    ):
        load(tmp_path / "a.parquet", image_column="jpg")
    for options, message in (
        ({"image_column": "img"}, r"data\.image_column=img: .* has no such column; its columns: jpg \(binary\)"),
        ({"label_column": "kind"}, r"data\.label_column=kind: .* has no such column"),
        (
            {"image_column": "fine_label", "label_column": "fine_label"},
            r"image column 'fine_label' .* holds int64, not encoded images",
        ),
        ({"image_column": "jpg", "label_column": "jpg"}, r"label column 'jpg' .* holds binary, not whole numbers"),
    ):
        with pytest.raises(UsageError, match=message):
            load(tmp_path / "a.parquet", **options)


def test_the_only_integer_column_is_the_label(tmp_path):
    assert len(load(write_parquet(tmp_path / "a.parquet", [0, 1] * 4, label="kind")).class_names) == 2


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 1, -1, 0, 1], {}, r"image 2 \(from 0\) of the train split has label -1, but labels are 0 to 1"),
        (
            [0, 1, 2, 0, 1],
            {"names": ["a", "b"]},
            r"image 2 \(from 0\) of the train split has label 2, but labels are 0 to 1",
        ),
        ([0, 1, None, 0, 1], {}, r"row 2 \(from 0\) has no value in 'label'"),
        ([0, 3, 0, 3], {}, r"class '1' has no training image"),
        ([0, 0, 0], {}, r"has one class: a classifier needs at least two"),
        ([], {}, r"holds no rows"),
        (
            [0, 1] * 3,
            {"encoded": [png(0), None, *[png(i) for i in range(4)]]},
            r"a\.parquet, row 1 \(from 0\) cannot be read as an image .it holds no bytes",
        ),
        (
            [0, 1] * 3,
            {"encoded": [png(0)] * 4 + [b"no", png(1)]},
            r"a\.parquet, row 4 \(from 0\) cannot be read as an image",
        ),
    ],
)
def test_unusable_rows(tmp_path, labels, options, message):
    labels = pa.array(labels, pa.int64())
    with pytest.raises(UsageError, match=message):
        load(write_parquet(tmp_path / "a.parquet", labels, **options))


def test_unusable_files(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UsageError, match=r"broken\.parquet cannot be read as Parquet"):
        load(tmp_path / "broken.parquet")
    write_parquet(tmp_path / "odd" / "stuff.parquet", [0, 1])
    with pytest.raises(UsageError, match=r"odd holds Parquet files but none named train\*\.parquet"):
        load(tmp_path / "odd")
    write_parquet(tmp_path / "names" / "train.parquet", [0, 1] * 3, names=["a", "b"])
    write_parquet(tmp_path / "names" / "test.parquet", [0, 1] * 3, names=["b", "a"])
    with pytest.raises(UsageError, match=r"name the classes of 'label' differently"):
        load(tmp_path / "names")
    write_parquet(tmp_path / "columns" / "train.parquet", [0, 1] * 3)
    write_parquet(tmp_path / "columns" / "test.parquet", [0, 1] * 3, image="image")
    with pytest.raises(
        UsageError, match=r"test\.parquet has no column 'img', which .*train\.parquet has; its columns: image"
    ):
        load(tmp_path / "columns")
    damaged = write_parquet(tmp_path / "damaged.parquet", [0, 1] * 30)
    content = bytearray(damaged.read_bytes())
    content[4:600] = bytes(596)
    damaged.write_bytes(content)
    with pytest.raises(UsageError, match=r"damaged\.parquet.*repair or"):
        load(damaged)


def test_cifar10_jpeg(cifar10_jpeg):
    data = load(cifar10_jpeg, train_images=2000, test_images=1000)
    assert data.name == "cifar10-jpeg (Parquet)"
    assert data.class_names[0] == "airplane"
    assert len(data.class_names) == 10
    assert data.train.images.shape == (1800, 32, 32, 3)
    assert data.train.labels.bincount().tolist() == [180] * 10
    assert data.test.labels.bincount().tolist() == [100] * 10
    assert data.notes == ()


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_words_as_labels_are_class_names(tmp_path, kind):
    words = pa.array(["fox", "cat", "dog"] * 5, pa.large_string() if kind == "large_string" else pa.string())
    labels = words.dictionary_encode() if kind == "dictionary" else words
    data = load(write_parquet(tmp_path / "a.parquet", labels), validation=0)
    assert (data.class_names, data.class_order) == (("cat", "dog", "fox"), "text")
    meant = {np.asarray(pixels(i)).tobytes(): word for i, word in enumerate(words.to_pylist())}
    for part in (data.train, data.test):
        for image, label in zip(part.images, part.labels.tolist(), strict=True):
            assert meant[image.numpy().tobytes()] == data.class_names[label]


@pytest.mark.parametrize("largest", [15, 10**6, 20260000002, 2**62])
def test_labels_that_are_ids_take_no_memory(tmp_path, largest):
    write_parquet(tmp_path / "train.parquet", [largest - i % 3 for i in range(15)])
    with pytest.raises(UsageError, match=f"the label {largest} in 'label' .* is no class number: 15 training images"):
        load(tmp_path)


@pytest.mark.parametrize("root", ["default", "."])
def test_the_hubs_own_conversion_has_a_folder_for_each_split(tmp_path, root):
    for split in ("train", "test"):
        write_parquet(tmp_path / "default" / split / "0000.parquet", [0, 1, 2] * 4)
    data = load(tmp_path / root, validation=0)
    assert [len(part) for part in (data.train, data.test)] == [12, 12]


def test_metadata_names_and_columns_of_hostile_files_end_in_one_line(tmp_path):
    file = write_parquet(tmp_path / "train-00000-of-99999999999.parquet", [0, 1] * 4)
    with pytest.raises(UsageError, match="should hold 99999999999 shards"):
        load(tmp_path)
    table = pq.read_table(file)
    file.unlink()
    deep = b'{"info":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    pq.write_table(table.replace_schema_metadata({b"huggingface": deep}), tmp_path / "train.parquet")
    assert load(tmp_path).class_names == ("0", "1")
    doubled = pa.Table.from_arrays([table["img"], table["img"], table["label"]], names=["img", "img", "label"])
    pq.write_table(doubled, tmp_path / "train.parquet")
    with pytest.raises(UsageError, match="has 2 columns 'img'"):
        load(tmp_path, image_column="img")


def test_parquet_that_is_not_used_is_named_wherever_it_lies(tmp_path):
    for name in ("train.parquet", "test.PARQUET", "data/train-extra.parquet", "test/test.parquet"):
        write_parquet(tmp_path / name, [0, 1, 2] * 4)
    said = "Parquet files that were not used: data/train-extra.parquet, test.PARQUET, test/test.parquet."
    assert said in load(tmp_path).notes
    (tmp_path / "val.parquet").symlink_to("/not/mounted.parquet")
    with pytest.raises(UsageError, match=r"val\.parquet is a link to nowhere"):
        load(tmp_path)


@pytest.mark.parametrize("labels", [[0.0, 1.0] * 6, [True, False] * 6])
def test_a_label_column_of_another_kind_is_called_that(tmp_path, labels):
    file = write_parquet(tmp_path / "a.parquet", labels)
    with pytest.raises(
        UsageError, match=r"the label column 'label' of .* holds (double|bool), not whole numbers or words"
    ):
        load(file)


def test_a_table_beside_class_folders_is_no_parquet_source(tmp_path):
    write_classes(tmp_path)
    write_parquet(tmp_path / "metadata.parquet", [0, 1] * 5)
    data = load(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert "Files beside the class folders that may hold images and were not used: metadata.parquet." in data.notes


def test_two_folders_of_parquet_are_not_taken_for_classes(tmp_path):
    for name in ("a", "b"):
        write_parquet(tmp_path / name / "train" / "0.parquet", [0, 1] * 5)
    with pytest.raises(
        UsageError, match=r"holds no images .*: but it holds .*0\.parquet; give the one folder whose files"
    ):
        load(tmp_path)
