"""`vicinal rank`: the order, what tells teachers apart, and that what it says of itself is what the studies' tables say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scripts.rank_evidence import Group, pairs_of, read_groups
from teacher_on_disk import new_teacher, save_teacher, trained_teacher
from tiny_studies import write_images
from vicinal.recipes.evidence import evidence, expected_gap, sentences

REPOSITORY = Path(__file__).parents[2]
SIDE = 20


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    write_images(root / "train", 40, seed=1, side=SIDE)
    write_images(root / "test", 25, seed=2, side=SIDE)
    return root


def test_teachers_stand_in_the_order_of_their_nll(vicinal, images, tmp_path):
    good = trained_teacher(images / "train")
    loud = new_teacher(3)
    loud.load_state_dict(good.state_dict())
    with torch.no_grad():  # never answers the second class, and is sure of it
        head = loud.get_classifier()
        head.weight[1], head.bias[1] = head.weight[0], head.bias[0] - 20
    paths = [save_teacher(tmp_path / f"{name}.pth.tar", own, 3, SIDE) for name, own in (("loud", loud), ("good", good))]
    out = tmp_path / "out"
    answer = vicinal(
        "rank", *paths, images, "--out", out, "measures.bootstrap_resamples=200", "measures.vicinity.pairs=30"
    )
    assert answer.code == 0, answer.err
    found = json.loads((out / "ranking.json").read_text())
    first, second = found["teachers"]
    assert [first["name"], second["name"]] == ["good", "loud"]
    assert first["nll"] < second["nll"]
    assert first["reason"] == "lowest NLL on 75 test images"
    assert second["reason"].startswith("told from the first one: +")
    assert second["gap"] > first["gap"]
    results = json.loads((out / "results.json").read_text())
    by_name = {teacher["name"]: teacher for teacher in results["teachers"]}
    assert second["nll"] == by_name["loud"]["nll"]
    assert results["students"] == []
    assert found["evidence"] == sentences()
    for sentence in sentences():
        assert sentence in answer.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one", "data"], "give at least two teachers and behind them the data"),
        (["{other}", "{teacher}", "{images}"], "cannot be ranked as it is: "),
        (["{teacher}", "{teacher}", "{images}"], "is given twice"),
        (["{teacher}", "missing.pth", "{images}"], "missing.pth"),
    ],
)
def test_mistakes_are_one_line(vicinal, images, tmp_path, arguments, said):
    names = {"images": images}
    names["teacher"] = save_teacher(tmp_path / "a.pth.tar", new_teacher(3), 3, SIDE)
    names["other"] = save_teacher(tmp_path / "b.pth.tar", new_teacher(5), 5, SIDE)
    answer = vicinal("rank", *(word.format(**names) for word in arguments), "--out", tmp_path / "out")
    assert answer.code == 2
    assert said in answer.last
    assert len(answer.err.strip().splitlines()) == 1


def test_the_packaged_evidence_is_that_of_the_tables():
    done = subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "rank_evidence.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pairs_agree_where_students_come_out_as_their_teachers():
    teachers = {"a": {"nll": 0.1}, "b": {"nll": 0.2}, "c": {"nll": 0.2}}
    students = {"a": {"accuracy": 0.9}, "b": {"accuracy": 0.8}, "c": {"accuracy": 0.95}}
    assert sorted(pairs_of(Group("s", "kd", teachers, students), "nll", "accuracy")) == [-1, 1]  # b and c are tied


def test_the_studies_have_the_teachers_that_the_page_speaks_of():
    groups = read_groups(REPOSITORY / "docs" / "results")
    sizes = {(group.study, group.arm): len(group.teachers) for group in groups}
    assert sizes[("teachers", "kd_mixup")] == 7
    assert not any(study in ("cifar10-lite", "budgets") for study, _ in sizes)  # one teacher each


def test_a_student_is_expected_between_its_bounds_and_widest_far_away():
    line = evidence()["calibration"]
    near, far = expected_gap(line["mean"]), expected_gap(0.6)
    assert near.lower < near.gap < near.upper
    assert near.gap == pytest.approx(line["intercept"] + line["slope"] * line["mean"])
    assert far.upper - far.lower > near.upper - near.lower
    assert far.outside
    assert not near.outside
