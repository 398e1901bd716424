"""`vicinal predict`: every file has a row, both engines agree, sets and "don't know" are what the student promises."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shipping_fixtures import CLASSES, Shipped
from tiny_studies import Answer
from vicinal import api


@pytest.fixture
def photographs(shipped: Shipped, tmp_path: Path) -> Path:
    """Six photographs in two folders, one cut off in the middle, an empty one, and a text that is no image."""
    for name in ("north", "south"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for file in sorted((shipped.images / "test" / name).iterdir())[:3]:
            shutil.copy(file, tmp_path / "photos" / name)
    broken = tmp_path / "photos" / "broken.png"
    broken.write_bytes(sorted((shipped.images / "test" / "east").iterdir())[0].read_bytes()[:300])
    (tmp_path / "photos" / "empty.jpg").touch()
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


@pytest.fixture
def promising(shipped: Shipped, tmp_path: Path) -> Path:
    """The student with a threshold set by hand: so few validation images promise no risk."""
    folder = tmp_path / "promising"
    shutil.copytree(shipped.timm, folder)
    facts = json.loads((folder / "vicinal.json").read_text())
    next(entry for entry in facts["selective"]["thresholds"] if entry["risk"] == 0.3)["threshold"] = 0.45
    (folder / "vicinal.json").write_text(json.dumps(facts))
    return folder


def test_every_file_has_a_row_and_broken_ones_say_why(
    promising: Path, photographs: Path, vicinal: Callable[..., Answer], tmp_path: Path
):
    out = tmp_path / "answers.csv"
    answer = vicinal("predict", promising, photographs, photographs / "gone.png", "--out", out, "--batch-size", 4,
                     "--coverage", 0.9, "--risk", 0.3)  # fmt: skip
    assert answer.code == 0, answer.err
    assert "3 of 9 files could not be read" in answer.last
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert list(rows[0]) == ["path", "class", "probability", "set", "answer", "error"]
    assert [Path(row["path"]).name for row in rows] == [
        "broken.png", "empty.jpg", *(f"{n:03}.png" for n in (0, 1, 2, 0, 1, 2)), "gone.png",
    ]  # fmt: skip
    for row in rows:
        if row["error"]:
            assert row["class"] == row["probability"] == row["set"] == row["answer"] == ""
            assert "cannot be read as an image" in row["error"]
        else:
            assert row["class"] in row["set"].split(" | ")
            assert row["answer"] in (row["class"], "don't know")
    assert sum(bool(row["error"]) for row in rows) == 3


def test_both_engines_and_every_batch_size_say_the_same(shipped: Shipped, photographs: Path):
    asked = [
        list(api.predict(folder, [photographs], coverage=0.8, batch_size=size, engine=engine))
        for folder, engine, size in ((shipped.timm, None, 1), (shipped.timm, "onnx", 5), (shipped.timm, "timm", 32))
    ]
    assert len(asked[0]) == 8
    for one, *others in zip(*asked, strict=True):
        for other in others:
            assert (one.path, one.label, one.classes, one.error) == (
                other.path, other.label, other.classes, other.error,
            )  # fmt: skip
            assert one.probability == (other.probability and pytest.approx(other.probability, abs=1e-5))
    graph = [one.label for one in api.predict(shipped.graphs, [photographs])]  # timm does not know it: its ONNX file
    assert set(graph) <= {*CLASSES, None}


def test_sets_and_refusals_are_those_of_the_file(shipped: Shipped, promising: Path):
    facts = json.loads((shipped.timm / "vicinal.json").read_text())
    found = list(api.predict(promising, [shipped.images / "test"], coverage=0.85, risk=0.3))
    assert len(found) == 60
    for one in found:
        assert one.probability is not None
        assert one.classes is not None
        assert one.classes[0] == one.label
        assert (one.answer == "don't know") == (one.probability < 0.45)
    held = sum(Path(one.path).parent.name in (one.classes or ()) for one in found) / 60
    entry = next(entry for entry in facts["conformal"]["quantiles"] if entry["coverage"] == 0.85)
    assert held == pytest.approx(entry["test_coverage"])  # of the study's own test answers


def test_what_cannot_be_promised_is_refused_in_one_line(
    shipped: Shipped, vicinal: Callable[..., Answer], tmp_path: Path, photographs: Path
):
    def refused(*arguments: object) -> str:
        answer = vicinal("predict", *arguments)
        assert answer.code == 2
        assert answer.out == ""
        return answer.last

    assert "cannot promise it" in refused(shipped.timm, photographs, "--risk", 0.0005)
    assert "promises at most 0.999" in refused(shipped.timm, photographs, "--coverage", 0.9999)
    assert "between 0 and 1" in refused(shipped.timm, photographs, "--coverage", 90)
    assert "is no folder" in refused(tmp_path / "none", photographs)
    assert "holds no student" in refused(photographs, photographs)
    (tmp_path / "nothing").mkdir()
    assert "no images in" in refused(shipped.timm, tmp_path / "nothing")
    assert "--engine onnx" in refused(shipped.graphs, photographs, "--engine", "timm")


def test_a_folder_that_timm_wrote_gives_probabilities_and_says_what_it_lacks(
    shipped: Shipped, vicinal: Callable[..., Answer], photographs: Path, tmp_path: Path
):
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(shipped.timm / name, plain)
    answer = vicinal("predict", plain, photographs / "north", "--format", "jsonl")
    assert answer.code == 0
    assert "has no vicinal.json" in answer.err
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert [row["class"] for row in rows] == [one.label for one in api.predict(shipped.timm, [photographs / "north"])]
    answer = vicinal("predict", plain, photographs, "--coverage", 0.9)
    assert answer.code == 2
    assert "promises nothing that --coverage could ask for" in answer.last
