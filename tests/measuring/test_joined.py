"""`vicinal compare STUDY STUDY`: what differs before, what it changed, by the one comparator; and users' mistakes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny_studies import merged, write_images
from vicinal import api
from vicinal.claims import Number, compare, infer
from vicinal.config import StudySpec
from vicinal.errors import UsageError
from vicinal.measuring.joined.differences import _gaps
from vicinal.measuring.joined.match import lines_of
from vicinal.measuring.joined.settings import setting_differences
from vicinal.measuring.joined.studies import SameImages
from vicinal.report import load_results
from vicinal.results import JOINED_FILE, read_joined_results
from vicinal.workspace import sealed_mapping


@pytest.fixture(scope="module")
def spec(smallest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Noisy enough that no network is always right, and learned well enough that each has a temperature."""
    root = tmp_path_factory.mktemp("noisy")
    for split, count, seed in (("train", 30, 1), ("test", 20, 2)):
        write_images(root / split, count, seed=seed, noise=220)
    changes = {"data.source": str(root), "arms": ["baseline", "kd"], "seeds": [0, 1], "measures.vicinity.lam_points": 3}
    return merged(
        smallest, changes | {"teachers.one.epochs": 4, "student.model": "vicinal_resnet8", "student.epochs": 4}
    )


@pytest.fixture(scope="module")
def studies(spec: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A study, one with six epochs of its student in place of four, and a copy of the first."""
    root = tmp_path_factory.mktemp("joined")
    api.run(StudySpec.model_validate(spec), root / "short")
    for name in ("copy", "long"):
        shutil.copytree(root / "short", root / name)
    api.run(StudySpec.model_validate(merged(spec, {"student.epochs": 6, "title": "Other"})), root / "long")
    return root / "short", root / "long", root / "copy"


def changed(folder: Path, to: Path, change: Any) -> Path:
    """A study folder whose results say something else."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("runs", "tables", "figures", "paper"))
    raw = json.loads((to / "results.json").read_text())
    raw.pop("sha256")
    change(raw)
    (to / "results.json").write_text(json.dumps(sealed_mapping(raw)))
    return to


def test_one_setting_is_said_to_differ_and_every_difference_is_that_of_the_studies_own_figures(
    studies, vicinal, tmp_path
):
    answer = vicinal("compare", *studies[:2], "--out", tmp_path / "j")
    assert answer.code == 0, answer.err
    assert "One setting differs: student.epochs (4 → 6)" in answer.out
    found = read_joined_results(tmp_path / "j")
    assert [line.key for line in found.settings] == ["student.epochs"]
    assert (found.images.known_by, found.comparisons[0].pairs) == ("content", "training")
    assert found.comparisons[0].notes == []
    assert [network.name for network in found.networks] == ["Teacher one", "Baseline", "KD (one)"]
    results = [load_results(folder) for folder in studies[:2]]
    for row in (0, 1):
        means = [np.mean(own.students[row].values("accuracy")) for own in results]
        differences = found.comparisons[0].networks[1 + row].differences
        assert differences["accuracy"].value == pytest.approx(100 * (means[1] - means[0]))
        low, high = differences["accuracy"].interval
        assert low < differences["accuracy"].value < high
        assert differences["accuracy"].seeds == 2
        assert "nonlinearity_at_half" in differences
        assert found.networks[1 + row].entries[1].figures["accuracy"].value == pytest.approx(means[1])
    mean = found.comparisons[0].mean["nll"].value
    assert mean == pytest.approx(np.mean([n.differences["nll"].value for n in found.comparisons[0].networks[1:]]))
    rows = list(csv.DictReader((tmp_path / "j" / "tables" / "differences.csv").open()))
    assert {row["network"] for row in rows} == {"Teacher one", "Baseline", "KD (one)", "mean of students"}
    page = (tmp_path / "j" / "joined.html").read_text()
    assert "long less short" in page
    assert "student.epochs" in page
    assert vicinal("compare", *studies[:2], "--out", tmp_path / "j").code == 0


def test_a_study_beside_its_copy_differs_in_nothing_and_order_turns_signs(studies):
    short, long, copy = studies
    same = api.join([short, copy, long]).comparisons
    for network in same[0].networks:
        assert len(network.differences) > 8
        for key, one in network.differences.items():
            assert (one.value, one.sign) == (0, 0), key
            assert one.interval[0] <= 0 <= one.interval[1], key
    assert same[0].clear == []
    turned = api.join([long, short]).comparisons[0]
    for there, back in zip(same[1].networks, turned.networks, strict=True):
        assert there.differences.keys() == back.differences.keys()
        for key, one in there.differences.items():
            other = back.differences[key]
            assert one.value == pytest.approx(-other.value, abs=1e-12), key
            assert one.sign == -other.sign, key
            assert one.interval == pytest.approx([-end for end in reversed(other.interval)], abs=1e-9), key


def test_images_are_paired_so_that_what_is_hard_for_both_counts_for_neither(studies, tmp_path):
    short, long, _ = studies
    paired = api.join([short, long]).comparisons[0].networks[0].differences["nll"]
    assert (paired.value, paired.interval) == (0, [0, 0])  # the same teacher
    bare = changed(long, tmp_path / "bare", lambda raw: None)
    (bare / "resamples.npz").unlink()
    alone = api.join([short, bare]).comparisons[0]
    low, high = alone.networks[0].differences["nll"].interval
    assert low < 0 < high
    assert any("No resamples lie beside" in note for note in alone.notes)


def test_seeds_are_paired_by_number_and_else_by_order(studies, tmp_path):
    def later(raw: dict[str, Any]) -> None:
        for model in raw["students"]:
            model["seed"] += 5

    def one(raw: dict[str, Any]) -> None:
        raw["students"] = [model for model in raw["students"] if model["seed"] == 1]
        raw["measures"].pop("resamples_sha256")

    def without(raw: dict[str, Any]) -> None:
        raw["students"][0]["accuracy_balanced"] = None

    short, long, _ = studies
    by_order = api.join([short, changed(long, tmp_path / "later", later)]).comparisons[0]
    by_number = api.join([short, long]).comparisons[0]
    assert "none in common" in by_order.notes[0]
    accuracy = [own.networks[1].differences["accuracy"] for own in (by_order, by_number)]
    assert accuracy[0] == accuracy[1]
    lone = api.join([short, changed(long, tmp_path / "one", one)]).comparisons[0]
    assert any("differences are over 1, which both have" in note for note in lone.notes)
    assert lone.networks[1].differences["accuracy"].of_networks
    # A figure that one seed lacks is compared over the others, which is said.
    part = api.join([short, changed(long, tmp_path / "part", without)]).comparisons[0]
    counted = part.networks[1].differences
    assert (counted["nll"].seeds, counted["accuracy_balanced"].seeds) == (2, 1)
    assert "not there in every seed" in part.notes[-1]
    shorts = load_results(short).students[0].by_seed("accuracy")
    longs = load_results(long).students[0].by_seed("accuracy")
    assert lone.networks[1].differences["accuracy"].value == pytest.approx(100 * (longs[1] - shorts[1]))


def test_intervals_hold_what_a_setting_truly_changes():
    """Seeds move all arms of a study together, and other studies in another way: pooled differences allow for it."""
    generator = np.random.default_rng(0)
    same = SameImages("content", True, True, None)
    held = {"pooled": 0, "by itself": 0}
    trials, arms, seeds = 400, 5, 3
    in_step = {n: [(seed, seed) for seed in range(seeds)] for n in range(arms)}
    half_widths = {"pooled": 0.0, "by itself": 0.0}
    for _ in range(trials):
        of_seed = generator.normal(0, 0.5, (2, 1, seeds))
        values = generator.normal(0, 1, (1, arms, 1)) + of_seed + generator.normal(0, 0.5, (2, arms, seeds))
        numbers = {
            n: tuple(
                Number(float(own[n].mean()), dict(enumerate(own[n])), deviations=np.zeros((seeds, 5)), of_arm=True)
                for own in values
            )
            for n in range(arms)
        }
        pooled = _gaps(numbers, in_step, set(in_step), "accuracy", same)[0]
        for name, gap in (("pooled", pooled), ("by itself", compare(*numbers[0]).difference)):
            low, high = infer(gap).interval
            held[name] += low <= 0 <= high
            half_widths[name] += high - low
    assert all(0.92 <= count / trials <= 0.985 for count in held.values()), held
    assert half_widths["pooled"] < 0.9 * half_widths["by itself"]


def test_networks_are_matched_by_arm_and_where_one_is_left_by_what_else_they_share(studies, tmp_path):
    def warmer(raw: dict[str, Any]) -> None:
        for model in raw["students"]:
            if model["arm"] == "kd":
                model["temperature"] = 4.0

    def renamed(raw: dict[str, Any]) -> None:
        raw["teachers"] = [model | {"name": "big"} for model in raw["teachers"]]
        for model in raw["students"]:
            model["teacher"] = model["teacher"] and "big"
            model["arm"] = {"baseline": "baseline", "kd": "mine"}[model["arm"]]
            model["versus_teacher"] = {"big": own for own in (model["versus_teacher"] or {}).values()}  # noqa: B035

    short = load_results(studies[0])
    named = [line.name for line in lines_of([short, load_results(changed(studies[0], tmp_path / "w", warmer))])]
    assert named == ["Teacher one", "Baseline", "KD (one)"]
    lines = lines_of([short, load_results(changed(studies[0], tmp_path / "r", renamed))])
    assert [(line.name, sum(row is not None for row in line.rows)) for line in lines] == [
        ("Teacher one / big", 2),
        ("Baseline", 2),
        ("KD (one)", 1),
        ("mine (big)", 1),
    ]


def test_settings_are_compared_by_name_and_value(spec):
    other = merged(spec, {"arms": [{"name": "kd", "temperature": 4}, "mixup", "baseline"], "title": "Another"})
    found = {line["key"]: line["values"] for line in setting_differences([spec, spec, other])}
    assert found.keys() == {"arms.kd.temperature", "arms.mixup"}
    assert found["arms.mixup"][:2] == [None, None]
    assert found["arms.kd.temperature"][2] == "[4.0]"


def test_what_cannot_be_compared_is_one_line(studies, image_folder, vicinal, tmp_path):
    short, long, _ = studies
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.pth").write_bytes(b"")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(short / "study.json", unfinished)
    damaged = changed(long, tmp_path / "damaged", lambda raw: None)
    (damaged / "results.json").write_text(
        (damaged / "results.json").read_text().replace('"accuracy": 0.', '"accuracy": 0.1')
    )
    older = changed(long, tmp_path / "older", lambda raw: raw.update(schema=1))
    classes = changed(long, tmp_path / "classes", lambda raw: raw["data"].update(class_names=["east", "north", "up"]))
    fewer = changed(long, tmp_path / "fewer", lambda raw: raw["data"].update(test_hash="1", content_hash="1"))
    lines = (fewer / "images.csv").read_text().splitlines(keepends=True)
    (fewer / "images.csv").write_text("".join(line for line in lines if not line.startswith("test,0,")))
    others = changed(long, tmp_path / "others", lambda raw: raw["data"].update(test_hash="1", content_hash="1"))
    for arguments, words in (
        ([short], "two study folders or more"),
        ([short, tmp_path / "nowhere"], "there is no folder"),
        ([short, tmp_path / "weights.pth"], "no study folder"),
        ([short, tmp_path / "empty"], "has no results.json"),
        ([short, unfinished], "has not finished"),
        ([short, short / "runs" / ".."], "is the same folder"),
        ([short, damaged], "checksum does not fit"),
        ([short, older], "schema 1"),
        ([short, classes], "alone has south"),
        ([short, fewer], "1 of the 60 of the first are not in the second"),
        ([short, others], "other pixels"),
        ([short, long, image_folder], "has no results.json"),
        ([short, long, "--pairs", 5], "--pairs goes with"),
        ([short, long, "--out", short], "holds something else than joined studies"),
    ):
        answer = vicinal("compare", *arguments, *([] if "--out" in arguments else ["--out", tmp_path / "out"]))
        assert answer.code == 2, (words, answer.out, answer.err)
        assert words in answer.last, answer.last
    assert not (tmp_path / "out").exists()


def test_images_kept_in_another_form_are_known_by_their_places(studies, tmp_path):
    def stored_smaller(raw: dict[str, Any]) -> None:
        raw["data"].update(test_hash="1", content_hash="1", image_shape=[8, 8, 1], stored_side=8)
        raw["measures"].update(pair_images_hash="1")

    found = api.join([studies[0], changed(studies[1], tmp_path / "smaller", stored_smaller)])
    assert (found.images.known_by, found.comparisons[0].pairs) == ("place", "training")
    assert "by their places" in found.comparisons[0].notes[0]


def test_a_damaged_joined_file_is_told(studies, tmp_path):
    api.join(studies[:2], out=tmp_path / "j")
    path = tmp_path / "j" / JOINED_FILE
    path.write_text(path.read_text().replace("student.epochs", "student.lr"))
    with pytest.raises(UsageError, match="checksum does not fit"):
        read_joined_results(tmp_path / "j")
