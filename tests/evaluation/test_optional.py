"""Corrupted images, features, another data set and information in a study: every figure again from what is stored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.stats import binomtest, entropy
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score, v_measure_score

from tiny_studies import CLASSES, write_images
from vicinal.cli.main import main
from vicinal.config import CORRUPTIONS

Array = np.ndarray


@pytest.fixture(scope="module")
def other_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("other")
    write_images(root / "train", 4, seed=7, noise=250)
    write_images(root / "test", 9, seed=8, noise=250)
    return root


@pytest.fixture(scope="module")
def measured_study(smallest: dict[str, Any], study_file: Callable[..., Path], other_images: Path) -> Path:
    return study_file(
        smallest,
        {
            "arms": ["baseline", "kd_mixup"],
            "teachers.one.epochs": 3,
            "student.epochs": 3,
            "measures.corruptions": {"images": 30},
            "measures.representation": {"classes": ["east", "south"], "images_per_class": 12},
            "measures.ood": {"source": str(other_images)},
        },
    )


@pytest.fixture(scope="module")
def folder(measured_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("further") / "out"
    assert main(["run", str(measured_study), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def models(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [*results["teachers"], *results["students"]]


def stored(folder: Path, model: dict[str, Any], kind: str) -> dict[str, Array]:
    (file,) = (folder / "runs" / model["run"]).glob(f"{kind}-*.safetensors")
    return load_file(file)


def softmax(logits: Array) -> Array:
    e = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_corruptions_come_from_the_stored_answers(folder: Path, results: dict[str, Any]):
    labels = np.repeat(np.arange(3), 10)  # 30 of 60 test images, class-balanced, sorted as the folder is
    baseline = next(s for s in results["students"] if s["arm"] == "baseline")
    for model in models(results):
        assert tuple(model["corruptions"]) == CORRUPTIONS
        for name in CORRUPTIONS:
            own = stored(folder, model, f"corrupted-{name}")["logits"]
            assert own.shape == (5, 30, 3)
            right = own.argmax(-1) == labels
            entry = model["corruptions"][name]
            assert entry["severity"] == [1, 2, 3, 4, 5]
            np.testing.assert_allclose(entry["accuracy"], right.mean(1))
            if model["run"].startswith("teacher") or model is baseline:
                assert entry["gain_pp"] is None
                continue
            theirs = stored(folder, baseline, f"corrupted-{name}")["logits"].argmax(-1) == labels
            np.testing.assert_allclose(entry["gain_pp"], 100 * (right.mean(1) - theirs.mean(1)), atol=1e-9)
            low, high = entry["gain_pp_interval"]["lower"], entry["gain_pp_interval"]["upper"]
            assert all(a <= g <= b for a, g, b in zip(low, entry["gain_pp"], high, strict=True))


def test_representation_comes_from_the_stored_features(folder: Path, results: dict[str, Any]):
    for model in models(results):
        entry, kept = model["representation"], stored(folder, model, "features")
        assert entry["classes"] == ["east", "south"]
        assert kept["features"].shape == (24, entry["features"])
        assert np.bincount(kept["labels"], minlength=3).tolist() == [12, 0, 12]
        assert len(entry["points"]) == len(entry["labels"]) == 24
        clusters = KMeans(2, n_init=10, random_state=0).fit_predict(kept["features"].astype(np.float64))
        assert entry["v_score"] == pytest.approx(v_measure_score(kept["labels"], clusters), abs=0.02)


def test_other_data_is_told_apart_as_sklearn_counts(folder: Path, results: dict[str, Any], other_images: Path):
    for model in models(results):
        ((name, value),) = model["ood_auroc"].items()
        assert other_images.name in name
        known = softmax(stored(folder, model, "predictions")["test"]).max(-1)
        unknown = softmax(stored(folder, model, "other")["logits"]).max(-1)
        assert len(unknown) == 27
        truth = np.r_[np.ones(len(known)), np.zeros(len(unknown))]
        assert value == pytest.approx(roc_auc_score(truth, np.r_[known, unknown]), abs=2e-3)


def test_information_and_selection_come_from_the_stored_answers(folder: Path, results: dict[str, Any]):
    teacher = stored(folder, results["teachers"][0], "predictions")
    baseline = next(s for s in results["students"] if s["arm"] == "baseline")
    first = stored(folder, baseline, "predictions")
    for model in models(results):
        kept = stored(folder, model, "predictions")
        information = model["information"]
        mixed = entropy(softmax(kept["pair_mixed"]), axis=-1)
        both = (mixed + mixed[:, ::-1]).mean(0) / 2
        np.testing.assert_allclose(information["entropy_mixed"], both, rtol=1e-5)
        np.testing.assert_allclose(information["nonlinearity"], model["vicinity"]["nonlinearity"], rtol=1e-9)
        left_over = np.subtract(information["entropy_mixed"], information["entropy_clean"])
        np.testing.assert_allclose(information["residual_eq11"], left_over - information["nonlinearity"], atol=1e-9)
        right = kept["test"].argmax(-1) == kept["test_labels"]
        assert model["selective"]["risk"][-1] == pytest.approx(1 - right.mean())
        valid = kept["validation"].argmax(-1) == kept["validation_labels"]
        assert model["validation"]["accuracy"] == pytest.approx(valid.mean())
    for student in results["students"]:
        kept = stored(folder, student, "predictions")
        bound = student["versus_teacher"]["one"]["information"]
        p, q = softmax(teacher["pair_mixed"]), softmax(kept["pair_mixed"])
        kl = entropy(p, q, axis=-1)
        np.testing.assert_allclose(bound["bound_per_sample"], -(kl + kl[:, ::-1]).mean(0) / 2, rtol=1e-4, atol=1e-8)
        if student is baseline:
            assert student["mcnemar_versus_baseline"] is student["minus_baseline"] is None
            continue
        over = student["minus_baseline"]
        assert over["accuracy_pp"] == pytest.approx(100 * (student["accuracy"] - baseline["accuracy"]))
        assert over["ece"] == pytest.approx(student["ece"] - baseline["ece"])
        assert over["accuracy_pp_interval"][0] <= over["accuracy_pp"] <= over["accuracy_pp_interval"][1]
        right, other = (x["test"].argmax(-1) == x["test_labels"] for x in (kept, first))
        a, b = int((right & ~other).sum()), int((other & ~right).sum())
        test = student["mcnemar_versus_baseline"]
        assert (test["only_first"], test["only_second"]) == (a, b)
        assert test["p_value"] == pytest.approx(binomtest(a, a + b).pvalue if a + b else 1.0)
        (mutual,) = results["mcnemar"]
        own, base = (results["students"].index(s) for s in (student, baseline))
        assert mutual["students"] == [0, 1]
        assert (mutual["only_first"][own][base], mutual["only_first"][base][own]) == (a, b)
        assert mutual["p_value"][own][base] == mutual["p_value"][base][own] == test["p_value"]


def test_further_answers_are_asked_once(folder: Path, measured_study: Path, tmp_path: Path, vicinal):
    out = tmp_path / "copy"
    shutil.copytree(folder, out)
    before = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/*-*.*")}
    answer = vicinal("run", measured_study, "--out", out)
    assert answer.code == 0
    assert "severities" not in answer.err
    assert "features" not in answer.err
    assert {p: p.stat().st_mtime_ns for p in out.glob("runs/*/*-*.*")} == before
    victim = next(iter(sorted(out.glob("runs/*/corrupted-fog-*"))))
    victim.write_bytes(b"damaged")
    answer = vicinal("run", measured_study, "--out", out)
    assert answer.code == 0
    assert "fog, 1 network: predicted" in answer.err
    again, first = (json.loads((place / "results.json").read_text())["students"] for place in (out, folder))
    for student in (*again, *first):
        assert student.pop("predicted_per_second") > 0  # taken anew
    assert again == first


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("measures.corruptions.images=999", "measures.corruptions.images=999"),
        ("measures.corruptions.names=[rain]", "gaussian_noise"),
        ("measures.corruptions={published: /no/such/folder}", "/no/such/folder"),
        ("measures.representation.classes=[east, nowhere]", f"it has {', '.join(CLASSES)}"),
        ("measures.ood.source=/no/such/folder", "/no/such/folder"),
    ],
)
def test_measures_that_cannot_be_had_are_told_before_training(measured_study, tmp_path, vicinal, override, words):
    answer = vicinal("run", measured_study, "--out", tmp_path / "out", override)
    assert answer.code == 2
    assert words in answer.last
    assert not (tmp_path / "out").exists()
