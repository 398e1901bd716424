"""A study from its file to results.json: every figure recomputed with plain numpy, nothing trained twice, nothing lost."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from tiny_studies import CLASSES, merged, write_images
from vicinal.cli.main import main
from vicinal.config import SELECTION_SENTENCES, StudySpec

Array = np.ndarray
PAIRS, POINTS, BINS = 12, 5, 7  # of the fixture's study


@pytest.fixture(scope="module")
def finished(tiny: dict[str, Any], study_file: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny study, run once. Tests that change a folder copy it."""
    out = tmp_path_factory.mktemp("finished") / "out"
    assert main(["run", str(study_file(tiny)), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def results(finished: Path) -> dict[str, Any]:
    return json.loads((finished / "results.json").read_text())


@pytest.fixture(scope="module")
def small(smallest: dict[str, Any], study_file: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the smallest study, run once."""
    out = tmp_path_factory.mktemp("small") / "out"
    assert main(["run", str(study_file(smallest)), "--out", str(out)]) == 0
    return out


def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def stamps(folder: Path, pattern: str) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.glob(pattern)}


def models(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [*results["teachers"], *results["students"]]


# --- what results.json holds ------------------------------------------------------------------------------------------

FRACTIONS = ("accuracy", "confidence", "ece", "ece_after_temperature_scaling")
CURVES = ("nonlinearity", "entropy", "dominance", "linearity_information")


def test_top_of_results(results: dict[str, Any]):
    assert results["schema"] == 2
    assert results["study"] == "tiny"
    assert results["selection"] == "last"
    assert results["version"]
    assert results["command"].startswith("vicinal run ")
    assert {"python", "torch", "timm", "platform", "cores"} <= results["environment"].keys()
    data = results["data"]
    assert (data["train"], data["validation"], data["test"]) == (72, 18, 60)
    assert data["class_names"] == list(CLASSES)
    assert results["wall_time_s"] > 0
    assert StudySpec.model_validate(results["spec"]).name == "tiny"  # from which it can be run again


def test_every_model_has_the_promised_keys_in_range(results: dict[str, Any]):
    assert len(results["teachers"]) == 1
    assert len(results["students"]) == 3
    for model in models(results):
        assert isinstance(model["seed"], int)
        for key in FRACTIONS:
            assert 0 <= model[key] <= 1, key
        assert model["nll"] >= 0
        assert 0 <= model["brier"] <= 2
        for key in ("vicinity", "vicinity_after_temperature_scaling"):
            curves = model[key]
            assert curves["lam"] == [0, 0.25, 0.5, 0.75, 1]
            assert all(len(curves[name]) == POINTS for name in CURVES)
            assert curves["nonlinearity"][0] == curves["nonlinearity"][-1] == 0
            assert all(v >= 0 for v in curves["nonlinearity"])
            assert all(0 <= v <= np.log(len(CLASSES)) for v in curves["entropy"])
            for name in CURVES:
                bounds = curves["intervals"][name]
                for low, high in zip(bounds["lower"], bounds["upper"], strict=True):
                    assert low <= high
        for key in ("accuracy", "confidence", "ece", "nll", "brier"):
            low, high = model["intervals"][key]
            assert low <= high
        assert sum(model["reliability"]["count"]) == 60
        assert len(model["reliability"]["count"]) == BINS


def test_students_say_what_they_are(results: dict[str, Any]):
    told = [(s["arm"], s["teacher"], s["temperature"], s["seed"]) for s in results["students"]]
    assert told == [("baseline", None, None, 0), ("kd_mixup", "one", 2.0, 0), ("kd_mixup", "one", "sigma", 0)]
    baseline, kd, sigma = results["students"]
    assert baseline["linearity_gain"] is None
    assert baseline["alignment"] is None
    assert baseline["versus_teacher"].keys() == {"one"}  # it can still be held against a teacher it never asked
    for student in (kd, sigma):
        assert len(student["linearity_gain"]) == POINTS
        assert {"kl_real", "kl_mixed", "independent_response"} <= student["alignment"].keys()
        assert student["alignment"]["kl_real"] >= 0 <= student["alignment"]["kl_mixed"]
    assert [m["scale_free"] for m in models(results)] == [False, False, False, True]


def test_the_networks_learned_something(results: dict[str, Any]):
    """Otherwise every figure below is one of uniform answers, which hides mistakes."""
    assert results["teachers"][0]["accuracy"] > 0.5
    assert results["teachers"][0]["vicinity"]["nonlinearity"][2] > 1e-4


# --- every figure again, with plain numpy -----------------------------------------------------------------------------


def log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def kl(log_p: Array, log_q: Array) -> Array:
    return (np.exp(log_p) * (log_p - log_q)).sum(-1)


def entropy(log_p: Array) -> Array:
    return -(np.exp(log_p) * log_p).sum(-1)


def calibration(logits: Array, labels: Array, bins: int) -> dict[str, float]:
    log_p = log_softmax(logits)
    p = np.exp(log_p)
    conf, right = p.max(1), p.argmax(1) == labels
    ece = 0.0
    for k in range(bins):
        inside = (conf > k / bins) & (conf <= (k + 1) / bins)
        if inside.any():
            ece += inside.mean() * abs(right[inside].mean() - conf[inside].mean())
    return {
        "accuracy": right.mean(),
        "confidence": conf.mean(),
        "ece": ece,
        "nll": -log_p[np.arange(len(p)), labels].mean(),
        "brier": ((p - np.eye(p.shape[1])[labels]) ** 2).sum(1).mean(),
    }


def curves(stored: dict[str, Array], temperature: float) -> dict[str, Array]:
    """NL, H, D and I_lin, each pair in both orders."""
    lam = stored["lam"][None, :, None]
    i, j, log_mixed = (log_softmax(stored[k] / temperature) for k in ("pair_i", "pair_j", "pair_mixed"))
    nl, h, info = [], [], []
    for first, second, mixed in ((i, j, log_mixed), (j, i, log_mixed[:, ::-1])):
        linear = np.log(lam * np.exp(first)[:, None] + (1 - lam) * np.exp(second)[:, None])
        nl.append(kl(linear, mixed))
        h.append(entropy(mixed))
        info.append(entropy(linear) - nl[-1])
    nl, h, info = (np.concatenate(v).mean(0) for v in (nl, h, info))
    return {"nonlinearity": nl, "entropy": h, "dominance": nl / h, "linearity_information": info}


def stored_predictions(folder: Path, model: dict[str, Any]) -> dict[str, Array]:
    (file,) = (folder / "runs" / model["run"]).glob("predictions-*.safetensors")
    stored = load_file(file)
    return {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in stored.items()}


def close(value: Any, expected: Any) -> None:
    np.testing.assert_allclose(value, expected, rtol=2e-6, atol=1e-8)  # answers are divided by T in float32


@pytest.mark.parametrize("which", range(4))
def test_figures_come_from_the_stored_predictions(finished: Path, results: dict[str, Any], which: int):
    model = models(results)[which]
    stored = stored_predictions(finished, model)
    assert stored["pair_mixed"].shape == (PAIRS, POINTS, len(CLASSES))
    assert len(stored["test"]) == 60
    for temperature, end in ((1.0, ""), (model["fitted_temperature"], "_after_temperature_scaling")):
        for key, expected in calibration(stored["test"] / temperature, stored["test_labels"], BINS).items():
            if key != "accuracy" or not end:
                close(model[key + end], expected)
        for key, expected in curves(stored, temperature).items():
            close(model["vicinity" + end][key], expected)


@pytest.mark.parametrize("which", range(3))
def test_comparisons_come_from_the_stored_predictions(finished: Path, results: dict[str, Any], which: int):
    student = results["students"][which]
    s, t = stored_predictions(finished, student), stored_predictions(finished, results["teachers"][0])
    against = student["versus_teacher"]["one"]
    close(against["linearity_gain"], curves(t, 1)["nonlinearity"] - curves(s, 1)["nonlinearity"])
    clean = [np.concatenate([x["pair_i"], x["pair_j"]]) for x in (t, s)]
    kl_real = kl(log_softmax(clean[0]), log_softmax(clean[1])).mean()
    by_lam = kl(log_softmax(t["pair_mixed"]), log_softmax(s["pair_mixed"])).mean(0)
    kl_mixed = ((by_lam[1:] + by_lam[:-1]) / 2 * np.diff(s["lam"])).sum()
    close(against["alignment"]["kl_real"], kl_real)
    close(against["alignment"]["kl_mixed"], kl_mixed)
    close(against["alignment"]["independent_response"], kl_mixed - kl_real)
    if student["teacher"] is not None:
        assert student["alignment"] == against["alignment"]
        assert student["linearity_gain"] == against["linearity_gain"]


def test_all_networks_answer_the_same_images(finished: Path, results: dict[str, Any]):
    labels = [stored_predictions(finished, m) for m in models(results)]
    for stored in labels:
        np.testing.assert_array_equal(stored["test_labels"], labels[0]["test_labels"])
        np.testing.assert_array_equal(stored["pair_mixed"][:, 0], stored["pair_j"])
        np.testing.assert_array_equal(stored["pair_mixed"][:, -1], stored["pair_i"])


def best_temperature(logits: Array, labels: Array) -> float:
    grid = np.exp(np.linspace(np.log(1e-3), np.log(1e3), 2001))
    return grid[np.argmin([calibration(logits / t, labels, 1)["nll"] for t in grid])]


def test_the_temperature_is_fitted_on_validation_images_and_not_on_test(finished: Path, results: dict[str, Any]):
    ratios = []
    for model in models(results):
        stored = stored_predictions(finished, model)
        assert len(stored["validation"]) == 18
        fitted = best_temperature(stored["validation"], stored["validation_labels"])
        assert model["fitted_temperature"] == pytest.approx(fitted, rel=8e-3)
        ratios.append(best_temperature(stored["test"], stored["test_labels"]) / fitted)
    assert any(abs(np.log(r)) > 0.02 for r in ratios)  # the test images would have given another


# --- nothing twice ----------------------------------------------------------------------------------------------------


def test_what_is_done_is_left_alone_and_results_come_back(finished: Path, tiny, study_file, tmp_path: Path, vicinal):
    out = copied(finished, tmp_path)
    before, weights = read(out), stamps(out, "runs/*/*")
    (out / "results.json").unlink()
    answer = vicinal("run", study_file(tiny), "--out", out)
    assert answer.code == 0
    assert "4 of 4 runs are done already" in answer.err
    assert "starts" not in answer.err
    assert stamps(out, "runs/*/*") == weights
    after = read(out)
    for changing in ("created", "wall_time_s", "command", "sha256"):
        before.pop(changing), after.pop(changing)
    for model in (*before["teachers"], *before["students"], *after["teachers"], *after["students"]):
        assert model.pop("predicted_per_second") > 0  # taken anew with every command
    assert after == before


def test_a_changed_student_trains_students_alone(finished: Path, tiny, study_file, tmp_path: Path, vicinal):
    out = copied(finished, tmp_path)
    before = stamps(out, "runs/*/*")
    answer = vicinal("run", study_file(tiny, {"student.epochs": 1}), "--out", out)
    assert answer.code == 0
    assert "1 of 4 runs are done already" in answer.err
    after = stamps(out, "runs/*/*")
    assert {name: after.get(name) for name in before} == before  # the first students are kept too
    assert len(list((out / "runs").iterdir())) == 4 + 3
    assert read(out)["students"][0]["epochs"] == 1


def test_a_changed_measure_trains_nothing(finished: Path, tiny, study_file, tmp_path: Path, vicinal):
    out = copied(finished, tmp_path)
    before = stamps(out, "runs/*/weights.safetensors")
    answer = vicinal("run", study_file(tiny, {"measures.ece_bins": 3}), "--out", out)
    assert answer.code == 0
    assert "starts" not in answer.err
    assert "predicted" not in answer.err
    model = read(out)["teachers"][0]
    close(model["ece"], calibration(*_test_of(out, model), 3)["ece"])
    answer = vicinal("run", study_file(tiny, {"measures.vicinity.lam_points": 3}), "--out", out)
    assert answer.code == 0
    assert "starts" not in answer.err
    assert "predicted" in answer.err
    assert read(out)["teachers"][0]["vicinity"]["lam"] == [0, 0.5, 1]
    assert stamps(out, "runs/*/weights.safetensors") == before


def _test_of(folder: Path, model: dict[str, Any]) -> tuple[Array, Array]:
    file = next((folder / "runs" / model["run"]).glob("predictions-*.safetensors"))
    stored = load_file(file)
    return stored["test"].astype(np.float64), stored["test_labels"]


def test_lost_weights_of_a_teacher_are_made_again_bit_for_bit(
    small: Path, smallest, study_file, tmp_path: Path, vicinal
):
    out = copied(small, tmp_path)
    (weights,) = out.glob("runs/teacher-*/weights.safetensors")
    before = weights.read_bytes()
    weights.unlink()
    assert vicinal("run", study_file(smallest), "--out", out).code == 0
    assert weights.read_bytes() == before


# --- seeds and arms, as planned (nothing is trained) ------------------------------------------------------------------


def planned(values: dict[str, Any], tmp_path: Path) -> Any:
    from vicinal.study import Study

    return Study(StudySpec.model_validate(values), tmp_path / "nothing")


def test_arms_that_ask_no_teacher_are_trained_once(tiny: dict[str, Any], tmp_path: Path):
    second = {"model": "vicinal_resnet8", "epochs": 2}
    study = planned(merged(tiny, {"teachers.two": second, "arms": ["baseline", "mixup", "kd"]}), tmp_path)
    told = [(r.label["arm"], r.label["teacher"]) for r in study.plan.unique_runs if r.spec.role == "student"]
    assert told == [("baseline", None), ("mixup", None), ("kd", "one"), ("kd", "two")]
    assert not (tmp_path / "nothing").exists()


def test_each_seed_has_its_teacher_unless_one_serves_all(tiny: dict[str, Any], tmp_path: Path):
    changes = {"seeds": [0, 1, 2], "arms": ["baseline", "kd"]}
    each = planned(merged(tiny, changes), tmp_path).plan.unique_runs
    one = planned(merged(tiny, changes | {"teacher_seed": 1}), tmp_path).plan.unique_runs

    def kinds(runs: Any) -> list[tuple[str, int]]:
        return sorted((r.spec.name, r.spec.seed) for r in runs)

    students = [(name, seed) for name in ("baseline", "kd-T2-one") for seed in (0, 1, 2)]
    assert kinds(each) == sorted([("one", 0), ("one", 1), ("one", 2), *students])
    assert kinds(one) == sorted([("one", 1), *students])
    for run in one:
        if run.teacher is not None:
            assert run.teacher.spec.seed == 1


def test_several_seeds_with_one_teacher(smallest, study_file, tmp_path: Path, vicinal):
    out = tmp_path / "out"
    assert vicinal("run", study_file(smallest, {"seeds": [0, 1], "teacher_seed": 5}), "--out", out).code == 0
    results = read(out)
    assert [t["seed"] for t in results["teachers"]] == [5]
    assert [s["seed"] for s in results["students"]] == [0, 1]
    assert results["students"][0]["nll"] != results["students"][1]["nll"]


# --- selection --------------------------------------------------------------------------------------------------------


def test_the_papers_selection_says_so_everywhere(smallest, study_file, tmp_path: Path, vicinal):
    out = tmp_path / "out"
    file = study_file(smallest, {"selection": "paper_best_test", "student.epochs": 3})
    assert vicinal("run", file, "--out", out).code == 0
    results = read(out)
    assert results["selection"] == "paper_best_test"
    student = results["students"][0]
    log = [json.loads(line) for line in (out / "runs" / student["run"] / "log.jsonl").read_text().splitlines()]
    watched = {entry["epoch"]: entry["selection_accuracy"] for entry in log}
    assert watched[student["selected_epoch"]] == max(watched.values())
    assert student["accuracy"] == pytest.approx(max(watched.values()))  # on the test images: that is the protocol
    assert SELECTION_SENTENCES["paper_best_test"] in (out / "tables" / "summary.md").read_text()
    assert "best TEST accuracy" in (out / "report.html").read_text()
    for table in (out / "tables").glob("*.csv"):
        rows = table.read_text().splitlines()
        assert all("paper_best_test" in row for row in rows[1:]), table.name


def test_a_repeated_stream_is_named(smallest, study_file, tmp_path: Path, vicinal):
    path = study_file(smallest, {"student.epochs": 2, "student.repeat_inputs_after_epochs": 1})
    assert vicinal("run", path, "--out", tmp_path / "s").code == 0
    (note,) = read(tmp_path / "s")["notes"]
    assert note.startswith("student: the input stream repeats after 1 of 2 epochs")
    assert note in (tmp_path / "s" / "report.html").read_text(encoding="utf-8")


def test_the_pairs_that_a_precision_needs(small: Path, smallest, study_file, tmp_path: Path, vicinal):
    out = copied(small, tmp_path)
    vicinity = {"measures.vicinity.pairs": 30, "measures.vicinity.precision_nats": 10.0}
    rough = study_file(smallest, vicinity)
    plan = vicinal("plan", rough, "--out", out).out
    assert "at most 30 pairs" in plan
    assert vicinal("run", rough, "--out", out).code == 0
    results = read(out)
    assert results["measures"]["pairs"] == 2
    assert "needs 2 pairs" in results["notes"][0]
    assert "allowed" not in results["notes"][0]
    assert "at most" not in vicinal("plan", rough, "--out", out).out
    for model in models(results):
        files = (out / "runs" / model["run"]).glob("predictions-*")
        assert sorted(len(load_file(file)["pair_i"]) for file in files) == [2, PAIRS]  # beside the earlier ones
    # A study that states this number asks the same pairs, so nothing is predicted again.
    before = stamps(out, "runs/*/predictions-*")
    assert vicinal("run", study_file(smallest, {"measures.vicinity.pairs": 2}), "--out", out).code == 0
    assert stamps(out, "runs/*/predictions-*") == before


def test_the_most_pairs_that_a_precision_may_have(small: Path, smallest, study_file, tmp_path: Path, vicinal):
    out = copied(small, tmp_path)
    vicinity = {"measures.vicinity.pairs": 15, "measures.vicinity.precision_nats": 1e-6}
    assert vicinal("run", study_file(smallest, vicinity), "--out", out).code == 0
    results = read(out)
    assert results["measures"]["pairs"] == 15
    assert "more than the 15 allowed: its interval is wider than asked for" in results["notes"][0]


def test_fewer_pairs_than_asked_for_are_said(small: Path, smallest, study_file, tmp_path: Path, vicinal):
    out = copied(small, tmp_path)
    changes = {"measures.vicinity.pairs": 1200, "measures.vicinity.lam_points": 3}
    assert vicinal("run", study_file(smallest, changes), "--out", out).code == 0
    results = read(out)
    assert results["measures"]["pairs"] == 45 * 44 // 2 < 1200 < results["measures"]["held_out_pairs"] * 2
    (note,) = [note for note in results["notes"] if "distinct pairs" in note and "training" in note]
    assert note == "The 45 training images make 990 distinct pairs, fewer than the 1,200 asked for."
    assert note in (out / "report.html").read_text(encoding="utf-8")


def test_best_validation_looks_at_validation_images(smallest, study_file, tmp_path: Path, vicinal):
    out = tmp_path / "out"
    file = study_file(smallest, {"selection": "best_validation", "student.epochs": 3})
    assert vicinal("run", file, "--out", out).code == 0
    student = read(out)["students"][0]
    stored = stored_predictions(out, student)
    accuracy = (stored["validation"].argmax(1) == stored["validation_labels"]).mean()
    log = [json.loads(line) for line in (out / "runs" / student["run"] / "log.jsonl").read_text().splitlines()]
    assert accuracy == pytest.approx(max(entry["selection_accuracy"] for entry in log))
    assert student["selected_epoch"] == next(
        e["epoch"] for e in log if e["selection_accuracy"] == pytest.approx(accuracy)
    )


# --- other shapes of a study ------------------------------------------------------------------------------------------


def test_no_validation_images_no_temperature_scaling(smallest, study_file, tmp_path: Path, vicinal):
    out = tmp_path / "out"
    file = study_file(smallest, {"data.validation": 0})
    assert vicinal("run", file, "--out", out).code == 0
    model = read(out)["students"][0]
    assert model["ece"] is not None
    assert model["ece_after_temperature_scaling"] is None
    assert model["fitted_temperature"] is None
    assert model["vicinity_after_temperature_scaling"] is None


def test_teachers_alone(small: Path, smallest, study_file, tmp_path: Path, vicinal):
    out = copied(small, tmp_path)
    assert vicinal("run", study_file(smallest), "--out", out, "student=null", "arms=[]").code == 0
    results = read(out)
    assert len(results["teachers"]) == 1
    assert results["students"] == []


def test_a_classifier_you_already_have(small: Path, smallest, study_file, tmp_path: Path, vicinal):
    """epochs 0 and head: keep take the weights as they are: the same answers, no training."""
    (weights,) = small.glob("runs/teacher-*/weights.safetensors")
    out = tmp_path / "out"
    changes = {"teachers.one": {"model": "vicinal_resnet8", "weights": str(weights), "head": "keep", "epochs": 0}}
    assert vicinal("run", study_file(smallest, changes), "--out", out).code == 0
    for key in ("accuracy", "nll", "vicinity"):
        assert read(out)["teachers"][0][key] == read(small)["teachers"][0][key]


def test_more_classes_in_the_data_than_in_the_teacher(small: Path, smallest, study_file, tmp_path: Path, vicinal):
    (weights,) = small.glob("runs/teacher-*/weights.safetensors")
    images = write_images(tmp_path / "images", 6, seed=4)
    shutil.copytree(images / "north", images / "west")
    changes = {
        "data.source": str(images),
        "student.train_images": None,
        "teachers.one": {"model": "vicinal_resnet8", "weights": str(weights), "head": "keep", "epochs": 0},
    }
    answer = vicinal("run", study_file(smallest, changes), "--out", tmp_path / "out")
    assert answer.code == 2
    assert answer.last.startswith("vicinal: teachers.one")
    assert "3" in answer.last
    assert "4" in answer.last
    assert "class" in answer.last
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("batch_size", [1, 22, 1000])  # 45 images: 22 leaves one over
def test_any_batch_size(small: Path, smallest, study_file, tmp_path: Path, vicinal, batch_size: int):
    out = copied(small, tmp_path)
    changes = {"student.batch_size": batch_size, "arms": ["kd_mixup"], "student.head": "bottleneck"}
    assert vicinal("run", study_file(smallest, changes), "--out", out).code == 0
    assert np.isfinite(read(out)["students"][0]["nll"])


# --- failures that lose nothing ---------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite(small: Path, smallest, study_file, tmp_path: Path, vicinal):
    out = copied(small, tmp_path)
    kept = stamps(out, "runs/*/*")
    changes = {"student.optimizer": "sgd", "student.lr": 1e3, "student.epochs": 8}
    answer = vicinal("run", study_file(smallest, changes), "--out", out)
    assert answer.code == 1
    assert answer.last.startswith("vicinal: kd-T2-one: the loss became")
    for word in ("step", "learning rate", "try a lower lr"):
        assert word in answer.last
    after = stamps(out, "runs/*/*")
    assert {name: after.get(name) for name in kept} == kept
    assert (out / "results.json").exists()


@pytest.mark.parametrize("role", ["teachers.one", "student"])
def test_weights_that_the_last_step_broke(smallest, study_file, tmp_path: Path, vicinal, role: str, monkeypatch):
    """The loss of the only step is finite and the weights after it are not: that is NaN too, and no finished run."""
    changes = {f"{role}.optimizer": "sgd", f"{role}.lr": 999.0, f"{role}.epochs": 1, f"{role}.batch_size": 1000}
    monkeypatch.setattr(
        "vicinal.training.learner.learning_rate", lambda spec, *_: 1e38 if spec.lr == 999.0 else spec.lr
    )
    answer = vicinal("run", study_file(smallest, changes), "--out", tmp_path / "out")
    assert answer.code == 1
    assert answer.last.startswith("vicinal: ")
    assert "lr" in answer.last


def test_what_a_network_means_lies_beside_its_weights(small: Path, smallest, study_file, tmp_path: Path, vicinal):
    results, out = read(small), copied(small, tmp_path)
    for entry in [*results["teachers"], *results["students"]]:
        folder = small / "runs" / entry["run"]
        said = json.loads((folder / "network.json").read_text())
        assert said["class_names"] == results["data"]["class_names"]
        assert said["fitted_temperature"] == entry["fitted_temperature"]
        assert said["model"] in ("vicinal_resnet8", "vicinal_mobilenet")
        weights = load_file(folder / "weights.safetensors")
        assert (said["mean"], said["std"]) == tuple(weights[name].ravel().tolist() for name in ("mean", "std"))
        assert said["weights_sha256"] == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
        (out / "runs" / entry["run"] / "network.json").write_text("damaged")
    assert vicinal("run", study_file(smallest), "--out", out).code == 0
    for file in out.glob("runs/*/network.json"):
        assert file.read_bytes() == (small / file.relative_to(out)).read_bytes()


def damaged(content: bytes, kind: str) -> bytes:
    return {"half": content[: len(content) // 2], "empty": b"", "object": b"{}", "nonsense": b"nonsense"}[kind]


@pytest.mark.parametrize("kind", ["half", "empty", "object", "nonsense"])
@pytest.mark.parametrize(
    "name", ["done.json", "predictions-*.safetensors", "weights.safetensors", "spec.json", "log.jsonl"]
)
def test_a_damaged_file_of_a_run(small: Path, smallest, study_file, tmp_path: Path, vicinal, name: str, kind: str):
    """Either it is made again, or one line names it and the way out, which is then followed to the end."""
    out, file = copied(small, tmp_path), study_file(smallest)
    (path,) = out.glob(f"runs/teacher-*/{name}")
    path.write_bytes(damaged(path.read_bytes(), kind))
    answer = vicinal("run", file, "--out", out)
    if answer.code == 0:
        return
    assert answer.code in (1, 2)
    assert answer.last.startswith("vicinal: ")
    assert "Traceback" not in answer.err
    assert str(path) in answer.last
    assert "delete" in answer.last
    path.unlink()
    assert vicinal("run", file, "--out", out).code == 0
    assert read(out)["teachers"] == read(small)["teachers"] or name == "done.json"  # which holds the time it took


def test_predictions_of_another_shape(small: Path, smallest, study_file, tmp_path: Path, vicinal):
    out = copied(small, tmp_path)
    (path,) = out.glob("runs/teacher-*/predictions-*")
    save_file({"test": np.zeros((2, 2), np.float32)}, path)
    answer = vicinal("run", study_file(smallest), "--out", out)
    assert answer.code == 0 or (answer.last.startswith("vicinal: ") and str(path) in answer.last)


def test_stored_answers_that_are_not_finite_are_asked_for_again(small: Path, smallest, study_file, tmp_path, vicinal):
    out = copied(small, tmp_path)
    (path,) = out.glob("runs/teacher-*/predictions-*")
    stored = load_file(path)
    stored["test"][0, 0] = np.nan
    save_file(stored, path)
    assert vicinal("run", study_file(smallest), "--out", out).code == 0
    assert np.isfinite(load_file(path)["test"]).all()
    teachers, before = ([dict(each) for each in read(folder)["teachers"]] for folder in (out, small))
    for teacher in (*teachers, *before):
        assert teacher.pop("predicted_per_second") > 0  # taken anew
    assert teachers == before


def test_a_network_trained_again_is_asked_again(small: Path, smallest, study_file, tmp_path: Path, vicinal):
    out = copied(small, tmp_path)
    (path,) = out.glob("runs/teacher-*/predictions-*")
    stored = load_file(path)
    save_file({**stored, "test": stored["test"] + 1}, path)
    (path.parent / "weights.safetensors").unlink()
    assert vicinal("run", study_file(smallest), "--out", out).code == 0
    np.testing.assert_array_equal(load_file(path)["test"], stored["test"])


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


def numbers(out: Path) -> list[dict[str, Any]]:
    """What a study found, without what took time."""
    found = read(out)
    taken = ("training_s", "images_per_second", "predicted_per_second")
    return [{k: v for k, v in m.items() if k not in taken} for m in [*found["teachers"], *found["students"]]]


@pytest.mark.parametrize("also", [{}, {"student.lr": 2e-3}], ids=["the same study", "another student"])
@pytest.mark.parametrize("damage", ["half", "a bit"])
def test_damaged_weights_teach_nobody(small, smallest, study_file, tmp_path: Path, vicinal, damage: str, also):
    """Also where predictions lie beside them: the teacher is trained again, to the same weights, before it is asked."""
    out, file = copied(small, tmp_path), study_file(smallest, also)
    (path,) = out.glob("runs/teacher-*/weights.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == "half" else flipped(whole, len(whole) - 20))
    answer = vicinal("run", file, "--out", out)
    assert answer.code == 0
    assert f"{path} is damaged (its checksum does not fit); the run is trained again" in answer.err
    assert path.read_bytes() == whole
    if not also:
        assert numbers(out) == numbers(small)


DAMAGES = ("half", "empty", "zeroed", "a bit")
DAMAGED = ("done.json", "predictions-*", "spec.json", "log.jsonl")


@pytest.mark.parametrize(
    ("name", "damage"),
    [  # each file in one way here, in all ways among the slow tests
        pytest.param(name, damage, marks=[pytest.mark.slow] * (place != kind))
        for place, name in enumerate(DAMAGED)
        for kind, damage in enumerate(DAMAGES)
    ],
)
def test_damage_in_a_finished_study_is_a_line_and_changes_no_number(
    small: Path, smallest, study_file, tmp_path: Path, vicinal, name: str, damage: str
):
    out, file = copied(small, tmp_path), study_file(smallest)
    (path,) = out.glob(f"runs/student-*/{name}")
    whole = path.read_bytes()
    quarter = len(whole) // 4
    zeroed = whole[:quarter] + bytes(quarter) + whole[2 * quarter :]
    cut = {"half": whole[: len(whole) // 2], "empty": b"", "zeroed": zeroed, "a bit": flipped(whole, 3 * quarter)}
    path.write_bytes(cut[damage])
    answer = vicinal("run", file, "--out", out)
    assert answer.code == 0
    assert [line for line in answer.err.splitlines() if str(path) in line]
    assert numbers(out) == numbers(small)
    assert path.read_bytes() == whole or name == "done.json"
    assert "damaged" not in vicinal("run", file, "--out", out).err


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_report_is_made_of_no_changed_results(small: Path, tmp_path: Path, vicinal, place: float):
    out = copied(small, tmp_path)
    text = (out / "results.json").read_text()
    # Behind a point and not too far: the seventeenth digit of a number may change nothing.
    at = text.index(".", int(place * len(text))) + 1
    at = next(k for k in range(at, len(text)) if text[k - 1] == "." and text[k] in "12345678")
    (out / "results.json").write_text(text[:at] + str(int(text[at]) + 1) + text[at + 1 :])
    answer = vicinal("report", out)
    assert answer.code == 2
    assert "results.json is not what was written (its checksum does not fit)" in answer.last


def test_a_failure_while_measuring_keeps_what_is_trained(smallest, study_file, tmp_path: Path, vicinal, monkeypatch):
    from vicinal.errors import VicinalError
    from vicinal.evaluation import Predictions

    out, file = tmp_path / "out", study_file(smallest)

    def full(self: Predictions, path: Path, weights: str) -> None:
        raise VicinalError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Predictions, "save", full)
        assert vicinal("run", file, "--out", out).code == 1
    weights = stamps(out, "runs/*/weights.safetensors")
    assert len(weights) == 1
    answer = vicinal("run", file, "--out", out)
    assert answer.code == 0
    assert "1 of 2 runs are done already" in answer.err
    assert weights.items() <= stamps(out, "runs/*/weights.safetensors").items()


# --- the paper's scale, small -----------------------------------------------------------------------------------------


def imagenet_shaped(root: Path) -> Path:
    """train/ and val/ with a folder of colour JPEGs of different sizes for each class."""
    generator = np.random.default_rng(5)
    for split, count in (("train", 12), ("val", 6)):
        for label, wnid in enumerate(("n01440764", "n02102040", "n03000684")):
            (root / split / wnid).mkdir(parents=True)
            for n in range(count):
                width, height = generator.integers(40, 70, 2)
                pixels = generator.integers(0, 120, (height, width, 3))
                pixels[..., label] += 100
                Image.fromarray(pixels.astype(np.uint8)).save(root / split / wnid / f"{n}.JPEG")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["sound", "paper"])
def test_the_imagenet_study_from_a_folder_end_to_end(tmp_path: Path, vicinal, protocol: str):
    teachers = ["convnext_large", "vit_base_patch16", "resnet152", "convnext_tiny"]
    small = [f"teachers.{name}={{model: vicinal_resnet8, epochs: 1, batch_size: 16}}" for name in teachers]
    if protocol == "sound":
        small.append("teachers.convnext_tiny.logit_scale=[0.5, 1, 2]")
    answer = vicinal(
        "run",
        f"imagenet-{protocol}",
        "--out",
        tmp_path / "out",
        f"data.source={imagenet_shaped(tmp_path / 'imagenet')}",
        "data.image_size=32",
        "data.validation=0.25",
        *small,
        "student.model=vicinal_mobilenet",
        "student.weights=null",
        "student.augment.resize=36",
        "student.epochs=2",
        "student.head_warmup_epochs=1",
        "student.batch_size=16",
        "measures.vicinity.pairs=6",
        "measures.vicinity.lam_points=3",
        "measures.bootstrap_resamples=100",
        "measures.corruptions={images: 9, names: [fog, pixelate]}",
        "measures.representation={images_per_class: 4}",
        "runtime.device=cpu",
    )
    assert answer.code == 0, answer.err
    results = read(tmp_path / "out")
    assert len(results["teachers"]) == (6 if protocol == "sound" else 4)  # one at three scales of its logits
    arms = {"baseline", "mixup", "kd", "kd_mixup"}
    assert {s["arm"] for s in results["students"]} == (
        arms if protocol == "paper" else arms | {"label_smoothing", "linear_target"}
    )
    assert all(s["objective"]["alpha"] == 0.2 for s in results["students"] if s["teacher"])
    assert results["selection_images"] == ("test" if protocol == "paper" else "validation")
    assert all(len(model["history"]["selection_accuracy"]) == model["epochs"] for model in models(results))
