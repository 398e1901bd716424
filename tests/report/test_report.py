"""The report's files: numbers, words, errors, and what every shape of results renders to."""

from __future__ import annotations

import copy
import csv
import io
import re
import statistics
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from made_up_results import SHAPES, make_results, some_shapes, versus_own_teacher, write_results

from vicinal.config import SELECTION_SENTENCES
from vicinal.errors import UsageError
from vicinal.report import write_report
from vicinal.report.figures import scaled_curves
from vicinal.report.figures.scaled import _gain
from vicinal.report.rows import SCALED, arrange, student_label
from vicinal.report.tables import between_csv, between_tables
from vicinal.report.tables.core import COLUMNS, SCALE_FREE_NOTE, shown_table


def read_csv_text(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def read_csv(path: Path) -> list[dict[str, str]]:
    return read_csv_text(path.read_text(encoding="utf-8"))


@pytest.fixture(
    scope="module",
    params=some_shapes("quickstart", "sigma_and_temperatures", "teachers_only", "with_answers_over_seeds"),
)
def shape(request, tmp_path_factory):
    """Every shape of results, reported once."""
    results = make_results(**SHAPES[request.param])
    folder = write_results(tmp_path_factory.mktemp("study") / request.param, results)
    page = write_report(folder)
    return request.param, results, folder, page.read_text(encoding="utf-8")


def test_every_shape_renders_all_files(shape):
    _, results, folder, html = shape
    assert html.startswith("<!DOCTYPE html>")
    assert html.rstrip().endswith("</html>")
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    expected = {"results.json", "report.html", "tables/summary.csv", "tables/summary.md", "tables/vicinity.csv"}
    expected |= {"tables/claims.csv", "tables/claims.md", "tables/findings.md", "tables/run.md"}
    expected |= {"tables/findings.csv", "tables/between.csv", "tables/between.md", "tables/comparisons.csv"}
    expected |= {"figures/confidence_accuracy.svg", "figures/vicinal_curves.svg"}
    if "answers" in results["teachers"][0]:
        expected |= {"tables/classes.csv", "tables/classes.md"}
    if results["measures"]["calibrated_on"]:
        expected |= {"figures/scaled_curves.svg"}
    if results["students"]:
        expected |= {"tables/versus_teacher.csv", "figures/linearity_gain.svg", "figures/alignment.svg"}
        expected |= {"figures/pareto.svg", "tables/ship.md"}
    assert {path for path in written if not path.startswith("paper/")} == expected
    for svg in (folder / "figures").glob("*.svg"):
        ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    assert "None" not in re.sub(r"<details>.*", "", html, flags=re.DOTALL)
    assert not re.search(r"\bnan\b", html)


def test_the_page_asks_the_network_for_nothing(shape):
    html = shape[3]
    links = re.findall(r"https?://[^\s\"'<>)]+", html)
    assert set(links) == {"https://arxiv.org/abs/2606.12171"}
    assert len(links) == html.count('<a href="https://arxiv.org/abs/2606.12171">')
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import|url\((?!#)", html)


def test_ids_are_unique_and_references_resolve(shape):
    _, _, folder, html = shape
    for text in (html, *(path.read_text(encoding="utf-8") for path in (folder / "figures").glob("*.svg"))):
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(ids)


def test_every_table_says_the_selection(shape):
    _, results, folder, html = shape
    sentence = SELECTION_SENTENCES[results["selection"]]
    assert sentence in (folder / "tables/summary.md").read_text(encoding="utf-8")
    assert sentence in html[html.index("</table>") : html.index("<figure>")].replace("&#39;", "'")
    for table in (folder / "tables").glob("*.csv"):
        assert {line["selection"] for line in read_csv(table)} == {results["selection"]}


def test_summary_csv_holds_the_numbers_of_the_results(shape):
    _, results, folder, _ = shape
    lines = read_csv(folder / "tables/summary.csv")
    models = {(None, m["name"], None, m["seed"]): m for m in results["teachers"]}
    models |= {(m["arm"], m["teacher"], m["temperature"], m["seed"]): m for m in results["students"]}
    assert len(lines) == len(models)
    for line in lines:
        teacher = line["teacher"] if line["role"] == "student" else line["name"]
        temperature: str | float | None = line["temperature"] or None
        if temperature and temperature not in ("sigma", "teacher_sigma"):
            temperature = float(temperature)
        model = models[line["arm"] or None, teacher or None, temperature, int(line["seed"])]
        for key in ("accuracy", "confidence", "ece", "ece_equal_mass", "nll", "brier", "training_s"):
            assert float(line[key]) == model[key]
        scaled = model["ece_after_temperature_scaling"]
        assert line["ece_after_temperature_scaling"] == ("" if scaled is None else repr(scaled))
        assert float(line["ece_lower"]) == model["intervals"]["ece"][0]
        assert float(line["nonlinearity_0.5"]) == model["vicinity"]["nonlinearity"][10]
        assert float(line["dominance_0.5"]) == model["vicinity"]["dominance"][10]
        beside = versus_own_teacher(model) if model.get("teacher") else None
        assert line["linearity_gain_0.5"] == ("" if beside is None else repr(beside["linearity_gain"][10]))
        assert line["kl_mixed"] == ("" if beside is None else repr(beside["alignment"]["kl_mixed"]))


def test_vicinity_csv_holds_every_curve(shape):
    _, results, folder, _ = shape
    lines = [line for line in read_csv(folder / "tables/vicinity.csv") if line["temperature_scaled"] == "False"]
    models = results["teachers"] + results["students"]
    assert len(lines) == 21 * len(models)
    first = lines[:21]
    vicinity = models[0]["vicinity"]
    assert [float(line["lam"]) for line in first] == vicinity["lam"]
    assert [float(line["nonlinearity"]) for line in first] == vicinity["nonlinearity"]
    assert [float(line["entropy_upper"]) for line in first] == vicinity["intervals"]["entropy"]["upper"]


def test_versus_teacher_csv_compares_students_without_a_teacher(tmp_path):
    results = make_results()
    write_report(write_results(tmp_path, results))
    lines = [line for line in read_csv(tmp_path / "tables/versus_teacher.csv") if line["arm"] == "mixup"]
    assert [line["versus_teacher"] for line in lines] == ["calibrated", "overconfident"]
    mixup = next(m for m in results["students"] if m["arm"] == "mixup")
    assert float(lines[1]["linearity_gain_0.5"]) == mixup["versus_teacher"]["overconfident"]["linearity_gain"][10]


def test_mean_and_spread_over_seeds(tmp_path):
    results = make_results(seeds=(0, 1, 2))
    section = next(s for s in shown_table(arrange(results)) if s.heading == "Teacher overconfident")
    line = next(found for found in section.lines if found.label == "KD + mixup")
    models = [m for m in results["students"] if m["arm"] == "kd_mixup" and m["teacher"] == "overconfident"]
    headings = [column.heading for column in COLUMNS]
    accuracy, ece = line.cells[headings.index("Accuracy %")], line.cells[headings.index("ECE")]
    values = [100 * m["accuracy"] for m in models]
    assert accuracy.text == f"{statistics.mean(values):.1f}"
    low, high = map(float, accuracy.small.split(" to "))
    # Student's t of three seeds is 4.30 on its own; what all arms show of the seeds makes it less, the images make it more.
    assert low < statistics.mean(values) < high
    assert accuracy.tooltip == "95\u00a0% interval over 3 seeds and the images"
    assert ece.text == f"{statistics.mean(m['ece'] for m in models):.3f}"
    assert ece.small == f"± {statistics.stdev(m['ece'] for m in models):.3f}"
    write_report(write_results(tmp_path, results))
    markdown = (tmp_path / "tables/summary.md").read_text(encoding="utf-8")
    assert f"{accuracy.text} ({accuracy.small})" in markdown
    assert f"{ece.text} {ece.small}" in markdown


def between_cells(results, heading="Between training images"):
    """Text and range of every cell by section, row and column."""
    table = next(table for table in between_tables(arrange(results)) if table.heading == heading)
    headings = [column.heading for column in table.columns]
    return {
        (section.heading, line.label, name): (cell.text, cell.small)
        for section in table.sections
        for line in section.lines
        for name, cell in zip(headings, line.cells, strict=True)
    }


def test_figures_between_images_stand_raw_and_scaled_with_intervals():
    results = make_results()
    cells = between_cells(results)
    model = next(m for m in results["students"] if m["arm"] == "kd_mixup" and m["teacher"] == "overconfident")
    who = ("Teacher overconfident", "KD + mixup")
    for scaled, word in (("", ""), (SCALED, " scaled")):
        curves = model[f"vicinity{scaled}"]
        for quantity, name in (("nonlinearity", "NL(½)"), ("linearity_information", "I_lin(½)")):
            signed = "+" if quantity == "linearity_information" else ""
            text, small = cells[(*who, name + word)]
            assert text == f"{curves[quantity][10]:{signed}.3f}".replace("-", "−")
            bounds = sorted(curves["intervals"][quantity][side][10] for side in ("lower", "upper"))
            shown = [float(end.replace("−", "-")) for end in small.split(" to ")]
            assert sorted(shown) == pytest.approx(bounds, abs=6e-4)
        ratio = curves["nonlinearity"][10] / curves["entropy"][10]
        assert cells[(*who, f"D(½){word}")][0] == f"{ratio:.3f}"
        gain = versus_own_teacher(model)[f"linearity_gain{scaled}"][10]
        assert cells[(*who, f"Δ_lin(½){word}")][0] == f"{gain:+.3f}".replace("-", "−")
    assert cells[(*who, "KL real")][0] == f"{versus_own_teacher(model)['alignment']['kl_real']:.3f}"
    assert (
        cells[("Without a teacher", "Mixup", "KL real")][0] == "–"
    )  # with two teachers there is no one to compare it with


def test_held_out_pairs_and_pairs_of_one_class_have_tables_of_their_own():
    results = make_results(seeds=(0, 1))
    at_half = {"pairs": 10, "images": 20, "nonlinearity": 0.5, "entropy": 0.6, "dominance": 0.83, "intervals": None}
    for model in results["teachers"] + results["students"]:
        halved = {
            k: [0.5 * x for x in v] if isinstance(v, list) and k != "lam" else v for k, v in model["vicinity"].items()
        }
        by_class = {"same": at_half, "different": at_half | {"dominance": 1.83}}
        model["held_out"] = {"vicinity": halved, "by_class": by_class}
        model["by_class"] = {"same": at_half | {"dominance": 0.46}, "different": at_half | {"dominance": 1.8}}
        for found in (model.get("versus_teacher") or {}).values():
            held = {key: found[key] for key in ("linearity_gain", "alignment")}
            found["held_out"] = copy.deepcopy(held)
            found["held_out"]["alignment"]["kl_real"] = 0.777
    held_out = between_cells(results, "Between held-out images")
    training = between_cells(results)
    who = ("Teacher calibrated", "KD")
    assert held_out[(*who, "KL real")][0] == "0.777"
    assert float(held_out[(*who, "NL(½)")][0]) == pytest.approx(float(training[(*who, "NL(½)")][0]) / 2, abs=1e-3)
    assert not any(name.endswith("scaled") and "NL" in name for _, _, name in held_out)
    apart = between_cells(results, "Between training images of one class and of two")
    assert apart[("Teacher calibrated", "Teacher", "D(½), one class")][0] == "0.460"
    assert apart[("Teacher calibrated", "Teacher", "D(½), two classes")][0] == "1.800"
    assert (
        between_cells(results, "Between held-out images of one class and of two")[(*who, "D(½), two classes")][0]
        == "1.830"
    )
    lines = read_csv_text(between_csv(arrange(results)))
    found = [x for x in lines if x["pairs"] == "held_out" and x["quantity"] == "kl_real" and x["arm"] == "kd"]
    assert {x["versus_teacher"] for x in found} == {"calibrated", "overconfident"}
    assert {float(x["value"]) for x in found} == {0.777}


def test_the_scaled_curves_are_those_after_temperature_scaling():
    results = arrange(make_results(temperatures=(2.0, "sigma")))
    figure = scaled_curves(results)
    assert figure is not None
    titles = [panel.title for panel in figure.panels]
    assert len(titles) == 3 * 2
    assert "Δ_lin(λ) over λ after temperature scaling: overconfident and its students" in titles
    assert not any("†" in key.label for key in figure.keys)
    row = next(row for row in results.distilled if row.scale_free)
    curve = _gain(row, results.teachers[0])
    assert curve is not None
    assert curve.y.tolist() == row.models[0]["versus_teacher"]["calibrated"]["linearity_gain_after_temperature_scaling"]
    assert scaled_curves(arrange(make_results(validation=False))) is None


def test_negative_gains_are_shown_with_a_minus_sign():
    results = make_results()
    for student in results["students"]:
        for beside in student["versus_teacher"].values():
            beside["linearity_gain"] = [-value for value in beside["linearity_gain"]]
    assert between_cells(results)[("Teacher calibrated", "KD + mixup", "Δ_lin(½)")][0].startswith("−0.")


def test_scale_free_students_carry_a_note_and_marks(shape):
    name, results, folder, html = shape
    has_sigma = any(m["scale_free"] for m in results["students"])
    assert has_sigma == (name in ("sigma_and_temperatures", "no_validation"))
    marked = html.count('class="scale-free"')
    assert (SCALE_FREE_NOTE[:40] in html) == has_sigma
    assert (marked > 0) == has_sigma
    assert (SCALE_FREE_NOTE in (folder / "tables/summary.md").read_text(encoding="utf-8")) == has_sigma


def test_without_a_validation_split_nothing_is_scaled(tmp_path):
    html = write_report(write_results(tmp_path, make_results(validation=False))).read_text(encoding="utf-8")
    assert "no validation split" in html
    assert "No validation split, so nothing is temperature-scaled." in html


def test_the_papers_protocol_is_prominent(tmp_path):
    page = write_report(write_results(tmp_path, make_results(selection="paper_best_test"))).read_text(encoding="utf-8")
    assert page.count('class="warning"') == 2
    ordinary = write_report(write_results(tmp_path, make_results())).read_text(encoding="utf-8")
    assert 'class="warning"' not in ordinary


def test_text_from_the_data_is_escaped(tmp_path):
    results = make_results()
    results["data"]["class_names"][0] = "<script>alert(1)</script>"
    results["title"] = "a <b>title</b> & more"
    results["notes"] = ["<img src=x>"]
    html = write_report(write_results(tmp_path, results)).read_text(encoding="utf-8")
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<b>title" not in html
    assert "<img" not in html


def test_the_same_results_give_the_same_bytes(tmp_path):
    first = write_results(tmp_path / "a", make_results())
    second = write_results(tmp_path / "b", make_results())
    write_report(first)
    write_report(second)
    for path in sorted(first.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def test_missing_optional_parts_leave_empty_cells(tmp_path):
    results = make_results()
    for model in results["teachers"] + results["students"]:
        model.pop("intervals")
        model["vicinity"].pop("intervals")
        model.pop("fitted_temperature")
        model["vicinity"]["dominance"][0] = None
    for student in results["students"]:
        student.pop("versus_teacher")
    assert write_report(write_results(tmp_path, results)).is_file()


def test_labels():
    assert student_label("kd_mixup", 2.0, several=False) == "KD + mixup"
    assert student_label("kd_mixup", 4.0, several=True) == "KD + mixup · T = 4"
    assert student_label("kd", "sigma", several=False) == "KD · T = σ"
    assert student_label("kd", "teacher_sigma", several=True) == "KD · T = σ_t"
    assert student_label("baseline", None, several=False) == "Baseline"
    assert student_label("kd", "2sigma", several=False) == "KD · T = 2σ"
    assert student_label("gentle", 0.5, several=True) == "gentle · T = 0.5"


@pytest.mark.parametrize(
    ("arm", "terms", "label"),
    [
        ("kd_mixup", {"dkd": {"weight": 1.0, "alpha": 1.0, "beta": 8.0}}, "KD + mixup + DKD"),
        ("kd_mixup", {"dkd": {"weight": 0.5, "alpha": 1.0, "beta": 2.0}}, "KD + mixup + 0.5 DKD (beta 2.0)"),
        ("my_dkd", {"dkd": {"weight": 0.5, "alpha": 1.0, "beta": 2.0}}, "my dkd"),
        (
            "kd",
            {"hard_cross_entropy": {"weight": 0.1, "label": "own"}, "mine": -2.0},
            "KD + 0.1 hard CE (label own) + -2 mine",
        ),
    ],
)
def test_further_terms_stand_beside_an_arms_name(arm, terms, label):
    assert student_label(arm, 2.0, several=False, terms=terms) == label


def test_missing_results_are_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"has no results\.json") as raised:
        write_report(tmp_path)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 2, "version": "0.1.0"}'])
def test_damaged_results_are_a_usage_error(tmp_path, content):
    (tmp_path / "results.json").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="vicinal run") as raised:
        write_report(tmp_path)
    assert "\n" not in str(raised.value)


def test_another_schema_names_the_version_that_wrote_it(tmp_path):
    with pytest.raises(UsageError, match=r"schema 99, written by vicinal 7\.3\.0") as raised:
        write_report(write_results(tmp_path, {**make_results(), "schema": 99, "version": "7.3.0"}))
    assert str(tmp_path) in str(raised.value)
    assert "run the study again" in str(raised.value)
    assert not (tmp_path / "report.html").exists()


def test_a_lacking_key_is_named(tmp_path):
    results = copy.deepcopy(make_results())
    del results["students"][1]["ece"]
    with pytest.raises(UsageError, match=r"students\[1\]\.ece"):
        write_report(write_results(tmp_path, results))
    results = copy.deepcopy(make_results())
    del results["teachers"][0]["reliability"]["count"]
    with pytest.raises(UsageError, match=r"teachers\[0\]\.reliability\.count"):
        write_report(write_results(tmp_path, results))


def test_a_legend_says_scaled_only_where_it_is(tmp_path):
    for validation in (True, False):
        folder = write_results(tmp_path / str(validation), make_results(validation=validation, temperatures=("sigma",)))
        write_report(folder)
        assert ("† (scaled)" in (folder / "figures/vicinal_curves.svg").read_text(encoding="utf-8")) == validation


def test_one_teacher_for_all_seeds(tmp_path):
    results = make_results(seeds=(0, 1, 2))
    results["teachers"] = [{**teacher, "seed": 7} for teacher in results["teachers"] if teacher["seed"] == 0]
    html = write_report(write_results(tmp_path, results)).read_text(encoding="utf-8")
    assert "Seeds 0, 1, 2." in html
    assert "for a network of one seed its 95\u00a0% interval by resampling the images of the pairs" in html


EDITS = {
    "a curve cut short": lambda raw: raw["students"][0]["vicinity"]["nonlinearity"].pop(),
    "λ without values": lambda raw: raw["teachers"][0]["vicinity"].update(lam=[]),
    "bins of other lengths": lambda raw: raw["students"][1]["reliability"]["count"].pop(),
    "classes without names": lambda raw: raw["data"].update(class_names=["only one"]),
    "classes without recall": lambda raw: raw["students"][0]["answers"].update(class_accuracy=[0.5]),
    "an interval upside down": lambda raw: raw["students"][0]["intervals"].update(accuracy=[2.0, -1.0]),
    "the same network twice": lambda raw: raw["students"].append(raw["students"][0]),
    "a teacher that is not there": lambda raw: raw["students"][-1].update(teacher="nobody"),
    "no test images": lambda raw: raw["data"].update(test=0, validation=0),
}


@pytest.mark.parametrize("edit", EDITS)
def test_results_edited_by_hand_are_reported_or_refused_in_a_line(tmp_path, edit):
    results = make_results(answers=True)
    EDITS[edit](results)
    write_results(tmp_path, results)
    said = ""
    try:
        write_report(tmp_path)
    except UsageError as error:
        said = str(error)
    assert "\n" not in said
    assert ("has no checksum, so it was edited" in said) == (not (tmp_path / "report.html").exists())
    assert said or edit not in ("a curve cut short", "λ without values", "bins of other lengths")
