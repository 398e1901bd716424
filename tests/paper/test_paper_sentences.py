"""Sentences of the paper against its tables: by hand, by other libraries, and with numbers changed so that nothing is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, kendalltau
from torch import nn

from vicinal.paper import printed_numbers, sentences, tables
from vicinal.paper.finding import Finding
from vicinal.paper.running_text import stated
from vicinal.paper.tables import Printed

KEYS = [
    "lowest_kl_real", "kl_mixed_over_real", "exception_of_table5", "mean_dominance", "teachers_counted", "largest_gains",
    "corruption_baseline", "overconfidence_falls", "consistently_improves", "good_calibration", "lowest_confidence",
    "accuracy_range_above_4", "most_accurate", "smaller_head",
]  # fmt: skip


def all_found() -> dict[str, Finding]:
    return {finding.key: finding for finding in sentences.sentences()}


def test_every_check_finds_its_sentence():
    assert list(all_found()) == KEYS


def test_table_6_lowest_and_fourfold():
    found = all_found()
    assert "ConvNeXt-Large’s 0.039, not ViT-B/16’s 0.040" in found["lowest_kl_real"].sentence
    assert {name: round(value, 1) for name, value in found["kl_mixed_over_real"].data.items()} == {
        "ConvNeXt-Large": 8.2,
        "ViT-B/16": 20.5,
        "ResNet152V2": 6.6,
        "ConvNeXt-Tiny": 3.9,
    }


def test_the_exception_of_table_5_against_scipy():
    table = printed_numbers()["table5_nonlinearity_cifar100"]
    data = all_found()["exception_of_table5"].data
    for left_out, label in tables.TEACHERS.items():
        kept = [(cells[2], cells[0]) for name, cells in table.items() if name != left_out]
        assert data["tau_without"][label] == pytest.approx(kendalltau(*zip(*kept, strict=True)).statistic, abs=1e-3)
    assert (data["tau"], data["tau_without"]["ViT-B/16"], data["tau_without"]["ConvNeXt-Tiny"]) == (0.333, 0.333, 1.0)


def test_the_mean_entropy_of_convnext_tiny():
    finding = all_found()["mean_dominance"]
    assert finding.data == {"dominance": 1.522, "entropy_needed": -0.59}
    assert "H_global = 1.13" in finding.sentence


def test_teachers_counted():
    assert sorted(all_found()["teachers_counted"].data.values()) == [3, 3, 3, 3, 4]


def test_gaussian_noise_gains_most_at_severity_1():
    finding = all_found()["largest_gains"]
    assert next(iter(finding.data)) == "gaussian_noise"
    assert finding.data["gaussian_noise"] == pytest.approx((13.94 + 12.61 + 15.40 + 7.50) / 4, abs=1e-3)
    assert "most for 4 of 4 teachers" in finding.sentence


def test_the_baseline_under_corruption_is_above_a_clean_one():
    assert all_found()["corruption_baseline"].data == {
        "fog 1": 80.21, "contrast 1": 79.72, "classic_training_clean": 79.52,
    }  # fmt: skip


def test_overconfidence_falls_tenfold_once():
    times = all_found()["overconfidence_falls"].data
    assert len(times) == 12
    assert [name for name, value in times.items() if value >= 10] == ["CIFAR-100 ConvNeXt-Large"]
    assert times["CIFAR-100 ConvNeXt-Large"] == pytest.approx((95.27 - 81.05) / (87.52 - 86.30), abs=0.005)
    assert times["CIFAR-100 ConvNeXt-Tiny"] == pytest.approx((95.27 - 81.05) / (81.10 - 77.48), abs=0.005)


def test_one_student_is_below_its_baseline():
    finding = all_found()["consistently_improves"]
    assert [name for name, gain in finding.data.items() if gain < 0] == ["ImageNet ConvNeXt-Tiny"]
    assert finding.data["ImageNet ConvNeXt-Tiny"] == pytest.approx(-0.59)
    assert "the least of the others is +0.05 (CIFAR-100 ConvNeXt-Tiny)" in finding.sentence


def test_third_of_four_in_calibration():
    assert "number 3 of 4 teachers of table 4" in all_found()["good_calibration"].sentence


def test_sigma_has_convnext_tinys_highest_confidence():
    finding = all_found()["lowest_confidence"]
    assert "for 3 of 4 teachers" in finding.sentence
    assert "ConvNeXt-Tiny’s highest, 80.14 %" in finding.sentence
    assert finding.rows == ((1, "ConvNeXt-Tiny, T = σ"),)


def test_accuracy_ranges_above_four():
    data = all_found()["accuracy_range_above_4"].data
    assert list(data["from_4"].values()) == [0.68, 0.26, 0.32, 1.24]
    assert list(data["from_6"].values()) == [0.66, 0.26, 0.17, 0.73]


def test_two_is_best_by_a_few_images():
    data = all_found()["most_accurate"].data
    assert data["images"] == 10_000
    assert data["ahead"] == {"ConvNeXt-Large": 34, "ViT-B/16": 7, "ResNet152V2": 6, "ConvNeXt-Tiny": 8}


@given(st.integers(0, 60))
def test_the_largest_discordance_against_scipys_binomial_test(ahead: int):
    most = sentences.largest_discordance(ahead)

    def p_value(discordant: int) -> float:
        return binomtest((discordant + ahead) // 2, discordant).pvalue

    if most == 0:
        assert ahead < 6  # 2 · 2⁻⁵ > .05 ≥ 2 · 2⁻⁶
    else:
        assert (most - ahead) % 2 == 0
        assert p_value(most) <= 0.05 < p_value(most + 2)


@pytest.mark.parametrize("data", tables.CLASSES)
def test_the_head_against_torch(data: str):
    classes = tables.CLASSES[data]
    own = nn.Sequential(nn.Linear(1280, 256, bias=False), nn.BatchNorm1d(256), nn.Linear(256, classes))
    plain = nn.Linear(1280, classes)
    counts = [sum(p.numel() for p in part.parameters()) for part in (own, plain)]
    assert all_found()["smaller_head"].data[tables.DATA_SETS[data]] == counts[0] - counts[1]


# A change of the printed numbers, or of what the text says, after which a sentence is right.
RIGHT: dict[str, tuple[str, tuple[Any, ...], Any]] = {
    "lowest_kl_real": ("printed", ("table6_alignment_cifar100", "vit_base_patch16", 1), Printed("0.038")),
    "kl_mixed_over_real": (
        "printed",
        ("table6_alignment_cifar100",),
        {
            name: [Printed(text) for text in ("0.300", "0.040" if name == "vit_base_patch16" else "0.039", "0.160", "0.121")]
            for name in tables.TEACHERS
        },
    ),
    "exception_of_table5": ("stated", ("exception_of_table5", "teacher"), "convnext_tiny"),
    "mean_dominance": ("printed", ("global_entropy_cifar100", "convnext_tiny"), Printed("1.73")),
    "teachers_counted": ("stated", ("teachers_counted",), {"here": 4, "there": 4}),
    "largest_gains": (
        "printed", ("table7_corruption_cifar100_pct", "baseline", "gaussian_noise", 0), Printed("45.00"),
    ),
    "corruption_baseline": (
        "printed", ("table1_temperature_cifar100", "classic_training", "accuracy_pct"), Printed("80.30"),
    ),
    "consistently_improves": (
        "entries", (4, "KD + mixup, ConvNeXt-Tiny"), (Printed("0.7010"), Printed("0.7570"), Printed("0.194")),
    ),
    "good_calibration": ("stated", ("good_calibration", "teacher"), "vit_base_patch16"),
    "lowest_confidence": (
        "printed", ("table1_temperature_cifar100", "convnext_tiny", "sigma", "confidence_pct"), Printed("70.00"),
    ),
    "accuracy_range_above_4": ("stated", ("accuracy_range_above_4_pp", "range"), [Printed("0.1"), Printed("1.3")]),
    "smaller_head": ("printed", ("setup", "students", "mobilenetv2", "bottleneck"), 8),
}  # fmt: skip


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets one value of the printed numbers, of the stated ones or of the rows of tables 1 to 4."""

    def change(where: str, path: tuple[Any, ...], value: Any) -> None:
        if where == "entries":
            rows = [
                tables._entry(e.table, e.data, e.row, e.role, e.teacher, e.temperature, value)
                if (e.table, e.row) == path
                else e
                for e in tables.entries()
            ]
            monkeypatch.setattr(sentences, "entries", lambda: rows)
            return
        content = copy.deepcopy(dict(printed_numbers() if where == "printed" else stated()))
        place = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        name = "printed_numbers" if where == "printed" else "stated"
        monkeypatch.setattr(sentences, name, lambda: content)
        monkeypatch.setattr(tables, name, lambda: content, raising=False)

    return change


@pytest.mark.parametrize("key", RIGHT)
def test_a_sentence_that_is_right_is_not_found(key: str, changed):
    changed(*RIGHT[key])
    assert [other for other in KEYS if other not in all_found()] == [key]
