"""int8.onnx: its network alone is in 8 bits, its file does what is said of it, its promises are its own, bad ones are refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from shipping_fixtures import CLASSES, WITHOUT_VICINAL, Shipped, elsewhere
from tiny_studies import Answer
from vicinal import api
from vicinal.functional import conformal_quantile, fit_temperature
from vicinal.shipping.int8 import Compared, refusal


class Made(NamedTuple):
    """A student with an int8.onnx, and what both ONNX files answer, in a process without vicinal, to images of a split."""

    folder: Path
    facts: dict[str, Any]
    said: list[str]
    answers: dict[str, dict[str, np.ndarray]]  # split, file: (N, K)
    labels: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def made(shipped: Shipped) -> Made:
    folder = shipped.timm
    rows = list(csv.DictReader((shipped.study / "images.csv").open(encoding="utf-8")))
    listed = {split: [row for row in rows if row["split"] == split] for split in ("validation", "test")}
    files = [shipped.images / row["path"] for split in listed.values() for row in split]
    found = {name: np.array(p) for name, p in json.loads(elsewhere("-c", WITHOUT_VICINAL, folder, *files)).items()}
    cut = len(listed["validation"])
    answers = {name: {"validation": p[:cut], "test": p[cut:]} for name, p in found.items()}
    labels = {
        split: torch.tensor([CLASSES.index(row["class"]) for row in listed[split]]) for split in ("validation", "test")
    }
    facts = json.loads((folder / "vicinal.json").read_text())
    return Made(folder, facts, shipped.said, answers, labels)


def test_what_is_said_of_it_is_what_its_file_answers(made: Made):
    own, labels = made.facts["int8"], made.labels["test"].numpy()
    small, whole = (made.answers[name]["test"] for name in ("int8.onnx", "model.onnx"))
    assert np.abs(small - whole).max() > 1e-4  # else nothing was made coarser
    assert own["test"]["accuracy"] == pytest.approx((small.argmax(1) == labels).mean())
    assert own["test"]["nll"] == pytest.approx(-np.log(small[np.arange(60), labels]).mean(), abs=2e-3)
    same = (small.argmax(1) == whole.argmax(1)).mean()
    assert own["test_compared"]["same_answers"] == pytest.approx(same)
    low, high = own["test_compared"]["same_answers_interval"]
    assert low < same < high or same == high == 1
    assert own["bytes"] == {
        "int8": (made.folder / "int8.onnx").stat().st_size, "float": (made.folder / "model.onnx").stat().st_size,
    }  # fmt: skip
    assert own["time"]["threads"] == 1
    assert own["time"]["ratio"] == pytest.approx(own["time"]["int8_ms"] / own["time"]["float_ms"])
    card = (made.folder / "README.md").read_text()
    assert f"| same answer as the float network | | {same:.1%}, 95 % interval" in card
    assert f"| accuracy | {made.facts['test']['accuracy']:.4f} | {own['test']['accuracy']:.4f} |" in card
    assert any(f"{same:.1%} of answers as in float" in line for line in made.said)


def test_temperature_and_promises_are_its_own_of_the_two_halves(made: Made):
    own, labels = made.facts["int8"], made.labels["validation"]
    p = torch.from_numpy(made.answers["int8.onnx"]["validation"]).double()
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0))  # the halves of the float network
    logits = p.log() * own["temperature"]
    assert fit_temperature(logits[order[:45]], labels[order[:45]]) == pytest.approx(own["temperature"], rel=5e-3)
    assert own["temperature"] != made.facts["temperature"]
    assert own["fitted_on_images"] == made.facts["fitted_on_images"] == 45
    scores = 1 - p[order[45:]].gather(1, labels[order[45:], None])[:, 0]
    stated = {entry["coverage"]: entry["quantile"] for entry in own["conformal"]["quantiles"]}
    for coverage in (0.5, 0.8, 0.9):
        assert stated[coverage] == pytest.approx(conformal_quantile(scores, coverage), abs=2e-3)
    told = {one.key: json.loads(one.value) for one in onnx.load(made.folder / "int8.onnx").metadata_props}
    assert told["temperature"] == own["temperature"]
    assert told["class_names"] == list(CLASSES)


def test_predict_goes_by_its_answers_and_its_sets(made: Made, shipped: Shipped):
    found = list(api.predict(made.folder, [shipped.images / "test"], coverage=0.9, engine="int8"))
    right = [Path(one.path).parent.name in (one.classes or ()) for one in found]
    entry = next(entry for entry in made.facts["int8"]["conformal"]["quantiles"] if entry["coverage"] == 0.9)
    assert np.mean(right) == pytest.approx(entry["test_coverage"])
    top = sorted(one.probability or 0 for one in found)
    assert np.allclose(top, sorted(made.answers["int8.onnx"]["test"].max(1)), atol=1e-3)


def test_the_network_alone_is_in_8_bits_whose_products_no_processor_overflows(made: Made):
    model = onnx.load(made.folder / "int8.onnx")
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    small = [value for value in weights.values() if value.dtype == np.int8 and value.ndim > 1]
    assert len(small) > 5
    assert max(int(np.abs(value.astype(int)).max()) for value in small) == 64
    coarse = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert coarse
    assert all(node.name.startswith("network/") for node in coarse)
    scales = [weights[node.input[1]] for node in model.graph.node
              if node.op_type == "DequantizeLinear" and node.input[0] in weights and weights[node.input[0]].ndim > 1]  # fmt: skip
    assert all(scale.size > 1 for scale in scales)  # per channel
    ends = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul") and "network/" in node.name]
    in_float = [node.input[1] in weights and weights[node.input[1]].dtype == np.float32 for node in ends]
    assert in_float[0] == in_float[-1] == ("in float" in made.facts["int8"]["form"])
    forms = made.facts["int8"]["forms"]
    assert len(forms) == 4
    chosen = next(one for one in forms if one["form"] == made.facts["int8"]["form"])
    assert chosen["same_answers"] == max(one["same_answers"] for one in forms)
    assert {one["images"] for one in forms} == {45}  # never test images


@pytest.mark.parametrize(
    ("images", "same", "only_float", "only_int8", "word"),
    [
        (1000, 900, 30, 20, None),
        (1000, 899, 0, 0, "only 89.9%"),
        (42, 38, 2, 0, None),  # too few to say that accuracy fell
        (1000, 950, 45, 2, "accuracy falls by 4.3 points"),
    ],
)
def test_many_other_answers_or_a_clear_drop_are_refused(
    images: int, same: int, only_float: int, only_int8: int, word: str | None
):
    reason = refusal(Compared(images, same, only_float, only_int8, 0.0))
    assert reason is None if word is None else reason is not None and word in reason


def test_a_refused_file_leaves_the_others_whole_and_says_so_everywhere(
    shipped: Shipped, vicinal: Callable[..., Answer]
):
    out = shipped.graphs
    assert shipped.refused.startswith("int8.onnx was not written: only ")
    assert f"all other files lie in {out}" in shipped.refused
    assert {"model.onnx", "model.pt2", "README.md", "class_names.txt"} < {file.name for file in out.iterdir()}
    assert not (out / "int8.onnx").exists()
    facts = json.loads((out / "vicinal.json").read_text())
    assert facts["int8"]["file"] is None
    assert "of 45 validation images are answered as in float" in facts["int8"]["refused"]
    assert "test" not in facts["int8"]  # what is refused is not measured
    assert "An 8-bit file was asked for and refused: only" in (out / "README.md").read_text()
    asked = vicinal("predict", out, shipped.images / "test", "--engine", "int8")
    assert (asked.code, asked.out) == (2, "")
    assert "its export refused" in asked.last


def test_without_the_studys_images_nothing_is_written(shipped: Shipped, vicinal: Callable[..., Answer], tmp_path: Path):
    away = shipped.images / "away"
    for split, word in (("train", "calibrates on training images"), ("test", "measures on the study's images")):
        (shipped.images / split).rename(away)
        try:
            answer = vicinal("export", shipped.study, "--out", tmp_path / "student", "--int8")
        finally:
            away.rename(shipped.images / split)
        assert answer.code == 2
        assert word in answer.last
        assert len(answer.err.strip().splitlines()) == 1
    asked = vicinal("export", shipped.study, "--out", tmp_path / "student", "--int8", "--no-onnx")
    assert asked.code == 2
    assert "leave --no-onnx out" in asked.last
    assert not list(tmp_path.iterdir())
    (tmp_path / "plain").mkdir()
    shutil.copy(shipped.timm / "model.onnx", tmp_path / "plain")
    asked = vicinal("predict", tmp_path / "plain", shipped.images / "test", "--engine", "int8")
    assert "vicinal export DIR --int8 writes one" in asked.last
