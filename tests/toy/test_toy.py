"""The two-dimensional toy: its points, its training with the package's own losses, its figure and the command."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vicinal import functional as vf
from vicinal.config import ARMS
from vicinal.errors import UsageError
from vicinal.report.paper.plain_svg import plain_svg
from vicinal.toy import TITLES, ToySpec, run_toy, write_toy
from vicinal.toy.experiment import AMBIVALENT, half_circles, network, train
from vicinal.toy.figure import draw_figure

QUICK = ToySpec(points=40, fresh_points=500, pairs=200, teacher_steps=30, student_steps=150, student_width=8, grid=60)


@pytest.fixture(scope="module")
def quick():
    return run_toy(QUICK)


@pytest.fixture(scope="module")
def whole():
    """The toy as the command draws it."""
    return run_toy(ToySpec())


def metrics(toy):
    return {field.name: field.metrics for field in toy.fields}


def test_points_lie_on_half_circles_and_classes_alternate():
    points, labels = half_circles(401, 0.0, np.random.default_rng(0))
    assert labels.bincount().tolist() == [201, 200]
    centre = torch.tensor([[0.0, 0.0], [1.0, 0.5]])[labels]
    torch.testing.assert_close((points - centre).norm(dim=1), torch.ones(401))
    assert bool((points[labels == 0, 1] >= 0).all())
    assert bool((points[labels == 1, 1] <= 0.5).all())
    noisy, _ = half_circles(4000, 0.3, np.random.default_rng(0))
    clean, _ = half_circles(4000, 0.0, np.random.default_rng(0))
    assert float((noisy - clean).std()) == pytest.approx(0.3, rel=0.05)


def test_a_teacher_is_left_as_it_was_and_its_student_learns_its_answers():
    points, labels = half_circles(40, 0.2, np.random.default_rng(0))
    teacher = train(network(32, 1), ARMS["baseline"], points, labels, None, 60, 0.01, 0)
    before = [p.detach().clone() for p in teacher.parameters()]
    student, others = network(32, 0), labels[torch.randperm(40, generator=torch.Generator().manual_seed(0))]
    with torch.no_grad():
        first = vf.kl_divergence(teacher(points), student(points)).mean()
    # Labels are not asked at α = 0: wrong ones change nothing.
    train(student, ARMS["kd"], points, others, teacher, 300, 0.01, 0)
    with torch.no_grad():
        assert float(vf.kl_divergence(teacher(points), student(points)).mean()) < 0.02 * float(first)
    for parameter, value in zip(teacher.parameters(), before, strict=True):
        assert torch.equal(parameter, value)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_toy_and_another_seed_another(quick):
    again, other = run_toy(QUICK), run_toy(replace(QUICK, seed=1))
    assert metrics(again) == metrics(quick)
    for field, same in zip(quick.fields, again.fields, strict=True):
        np.testing.assert_array_equal(field.probability, same.probability)
    assert metrics(other) != metrics(quick)
    assert not np.array_equal(other.points, quick.points)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    network(8, 0)
    assert torch.equal(torch.rand(3), expected)


def test_metrics_belong_to_the_fields_drawn(quick):
    assert [field.name for field in quick.fields] == list(TITLES)
    for field in quick.fields:
        p = field.probability
        assert p.shape == (QUICK.grid, QUICK.grid)
        assert field.metrics["ambivalent_share"] == pytest.approx(np.mean(np.maximum(p, 1 - p) < AMBIVALENT))
        assert abs(field.metrics["accuracy"] - field.metrics["confidence"]) <= field.metrics["ece"] + 1e-9
    left, right, bottom, top = quick.extent
    assert bool((quick.points > [left, bottom]).all())
    assert bool((quick.points < [right, top]).all())


def test_rows_of_the_field_go_up_and_columns_go_right(quick):
    # Most points lie on their own class's side, which an upside-down or mirrored picture would lose.
    left, right, bottom, top = quick.extent
    column = np.rint((quick.points[:, 0] - left) / (right - left) * (QUICK.grid - 1)).astype(int)
    row = np.rint((quick.points[:, 1] - bottom) / (top - bottom) * (QUICK.grid - 1)).astype(int)

    def share(probability):
        return np.mean((probability[row, column] > 0.5) == quick.labels)

    for field in quick.fields:
        assert share(field.probability) > 0.75 > share(field.probability[::-1]), field.name
    for axes, field in zip(draw_figure(quick).axes, quick.fields, strict=False):
        (image,) = axes.images
        assert (image.origin, tuple(image.get_extent())) == ("lower", quick.extent)
        np.testing.assert_array_equal(image.get_array(), field.probability)
        assert image.get_clim() == (0, 1)  # one scale for all


@pytest.mark.slow
def test_erm_is_sharp_mixup_is_ambivalent_and_labels_bring_the_two_together(whole):
    f = metrics(whole)
    share = {name: f[name]["ambivalent_share"] for name in f}
    assert share["erm"] < share["kd"] < share["kd_mixup_labels"] < share["mixup"]
    residual = {name: f[name]["nonlinearity_at_half"] for name in f}
    assert residual["erm"] > residual["kd"] > residual["kd_mixup_labels"] > residual["mixup"]
    # Without labels a student that can follow its teacher does so, with mixup too.
    for name in ("kd", "kd_mixup"):
        assert share[name] == pytest.approx(share["teacher"], abs=0.02)
        assert residual[name] == pytest.approx(residual["teacher"], rel=0.1)
    assert f["erm"]["ece"] > f["mixup"]["ece"]
    assert whole.seconds < 60


def test_the_files(quick, tmp_path):
    svg, png, numbers = write_toy(tmp_path / "new" / "folder", quick)
    assert sorted(p.name for p in svg.parent.iterdir()) == ["figure2.png", "figure2.svg", "toy.json"]
    text = svg.read_text()
    root = ET.fromstring(text)
    assert set(re.findall(r"https?://[^\"/]+", text)) == {"http://www.w3.org"}  # namespaces only: opens offline
    assert "DejaVu" not in text
    words = " ".join("".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text"))
    for title in TITLES.values():
        assert title in words
    with Image.open(png) as image:
        assert image.width > 1200
        assert len(image.convert("RGB").resize((60, 40)).getcolors(3000) or []) > 100  # drawn, not blank
    value = json.loads(numbers.read_text())
    assert value["networks"] == metrics(quick)
    assert value["spec"]["seed"] == 0
    first = svg.read_bytes(), png.read_bytes()
    write_toy(svg.parent, quick)
    assert (svg.read_bytes(), png.read_bytes()) == first


def test_the_drawing_stands_in_a_report_as_it_is(quick, tmp_path):
    svg = write_toy(tmp_path, quick)[0].read_text(encoding="utf-8")
    shown = plain_svg(svg, "toy")
    assert shown is not None
    for element in ("<use", "<path", "<image", "<text", "<clipPath"):
        assert shown.count(element) == svg.count(element)


def test_the_command(vicinal, tmp_path, monkeypatch):
    monkeypatch.setattr("vicinal.toy.ToySpec", lambda seed: replace(QUICK, seed=seed))
    answer = vicinal("toy", "--out", tmp_path / "toy", "--seed", 3)
    assert answer.code == 0, answer.err
    for title in TITLES.values():
        assert title in answer.out
        assert title in answer.err
    assert str(tmp_path / "toy" / "figure2.svg") in answer.out
    assert json.loads((tmp_path / "toy" / "toy.json").read_text())["spec"]["seed"] == 3


def test_mistakes_are_one_line_before_anything_is_trained(vicinal, tmp_path, monkeypatch):
    monkeypatch.setattr("vicinal.toy.run_toy", lambda *_: pytest.fail("trained"))
    (tmp_path / "file").write_text("x")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").write_text("{}")
    for arguments, words in (
        (("--out", tmp_path / "file"), "is a file; choose a folder"),
        (("--out", tmp_path / "file" / "deeper"), "is a file; choose a folder"),
        (("--out", tmp_path / "study"), "contains a study; choose another folder"),
        (("--seed", -1), "--seed is a number from 0 on"),
        (("--seed", "many"), "invalid int value"),
        (("lr=3",), "unrecognized arguments"),
    ):
        answer = vicinal("toy", *arguments)
        assert answer.code == 2, arguments
        assert words in answer.err
        assert len(answer.err.strip().splitlines()) == 1


def test_a_file_in_the_way_is_named(quick, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        write_toy(tmp_path / "file", quick)
