"""The paper's figures from made-up studies: what they draw, their numbers, and files that other commands made."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from made_up_paper import CORRUPTIONS, make_paper_results
from made_up_results import versus_own_teacher, write_results
from test_paper_tables import KNOWN, PAPER, cells, check, students, teachers

from vicinal.report import write_report
from vicinal.report.paper.epochs_figure import _shrink, _stretch, selection_curve
from vicinal.report.paper.feature_figures import MOST_POINTS, _fitted
from vicinal.report.paper.figures import paper_figures
from vicinal.report.rows import arrange


@pytest.fixture(scope="module")
def raw():
    return make_paper_results()


@pytest.fixture(scope="module")
def figures(raw, tmp_path_factory):
    return {figure.number: figure for figure in paper_figures(arrange(raw), tmp_path_factory.mktemp("empty"))}


def test_every_figure_is_drawn_with_unique_ids(figures):
    ids = []
    for number in range(3, 10):
        drawn = figures[number].figure
        assert drawn.name == f"figure{number}"
        ElementTree.fromstring(drawn.file())
        ids += [found for panel in drawn.panels for found in re.findall(r'\bid="([^"]+)"', panel.body)]
    assert len(ids) == len(set(ids))
    assert not figures[2].is_drawn
    assert {number: len(figures[number].figure.panels) for number in range(3, 10)} == {
        3: 4,
        4: 3,
        5: 1,
        6: 7,
        7: 6,
        8: 2,
        9: 4,
    }


def test_figure_5_has_the_peaks(raw, figures):
    found = cells(figures[5].numbers)
    for name in ("calibrated", "overconfident", "third"):
        models = students(raw, "kd_mixup", name, 2.0)
        paper = PAPER["figure5_peak_linearity_gain"][KNOWN[name]]
        check(found[(name,)]["peak_gain"], [max(versus_own_teacher(m)["linearity_gain"]) for m in models], paper)
    assert found[("fourth, trained with mixup",)]["peak_gain"].paper is None


def test_figure_6_has_mean_gains_and_the_most_extreme(raw, figures):
    found = cells(figures[6].numbers)
    names = ["Gaussian noise", "Motion blur", "Fog", "JPEG", "Contrast", "Pixelate"]
    table = PAPER["table7_corruption_cifar100_pct"]
    for corruption, shown in zip(CORRUPTIONS, names, strict=True):
        means = {}
        for name in ("calibrated", "overconfident", "third", "fourth"):
            label = name + (", trained with mixup" if name == "fourth" else "")
            gains = [np.mean(m["corruptions"][corruption]["gain_pp"]) for m in students(raw, "kd_mixup", name, 2.0)]
            means[label] = np.mean(gains)
            paper = None
            if name in KNOWN:
                paper = np.mean(table[KNOWN[name]][corruption]) - np.mean(table["baseline"][corruption])
            check(found[shown, label]["gain"], gains, paper)
        extreme = max(means, key=lambda label: abs(means[label]))
        row = found[shown, f"Most extreme: {extreme}"]
        assert row["gain"].mean == pytest.approx(means[extreme])
        assert row["gain"].paper == PAPER["figure6_extreme_teacher_gain_pp"][corruption]


def test_the_papers_extreme_gains_follow_from_its_table_7():
    # What the transcription says of figure 6, so that the comparison by teacher stands on the same ground.
    table = PAPER["table7_corruption_cifar100_pct"]
    for corruption, printed in PAPER["figure6_extreme_teacher_gain_pp"].items():
        gains = [
            np.mean(table[t][corruption]) - np.mean(table["baseline"][corruption]) for t in table if t != "baseline"
        ]
        assert max(gains, key=abs) == pytest.approx(printed, abs=0.06)


def test_whiskers_of_one_seed_are_the_comparators_interval_of_the_mean(tmp_path):
    raw = make_paper_results(seeds=(0,), temperatures=(2.0,))
    found = students(raw, "kd_mixup", "third", 2.0)[0]["corruptions"]["contrast"]
    low, high = (np.array(found["gain_pp_interval"][side]) for side in ("lower", "upper"))
    # Without resamples the five severities may all err together.
    half = np.mean((high - low) / 2)
    mean = np.mean(found["gain_pp"])
    figure = next(f for f in paper_figures(arrange(raw), tmp_path) if f.number == 6)
    assert cells(figure.numbers)["Contrast", "third"]["gain"].interval == pytest.approx(
        (mean - half, mean + half), rel=1e-4
    )
    assert "Whiskers and bands: 95\u00a0% intervals over test images, of these networks alone." in figure.figure.caption


def test_figure_7_compares_only_the_papers_classes(raw, figures, tmp_path):
    found = cells(figures[7].numbers)
    assert len(found) == 6
    paper = PAPER["figure7_clusters_cifar100"]
    models = teachers(raw, "calibrated")
    row = found["calibrated", "without mixup"]
    check(row["v_score"], [m["representation"]["v_score"] for m in models], paper["erm"]["convnext_large"][0])
    check(row["silhouette"], [m["representation"]["silhouette"] for m in models])
    check(row["accuracy"], [100 * m["accuracy"] for m in models], paper["erm"]["convnext_large"][1])
    assert found["Student, mixup", "with mixup"]["v_score"].paper == paper["mixup"]["mobilenetv2"][0]
    assert found["fourth, trained with mixup", "with mixup"]["v_score"].paper is None
    other = copy.deepcopy(raw)
    for model in [*other["teachers"], *other["students"]]:
        model["representation"]["classes"] = ["cat", "dog", "fox", "cow", "pig"]
    figure = next(f for f in paper_figures(arrange(other), tmp_path) if f.number == 7)
    row = cells(figure.numbers)["calibrated", "without mixup"]
    assert row["v_score"].paper is None
    assert row["accuracy"].paper == paper["erm"]["convnext_large"][1]


def test_figure_8_pairs_siblings_of_one_model(raw, figures):
    found = cells(figures[8].numbers)
    paper = PAPER["figure8_students_cifar100"]
    assert found.keys() == {("overconfident", "without mixup"), ("fourth", "with mixup")}
    for (name, words), key in zip(found, ("teacher_without_mixup", "teacher_with_mixup"), strict=True):
        models = students(raw, "kd_mixup", name, 2.0)
        row = found[name, words]
        check(row["v_score"], [m["representation"]["v_score"] for m in models], paper[key]["resnet152v2"][0])
        check(row["accuracy"], [100 * m["accuracy"] for m in models], paper[key]["resnet152v2"][1])


def test_figure_8_needs_a_plain_sibling(raw, tmp_path):
    raw = copy.deepcopy(raw)
    for model in teachers(raw, "overconfident"):
        model["model"] = "another"
    figure = next(f for f in paper_figures(arrange(raw), tmp_path) if f.number == 8)
    assert not figure.is_drawn
    assert figure.missing == ("KD + mixup students of both teachers of one model",)


def test_a_scatter_keeps_shape_and_draws_a_bounded_number_of_points(tmp_path):
    figure = next(
        f for f in paper_figures(arrange(make_paper_results(seeds=(0,), points=5000)), tmp_path) if f.number == 7
    )
    assert figure.figure.panels[0].body.count("h0") == MOST_POINTS
    fitted = _fitted(np.array([[0.0, 0.0], [10.0, 5.0], [4.0, 5.0]]), (0.0, 0.0, 100.0, 100.0))
    assert fitted.tolist() == [[0, 25], [100, 75], [40, 75]]


def test_figure_9_is_the_mean_over_the_seeds_of_the_epochs_measured_of_all(raw):
    results = arrange(raw)
    row = next(r for r in results.distilled if (r.arm, r.teacher, r.temperature) == ("kd_mixup", "third", 4.0))
    curve = selection_curve(row)
    stack = np.array([m["history"]["selection_accuracy"] for m in row.models], dtype=float)
    kept = ~np.isnan(stack).any(axis=0)
    assert curve.x.tolist() == (np.arange(1, 31)[kept]).tolist()
    assert curve.y == pytest.approx(stack[:, kept].mean(axis=0))


@pytest.mark.parametrize(("split", "words"), [("validation", "Validation accuracy"), ("test", "Test accuracy")])
def test_figure_9_says_what_it_was_measured_on(tmp_path, split, words):
    raw = make_paper_results(seeds=(0,), temperatures=(2.0,), selection_images=split)
    figure = next(f for f in paper_figures(arrange(raw), tmp_path) if f.number == 9)
    assert figure.figure.caption.startswith(words)


def test_figure_9_without_selection_accuracy_is_not_drawn(tmp_path):
    raw = make_paper_results(seeds=(0,), temperatures=(2.0,), selection_images=None)
    figure = next(f for f in paper_figures(arrange(raw), tmp_path) if f.number == 9)
    assert not figure.is_drawn
    assert "measured while training" in figure.missing[0]


def test_the_stretched_axis_goes_back_and_forth():
    values = np.array([0.0, 0.3, 0.7, 0.71, 0.9])
    stretched = _stretch(0.7)(values)
    assert stretched.tolist() == pytest.approx([0.0, 0.3, 0.7, 0.75, 1.7])
    assert _shrink(0.7)(stretched) == pytest.approx(values)


# --- figure 2, another command's file ---------------------------------------------------------------------------------

SVG = (
    '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><defs><clipPath id="c">'
    '<path id="p" d="M0 0h9"/>'
    '</clipPath></defs><g clip-path="url(#c)"><use href="#p"/></g></svg>'
)


def test_figure_2_is_shown_where_it_lies(raw, tmp_path):
    write_results(tmp_path, raw)
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper/figure2.svg").write_text(SVG, encoding="utf-8")
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert '<article id="paper-figure2"' in html
    assert 'id="toy-c"' in html
    assert "url(#toy-c)" in html
    assert 'href="#toy-p"' in html
    assert "<b>Figure 2</b>" not in html
    assert "<?xml" not in html
    assert (tmp_path / "paper/figure2.svg").read_text(encoding="utf-8") == SVG


@pytest.mark.parametrize(
    "svg",
    [
        SVG.replace("</svg>", "<script>alert(1)</script></svg>"),
        SVG.replace("<g ", '<g onclick="x()" '),
        SVG.replace('href="#p"', 'href="https://example.org/x.svg"'),
        SVG.replace("</g>", ""),
        "not a drawing",
    ],
)
def test_a_figure_2_that_is_no_plain_drawing_is_left_out(raw, tmp_path, svg):
    path = tmp_path / "paper" / "figure2.svg"
    path.parent.mkdir()
    path.write_text(svg, encoding="utf-8")
    figure = paper_figures(arrange(raw), tmp_path)[0]
    assert not figure.is_drawn
    assert figure.missing == ("a paper/figure2.svg that is a plain drawing",)
