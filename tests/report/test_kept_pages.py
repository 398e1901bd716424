"""The pages under docs/results say what the files beside them say, and nothing else."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import statistics
from pathlib import Path

import pytest
from made_up_budgets import with_budgets
from made_up_results import SHAPES, make_results, write_results

from scripts.keep_results import MARK, keep, page_of, without_folders
from vicinal.report import write_report

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PAGES = [folder for folder in sorted(RESULTS.iterdir()) if (folder / "run.md").is_file()]


@pytest.mark.parametrize("folder", PAGES, ids=lambda folder: folder.name)
def test_a_page_is_what_its_files_make(folder):
    assert (folder / "README.md").read_text(encoding="utf-8") == page_of(folder)


@pytest.fixture(scope="module", params=["quickstart", "three_seeds", "teachers_only"])
def kept(request, tmp_path_factory):
    run = write_results(tmp_path_factory.mktemp("run"), make_results(**SHAPES[request.param]))
    write_report(run)
    folder = tmp_path_factory.mktemp("kept")
    (folder / "figure10.svg").write_text("of an earlier study")
    (folder / "notes.txt").write_text("mine")
    keep(run, folder)
    return run, folder


def test_a_page_holds_all_that_was_kept(kept):
    run, folder = kept
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert page.startswith(f"# Mixup-based distillation on Fashion-MNIST\n\n{MARK}\n")
    for name in ("findings.md", "summary.md", "claims.md"):
        assert (run / "tables" / name).read_text(encoding="utf-8").strip() in page
    for path in folder.iterdir():
        if path.suffix in (".csv", ".svg"):
            assert f"]({path.name})" in page


def test_what_was_kept_before_goes_and_other_files_stay(kept):
    _, folder = kept
    assert not (folder / "figure10.svg").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_page_has_no_folders_of_the_machine(kept):
    command = (
        "vicinal run study.yaml --out /home/me/runs/lite data.source=/data/cifar 'weights=/a/b/c.safetensors' lr=1/2"
    )
    shown = "vicinal run study.yaml --out lite data.source=cifar 'weights=c.safetensors' lr=1/2"
    assert without_folders(command) == without_folders(shown) == shown.replace("'weights=/a/b/", "'weights=")
    assert "\n/" not in (kept[1] / "README.md").read_text(encoding="utf-8")


def test_a_changed_sentence_is_seen(kept, tmp_path):
    _, folder = kept
    written = (folder / "README.md").read_text(encoding="utf-8")
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    sentences = (tmp_path / "findings.md").read_text(encoding="utf-8")
    (tmp_path / "findings.md").write_text(sentences.replace("Teacher", "Pupil"), encoding="utf-8")
    assert page_of(tmp_path) != written


def test_a_run_without_a_report_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="vicinal report"):
        keep(tmp_path, tmp_path / "kept")


# --- every number of a sentence stands in a table ----------------------------------------------------------------------

NUMBER = re.compile(r"(?<![\w.@])[+−]?\d+(?:\.\d+)?(?![\w@]|\.\d)")
# Not results: where a curve is read, a coverage, how many cases, seeds, places of λ, students, and the words for a small p.
CONSTANT = re.compile(
    r"D\(0\.5\)|λ = 0\.5|T = \S+|\d+(?:\.\d+)?\u00a0% interval|in 80\u00a0% of cases|p < 0\.001|between 0 and 1|includes 0"
    r"|(?:above|below|from) [01]\b|\d+ of \d+ λ|above 0 at \d+|at the other \d+|for \d+ students|\d+ more students"
    r"|(?:\d+, )*\d+ and \d+ epochs|(?:after|trained|From \d+ to) \d+ epochs?\b|(?:[Aa]ll|for|\d+ of) \d+ pairs of arms|and \d+ more;"
)


def tables_of(folder):
    """What a quote may name, by table: value by (network, other, quantity, statistic), means over seeds where lines are by seed."""
    found: dict[tuple[str, ...], list[float]] = {}
    for line in read_lines(folder / "summary.csv"):
        name = (
            line["name"] if line["role"] == "teacher" or not line["teacher"] else f"{line['name']} ({line['teacher']})"
        )
        for key, value in line.items():
            with contextlib.suppress(ValueError):
                number = float(value)
                found.setdefault(("summary", name, "", key, "mean"), []).append(number)
    for line in read_lines(folder / "between.csv"):
        if line["pairs"] == "training":
            name = (
                line["name"]
                if line["role"] == "teacher" or not line["teacher"]
                else f"{line['name']} ({line['teacher']})"
            )
            for statistic in ("value", "lower", "upper"):
                if line[statistic]:
                    found["between", name, line["versus_teacher"], line["quantity"], statistic] = [
                        float(line[statistic])
                    ]
    for line in read_lines(folder / "budget_comparisons.csv") if (folder / "budget_comparisons.csv").exists() else ():
        for statistic in ("difference", "lower", "upper", "p_value", "smallest_detectable"):
            if line[statistic]:
                key = ("budget_comparisons", line["first"], line["second"], line["quantity"], statistic)
                found[key] = [float(line[statistic])]
    for line in read_lines(folder / "comparisons.csv"):
        quantity = f"{line['quantity']}|{line['quantity_second']}"
        for statistic in ("difference", "lower", "upper", "p_value", "smallest_detectable"):
            if line[statistic]:
                key = ("comparisons", line["first"], line["second"], quantity, statistic)
                found[key] = [float(line[statistic])]
    return {key: statistics.fmean(values) for key, values in found.items()}


def read_lines(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def lookup(tables, line):
    """The number in the table that a quote names; of a difference the other way round as well."""
    key = (line["table"], line["first"], line["second"], line["quantity"], line["statistic"])
    if key in tables:
        return tables[key]
    turned = {"lower": "upper", "upper": "lower"}.get(line["statistic"], line["statistic"])
    quantity = "|".join(reversed(line["quantity"].split("|")))
    value = tables[line["table"], line["second"], line["first"], quantity, turned]
    return value if line["statistic"] in ("p_value", "smallest_detectable") else -value


def check_numbers(folder):
    """Returns how many numbers were checked."""
    tables, quotes = tables_of(folder), {}
    checked = 0
    for line in read_lines(folder / "findings.csv"):
        value = float(line["factor"]) * lookup(tables, line)
        text = line["shown"].lstrip("'")  # a spreadsheet takes what begins with + for a formula
        shown, digits = float(text.replace("−", "-")), len(text.partition(".")[2])
        assert value == pytest.approx(float(line["value"]), rel=1e-9, abs=1e-12), line
        assert abs(value - shown) <= 0.5000001 * 10**-digits, line
        quotes.setdefault(line["question"], []).append(text)
        checked += 1
    for line in (folder / "findings.md").read_text(encoding="utf-8").splitlines():
        asked = re.match(r"- \*\*(.*?)\*\* \*.*?\* (.*)", line)
        # The recommendation has validation figures, and what answers nothing has counts: neither is in a table here.
        if asked is None or asked[1] in ("Which student to take?", "Does every network tell the classes apart?"):
            continue
        numbers = NUMBER.findall(CONSTANT.sub(" ", asked[2]))
        missing = set(numbers) - set(quotes.get(asked[1], []))
        assert not missing, (asked[1], missing, asked[2])
        checked += len(numbers)
    return checked


@pytest.mark.parametrize("folder", PAGES, ids=lambda folder: folder.name)
def test_every_number_of_a_page_stands_in_its_tables(folder):
    assert check_numbers(folder) > 10


def test_every_number_of_a_sentence_stands_in_the_tables(kept):
    _, folder = kept
    assert check_numbers(folder) > 10


@pytest.mark.parametrize("width", [0.002, 0.01, 0.05])
def test_every_number_about_budgets_stands_in_the_tables(tmp_path, width):
    """Narrow intervals make arms change places, wide ones leave it open."""
    gains = {
        "baseline": (0.80, 0.80, 0.80),
        "mixup": (0.79, 0.81, 0.82),
        "kd": (0.83, 0.83, 0.83),
        "kd_mixup": (0.82, 0.84, 0.85),
    }
    run = write_results(tmp_path / "run", with_budgets(gains, width=width))
    write_report(run)
    keep(run, tmp_path / "kept")
    assert check_numbers(tmp_path / "kept") > 30
    said = [
        line["question"]
        for line in read_lines(tmp_path / "kept" / "findings.csv")
        if line["table"] == "budget_comparisons"
    ]
    assert len(set(said)) == 2


def test_a_number_that_is_in_no_table_is_found(kept, tmp_path):
    _, folder = kept
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    sentences = (tmp_path / "findings.md").read_text(encoding="utf-8")
    place = re.search(r"\d\d\.\d", sentences)
    assert place is not None
    (tmp_path / "findings.md").write_text(sentences.replace(place[0], "12.3", 1), encoding="utf-8")
    with pytest.raises(AssertionError):
        check_numbers(tmp_path)
