"""The audit of the paper's numbers, against lists checked by hand and against real calibration figures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vicinal.paper import paper_evidence, tables
from vicinal.paper.audit import audit, impossible_entries, repeated_rows
from vicinal.paper.finding import Finding
from vicinal.paper.tables import Entry, Printed, entries, number, printed_numbers


def found(key: str) -> list[Finding]:
    return [finding for finding in audit() if finding.key == key]


def only(key: str) -> Finding:
    assert len(found(key)) == 1
    return found(key)[0]


def test_exactly_three_eces_are_impossible():
    assert [finding.rows for finding in found("impossible_ece")] == [
        ((1, "Mixup classic"),),
        ((2, "Baseline"),),
        ((4, "Baseline"),),
    ]
    assert [round(f.data["least"], 4) for f in found("impossible_ece")] == [0.1015, 0.0228, 0.1594]
    assert [round(f.data["most"], 4) for f in found("impossible_ece")] == [0.2775, 0.0502, 0.4394]


def test_the_same_three_in_exact_arithmetic():
    """The bounds again, by fractions straight from the digits."""
    impossible = []
    for entry in entries():
        if "" in entry.text:
            continue
        scale = Fraction(1, 100) if entry.table == 1 else Fraction(1)
        (a, c, e), (ha, hc, he) = zip(
            *((Fraction(t), Fraction(1, 2 * 10 ** len(t.partition(".")[2]))) for t in entry.text), strict=True
        )
        a, c, ha, hc = (value * scale for value in (a, c, ha, hc))
        if e + he < abs(a - c) - ha - hc or e - he > 2 - a - c + ha + hc:
            impossible.append((entry.table, entry.row))
    assert impossible == [(1, "Mixup classic"), (2, "Baseline"), (4, "Baseline")]
    assert len(entries()) == 2 + 4 * 7 + 3 * 9


def row(accuracy: float, confidence: float, ece: float, digits: int = 4) -> Entry:
    text = tuple(f"{value:.{digits}f}" for value in (accuracy, confidence, ece))
    numbers = [number(Printed(value)) for value in text]
    return Entry(9, "cifar10", "made up", "baseline", None, None, numbers[0], numbers[1], numbers[2], text)  # type: ignore[arg-type]


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 20), st.integers(1, 4))
def test_no_real_classifier_is_called_impossible(seed, images, bins, digits):
    rng = np.random.default_rng(seed)
    confidence = rng.beta(*rng.uniform(0.3, 5, 2), images)
    correct = rng.random(images) < rng.beta(*rng.uniform(0.3, 5, 2))
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    ece = sum(
        abs(correct[place == b].mean() - confidence[place == b].mean()) * (place == b).mean() for b in np.unique(place)
    )
    assert not row(correct.mean(), confidence.mean(), ece, digits).is_impossible


@pytest.mark.parametrize(
    ("cells", "impossible"),
    [
        ((0.80, 0.90, 0.0999), False),  # rounding allows 0.0999
        ((0.80, 0.90, 0.0998), True),
        ((0.98, 0.99, 0.0301), False),
        ((0.98, 0.99, 0.0303), True),
    ],
)
def test_both_bounds_with_rounding(cells, impossible):
    assert row(*cells).is_impossible == impossible
    assert len(list(impossible_entries([row(*cells)]))) == impossible


def test_the_repeated_pixelate_rows():
    finding = only("repeated_row")
    assert finding.rows == ((7, "ConvNeXt-Large, pixelate"), (7, "ViT-B/16, pixelate"))
    assert finding.data == {"severities": [2, 3, 4, 5], "values": [70.66, 63.64, 37.78, 18.05]}
    assert "81.82 and 81.42 at severity 1" in finding.sentence


def test_rows_are_compared_and_not_named(monkeypatch):
    """Change one number and the rows share three; change another and nothing is found."""
    content = dict(printed_numbers())
    table = {name: dict(rows) for name, rows in content["table7_corruption_cifar100_pct"].items()}
    monkeypatch.setattr(
        "vicinal.paper.audit.printed_numbers", lambda: {**content, "table7_corruption_cifar100_pct": table}
    )
    cells = list(table["vit_base_patch16"]["pixelate"])
    for changed, count in ((1, 1), (2, 0)):
        cells[changed] = Printed("1.00")
        table["vit_base_patch16"]["pixelate"] = cells
        assert len(list(repeated_rows())) == count


def test_figure_5_against_table_6():
    assert only("peak_gain").data == {
        "ConvNeXt-Large": [0.502, 0.482],
        "ViT-B/16": [0.311, 0.279],
        "ResNet152V2": [0.848, 0.825],
        "ConvNeXt-Tiny": [0.280, 0.264],
    }
    assert not found("independent_response")


def test_the_numbers_of_figure_6_are_its_longest_bars(monkeypatch):
    """One bar a teacher, and the longest carries its number: nothing disagrees, and a changed number would."""
    assert not found("figure6")
    labels = {**printed_numbers()["figure6_extreme_teacher_gain_pp"], "fog": Printed("7.1")}  # the mean over teachers
    monkeypatch.setattr(
        "vicinal.paper.audit.printed_numbers",
        lambda: {**printed_numbers(), "figure6_extreme_teacher_gain_pp": labels},
    )
    assert only("figure6").data == {"fog": {"label": 7.1, "table7": pytest.approx(10.9, abs=0.05)}}


def test_the_baseline_of_table_3_is_mixup_classic_in_accuracy():
    assert only("baseline_is_mixup").rows == ((1, "Mixup classic"), (3, "Baseline"))
    assert not found("table1_table3")
    assert not found("teacher_ece")


def test_figures_and_text_against_tables():
    assert len(only("figure_accuracy").data) == 4
    assert set(only("text").data) == {
        "§6.2: accuracy of the best CIFAR-10 student",
        "§6.3: accuracy of ConvNeXt-Large’s student",
        "§6.3: gain of ViT-B/16’s student over table 3’s baseline",
        "figure 3: accuracy of ResNet152V2’s student",
        "§6.1 (2): gain of ConvNeXt-Tiny’s student over table 3’s baseline",
        "figure 3: accuracy of ConvNeXt-Tiny’s student",
    }


def test_ece_is_not_monotone_for_any_teacher():
    assert sorted(only("ece_not_monotone").data["teachers"]) == sorted(tables.TEACHERS.values())


def test_seven_rows_are_calibrated_worse_than_their_kd_classic():
    data = only("ece_below_kd").data
    assert data["count"] == 7
    assert data["by_teacher"] == {
        "ConvNeXt-Large": ["σ"],
        "ViT-B/16": ["σ"],
        "ConvNeXt-Tiny": ["2", "4", "6", "8", "10"],
    }


def test_convnext_tiny_is_below_mixup_classic():
    assert only("beats_mixup").data == {"count": 5, "by_teacher": {"ConvNeXt-Tiny": ["4", "6", "8", "10", "σ"]}}


def test_the_orders_of_robustness_and_linearity():
    assert only("robustness_order").data == {
        "by_robustness_gain": ["ConvNeXt-Large", "ViT-B/16", "ResNet152V2", "ConvNeXt-Tiny"],
        "by_linearity_gain": ["ResNet152V2", "ConvNeXt-Large", "ViT-B/16", "ConvNeXt-Tiny"],
    }


def test_motion_blur_gains_more_than_fog():
    table = printed_numbers()["table7_corruption_cifar100_pct"]
    by_hand = {
        name: np.mean([np.subtract(table[t][name], table["baseline"][name]) for t in tables.TEACHERS])
        for name in tables.CORRUPTIONS
    }
    data = only("corruption_order").data
    assert data == {name: pytest.approx(value, abs=6e-4) for name, value in by_hand.items()}
    assert data["motion_blur"] > data["fog"]


def test_no_order_of_magnitude_is_possible_on_cifar10():
    assert only("largest_ratio").rows == ((2, "Baseline"),)
    assert only("largest_ratio").data["at_most"] == pytest.approx(0.0503 / 0.00505)


def test_digits_are_kept_and_nothing_is_lost():
    """Against a plain reading of the same file."""
    plain = yaml.safe_load((tables.resources.files("vicinal.paper") / "results.yaml").read_text(encoding="utf-8"))
    assert dict(printed_numbers()) == plain
    assert printed_numbers()["table1_temperature_cifar100"]["convnext_large"]["2"]["accuracy_pct"].text == "86.30"
    assert Printed("86.30").half == pytest.approx(0.005)
    assert [len(evidence.students) for evidence in paper_evidence().values()] == [5, 2 + 4 * 7 + 2, 5]
