"""Near-duplicates across sets and classes: found where they were put, and not where there are none."""

import csv
import io

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from photos import CHANGES, photo
from PIL import Image, ImageDraw, ImageFont
from sources_on_disk import write_classes

from shared_data import SHARED_DATA
from vicinal.config import DataSpec
from vicinal.data import ImageSet, load_data, write_lists
from vicinal.data.near_duplicates import near_duplicates

REAL = SHARED_DATA / "grocery-store" / "train.parquet"


def sets_of(train, test=(), labels=None, side=96):
    def made(images, own):
        square = [np.asarray(image.convert("RGB").resize((side, side))) for image in images]
        pixels = np.stack(square) if square else np.empty((0, side, side, 3), np.uint8)
        return ImageSet(torch.from_numpy(pixels), torch.tensor(own, dtype=torch.int64))

    own = list(range(len(train))) if labels is None else labels
    return {"train": made(train, own), "validation": made((), []), "test": made(test, [0] * len(test))}


def recall_and_errors(images):
    """For each change the share of changed images found as of their own original, and how many others were found."""
    for name, change in CHANGES.items():
        changed = [change(image) for image in images]
        pairs = [p for p in near_duplicates(sets_of(images, changed)) if p.first[0] == "test"]
        right = {p.first[1] for p in pairs if p.second == ("train", p.first[1])}
        yield name, len(right) / len(images), sum(p.second[1] != p.first[1] for p in pairs)


def test_changed_photographs_are_found_and_no_others():
    for name, found, wrong in recall_and_errors([photo(i) for i in range(40)]):
        assert found >= 0.95, name
        assert not wrong, name


@pytest.mark.skipif(not REAL.is_file(), reason="the photographs of grocery-store are not here")
def test_changed_real_photographs_are_found_and_no_others():
    rows = pq.read_table(REAL).slice(0, 600).to_pylist()
    key = next(name for name in rows[0] if name in ("img", "image"))
    images = [Image.open(io.BytesIO(row[key]["bytes"])) for row in rows[::17]]
    for name, found, wrong in recall_and_errors(images):
        assert found >= 0.95, name
        assert not wrong, name


def test_plain_graphics_and_flat_images_are_not_confused():
    def drawn(text):
        image = Image.new("RGB", (96, 96), "white")
        ImageDraw.Draw(image).text((20, 10), text, fill="black", font=ImageFont.load_default(size=60))
        return image

    letters = [drawn(chr(65 + i)) for i in range(26)]
    flat = [Image.new("RGB", (96, 96), (9 * i, 255 - 9 * i, 100)) for i in range(20)]
    assert near_duplicates(sets_of([*letters, *flat])) == []
    again = near_duplicates(sets_of(letters, [drawn("Q")]))
    assert [(p.first, p.second, p.identical) for p in again] == [(("test", 0), ("train", 16), True)]


def test_of_tiny_images_nothing_is_said():
    images = [photo(i) for i in range(4)]
    assert near_duplicates(sets_of(images, images, side=32)) is None
    assert len(near_duplicates(sets_of(images, images, side=33))) == 4


def test_one_class_in_one_set_may_repeat_itself():
    images = [photo(1), CHANGES["saved again"](photo(1)), photo(2)]
    assert near_duplicates(sets_of(images, labels=[0, 0, 1])) == []
    (pair,) = near_duplicates(sets_of(images, labels=[0, 1, 1]))
    assert {pair.first, pair.second} == {("train", 0), ("train", 1)}
    assert not pair.identical


def test_every_pair_is_compared():
    """Against the plain double loop, over more images than are compared at a time."""
    images = [photo(i, (48, 48)) for i in range(30)] * 20
    changed = [CHANGES["brighter"](image) for image in images[:30]]
    pairs = near_duplicates(sets_of(images, changed, labels=[0] * 600, side=48))
    found = {(p.first[1], p.second[1]) for p in pairs}
    assert found == {(i, j) for i in range(30) for j in range(600) if j % 30 == i}


def test_they_are_told_and_listed_by_name(tmp_path):
    for part, offset in (("train", 0), ("test", 100)):
        for c, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(5):
                photo(offset + 10 * c + i).save(tmp_path / part / name / f"{i}.png")
    CHANGES["all of it"](photo(3)).save(tmp_path / "test" / "cat" / "again.jpg")
    CHANGES["half the size"](photo(12)).save(tmp_path / "train" / "cat" / "wrong.png")
    data = load_data(DataSpec(source=str(tmp_path), image_size=64, validation=0))
    near, conflict = data.notes
    assert near.startswith(
        "1 of 11 test images are near-duplicates of training images (test/cat/again.jpg is nearly train/cat/3.png):"
    )
    assert "1 pairs of near-duplicates stand under different classes" in conflict
    assert "wrong.png as 'cat'" in conflict
    write_lists(tmp_path, data)
    rows = list(csv.DictReader((tmp_path / "near_duplicates.csv").open(newline="")))
    assert {(r["first_path"], r["second_path"], r["kind"]) for r in rows} >= {
        ("test/cat/again.jpg", "train/cat/3.png", "near")
    }
    assert len(rows) == 2
    (tmp_path / "test" / "cat" / "again.jpg").unlink()
    (tmp_path / "train" / "cat" / "wrong.png").unlink()
    clean = load_data(DataSpec(source=str(tmp_path), image_size=64, validation=0))
    write_lists(tmp_path, clean)
    assert clean.near_duplicates == ()
    assert not (tmp_path / "near_duplicates.csv").exists()


def test_unreadable_images_are_listed_with_their_reasons(tmp_path):
    root = write_classes(tmp_path / "photos", per_class=20)
    (root / "cat" / "000.png").write_bytes(b"")
    (root / "cat" / "001.png").write_bytes(b"broken")
    (root / "dog" / "002.png").write_bytes((root / "dog" / "002.png").read_bytes()[:90])
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(root / "dog" / "003.png")
    (root / "dog" / "gone.png").symlink_to("nowhere.png")
    data = load_data(DataSpec(source=str(root), on_error="skip"))
    write_lists(tmp_path, data)
    rows = {row["path"]: row["reason"] for row in csv.DictReader((tmp_path / "unreadable.csv").open(newline=""))}
    assert set(rows) == {"cat/000.png", "cat/001.png", "dog/002.png", "dog/003.png", "dog/gone.png"}
    assert rows["cat/001.png"] == "no known image format"
    assert "16" in rows["dog/003.png"]
    assert rows["dog/gone.png"] == "a link to nowhere"
