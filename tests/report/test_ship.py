"""The answer whether to ship: the rule about lost classes, what the page and the terminal say first, and where the weights lie."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from made_up_budgets import with_budgets
from made_up_optional import add_optional
from made_up_results import CLASSES, make_results, write_results
from rich.console import Console
from scipy.stats import beta, binom

from scripts.simulate.fitness import ERROR, rate
from vicinal.report import terminal_summary, write_report
from vicinal.report.fitness import (
    Recall,
    balanced_accuracy,
    least_recall,
    lost_classes,
    most_recall,
    never_recognised,
    wilson,
)
from vicinal.report.rows import arrange
from vicinal.report.ship import ship_answer, ship_csv, ship_markdown
from vicinal.report.tables import images_context
from vicinal.report.terms import explained

pytestmark = pytest.mark.usefixtures("without_pictures")

IMAGES = 500  # of each class


def study(**shape: Any) -> dict[str, Any]:
    """Results as `vicinal run` writes them today: recalls, images by class, selective prediction, costs; KD + mixup is selected."""
    raw = add_optional(make_results(**{"teachers": 1, "answers": True, **shape}))
    raw["data"]["images_by_class"] = {"train": [900] * 10, "validation": [100] * 10, "test": [IMAGES] * 10}
    for model in raw["teachers"] + raw["students"]:
        model |= {"forward_flops": 4_000_000, "weights_bytes": 130_000, "predicted_per_second": 900.0}
        if "arm" in model:
            best = model["arm"] == "kd_mixup"
            model["validation"] = {"accuracy": 0.852 if best else 0.80, "confidence": 0.85, "ece": 0.02, "nll": 0.5 if best else 0.7,
                                   "brier": 0.2, "class_accuracy": [0.85 if best else 0.8] * 10}  # fmt: skip
            model["accuracy"], model["ece"], model["nll"] = (0.852 if best else 0.80), 0.02, (0.5 if best else 0.7)
            model["intervals"]["accuracy"] = [model["accuracy"] - 0.01, model["accuracy"] + 0.01]
    return raw


def of_arm(raw: dict[str, Any], arm: str) -> list[dict[str, Any]]:
    return [student for student in raw["students"] if student["arm"] == arm]


def answer_of(raw: dict[str, Any]) -> Any:
    found = ship_answer(arrange(raw))
    assert found is not None
    return found


# --- the rule ---------------------------------------------------------------------------------------------------------


def test_a_class_is_lost_by_the_exact_test_after_holm():
    recalls = [Recall("a", 400, 500), Recall("b", 30, 500), Recall("c", 33, 500), Recall("none", 0, 0)]
    least = least_recall(4)
    assert least == 0.25
    p = [binom.cdf(one.right, one.images, least) for one in recalls[:3]]
    assert p[1] * 3 < 0.01 > p[2] * 2
    assert [one.name for one in lost_classes(recalls, 0.01)] == ["b", "c"]
    # 0 of 8 images is not clear, and is left open.
    few = [Recall("a", 90, 100), Recall("rare", 0, 8)] + [Recall(str(k), 9, 10) for k in range(8)]
    assert lost_classes(few, 0.05) == []
    assert [one.name for one in never_recognised(few)] == ["rare"]
    assert most_recall(few[1]) == pytest.approx(beta.ppf(0.975, 1, 8))


def test_shares_and_their_intervals():
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(50, 100)
    assert (low, high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))  # Newcombe 1998
    assert balanced_accuracy([Recall("a", 9, 10), Recall("b", 50, 100), Recall("c", 0, 0)])[0] == pytest.approx(0.7)
    assert balanced_accuracy([]) is None


@pytest.mark.parametrize(("classes", "images"), [(2, 30), (10, 50), (10, 500)])
def test_a_recognised_class_is_seldom_called_lost_and_a_lost_one_is_found(classes: int, images: int):
    assert rate(classes, images, "at the bound", 600) <= ERROR + 3 * (ERROR / 600) ** 0.5
    if images * least_recall(classes) > 10:
        assert rate(classes, images, "one never", 200) == 1.0


# --- the answer -------------------------------------------------------------------------------------------------------


def test_a_sound_student_is_fit_and_all_that_a_reader_wants_is_said():
    found = answer_of(study())
    assert (found.verdict, found.word) == ("yes", "Fit to ship")
    assert found.sentence.startswith("KD + mixup at T = 2 with teacher calibrated is fit to ship. Accuracy 85.2")
    assert "points below teacher calibrated with 9.8 times fewer parameters" in found.sentence
    facts = {fact.name: fact.text for fact in found.facts}
    assert list(facts) == ["Student", "Accuracy", "Size and cost", "Weakest class", "Probabilities", "Where to refuse"]
    assert facts["Weakest class"].startswith("“T-shirt/top”: ")
    assert "4 MFLOPs an image" in facts["Size and cost"]
    assert found.weights == "runs/run-0/weights.safetensors"
    assert found.commands[0] == "vicinal export . --out student"


@pytest.mark.parametrize("others_too", [False, True])
def test_a_student_that_loses_a_class_is_not_fit(others_too: bool):
    raw = study()
    for student in raw["students"] if others_too else of_arm(raw, "kd_mixup"):
        student["answers"]["class_accuracy"][3] = 0.01
    found = answer_of(raw)
    assert found.verdict == "no"
    assert "it recognises 5 of 500 images of “Dress”, clearly fewer than 20.0\u00a0%" in found.sentence
    assert found.sentence.startswith("None of the students is fit to ship") == others_too
    assert ("Without such a fault on these test images: Baseline, Mixup and KD" in found.sentence) != others_too
    assert not found.commands


def test_what_loses_a_class_on_validation_images_is_not_selected():
    raw = study()
    for student in of_arm(raw, "kd_mixup"):
        student["validation"]["class_accuracy"][3] = 0.0
    found = answer_of(raw)
    assert "KD + mixup" not in found.sentence
    assert found.verdict == "yes"


def test_mean_recall_and_not_accuracy_is_what_is_selected_by():
    raw = study()
    (other,) = of_arm(raw, "kd")
    other["validation"]["class_accuracy"] = [0.95] * 10  # less accurate, since its larger classes suffer
    assert answer_of(raw).sentence.startswith("KD at T = 2")


def test_a_class_of_few_images_leaves_it_open():
    raw = study()
    raw["data"]["images_by_class"]["test"][3] = 8
    for student in of_arm(raw, "kd_mixup"):
        student["answers"]["class_accuracy"][3] = 0.0
    found = answer_of(raw)
    assert (found.verdict, found.word) == ("undecided", "Open")
    assert "it never recognises “Dress” (8 images: at most 36.9\u00a0%)" in found.sentence


def test_a_student_that_keeps_too_little_of_its_teacher_is_not_fit():
    raw = study()
    for student in raw["students"]:
        student["accuracy"] = student["validation"]["accuracy"] = 0.40
        student["intervals"]["accuracy"] = [0.39, 0.41]
    found = answer_of(raw)
    assert found.verdict == "no"
    assert (
        "it keeps less than half of what its teacher calibrated has beyond the commonest class’s share"
        in found.sentence
    )


def test_a_student_below_the_baseline_is_not_fit():
    raw = study()
    for student in of_arm(raw, "baseline"):
        student["accuracy"], student["intervals"]["accuracy"] = 0.90, [0.895, 0.905]
    found = answer_of(raw)
    assert found.verdict == "no"
    assert "it is 4.8 points less accurate than the baseline, clearly more than" in found.sentence


def test_without_validation_images_nothing_is_chosen_and_test_images_that_chose_confirm_nothing():
    found = answer_of(add_optional(make_results(validation=False)))
    assert found.verdict == "undecided"
    assert "there are no validation images to choose one by" in found.sentence
    assert "the test images selected its epochs" in answer_of(study(selection="paper_best_test")).sentence
    assert ship_answer(arrange(make_results(arms=()))) is None


def test_of_several_seeds_one_network_is_named():
    raw = study(seeds=(0, 1, 2))
    for student in of_arm(raw, "kd_mixup"):
        student["validation"]["nll"] = {0: 0.52, 1: 0.48, 2: 0.50}[student["seed"]]
    found = answer_of(raw)
    assert found.weights == "runs/run-1/weights.safetensors"
    assert "seed 1 of 3" in found.facts[0].text


def test_a_single_student_is_judged_too():
    found = answer_of(study(arms=("kd_mixup",)))
    assert found.verdict == "yes"


def test_a_folder_that_is_no_plain_name_is_no_link():
    raw = study()
    for student in raw["students"]:
        student["run"] = '../x" onload="y'
    assert answer_of(raw).weights == ""


def test_the_first_budget_is_named():
    gains = {"baseline": (0.80, 0.80, 0.80), "kd_mixup": (0.85, 0.84, 0.85)}
    html_words = ship_markdown(arrange(add_optional(with_budgets(gains)))) or ""
    assert re.search(r"trained \d+ epochs?, the study’s first budget", html_words)


# --- where it is shown ------------------------------------------------------------------------------------------------


def test_the_page_answers_first_and_the_papers_claims_come_last(tmp_path):
    html = write_report(write_results(tmp_path, study())).read_text(encoding="utf-8")
    order = [
        html.index(f'<section id="{name}"') for name in ("ship", "findings", "table", "rerun", "study-claims", "paper")
    ]
    assert order == sorted(order)
    assert '<a href="runs/run-0/weights.safetensors">' in html
    # Every term is explained once, where it first stands.
    for term in ("ECE", "NLL", "nats", "NL"):
        assert len(re.findall(rf"<abbr [^>]*>{term}</abbr>", html)) == 1
        assert html.count(f"<b>{term}</b>: ") == 1
    assert len(re.findall(r"<abbr [^>]*>Δ<sub>lin</sub></abbr>", html)) == 1


def test_every_number_of_the_answer_is_in_its_table():
    results = arrange(study())
    answer, lines = answer_of(study()), list(csv.DictReader(io.StringIO(ship_csv(results) or "")))
    for line in lines:
        shown = float(line["shown"].replace("−", "-"))
        assert abs(float(line["value"]) - shown) <= 0.5000001 * 10 ** -len(line["shown"].partition(".")[2])
    told = {line["shown"] for line in lines}
    sentence = re.sub(r"T = 2|\(.*?\)", " ", answer.sentence)
    assert set(re.findall(r"\d+\.\d+", sentence)) <= told


def test_terms_stay_out_of_tags_headings_and_code():
    page = '<main><section><h2>NL</h2><p title="NL">see <code>NL</code> NL, NL</p></section></main>'
    shown = explained(page)
    assert shown.count("<abbr") == 1
    assert '<h2>NL</h2><p title="NL">see <code>NL</code> <abbr' in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_the_terminal_shows_the_table_and_the_sentence(tmp_path, terminal: bool):
    raw = study()
    raw["data"]["images_by_class"]["test"][0] = 1000
    table, text = terminal_summary(write_results(tmp_path, raw))
    out = io.StringIO()
    Console(file=out, force_terminal=terminal, width=120).print(table)
    assert "→ KD + mixup (calibrated)" in out.getvalue()
    assert "balanced %" in out.getvalue()
    assert ("\x1b" in out.getvalue()) == terminal
    assert text.splitlines()[0].startswith("Fit to ship: KD + mixup at T = 2 with teacher calibrated is fit to ship.")
    assert text.splitlines()[-1] == f"weights: {tmp_path / 'runs/run-0/weights.safetensors'}"


def test_a_long_table_is_cut_on_a_terminal(tmp_path):
    raw = study(teachers=4, temperatures=(1.0, 2.0, 4.0, 8.0))
    table, text = terminal_summary(write_results(tmp_path, raw))
    assert table.row_count == 12
    assert "more in the report" in text
    teachers = terminal_summary(write_results(tmp_path / "t", make_results(arms=())))
    assert "highest accuracy of the teachers" in teachers[1]


# --- classes of unequal size --------------------------------------------------------------------------------------------


def test_unequal_classes_are_shown_with_the_balanced_accuracy(tmp_path):
    raw = study()
    counts = raw["data"]["images_by_class"]
    counts["train"][0], counts["test"][1] = 3600, 100
    folder = write_results(tmp_path, raw)
    html = write_report(folder).read_text(encoding="utf-8")
    assert "Training images are unequal: “T-shirt/top” has 4.0 times those of “Trouser” (3,600 and 900)." in html
    assert "“T-shirt/top” is 30.8\u00a0% of the training images and 10.9\u00a0% of the test images" in html
    assert "Balanced %" in (folder / "tables/summary.md").read_text(encoding="utf-8")
    lines = list(csv.DictReader((folder / "tables/images.csv").open(encoding="utf-8")))
    assert [line["train"] for line in lines][:2] == ["3600", "900"]
    assert "balanced accuracy" in {fact.name: fact.text for fact in answer_of(raw).facts}["Accuracy"]


def test_equal_classes_are_said_to_be_equal(tmp_path):
    folder = write_results(tmp_path, study())
    html = write_report(folder).read_text(encoding="utf-8")
    assert "Classes are of about equal size in every split." in html
    assert "Balanced %" not in (folder / "tables/summary.md").read_text(encoding="utf-8")


def test_of_many_classes_the_largest_and_the_smallest_are_shown():
    raw = study()
    raw["data"]["class_names"] = [f"class number {k}" for k in range(100)]
    raw["data"]["images_by_class"] = {"train": list(range(1, 101)), "validation": [0] * 100, "test": [5] * 100}
    found = images_context(arrange(raw))
    assert found is not None
    assert [section.lines[0].label for section in found["sections"]] == ["class number 99", "class number 11"]
    assert [column.heading for column in found["columns"]] == [
        "Training images",
        "Test images",
    ]  # no recall of 10 classes


def test_the_recall_of_student_and_teacher_stands_beside_each_class():
    found = images_context(arrange(study()))
    assert found is not None
    assert [column.heading for column in found["columns"]][3:] == [
        "Recall %, KD + mixup",
        "Recall %, teacher calibrated",
    ]
    (section,) = found["sections"]
    assert [line.label for line in section.lines] == CLASSES
    assert section.lines[9].cells[3].small.count(" to ") == 1
