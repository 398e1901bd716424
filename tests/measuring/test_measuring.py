"""Classifiers measured as they are: the study's own numbers, every image, classes by name, halves, pages, and users' mistakes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tiny_studies import CLASSES, merged, write_images
from vicinal import api
from vicinal.config import MeasuresSpec, StudySpec
from vicinal.errors import UsageError
from vicinal.evaluation import ImagesMeasured
from vicinal.functional import fit_temperature
from vicinal.measuring import MeasuringOptions, confusion_matrix, measure_named
from vicinal.measuring.measure import ImagePredictions
from vicinal.networks import Classifier
from vicinal.results import read_measurement_results

FAST = MeasuresSpec(bootstrap_resamples=100)


def thirds(scale: float, order: tuple[int, ...] = (0, 1, 2)) -> Any:
    """A network that sees which third of an image is brightest."""

    def network(pixels: torch.Tensor) -> torch.Tensor:
        columns = pixels.mean((1, 2)).unflatten(-1, (3, -1)).mean(-1)
        return scale * columns[:, list(order)]

    return network


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), 25, seed=5)


@pytest.fixture(scope="module")
def study(smallest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Any]:
    root = tmp_path_factory.mktemp("split")
    for split, count, seed in (("train", 12, 1), ("val", 12, 2), ("test", 20, 3)):
        write_images(root / split, count, seed=seed)
    out = tmp_path_factory.mktemp("study") / "out"
    spec = StudySpec.model_validate(merged(smallest, {"data.source": str(root), "student.train_images": 30}))
    return root, out, api.run(spec, out)


def test_a_studys_teacher_has_the_numbers_that_the_study_gave_it(study):
    root, out, results = study
    teacher = results.teachers[0]
    found = api.measure(str(out / "runs" / teacher.run), root, pairs=0, measures=FAST).numbers
    stated = teacher.model_dump(mode="json")
    for key in ("accuracy", "ece", "nll", "brier", "confidence", "accuracy_balanced", "fitted_temperature"):
        assert found[key] == pytest.approx(stated[key], abs=1e-12), key
    for key in ("ece", "nll", "brier"):
        assert found[f"{key}_after_temperature_scaling"] == pytest.approx(
            stated[f"{key}_after_temperature_scaling"], abs=1e-12
        )
    assert found["intervals"]["nll"] == pytest.approx(stated["intervals"]["nll"], abs=1e-12)
    assert found["class_names"] == list(CLASSES)


def test_the_command_writes_a_page_json_and_tables_of_every_image(study, tmp_path, vicinal):
    root, out, results = study
    run = tmp_path / "mine"
    shutil.copytree(out / "runs" / results.teachers[0].run, run)
    answer = vicinal("measure", run, root / "test", "--pairs", 10, "--out", tmp_path / "m", "--device", "cpu")
    assert answer.code == 0, answer.err
    assert "Accuracy" in answer.out
    assert "is right about" in answer.out
    page = (tmp_path / "m" / "measurement.html").read_text()
    value = read_measurement_results(tmp_path / "m")
    assert (value.data.images, value.measures.pairs, value.measures.calibrated_on) == (60, 10, "halves")
    rows = list(csv.DictReader((tmp_path / "m" / "tables" / "answers.csv").open()))
    assert sorted(row["path"] for row in rows) == sorted(f"{c}/{n:03}.png" for c in CLASSES for n in range(20))
    assert sum(row["right"] == "True" for row in rows) / 60 == pytest.approx(value.models[0].accuracy)
    assert "data:image/png;base64" in page
    for word in ("student", "epoch", "training image", "teacher"):
        assert word not in page.split("</style>")[1].lower(), word
    mistake = value.models[0].confident_mistakes[0]
    assert (mistake.path or "") in page
    assert mistake.answer != mistake.true_class
    confused = sum(c.images for c in value.models[0].confusions)
    assert confused == sum(row["right"] == "False" for row in rows)


def test_classes_are_matched_by_name_and_further_ones_can_be_left_out(photos):
    plain = measure_named([thirds(9)], photos, MeasuringOptions(pairs=0, measures=FAST)).numbers
    turned = Classifier.of(thirds(9, (2, 0, 1)), class_names=("south", "east", "north"))
    assert measure_named([turned], photos, MeasuringOptions(pairs=0, measures=FAST)).numbers["nll"] == plain["nll"]
    wide = Classifier.of(lambda x: torch.cat([thirds(9)(x) + 1, thirds(9)(x)[:, :1]], 1), class_names=(*CLASSES, "up"))
    kept = measure_named([wide], photos, MeasuringOptions(pairs=0, measures=FAST)).numbers
    cut = measure_named([wide], photos, MeasuringOptions(pairs=0, measures=FAST, classes="data")).numbers
    assert len(kept["recall_by_class"]) == 4
    assert cut["nll"] == pytest.approx(plain["nll"], abs=1e-6)
    assert kept["nll"] > cut["nll"]
    with pytest.raises(UsageError, match="it lacks south"):
        measure_named([Classifier.of(thirds(9), class_names=("east", "north", "west"))], photos, MeasuringOptions())


def test_halves_are_scaled_by_each_others_temperature():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 4
    logits = 3 * torch.randn(80, 4, generator=generator) + 3 * torch.nn.functional.one_hot(labels, 4)
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    measured = ImagesMeasured(ImagePredictions(none[0], logits, none[1], labels), FAST, cross_fit=True)
    second = torch.arange(80) // 4 % 2 == 1
    own = torch.where(
        second, fit_temperature(logits[~second], labels[~second]), fit_temperature(logits[second], labels[second])
    )
    by_hand = torch.nn.functional.cross_entropy(logits.double() / own[:, None].double(), labels)
    assert measured.image_numbers(False)["nll_after_temperature_scaling"] == pytest.approx(float(by_hand), abs=1e-6)
    assert measured.temperature == pytest.approx(float(fit_temperature(logits, labels)), rel=1e-4)
    assert ImagesMeasured(ImagePredictions(none[0], logits, none[1], labels), FAST).temperature is None


def test_two_of_the_same_answers_differ_in_confidence_alone(photos, tmp_path):
    both = api.compare(
        [thirds(4), thirds(40), thirds(40, (0, 2, 1))], photos, out=tmp_path / "c", pairs=8, measures=FAST
    )
    first, other = both.results.comparisons[0], both.results.comparisons[1]
    assert (first.same_answers, first.mcnemar.p_value, first.differences["accuracy"].sign) == (1, 1, 0)
    assert first.differences["confidence"].sign == -1
    assert other.differences["accuracy"].sign == 1
    assert other.differences["accuracy"].value == pytest.approx(
        100 * (both.results.models[0].accuracy - both.results.models[2].accuracy)
    )
    page = (tmp_path / "c" / "measurement.html").read_text()
    assert "classifier #1 less classifier #2" in page
    assert (tmp_path / "c" / "tables" / "differences.csv").exists()


def test_confusions_are_counted():
    logits = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    assert confusion_matrix(logits, torch.tensor([0, 0, 1, 2])).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_answers_that_are_probabilities_become_their_logarithms(photos):
    def unsure(pixels: torch.Tensor) -> torch.Tensor:
        return thirds(9)(pixels) + 4 * pixels[:, 0, :3, 5]

    options = MeasuringOptions(pairs=8, measures=FAST)
    plain = measure_named([unsure], photos, options).numbers
    found = measure_named([lambda x: unsure(x).softmax(-1)], photos, options)
    assert 0.5 < plain["accuracy"] < 1
    assert "their logarithms" in found.results.models[0].notes[0]
    assert found.numbers["fitted_temperature"] == pytest.approx(plain["fitted_temperature"], rel=1e-3)
    for key in ("accuracy", "nll", "ece", "nll_after_temperature_scaling"):
        assert found.numbers[key] == pytest.approx(plain[key], abs=1e-5), key
    assert found.numbers["vicinity"]["entropy"] == pytest.approx(plain["vicinity"]["entropy"], abs=1e-5)
    hard = measure_named([lambda x: torch.eye(3)[unsure(x).argmax(-1)]], photos, options).numbers
    assert hard["accuracy"] == plain["accuracy"]


def test_mistakes_of_users_are_one_line(photos, study, tmp_path, vicinal):
    run = study[1] / "runs" / study[2].teachers[0].run
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    broken = write_images(tmp_path / "broken", 2, seed=1)
    whole = (broken / "east" / "000.png").read_bytes()
    (broken / "east" / "000.png").write_bytes(whole[: len(whole) // 2])
    for arguments, words in (
        ([run, photos, "--out", tmp_path / "full"], "holds something else"),
        ([run, photos, "--pairs", 1], "--pairs"),
        ([run, tmp_path / "nowhere"], "nowhere"),
        ([tmp_path / "none.pth", photos], "none.pth"),
        ([run, photos, "--device", "tpu"], "--device tpu"),
        ([run, photos, "--class-names", tmp_path / "no.txt"], "--class-names"),
        ([run, photos, "--batch-size", 0], "--batch-size"),
        ([run, broken], "000.png"),
        ([run, broken], "go on without it by --on-error skip"),
    ):
        answer = vicinal("measure", *arguments, *([] if "--out" in arguments else ["--out", tmp_path / "out"]))
        assert answer.code == 2, (words, answer.err)
        assert words in answer.last
    assert vicinal("compare", run, photos).code == 2
    skipped = vicinal(
        "measure", run, broken, "--on-error", "skip", "--pairs", 0, "--out", tmp_path / "s", "--device", "cpu"
    )
    assert skipped.code == 0, skipped.err
    assert json.loads((tmp_path / "s" / "measurement.json").read_text())["data"]["images"] == 5


def test_a_single_class_and_coloured_images_are_measured(study, tmp_path):
    run = study[1] / "runs" / study[2].teachers[0].run
    (tmp_path / "north").mkdir()
    for k in range(3):
        Image.new("RGB", (12, 12), (40 * k, 90, 20)).save(tmp_path / "north" / f"{k}.jpg")
    found = api.measure(str(run), tmp_path, pairs=0, measures=FAST, out=tmp_path.parent / f"{tmp_path.name}-out")
    assert found.results.data.images == 3
    assert found.numbers["recall_by_class"][1:] in ([None, None], [found.numbers["accuracy"], None])
