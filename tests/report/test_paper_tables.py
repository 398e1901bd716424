"""The paper's tables from made-up studies: every cell recomputed, the paper's values beside, and what is lacking said."""

from __future__ import annotations

import copy
import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_up_paper import CORRUPTIONS, MODELS, make_paper_results
from made_up_results import SHAPES, make_results, some_shapes, versus_own_teacher, write_results

import vicinal
from vicinal.config import SELECTION_SENTENCES
from vicinal.paper import printed_numbers
from vicinal.report import write_report
from vicinal.report.paper.cells import temperature_order
from vicinal.report.paper.figures import paper_figures
from vicinal.report.paper.latex import latex, latex_escape
from vicinal.report.paper.match import paper_data_set, paper_teacher
from vicinal.report.paper.page_part import PaperPart
from vicinal.report.paper.table import PaperTable
from vicinal.report.paper.tables import paper_tables
from vicinal.report.rows import arrange

PAPER = yaml.safe_load((Path(vicinal.__file__).parent / "paper" / "results.yaml").read_text(encoding="utf-8"))
KNOWN = {"calibrated": "convnext_large", "overconfident": "resnet152v2", "third": "convnext_tiny"}


@pytest.fixture(scope="module")
def raw():
    return make_paper_results()


@pytest.fixture(scope="module")
def tables(raw):
    return {table.name: table for table in paper_tables(arrange(raw))}


def cells(table: PaperTable) -> dict[tuple[str, ...], dict[str, object]]:
    found = {row.labels: row.cells for row in table.rows}
    assert len(found) == len(table.rows)
    return found


def students(raw, arm, teacher=None, temperature=None):
    return [m for m in raw["students"] if (m["arm"], m["teacher"], m["temperature"]) == (arm, teacher, temperature)]


def teachers(raw, name):
    return [m for m in raw["teachers"] if m["name"] == name]


def check(value, numbers, paper=None, bounds=None):
    """A cell against its seeds' numbers."""
    assert value.mean == pytest.approx(np.mean(numbers), abs=1e-12)
    assert [s.value for s in value.seeds] == pytest.approx(numbers)
    if len(numbers) > 1:
        assert value.spread == pytest.approx(np.std(numbers, ddof=1))
        assert value.interval is None or value.interval[0] < value.mean < value.interval[1]
    else:
        assert value.spread is None
        assert value.interval == (None if bounds is None else pytest.approx(bounds))
    assert value.paper == (None if paper is None else pytest.approx(paper, abs=1e-9))
    assert value.difference == (None if paper is None else pytest.approx(np.mean(numbers) - paper))


def test_the_papers_numbers_come_from_its_data_file():
    assert printed_numbers() == PAPER


@pytest.mark.parametrize(
    ("source", "name", "classes", "expected"),
    [
        ("torch/CIFAR10", None, 10, "cifar10"),
        ("/data/cifar10-jpeg", "CIFAR-10 (JPEG)", 10, "cifar10"),
        ("hfds/uoft-cs/cifar100", None, 100, "cifar100"),
        ("some/folder", "Cifar-100", 0, "cifar100"),
        ("hfds/imagenet-1k", None, 1000, "imagenet"),
        ("folder", "tiny-imagenet", 200, None),
        ("embedded/fashion-mnist", "Fashion-MNIST", 10, None),
    ],
)
def test_the_papers_data_sets_are_known_by_name(source, name, classes, expected):
    assert paper_data_set({"source": source, "name": name, "class_names": ["c"] * classes}) == expected


def test_the_papers_teachers_are_known_by_model():
    names = (
        "convnext_large.fb_in1k",
        "vit_base_patch16_224.augreg",
        "resnet152.a1_in1k",
        "convnext_tiny",
        "resnet50",
        None,
    )
    expected = ["convnext_large", "vit_base_patch16", "resnet152v2", "convnext_tiny", None, None]
    assert [paper_teacher(name) for name in names] == expected


def test_table_1_holds_every_temperature(raw, tables):
    table = PAPER["table1_temperature_cifar100"]
    found = cells(tables["table1"])
    expected = {("None", "Classic training"): (students(raw, "baseline"), table["classic_training"])}
    expected[("None", "Mixup classic")] = (students(raw, "mixup"), table["mixup_classic"])
    shown = {2.0: "2", 4.0: "4", 6.0: "6", 8.0: "8", 10.0: "10", "sigma": "σ"}
    for name in MODELS:
        label = name + (", trained with mixup" if name == "fourth" else "")
        printed = table.get(KNOWN.get(name), {})
        for temperature, text in shown.items():
            key = "sigma" if temperature == "sigma" else text
            expected[(label, f"KD + mixup, T = {text}")] = (
                students(raw, "kd_mixup", name, temperature),
                printed.get(key, {}),
            )
            classic = printed.get("kd_classic", {}) if temperature == 2.0 else {}
            expected[(label, f"KD classic, T = {text}")] = (students(raw, "kd", name, temperature), classic)
    assert found.keys() == expected.keys()
    for labels, (models, printed) in expected.items():
        row = found[labels]
        check(row["accuracy"], [100 * m["accuracy"] for m in models], printed.get("accuracy_pct"))
        check(row["confidence"], [100 * m["confidence"] for m in models], printed.get("confidence_pct"))
        check(row["ece"], [m["ece"] for m in models], printed.get("ece"))
        assert row["ece"].scale_free == ("σ" in labels[1])
        assert not row["accuracy"].scale_free
    assert tables["table1"].missing == ()


@pytest.mark.parametrize(("data_set", "number"), [("cifar10", 2), ("cifar100", 3), ("imagenet", 4), (None, None)])
def test_performance_tables(data_set, number):
    raw = make_paper_results(data_set, temperatures=(2.0, 4.0))
    tables = {table.name: table for table in paper_tables(arrange(raw))}
    own = tables[f"table{number}" if number else "performance"]
    printed = PAPER[f"table{number}_{data_set}"] if number else {"teachers": {}, "kd_mixup": {}, "baseline": None}
    for other in {2, 3, 4} - {number}:
        assert tables[f"table{other}"].rows == ()
        assert tables[f"table{other}"].missing[0].startswith("a study on ")
    expected = {("vicinal_mobile", "Baseline"): (students(raw, "baseline"), printed["baseline"])}
    for name in MODELS:
        label = name + (", trained with mixup" if name == "fourth" else "")
        expected[(label, "Teacher")] = (teachers(raw, name), printed["teachers"].get(KNOWN.get(name)))
        paper = printed["kd_mixup"].get(KNOWN.get(name))
        expected[("vicinal_mobile", f"KD + mixup, {label}")] = (students(raw, "kd_mixup", name, 2.0), paper)
    found = cells(own)
    assert found.keys() == expected.keys()
    for labels, (models, paper) in expected.items():
        for position, key in enumerate(("accuracy", "confidence", "ece")):
            check(found[labels][key], [m[key] for m in models], paper[position] if paper else None)
    assert own.has_paper == bool(number)
    assert bool(own.setting) == bool(number)


def test_table_5_is_the_mean_and_peak_of_the_teachers_curves(raw, tables):
    found = cells(tables["table5"])
    assert len(found) == len(MODELS)
    for name in MODELS:
        row = found[(name + (", trained with mixup" if name == "fourth" else ""),)]
        paper = PAPER["table5_nonlinearity_cifar100"].get(KNOWN.get(name), [None] * 3)
        curves = [np.array(m["vicinity"]["nonlinearity"]) for m in teachers(raw, name)]
        # On an even grid the trapezoidal mean is the sum without half of both ends.
        means = [(c.sum() - (c[0] + c[-1]) / 2) / (len(c) - 1) for c in curves]
        check(row["global_nl"], means, paper[0])
        check(row["peak_nl"], [c.max() for c in curves], paper[1])
        check(row["ece"], [m["ece"] for m in teachers(raw, name)], paper[2])


def test_table_6_is_each_teachers_student_at_2(raw, tables):
    found = cells(tables["table6"])
    assert len(found) == len(MODELS)
    for name in MODELS:
        row = found[(name + (", trained with mixup" if name == "fourth" else ""),)]
        models = students(raw, "kd_mixup", name, 2.0)
        paper = PAPER["table6_alignment_cifar100"].get(KNOWN.get(name), [None] * 4)
        check(row["peak_gain"], [max(versus_own_teacher(m)["linearity_gain"]) for m in models], paper[0])
        for position, key in enumerate(("kl_real", "kl_mixed", "independent_response"), start=1):
            check(row[key], [versus_own_teacher(m)["alignment"][key] for m in models], paper[position])


def test_table_7_holds_every_corruption_and_severity(raw, tables):
    found = cells(tables["table7"])
    names = ["Gaussian noise", "Motion blur", "Fog", "JPEG", "Contrast", "Pixelate"]
    groups = {"None (baseline)": (students(raw, "baseline"), "baseline")}
    for name in MODELS:
        label = name + (", trained with mixup" if name == "fourth" else "")
        groups[label] = (students(raw, "kd_mixup", name, 2.0), KNOWN.get(name))
    assert len(found) == 6 * len(groups)
    for corruption, shown in zip(CORRUPTIONS, names, strict=True):
        means = {}
        for label, (models, paper_name) in groups.items():
            printed = PAPER["table7_corruption_cifar100_pct"].get(paper_name, {}).get(corruption, [None] * 5)
            accuracy = 100 * np.array([m["corruptions"][corruption]["accuracy"] for m in models])
            means[label] = accuracy.mean(0)
            for k in range(5):
                check(found[label, shown][f"severity_{k + 1}"], accuracy[:, k], printed[k])
                gains = [m["corruptions"][corruption]["gain_pp"] for m in models]
                if label == "None (baseline)":
                    assert f"gain_{k + 1}" not in found[label, shown]
                else:
                    check(found[label, shown][f"gain_{k + 1}"], [g[k] for g in gains])
        for k in range(5):
            best = max(means, key=lambda label: means[label][k])
            marked = [label for label in groups if found[label, shown][f"severity_{k + 1}"].best]
            assert best in marked


@pytest.mark.parametrize(("spread", "all_marked"), [(0.001, False), (0.3, True)])
def test_table_7_marks_the_best_and_what_is_not_told_apart_from_it(spread, all_marked):
    raw = make_paper_results(seeds=(0, 1, 2), temperatures=(2.0,))
    kept = [s for s in raw["students"] if s["arm"] in ("baseline", "kd_mixup")]
    for place, student in enumerate(kept):
        noise = spread * np.random.default_rng(place).standard_normal()
        student["corruptions"]["fog"]["accuracy"] = [0.5 + 0.05 * (student["teacher"] == "third") + noise] * 5
    table = next(t for t in paper_tables(arrange(raw)) if t.number == 7)
    marked = {row.labels[0] for row in table.rows if row.labels[1] == "Fog" and row.cells["severity_3"].best}
    assert (marked == {"third"}) != all_marked
    assert (len(marked) == 5) == all_marked


def test_one_seed_brings_the_stored_intervals():
    raw = make_paper_results(seeds=(0,), temperatures=(2.0,))
    tables = {table.name: table for table in paper_tables(arrange(raw))}
    model = students(raw, "kd_mixup", "calibrated", 2.0)[0]
    row = cells(tables["table3"])["vicinal_mobile", "KD + mixup, calibrated"]
    paper = PAPER["table3_cifar100"]["kd_mixup"]["convnext_large"]
    check(row["accuracy"], [model["accuracy"]], paper[0], tuple(model["intervals"]["accuracy"]))
    check(row["confidence"], [model["confidence"]], paper[1])
    row = cells(tables["table6"])[("calibrated",)]
    peak = int(np.argmax(versus_own_teacher(model)["linearity_gain"]))
    bounds = tuple(versus_own_teacher(model)["linearity_gain_interval"][side][peak] for side in ("lower", "upper"))
    check(
        row["peak_gain"],
        [max(versus_own_teacher(model)["linearity_gain"])],
        PAPER["table6_alignment_cifar100"]["convnext_large"][0],
        bounds,
    )
    teacher = teachers(raw, "calibrated")[0]["vicinity"]
    peak = int(np.argmax(teacher["nonlinearity"]))
    bounds = tuple(teacher["intervals"]["nonlinearity"][side][peak] for side in ("lower", "upper"))
    found = cells(tables["table5"])[("calibrated",)]["peak_nl"]
    check(found, [max(teacher["nonlinearity"])], PAPER["table5_nonlinearity_cifar100"]["convnext_large"][1], bounds)
    fog = model["corruptions"]["fog"]
    half = (fog["gain_pp_interval"]["upper"][2] - fog["gain_pp_interval"]["lower"][2]) / 2
    bounds = fog["gain_pp"][2] - half, fog["gain_pp"][2] + half
    check(cells(tables["table7"])["calibrated", "Fog"]["gain_3"], [fog["gain_pp"][2]], None, bounds)


# --- what is lacking --------------------------------------------------------------------------------------------------


def without(raw, arms=(), keys=()):
    raw = copy.deepcopy(raw)
    raw["students"] = [m for m in raw["students"] if m["arm"] not in arms]
    for model in [*raw["teachers"], *raw["students"]]:
        for key in keys:
            model.pop(key)
    return raw


def lacking(raw, tmp_path):
    results = arrange(raw)
    return dict(PaperPart(tuple(paper_tables(results)), tuple(paper_figures(results, tmp_path))).missing())


@pytest.mark.parametrize(
    ("arms", "keys", "expected"),
    [
        ((), (), {}),
        (("baseline",), (), {"Table 1, in part": "the arm baseline", "Table 3, in part": "the arm baseline"}),
        (("mixup", "kd"), (), {"Table 1, in part": "the arm mixup; the arm kd"}),
        (("kd_mixup",), (), {"Table 1": "the arm kd_mixup", "Table 3, in part": "the arm kd_mixup", "Table 6": "the arm kd_mixup",
                             "Figure 3": "the arm kd_mixup", "Figure 5": "the arm kd_mixup", "Figure 9": "the arm kd_mixup"}),
        ((), ("corruptions",), {"Table 7": "measures.corruptions", "Figure 6": "measures.corruptions"}),
        ((), ("representation",), {"Figure 7": "measures.representation", "Figure 8": "measures.representation"}),
        ((), ("objective",), {"Figure 8": "a teacher trained with mixup"}),
    ],
)  # fmt: skip
def test_what_a_study_does_not_hold_is_listed(raw, tmp_path, arms, keys, expected):
    found = lacking(without(raw, arms, keys), tmp_path)
    for name, words in expected.items():
        assert words in found[name]
    # Beyond that only what no such study holds.
    if not arms and not keys:
        assert found.keys() == {"Table 2", "Table 4", "Figure 2"}


def test_temperatures_not_tried_are_listed(tmp_path):
    found = lacking(make_paper_results(temperatures=(2.0, 6.0)), tmp_path)
    assert found["Table 1, in part"] == "KD + mixup at T = 4, T = 8, T = 10, T = σ"
    assert found["Figure 9, in part"] == found["Table 1, in part"]


def test_without_t_2_the_lowest_temperature_stands_in():
    raw = make_paper_results(temperatures=(4.0, 8.0), seeds=(0,))
    table = next(table for table in paper_tables(arrange(raw)) if table.name == "table6")
    model = students(raw, "kd_mixup", "calibrated", 4.0)[0]
    check(cells(table)[("calibrated",)]["kl_real"], [versus_own_teacher(model)["alignment"]["kl_real"]], 0.039)
    assert "KD + mixup at T = 4." in table.notes


def test_a_value_that_is_null_leaves_no_cell(raw):
    raw = copy.deepcopy(raw)
    for model in students(raw, "kd_mixup", "third", 2.0):
        model["ece"] = None
        model["corruptions"]["fog"]["accuracy"][1] = None
    tables = {table.name: table for table in paper_tables(arrange(raw))}
    assert "ece" not in cells(tables["table3"])["vicinal_mobile", "KD + mixup, third"]
    assert "severity_2" not in cells(tables["table7"])["third", "Fog"]
    assert "| – |" in tables["table3"].markdown()


# --- the files --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(raw, tmp_path_factory):
    folder = write_results(tmp_path_factory.mktemp("study"), raw)
    write_report(folder)
    return folder


def test_the_files_are_there(folder):
    names = {path.name for path in (folder / "paper").iterdir()}
    tables = {f"table{n}.{end}" for n in (1, 3, 5, 6, 7) for end in ("csv", "md", "tex")}
    figures = {f"figure{n}.svg" for n in range(3, 10)} | {
        f"figure{n}.{end}" for n in (5, 6, 7, 8) for end in ("csv", "md", "tex")
    }
    assert names == tables | figures | {"index.md"}


def test_csv_holds_full_digits_and_every_seed(raw, tables, folder):
    for table in tables.values():
        if not table.rows:
            continue
        lines = list(csv.DictReader(io.StringIO((folder / f"paper/{table.name}.csv").read_text(encoding="utf-8"))))
        total = [line for line in lines if line["seed"] == "all"]
        assert len(total) == sum(len(row.cells) for row in table.rows)
        assert len(lines) == 4 * len(total)
        assert {line["selection"] for line in lines} == {raw["selection"]}
        by_key = {(*list(line.values())[: len(table.labels)], line["quantity"]): line for line in total}
        for row in table.rows:
            for key, value in row.cells.items():
                line = by_key[(*row.labels, key)]
                assert float(line["mean"]) == value.mean
                assert float(line["spread"]) == value.spread
                assert line["paper"] == ("" if value.paper is None else repr(value.paper))
                assert line["difference"] == ("" if value.difference is None else repr(value.difference))


def test_markdown_shows_the_value_its_spread_and_the_papers(tables):
    text = tables["table3"].markdown()
    value = cells(tables["table3"])["vicinal_mobile", "Baseline"]["ece"]
    shown = f"{value.mean:.4f} (± {value.spread:.4f}; paper 0.1421, {value.difference:+.4f})".replace("-", "−")
    assert shown in text
    assert SELECTION_SENTENCES["last"] in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_latex_is_balanced_and_escaped(raw, tables, tmp_path):
    raw = copy.deepcopy(raw)
    raw["data"]["name"] = "50 % of #1_set & {more} ~ $x^2$ \\o torch/cifar100"
    hard = {table.name: table for table in paper_tables(arrange(raw))}
    for table in [*tables.values(), *hard.values()]:
        if not table.rows:
            continue
        text = latex(table)
        body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
        for opening, closing in ((r"\begin{table}", r"\end{table}"), (r"\begin{tabular}", r"\end{tabular}")):
            assert body.count(opening) == body.count(closing) == 1
        bare = re.sub(r"\\[\\&%$#_{}]", "", body)
        assert bare.count("{") == bare.count("}")
        assert bare.count("$") % 2 == 0
        assert "%" not in bare
        assert "#" not in bare
        assert all(ord(character) < 128 for character in body)
        columns = len(re.search(r"\\begin{tabular}{([lr]+)}", body)[1])
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {columns}
        outside_maths = re.sub(r"\$[^$]*\$|\\label{[^}]*}", "", bare)
        assert not re.search(r"[_^]", outside_maths.replace(r"\textasciicircum", ""))
    # Table 7: the best of each corruption and severity, and what is not told apart from it.
    assert body.count(r"\textbf{") == sum(cell.best for row in table.rows for cell in row.cells.values()) >= 30


def test_latex_escape():
    assert latex_escape("a_b & 5 %") == r"a\_b \& 5 \%"
    assert latex_escape("T = σ_t, Δ_lin") == r"T = $\sigma_{\mathrm{t}}$, $\Delta_{\mathrm{lin}}$"
    assert latex_escape("\\{x}^~") == r"\textbackslash{}\{x\}\textasciicircum{}\textasciitilde{}"


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_holds_all_of_it_and_an_index(folder):
    path = folder / "report.html"
    html = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 5_000_000
    index = html[html.index('<nav class="index"') : html.index("</nav>")]
    linked = re.findall(r'href="#([\w-]+)"', index)
    sections = re.findall(r'<section id="([\w-]+)"', html)
    articles = re.findall(r'<article id="([\w-]+)"', html)
    assert sorted(linked) == sorted(sections + articles)
    assert {f"paper-table{n}" for n in (1, 3, 5, 6, 7)} | {f"paper-figure{n}" for n in range(3, 10)} <= set(linked)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', html)) <= set(ids)
    assert index.count("<ul>") == index.count("</ul>")
    assert index.count("<li>") == index.count("</li>")
    assert "<b>Figure 2</b>: needs paper/figure2.svg" in html
    assert "paper 0.1421, " in html
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import", html)


@pytest.mark.slow
def test_a_large_study_stays_under_5_mb(tmp_path):
    raw = make_paper_results(points=2000, epochs=500)
    page = write_report(write_results(tmp_path, raw))
    assert page.stat().st_size < 5_000_000


@pytest.mark.parametrize("shape", some_shapes("quickstart", "teachers_only"))
def test_results_without_the_new_keys_still_render(shape, tmp_path):
    results = make_results(**SHAPES[shape])
    html = write_report(write_results(tmp_path, results)).read_text(encoding="utf-8")
    part = html[html.index('<section id="paper"') :]
    assert "<b>Table 7</b>: needs measures.corruptions" in part
    assert "<b>Figure 7</b>: needs measures.representation" in part
    # All of it repeats what stands above, so it is folded and stays out of a print.
    assert part.startswith('<section id="paper" class="quiet">')
    assert "paper 0." not in part
    assert ("paper/table6.csv" in {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}) == bool(
        results["students"]
    )


@pytest.mark.slow
def test_files_of_an_earlier_report_that_are_no_longer_made_go(raw, tmp_path):
    write_report(write_results(tmp_path, raw))
    (tmp_path / "paper/figure2.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'></svg>", encoding="utf-8")
    (tmp_path / "paper/notes.txt").write_text("mine", encoding="utf-8")
    write_report(write_results(tmp_path, without(raw, keys=("corruptions",))))
    left = {path.name for path in (tmp_path / "paper").iterdir()}
    assert not {"table7.csv", "table7.tex", "figure6.svg", "figure6.csv"} & left
    assert {"figure2.svg", "notes.txt", "table1.csv", "figure7.svg"} <= left


def test_temperatures_stand_in_their_order():
    given = ["teacher_sigma", "4sigma", 8.0, "sigma", 0.5, "2sigma", 2.0]
    assert sorted(given, key=temperature_order) == [0.5, 2.0, 8.0, "sigma", "2sigma", "4sigma", "teacher_sigma"]
