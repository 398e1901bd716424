"""Tables of images: CSV, TSV and JSONL, and Hugging Face's imagefolder."""

import csv
import io
import json

import pytest
from sources_on_disk import png, write_classes

from vicinal.config import DataSpec
from vicinal.data import load_data, load_test_images
from vicinal.errors import UsageError


def load(source, **options):
    return load_data(DataSpec(source=str(source), **options))


def write_pictures(root, n=12):
    (root / "pictures").mkdir(parents=True, exist_ok=True)
    paths = [f"pictures/{i:02}.png" for i in range(n)]
    for i, path in enumerate(paths):
        (root / path).write_bytes(png(i))
    return paths


def table(rows, columns=("path", "label"), delimiter=","):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([columns, *rows])
    return text.getvalue()


def classes_of(data):
    sets = (data.train, data.validation, data.test)
    return {name: data.class_names[k] for s in sets for name, k in zip(s.names, s.labels.tolist(), strict=True)}


@pytest.mark.parametrize(
    ("name", "columns", "delimiter", "encoding"),
    [
        ("a.csv", ("path", "label"), ",", "utf-8"),
        ("a.csv", ("Class", "id", "FileName"), ";", "utf-8-sig"),
        ("a.tsv", ("image", "x,y", "category"), "\t", "utf-8"),
        ("a.CSV", ("img_path", "target"), "|", "utf-16"),
        ("a.csv", ("file_name", "class_name"), "\t", "utf-8"),
    ],
)
def test_columns_delimiters_and_encodings_are_found(tmp_path, name, columns, delimiter, encoding):
    paths = write_pictures(tmp_path)
    meant = {path: ("caté", "dog, big")[i % 2] for i, path in enumerate(paths)}
    known = {"path": 0, "filename": 0, "image": 0, "img_path": 0, "file_name": 0}
    rows = [
        [path if c.lower() in known else "7" if c in ("id", "x,y") else f" {label} " for c in columns]
        for path, label in meant.items()
    ]
    text = table(rows, columns, delimiter).replace("\r\n", "\r\n\r\n", 4)  # blank lines between
    (tmp_path / name).write_bytes(f"\n{text}".encode(encoding) if encoding != "utf-8-sig" else text.encode(encoding))
    assert classes_of(load(tmp_path / name)) == meant
    lazy = load(tmp_path / name, lazy=True, image_size=8)
    assert classes_of(lazy) == meant
    assert lazy.train.digests.shape == (len(lazy.train), 32)


def test_splits_by_their_usual_names(tmp_path):
    paths = write_pictures(tmp_path)
    words = ["train"] * 6 + ["Val", "valid", "dev", "TEST", "testing", "test"]
    rows = [
        json.dumps({"file_name": p, "label": i % 2, "split": w})
        for i, (p, w) in enumerate(zip(paths, words, strict=True))
    ]
    (tmp_path / "all.jsonl").write_text("\n\n".join(rows))
    data = load(tmp_path / "all.jsonl")
    assert [len(s) for s in (data.train, data.validation, data.test)] == [6, 3, 3]
    assert data.class_names == ("0", "1")
    only = tmp_path / "test.jsonl"
    only.write_text("\n".join(rows[9:]))
    assert len(load_test_images(only, class_names=["a", "b"]).test) == 3
    with pytest.raises(UsageError, match="lists no training images: give some lines the split train; vicinal measure"):
        load(only)


def test_numbers_count_by_value_and_names_as_text(tmp_path):
    paths = write_pictures(tmp_path)
    for labels, names in ((("2", "10", "007"), ("2", "007", "10")), (("2", "10", "b"), ("10", "2", "b"))):
        (tmp_path / "a.csv").write_text(table([(p, labels[i % 3]) for i, p in enumerate(paths)]))
        assert load(tmp_path / "a.csv").class_names == names


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "", r"a\.csv is empty"),
        ("a.csv", "path,label\n", "lists no images"),
        ("a.csv", "pictures/00.png,cat\npictures/01.png,dog\n", r"has no column path or file_name.*pictures/00\.png, cat"),
        ("a.csv", "path,label\npictures/00.png,cat\npictures/01.png\n,dog\n", "line 3: has no label; line 4: has no path: correct"),
        ("a.csv", "path,label,split\npictures/00.png,cat,trian\n", r"line 2: split is 'trian', which is none of train"),
        ("a.csv", "path,label\nhttps://x.org/a.png,cat\n", r"line 2: https://x\.org/a\.png is an address"),
        ("a.csv", "path,label\na.png,cat\npictures/00.png,cat\npictures,dog\n", r"2 images .*line 2.*no such.*line 4.*a folder"),
        ("a.csv", "path,label\na,b,c.png,cat\n", "line 2 has 4 cells for 2 columns .*quotes"),
        ("a.csv", 'path,label\n"a.png,cat\n', "line 2 cannot be read"),
        ("a.csv", "path,path,label\na,b,c\n", "two columns 'path'"),
        ("a.csv", "path,label\npictures/00.png,cat\npictures/01.png,cat\n", "one class"),
        ("a.jsonl", '{"path": "pictures/00.png", "label": "cat"}\nnothing\n', "line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is no JSON object"),
        ("a.jsonl", '{"path": "a", "label": 0.5}\n{"path": "a", "label": [1]}\n{"path": 3}', r"1: label is 0\.5.*2: .*3: path"),
    ],
)  # fmt: skip
def test_wrong_tables_name_the_line(tmp_path, name, text, words):
    write_pictures(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_other_bytes_and_other_columns(tmp_path):
    paths = write_pictures(tmp_path)
    (tmp_path / "a.csv").write_bytes(b"path,label\nx,caf\xe9\n")
    with pytest.raises(UsageError, match="line 2 is not text in UTF-8"):
        load(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text(
        table([(p, i % 2, i % 3) for i, p in enumerate(paths)], ("where", "label", "colour"))
    )
    assert len(load(tmp_path / "a.csv", image_column="where", label_column="colour").class_names) == 3
    with pytest.raises(UsageError, match=r"data\.label_column=kind: .* no such column"):
        load(tmp_path / "a.csv", image_column="where", label_column="kind")
    (tmp_path / "a.csv").write_text(
        table([(p.replace("/", "\\"), i % 2) for i, p in enumerate(paths)] + [("gone.png", 1)])
    )
    data = load(tmp_path / "a.csv", on_error="skip")  # and paths as Windows writes them
    assert sorted(classes_of(data)) == paths
    assert any("Left out by data.on_error=skip: 1 lines, for example" in note for note in data.notes)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_imagefolder_with_metadata(tmp_path, ending):
    def write(folder, rows):
        lines = [json.dumps(dict(zip(("file_name", "label"), row, strict=True))) for row in rows]
        text = table(rows, ("file_name", "label")) if ending == "csv" else "\n".join(lines)
        (folder / f"metadata.{ending}").write_text(text)

    paths = write_pictures(tmp_path / "one")
    write(tmp_path / "one", [(p, "ab"[i % 2]) for i, p in enumerate(paths)])
    data = load(tmp_path / "one")
    assert (data.name, data.class_names) == ("one (imagefolder)", ("a", "b"))
    assert sorted(classes_of(data)) == paths
    for part in ("train", "test"):
        write(
            tmp_path / "two" / part,
            [(p, "ab"[i % 2]) for i, p in enumerate(write_pictures(tmp_path / "two" / part, 8))],
        )
    two = load(tmp_path / "two")
    assert len(two.test) == 8
    assert two.test.names[0] == "test/pictures/00.png"


def test_class_folders_with_metadata_of_something_else_are_class_folders(tmp_path):
    write_classes(tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name,camera\ncat/000.png,x\n")
    assert load(tmp_path).class_names == ("cat", "dog")
