"""The recommendation, the two figures and the table of what is measured beyond the paper, from made-up results."""

from __future__ import annotations

import copy
import csv
import io
import re
import statistics
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from made_up_optional import add_optional
from made_up_results import SHAPES, make_results, some_shapes, write_results

from vicinal.report import sentinel, write_report
from vicinal.report.figures import trade_offs as optional_figures
from vicinal.report.figures.core import Styles
from vicinal.report.figures.trade_offs import front, pareto, point, risk_coverage, risk_curve
from vicinal.report.findings.recommendation import RULE, error_words, recommendation
from vicinal.report.rows import arrange
from vicinal.report.tables.optional import measures, optional_sections

HALF = 10  # where λ = 0.5 stands on the made-up grid
SECTION = '<section id="optional">'


@pytest.fixture(scope="module")
def three_seeds():
    return add_optional(make_results(seeds=(0, 1, 2), temperatures=(2.0, "sigma")))


@pytest.fixture(scope="module")
def report(three_seeds, tmp_path_factory):
    folder = write_results(tmp_path_factory.mktemp("study") / "three", three_seeds)
    return folder, write_report(folder).read_text(encoding="utf-8")


def read_csv(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def expected(model):
    """Every number of the table of one model, straight from its entries."""
    accuracies = [value for found in model["corruptions"].values() for value in found["accuracy"]]
    assert len(accuracies) == 30
    test = model.get("mcnemar_versus_baseline") or {}
    information = model["information"]
    return {
        "aurc": model["selective"]["aurc"],
        "classwise_ece": model["classwise_ece"],
        "ood_auroc:USPS": model["ood_auroc"]["USPS"],
        "corrupted_accuracy": statistics.fmean(accuracies),
        "v_score": model["representation"]["v_score"],
        "only_first": test.get("only_first"),
        "only_second": test.get("only_second"),
        "entropy_mixed_0.5": information["entropy_mixed"][HALF],
        "entropy_clean_0.5": information["entropy_clean"][HALF],
        "nonlinearity_0.5": information["nonlinearity"][HALF],
        "residual_eq11_0.5": information["residual_eq11"][HALF],
        **{f"validation_{key}": model["validation"][key] for key in ("accuracy", "confidence", "ece", "nll", "brier")},
    }


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_csv_holds_every_number_of_every_model_and_seed(three_seeds, report):
    lines = read_csv(report[0] / "tables/optional.csv")
    models = {("", m["name"], "", m["seed"]): m for m in three_seeds["teachers"]}
    models |= {
        (m["arm"], m["teacher"] or "", str(m["temperature"] or ""), m["seed"]): m for m in three_seeds["students"]
    }
    assert len(lines) == len(models) == 36
    identity = {"role", "name", "arm", "teacher", "temperature", "seed", "selection"}
    for line in lines:
        teacher = line["name"] if line["role"] == "teacher" else line["teacher"]
        found = expected(models[line["arm"], teacher, line["temperature"], int(line["seed"])])
        assert line.keys() - identity == found.keys()
        for key, value in found.items():
            assert line[key] == ("" if value is None else str(value)), key


def test_the_shown_cells_are_means_and_spreads_over_seeds(three_seeds):
    results = arrange(three_seeds)
    shown = measures(results)
    sections = optional_sections(results, shown)
    assert [section.heading for section in sections] == [
        "Without a teacher",
        "Teacher calibrated",
        "Teacher overconfident",
    ]
    compared = 0
    for section in sections:
        for line in section.lines:
            numbers = [expected(model) for model in line.row.models]
            for measure, cell in zip(shown, line.cells, strict=True):
                values = [found[measure.key] for found in numbers if found[measure.key] is not None]
                percent, digits = (
                    (100, 1) if measure.key == "corrupted_accuracy" else (1, 4 if "class" in measure.key else 3)
                )
                values = [percent * value for value in values]
                assert cell.text.replace("−", "-").lstrip("+") == f"{statistics.mean(values):.{digits}f}"
                scale_free = line.row.scale_free and measure.key not in ("corrupted_accuracy", "v_score")
                assert cell.scale_free == scale_free
                if not scale_free:
                    assert cell.small == f"± {statistics.stdev(values):.{digits}f}"
                compared += 1
    assert compared == 9 * 12  # nine columns of means, twelve rows


def test_the_table_stands_folded_and_in_the_index(report):
    folder, html = report
    assert '<a href="#optional">Optional measures</a>' in html
    section = html[html.index(SECTION) :]
    section = section[: section.index("</section>")]
    assert '<details class="folded-part"><summary>AURC, Class-wise ECE, OOD AUROC' in section
    assert section.count('<th scope="row">') == 12
    assert "OOD AUROC: test images against those of USPS." in section
    assert '<dt class="optional">AURC</dt>' in html
    markdown = (folder / "tables/optional.md").read_text(encoding="utf-8")
    assert "Every network is the one after its last epoch." in markdown
    assert "† Trained with T = σ" in markdown


def test_only_what_is_measured_has_a_column():
    raw = add_optional(make_results(), others=("USPS", "KMNIST"))
    for model in raw["teachers"] + raw["students"]:
        del model["corruptions"], model["representation"]
    headings = [measure.column.heading for measure in measures(arrange(raw))]
    assert headings == ["AURC", "Class-wise ECE", "OOD AUROC, USPS", "OOD AUROC, KMNIST", "H mixed(½)",
                        "H clean(½)", "NL(½)", "Residual (eq. 11)"]  # fmt: skip


def test_a_corruption_without_a_figure_leaves_the_mean_out():
    raw = add_optional(make_results())
    raw["students"][0]["corruptions"]["fog"]["accuracy"][2] = None
    results = arrange(raw)
    shown = measures(results)
    place = [measure.key for measure in shown].index("corrupted_accuracy")
    lines = optional_sections(results, shown)[0].lines
    assert [line.cells[place].text == "–" for line in lines] == [True, False]


@pytest.mark.parametrize("name", some_shapes("quickstart"))
def test_old_results_have_neither_table_nor_recommendation(name, tmp_path):
    folder = write_results(tmp_path, make_results(**SHAPES[name]))
    (folder / "tables").mkdir()
    (folder / "tables/optional.csv").write_text("of an earlier report")
    html = write_report(folder).read_text(encoding="utf-8")
    for absent in (SECTION, 'class="recommendation', "Errors among the surest", 'class="optional"'):
        assert absent not in html
    assert not (folder / "tables/optional.csv").exists()
    assert not (folder / "figures/risk_coverage.svg").exists()


@pytest.mark.parametrize("name", some_shapes("teachers_only", "with_answers_over_seeds"))
def test_every_shape_renders_with_everything_measured(name, tmp_path):
    raw = add_optional(make_results(**SHAPES[name]))
    folder = write_results(tmp_path, raw)
    html = write_report(folder).read_text(encoding="utf-8")
    assert SECTION in html
    assert ("Which student to take" in html) == (name not in ("teachers_only", "no_validation"))
    names = {path.name for path in (folder / "figures").iterdir()}
    assert "risk_coverage.svg" in names
    assert ("pareto.svg" in names) == bool(raw["students"])
    for path in (folder / "figures").iterdir():
        assert ElementTree.fromstring(path.read_text(encoding="utf-8")).tag.endswith("svg")
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert not re.search(r"\bnan\b", html)


# --- the recommendation -----------------------------------------------------------------------------------------------


def two_students(seeds=(0,), baseline=(0.80, 0.60), mixup=(0.85, 0.50), **shape):
    """A study of baseline and mixup whose validation accuracy and NLL are as given, and whose test figures keep them."""
    raw = add_optional(make_results(arms=("baseline", "mixup"), seeds=seeds, **shape))
    for student in raw["students"]:
        accuracy, nll = baseline if student["arm"] == "baseline" else mixup
        student["validation"] = {"accuracy": accuracy, "confidence": accuracy, "ece": 0.02, "nll": nll, "brier": 0.2}
        student["accuracy"], student["ece"] = accuracy, 0.02
    return raw


def test_confirmed_and_better_than_the_baseline():
    found = recommendation(arrange(two_students()))
    assert found is not None
    assert (found.verdict, found.word) == ("yes", "Confirmed")
    assert found.text == (
        "For this data: Mixup; selected on validation (accuracy 0.850, NLL 0.500), confirmed on test (accuracy 0.850, ECE 0.020). "
        "It is more accurate than the runner-up, Baseline, on the test images: +5.00 points (+3.59 to +6.41), p < 0.001."
    )
    assert found.notes == (RULE, error_words(0.05), "Second on validation: Baseline (accuracy 0.800, NLL 0.600).")


def test_not_confirmed_where_test_falls_short():
    raw = two_students()
    raw["students"][1]["accuracy"] = 0.70
    found = recommendation(arrange(raw))
    assert found is not None
    assert (found.verdict, found.word) == ("no", "Not confirmed")
    assert (
        "not confirmed on test (accuracy 0.700, ECE 0.020): validation promised an accuracy of at least 0.8"
        in found.text
    )


def test_a_better_baseline_refutes_the_selection_and_a_selected_baseline_is_compared_too():
    raw = two_students()
    for student in raw["students"]:
        accuracy = 0.86 if student["arm"] == "baseline" else 0.84
        student["accuracy"], student["intervals"]["accuracy"] = accuracy, [accuracy - 0.001, accuracy + 0.001]
    found = recommendation(arrange(raw))
    assert found is not None
    assert found.verdict == "no"
    assert (
        "the runner-up, Baseline, is more accurate there: the selected one less it −2.00 points (−2.14 to −1.86), p < 0.001"
        in found.text
    )
    raw = two_students(baseline=(0.9, 0.3))
    found = recommendation(arrange(raw))
    assert found is not None
    assert found.text.startswith("For this data: Baseline;")
    assert "It is more accurate than the runner-up, Mixup, on the test images: +" in found.text


def test_several_seeds_that_spread_tell_nothing_apart():
    raw = two_students(seeds=(0, 1, 2))
    found = recommendation(arrange(raw))
    assert found is not None
    assert found.verdict == "yes"
    assert (
        "It is more accurate than the runner-up, Baseline, on the test images: +5.00 points (+3.59 to +6.41), p < 0.001"
        in found.text
    )
    assert found.notes[-1] == "Metrics are means over 3 seeds."
    next(m for m in raw["students"] if m["arm"] == "mixup" and m["seed"] == 1)["accuracy"] = 0.79
    found = recommendation(arrange(raw))
    assert found is not None
    assert "It is not told apart from the runner-up, Baseline, on the test images: +" in found.text


def test_means_over_seeds_select():
    raw = two_students(seeds=(0, 1), mixup=(0.80, 0.60))
    by_seed = {m["seed"]: m["validation"] for m in raw["students"] if m["arm"] == "mixup"}
    by_seed[0]["nll"], by_seed[1]["nll"] = 0.9, 0.2
    found = recommendation(arrange(raw))
    assert found is not None
    assert found.text.startswith("For this data: Mixup; selected on validation (accuracy 0.800, NLL 0.550)")


def test_a_student_of_a_teacher_is_named_in_full_and_scale_free_ones_are_left_out():
    raw = add_optional(make_results(temperatures=(4.0, "sigma")))
    for student in raw["students"]:
        best = student["arm"] == "kd_mixup" and student["teacher"] == "overconfident"
        # The scale-free one would win if it took part.
        rank = 0.0 if student["scale_free"] else 0.1
        student["validation"] |= {"accuracy": 0.99 - rank if best else 0.5, "nll": 0.1, "ece": 0.01}
        if best and not student["scale_free"]:
            student["accuracy"], student["ece"] = 0.89, 0.01
    found = recommendation(arrange(raw))
    assert found is not None
    assert found.text.startswith(
        "For this data: KD + mixup at T = 4 with teacher overconfident; selected on validation"
    )
    assert any(note.startswith("Left out of the selection: the 4 students with T = σ") for note in found.notes)


def test_test_images_that_chose_the_epochs_confirm_nothing():
    found = recommendation(arrange(two_students(selection="paper_best_test")))
    assert found is not None
    assert (found.verdict, found.word) == ("undecided", "Open")
    assert "not confirmed on test (accuracy 0.850, ECE 0.020), since the same images selected the epochs." in found.text


def test_nothing_is_recommended_without_validation_or_with_nothing_to_choose_from():
    assert recommendation(arrange(add_optional(make_results(validation=False)))) is None
    assert recommendation(arrange(make_results())) is None
    assert recommendation(arrange(add_optional(make_results(arms=("baseline",))))) is None
    raw = two_students()
    raw["students"][0]["validation"] = None
    assert recommendation(arrange(raw)) is None


def test_the_page_shows_it_first(tmp_path):
    html = write_report(write_results(tmp_path, two_students())).read_text(encoding="utf-8")
    assert html.index("What came out</h2>") < html.index("For this data: Mixup;") < html.index('<ul class="findings">')


# --- the figures ------------------------------------------------------------------------------------------------------


def test_the_front_is_that_of_the_students_with_raw_ece():
    raw = two_students(mixup=(0.85, 0.5))
    kd = copy.deepcopy(raw["students"][1]) | {"arm": "kd", "teacher": "calibrated", "temperature": "sigma"}
    kd |= {"scale_free": True, "accuracy": 0.99, "ece": 0.5, "ece_after_temperature_scaling": 0.001}
    raw["students"].append(kd)
    raw["students"][0]["ece"] = 0.01
    results = arrange(raw)
    points = [found for row in results.rows if (found := point(row))]
    assert [found.row.arm for found in front(points)] == ["baseline", "mixup"]
    sigma = next(found for found in points if found.row.scale_free)
    assert (sigma.accuracy, sigma.ece) == (99.0, 0.001)
    raw["students"][0]["ece"] = 0.03
    points = [found for row in arrange(raw).rows if (found := point(row))]
    assert [found.row.arm for found in front(points)] == ["mixup"]
    del kd["ece_after_temperature_scaling"]
    figure = pareto(arrange(raw))
    assert figure is not None
    assert "Not shown, since these logits have no scale of their own: KD · T = σ (calibrated)." in figure.caption


def test_points_are_means_with_bars_of_one_standard_deviation(three_seeds):
    results = arrange(three_seeds)
    row = next(row for row in results.rows if row.arm == "mixup")
    found = point(row)
    assert found is not None
    accuracy, ece = ([m[key] for m in row.models] for key in ("accuracy", "ece"))
    assert found.accuracy == pytest.approx(100 * statistics.mean(accuracy))
    assert found.ece == pytest.approx(statistics.mean(ece))
    spread = statistics.stdev(ece)
    assert found.ece_bar == pytest.approx((found.ece - spread, found.ece + spread))
    assert found.accuracy_bar is not None
    assert found.accuracy_bar[1] - found.accuracy == pytest.approx(100 * statistics.stdev(accuracy))


def test_colours_of_the_arms_and_hollow_teachers(three_seeds):
    results = arrange(three_seeds)
    figure = pareto(results)
    assert figure is not None
    assert len(figure.panels) == 2
    keys = {key.label: key for key in figure.keys}
    styles = Styles.of(results)
    assert keys["Teacher calibrated"].hollow
    assert {label: keys[label].colour for label in ("Baseline", "Mixup", "KD", "KD + mixup")} == {
        "Baseline": styles.arms["baseline"], "Mixup": styles.arms["mixup"], "KD": styles.arms["kd"],
        "KD + mixup": styles.arms["kd_mixup"],
    }  # fmt: skip
    assert not any(keys[label].hollow for label in ("Baseline", "KD"))
    # Both σ students of a panel carry the dagger.
    assert figure.panels[0].body.count("σ †") == 2


def test_more_arms_than_colours_are_told_apart_by_marker_and_dash():
    arms = ("baseline", "mixup", "kd", "kd_mixup", "gentle", "strong", "third")
    results = arrange(add_optional(make_results(teachers=1, arms=arms)))
    for figure in (pareto(results), risk_coverage(results)):
        assert figure is not None
        drawn = [
            (key.colour, key.marker, key.dash) for key in figure.keys if key.label != "Pareto front of the students"
        ]
        assert len(drawn) == 1 + len(arms)
        assert len(set(drawn)) == len(drawn)


def test_points_are_drawn_as_the_legend_shows_them(monkeypatch):
    drawn = []
    render = optional_figures.render
    monkeypatch.setattr(
        optional_figures, "render", lambda figure, *names: drawn.append(figure) or render(figure, *names)
    )
    arms = ("baseline", "mixup", "kd", "kd_mixup", "gentle", "strong", "third")
    results = arrange(add_optional(make_results(teachers=1, arms=arms)))
    figure = pareto(results)
    assert figure is not None
    marks = {
        (line.get_color(), line.get_marker(), line.get_markerfacecolor() == sentinel("surface"))
        for line in drawn[0].axes[0].lines if line.get_marker() != "None"
    }  # fmt: skip
    assert marks == {(sentinel(key.colour), key.marker, key.hollow) for key in figure.keys if key.marker}
    assert len(marks) == 8


@pytest.mark.parametrize(("eces", "logarithmic"), [((0.01, 0.02), False), ((0.005, 0.2), True), ((0.0, 0.2), False)])
def test_the_axis_is_logarithmic_where_eces_lie_far_apart(eces, logarithmic):
    raw = two_students(teachers=0)
    for student, ece in zip(raw["students"], eces, strict=True):
        student["ece"] = ece
    figure = pareto(arrange(raw))
    assert figure is not None
    assert ("ECE (logarithmic)" in figure.panels[0].body) == logarithmic


def test_risk_over_coverage_leaves_out_shares_of_too_few_images(three_seeds):
    results = arrange(three_seeds)
    row = next(row for row in results.rows if row.arm == "mixup")
    curve = risk_curve(row, 200)
    assert curve is not None
    assert curve.x[0] == pytest.approx(0.06)  # 0.04 of 200 images are 8
    risks = [m["selective"]["risk"] for m in row.models]
    assert curve.y[-1] == pytest.approx(statistics.mean(risk[-1] for risk in risks))
    assert curve.upper is not None
    assert curve.upper[0] - curve.y[0] == pytest.approx(statistics.stdev(risk[2] for risk in risks))
    figure = risk_coverage(results)
    assert figure is not None
    assert len(figure.panels) == 2
    labels = {key.label for key in figure.keys}
    assert {"Mixup", "KD · T = σ †"} <= labels
    assert not any("(scaled)" in label for label in labels)


# --- information ------------------------------------------------------------------------------------------------------


def with_information() -> dict[str, Any]:
    """Made-up results whose eq. 11 and eq. 10 curves are known."""
    results = make_results()
    lam = results["teachers"][0]["vicinity"]["lam"]
    bump = [x * (1 - x) for x in lam]
    for model in [*results["teachers"], *results["students"]]:
        model["information"] = {
            "lam": lam,
            "entropy_mixed": [0.1 + b for b in bump],
            "entropy_clean": [0.1 for _ in lam],
            "nonlinearity": [3 * b for b in bump],
            "residual_eq11": [-2 * b for b in bump],
        }
    for student in results["students"]:
        for entry in student["versus_teacher"].values():
            entry["information"] = {
                "lam": lam,
                "bound_per_sample": [-b for b in bump],
                "bound_of_mean": [2.0 - b for b in bump],
            }
    return results


def test_the_information_figure_has_both_equations(tmp_path):
    folder = write_results(tmp_path, with_information())
    html = write_report(folder).read_text(encoding="utf-8")
    svg = (folder / "figures/information.svg").read_text(encoding="utf-8")
    assert "H[p(x)] + NL" in svg
    assert svg.count("eq. 11, nats") == svg.count("eq. 10, nats") == 2  # one pair for each teacher
    assert 'id="information"' in html


def test_no_information_no_figure(tmp_path):
    folder = write_results(tmp_path, make_results())
    (folder / "figures").mkdir()
    (folder / "figures/information.svg").write_text("from an earlier report")
    write_report(folder)
    assert not (folder / "figures/information.svg").exists()


def test_differences_to_the_baseline_are_those_of_the_comparator(tmp_path):
    results = make_results(seeds=(0,))
    add_optional(results)
    for student in results["students"]:
        better = student["arm"] == "mixup"
        student["minus_baseline"] = None if student["arm"] == "baseline" else {
            "accuracy_pp": 1.25, "accuracy_pp_interval": [0.5, 2.0], "ece": -0.0621, "nll": -0.031, "brier": 0.002,
        }  # fmt: skip
        for key, value in (("accuracy", 0.8325), ("nll", 0.469), ("brier", 0.302)):
            student[key] = value if better else {"accuracy": 0.82, "nll": 0.5, "brier": 0.3}[key]
            student["intervals"][key] = [student[key] - 0.003, student[key] + 0.003]
    write_report(write_results(tmp_path, results))
    line = next(x for x in (tmp_path / "tables/optional.md").read_text(encoding="utf-8").splitlines() if "| Mixup" in x)
    half = 0.003 * 2**0.5
    assert f"+1.25 (+{1.25 - 100 * half:.2f} to +{1.25 + 100 * half:.2f}, p < 0.001)" in line
    assert f"−0.031 (−{0.031 + half:.3f} to −{0.031 - half:.3f}, p < 0.001)" in line
    assert f"+0.0020 (−{half - 0.002:.4f} to +{half + 0.002:.4f}, p = 0." in line
    assert "−0.062 |" in line  # a difference of two ECEs has no interval
    found = {(x["first"], x["second"], x["quantity"]): x for x in read_csv(tmp_path / "tables/comparisons.csv")}
    assert float(found["Baseline", "Mixup", "accuracy"]["difference"]) == pytest.approx(-1.25)
