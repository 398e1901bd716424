"""The paper's claims on made-up study results: evidence from results.json, verdicts, tables and the section of the page."""

from __future__ import annotations

import copy
import csv
import io
import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import made_up_results
import numpy as np
import pytest
from made_up_optional import add_optional
from made_up_results import LAM, SHAPES, some_shapes, versus_own_teacher, write_results

from vicinal.claims import CLAIMS, p_value_text
from vicinal.report import write_report
from vicinal.report.comparisons import compared
from vicinal.report.evidence import study_evidence
from vicinal.report.findings import findings, recommendation
from vicinal.report.paper import paper_tables
from vicinal.report.paper.match import paper_data_set
from vicinal.report.paper.study_claims import StudyClaim, claims_csv, claims_markdown, study_claims
from vicinal.report.rows import arrange

pytestmark = pytest.mark.usefixtures("without_pictures")

Raw = dict[str, Any]


def make_results(**shape: Any) -> Raw:
    """With three seeds, since one says nothing about arms."""
    return made_up_results.make_results(**{"seeds": (0, 1, 2), **shape})


def verdicts(raw: Raw) -> dict[str, str]:
    section = study_claims(arrange(raw))
    return {row.key: row.verdict for row in (*section.rows, *section.no_data)}


def row(raw: Raw, key: str) -> StudyClaim:
    section = study_claims(arrange(raw))
    return next(row for row in (*section.rows, *section.no_data) if row.key == key)


def students(raw: Raw, arm: str, **values: Any) -> list[Raw]:
    return [s for s in raw["students"] if s["arm"] == arm and all(s[key] == value for key, value in values.items())]


def set_scalar(model: Raw, key: str, value: float, width: float) -> None:
    model[key] = value
    model["intervals"][key] = [value - width, value + width]


THREE_WAYS = [("supported", 1, 0.001), ("contradicted", -1, 0.001), ("undecided", 1, 0.5)]


def scalar(arm: str, other: str, key: str) -> Callable[[int, float], Raw]:
    """KD + mixup above another arm in accuracy, or below it in ECE, by 0.02."""

    def build(sign: int, width: float) -> Raw:
        raw, better = make_results(), 1 if key == "accuracy" else -1
        for model in students(raw, other):
            set_scalar(model, key, 0.5, width)
        for model in students(raw, arm):
            set_scalar(model, key, 0.5 + 0.02 * better * sign, width)
        return raw

    return build


def dominance(sign: int, width: float) -> Raw:
    raw = make_results()
    for model in raw["teachers"]:
        for key, value, room in (("nonlinearity", 1 + 0.2 * sign, width), ("entropy", 1.0, 0.001)):
            model["vicinity"][key][10] = value
            model["vicinity"]["intervals"][key]["lower"][10] = value - room
            model["vicinity"]["intervals"][key]["upper"][10] = value + room
    return raw


def gain_positive(sign: int, width: float) -> Raw:
    raw = make_results()
    for model in students(raw, "kd_mixup"):
        values = sign * 0.4 * LAM * (1 - LAM)
        inside = width * (values != 0)
        versus_own_teacher(model)["linearity_gain"] = values.tolist()
        versus_own_teacher(model)["linearity_gain_interval"] = {
            "lower": (values - inside / 100).tolist(),
            "upper": (values + inside / 100).tolist(),
        }
        if width > 0.1:
            versus_own_teacher(model)["linearity_gain_interval"] = {
                "lower": (values - inside).tolist(),
                "upper": (values + inside).tolist(),
            }
    return raw


def gain_near_half(sign: int, width: float) -> Raw:
    raw = make_results()
    for model in students(raw, "kd_mixup"):
        values = 1 - sign * np.abs(LAM - 0.5)
        versus_own_teacher(model)["linearity_gain"] = values.tolist()
        versus_own_teacher(model)["linearity_gain_interval"] = {
            "lower": (values - width).tolist(),
            "upper": (values + width).tolist(),
        }
    return raw


def ece_order(sign: int, width: float) -> Raw:
    raw = make_results()
    for model in students(raw, "baseline"):
        set_scalar(model, "ece", 0.3 if sign > 0 else 0.05, width)
    for model in students(raw, "kd_mixup"):
        set_scalar(model, "ece", 0.02, min(width, 0.015))
    return raw


def order(of_student: bool, key: str) -> Callable[[int, float], Raw]:
    def build(sign: int, width: float) -> Raw:
        raw = make_results(teachers=4)
        for position, model in enumerate(raw["teachers"]):
            set_scalar(model, "ece", 0.1 + 0.1 * position, 0.001)
            level = 0.5 + sign * 0.1 * position
            if not of_student:
                values = level * 4 * LAM * (1 - LAM)
                model["vicinity"][key] = values.tolist()
                model["vicinity"]["intervals"][key] = {
                    "lower": (values - width).tolist(),
                    "upper": (values + width).tolist(),
                }
            for student in students(raw, "kd_mixup", teacher=model["name"]) if of_student else ():
                set_scalar(student, key, level, width)
        return raw

    return build


def temperatures(key: str, values: dict[int, tuple[float, float, float]]) -> Callable[[int, float], Raw]:
    def build(sign: int, width: float) -> Raw:
        raw = make_results(temperatures=(2.0, 4.0, 8.0))
        for t, value in zip((2.0, 4.0, 8.0), values[sign], strict=True):
            for model in students(raw, "kd_mixup", temperature=t):
                set_scalar(model, key, value, width)
        return raw

    return build


def sigma_worst(sign: int, width: float) -> Raw:
    raw = make_results(temperatures=(2.0, "sigma"))
    for model in students(raw, "kd_mixup"):
        level = 0.2 + 0.05 * sign * (model["temperature"] == "sigma")
        set_scalar(model, "ece" + "_after_temperature_scaling", level, width)
    return raw


def corrupted(gains: Callable[[str, str, int], float], width: float = 0.01, teachers: int = 4) -> Raw:
    raw = make_results(teachers=teachers)
    names = ("gaussian_noise", "motion_blur", "fog", "jpeg_compression", "contrast", "pixelate")
    for model in students(raw, "kd_mixup"):
        model["corruptions"] = {}
        for name in names:
            values = np.array([gains(model["teacher"], name, severity) for severity in range(1, 6)])
            interval = {"lower": (values - width).tolist(), "upper": (values + width).tolist()}
            model["corruptions"][name] = {"severity": [1, 2, 3, 4, 5], "accuracy": [0.5] * 5, "ece": [0.1] * 5,
                                          "gain_pp": values.tolist(), "gain_pp_interval": interval}  # fmt: skip
    for baseline in students(raw, "baseline"):
        baseline["corruptions"] = {name: {"severity": [1, 2, 3, 4, 5], "accuracy": [0.4] * 5, "ece": [0.1] * 5, "gain_pp": None,
                                      "gain_pp_interval": None} for name in names}  # fmt: skip
    return raw


def smooth_most(sign: int, width: float) -> Raw:
    return corrupted(lambda _, name, __: 5.0 + 2 * sign * (name in ("fog", "contrast")), 10 * width)


def pixelate(sign: int, width: float) -> Raw:
    return corrupted(lambda _, name, severity: -2.0 * sign if name == "pixelate" and severity > 3 else 1.0, 10 * width)


def robustness_order(sign: int, width: float) -> Raw:
    raw = corrupted(lambda *_: 0.0)
    peaks = {}
    for position, teacher in enumerate(t["name"] for t in raw["teachers"]):
        peaks[teacher] = 0.2 + 0.1 * position
        for model in students(raw, "kd_mixup", teacher=teacher):
            values = peaks[teacher] * 4 * LAM * (1 - LAM)
            versus_own_teacher(model)["linearity_gain"] = values.tolist()
            versus_own_teacher(model)["linearity_gain_interval"] = {
                "lower": (values - 0.001).tolist(),
                "upper": (values + 0.001).tolist(),
            }
            for measured in model["corruptions"].values():
                level = np.full(5, 5.0 + sign * position)
                measured["gain_pp"] = level.tolist()
                measured["gain_pp_interval"] = {
                    "lower": (level - 5 * width).tolist(),
                    "upper": (level + 5 * width).tolist(),
                }
    return raw


def gain_order(sign: int, width: float) -> Raw:
    raw = make_results(teachers=4)
    for position, teacher in enumerate(raw["teachers"]):
        bump = 4 * LAM * (1 - LAM)
        nonlinearity, gain = (1 + position) * bump, (0.5 + 0.1 * sign * position) * bump
        teacher["vicinity"]["nonlinearity"] = nonlinearity.tolist()
        teacher["vicinity"]["intervals"]["nonlinearity"] = {
            "lower": (nonlinearity - 0.01).tolist(),
            "upper": (nonlinearity + 0.01).tolist(),
        }
        for model in students(raw, "kd_mixup", teacher=teacher["name"]):
            versus_own_teacher(model)["linearity_gain"] = gain.tolist()
            versus_own_teacher(model)["linearity_gain_interval"] = {
                "lower": (gain - width).tolist(),
                "upper": (gain + width).tolist(),
            }
    return raw


def mixup_teacher(sign: int, width: float) -> Raw:
    raw = make_results(teachers=2)
    plain = raw["teachers"][0]["name"]
    for teacher in raw["teachers"]:
        teacher["objective"] = {"mixing": {"distribution": "none" if teacher["name"] == plain else "uniform"}}
    for model in students(raw, "kd_mixup"):
        set_scalar(model, "accuracy", 0.8 + 0.02 * sign * (model["teacher"] == plain), width)
    return raw


def kl_mixed(sign: int, width: float) -> Raw:
    raw = make_results(seeds=(0, 1, 2))
    for model in students(raw, "kd_mixup"):
        response = 0.1 * sign * (-1 if width > 0.1 and model["seed"] == 1 else 1)
        versus_own_teacher(model)["alignment"]["independent_response"] = response
    return raw


def eq11(sign: int, width: float) -> Raw:
    raw = make_results()
    for model in raw["teachers"]:
        bump = 4 * LAM * (1 - LAM)
        entropy = 0.2 + bump * (1.0 if sign > 0 else 0.5)
        for key, values, room in (("entropy", entropy, width), ("nonlinearity", bump, 0.001)):
            model["vicinity"][key] = values.tolist()
            model["vicinity"]["intervals"][key] = {"lower": (values - room).tolist(), "upper": (values + room).tolist()}
        model["information"] = {"lam": LAM.tolist(), "residual_eq11": (entropy - 0.2 - bump).tolist()}
    return raw


def nl_peak(sign: int, width: float) -> Raw:
    raw = make_results()
    for model in raw["teachers"]:
        set_curve(model, "nonlinearity", 1 - sign * np.abs(LAM - 0.5), width)
    return raw


def set_curve(model: Raw, quantity: str, values: np.ndarray, width: float) -> None:
    model["vicinity"][quantity] = values.tolist()
    model["vicinity"]["intervals"][quantity] = {
        "lower": (values - width).tolist(),
        "upper": (values + width).tolist(),
    }


def gain_information(sign: int, width: float) -> Raw:
    raw = gain_positive(1, 0.001)
    for model in raw["teachers"]:
        set_curve(model, "linearity_information", np.full(LAM.size, 1.0), 0.001)
    for model in students(raw, "kd_mixup"):
        set_curve(model, "linearity_information", np.full(LAM.size, 1 + 0.1 * sign), width)
    return raw


def gain_follows_accuracy(sign: int, width: float) -> Raw:
    raw = make_results(teachers=4)
    names = list(dict.fromkeys(teacher["name"] for teacher in raw["teachers"]))
    for model in raw["teachers"]:
        set_scalar(model, "accuracy", 0.5 + 0.1 * names.index(model["name"]), 0.001)
    for model in students(raw, "kd_mixup"):
        set_scalar(model, "accuracy", 0.6 + 0.05 * sign * names.index(model["teacher"]), width)
    return raw


def confidence_passes(sign: int, width: float) -> Raw:
    raw = make_results()
    for model in [*raw["teachers"], *students(raw, "kd_mixup")]:
        set_scalar(model, "accuracy", 0.8, 0.001)
    for model in raw["teachers"]:
        set_scalar(model, "confidence", 0.9, 0.001)
    for model in students(raw, "kd_mixup"):
        set_scalar(model, "confidence", 0.8 + 0.05 * sign, width)
    return raw


def overconfidence_corrected(sign: int, width: float) -> Raw:
    raw = confidence_passes(1, 0.001)
    for model in raw["teachers"]:
        set_scalar(model, "ece", 0.2, 0.001)
    for model in students(raw, "kd_mixup"):
        set_scalar(model, "ece", 0.2 - 0.05 * sign, width)
    return raw


def noise_least(sign: int, width: float) -> Raw:
    others = ("motion_blur", "fog", "jpeg_compression", "contrast")
    return corrupted(lambda _, name, __: 5.0 + 2 * sign * (name in others), 10 * width)


def set_v_score(model: Raw, value: float, size: float, sign: int, width: float) -> None:
    """A V-score that lies on the side of the sign, in every seed; with a large width in all but one."""
    turned = -1 if width > 0.1 and model["seed"] == 1 else 1
    model["representation"] = {"v_score": value + sign * turned * size}


def mixup_v_score(sign: int, width: float) -> Raw:
    raw = make_results(seeds=(0, 1, 2))
    for model in students(raw, "baseline"):
        set_v_score(model, 0.6, 0.05, sign, width)
    for model in students(raw, "mixup"):
        set_v_score(model, 0.6, 0.0, sign, width)
    return raw


def capacity_v_score(sign: int, width: float) -> Raw:
    raw = make_results(teachers=3, seeds=(0, 1, 2))
    for model in students(raw, "baseline"):
        set_v_score(model, 0.5, 0.0, sign, width)
    names = list(dict.fromkeys(teacher["name"] for teacher in raw["teachers"]))
    for model in raw["teachers"]:
        model["parameters"] = 100_000 * (2 + names.index(model["name"]))
        set_v_score(model, 0.5, 0.05 * (1 + names.index(model["name"])), sign, width)
    return raw


def scales(sign: int, width: float) -> Raw:
    """A teacher at half and at twice its logits, whose students' confidence rises, or falls, by two points a step."""
    raw = make_results(teachers=1)
    for name, scale in (("calibrated@0.5", 0.5), ("calibrated@2", 2.0)):
        raw["teachers"] += [
            t | {"name": name, "logit_scale": scale} for t in raw["teachers"] if t["name"] == "calibrated"
        ]
        own = students(raw, "kd_mixup", teacher="calibrated")
        raw["students"] += [copy.deepcopy(student) | {"teacher": name} for student in own]
    for model in students(raw, "kd_mixup"):
        scale = {"calibrated@0.5": 0.5, "calibrated": 1.0, "calibrated@2": 2.0}[model["teacher"]]
        set_scalar(model, "accuracy", 0.8, 0.001)
        set_scalar(model, "confidence", 0.8 + 0.02 * sign * math.log2(scale), 0.1 * width)
    return raw


BUILDERS: dict[str, Callable[[int, float], Raw]] = {
    "dominance": dominance,
    "nl_peak": nl_peak,
    "gain_positive": gain_positive,
    "gain_near_half": gain_near_half,
    "gain_information": gain_information,
    "gain_order": gain_order,
    "kl_mixed": kl_mixed,
    "mixup_improves": scalar("mixup", "baseline", "accuracy"),
    "beats_kd": scalar("kd_mixup", "kd", "accuracy"),
    "beats_mixup": scalar("kd_mixup", "mixup", "accuracy"),
    "beats_baseline": scalar("kd_mixup", "baseline", "accuracy"),
    "gain_follows_accuracy": gain_follows_accuracy,
    "ece_order": ece_order,
    "ece_falls": temperatures("ece", {1: (0.3, 0.2, 0.1), -1: (0.1, 0.2, 0.3)}),
    "accuracy_falls": temperatures("accuracy", {1: (0.9, 0.8, 0.7), -1: (0.7, 0.8, 0.9)}),
    "ece_below_kd": scalar("kd_mixup", "kd", "ece"),
    "two_best": temperatures("accuracy", {1: (0.9, 0.8, 0.7), -1: (0.8, 0.9, 0.7)}),
    "sigma_worst": sigma_worst,
    "calibration_follows": order(of_student=True, key="ece"),
    "confidence_passes": confidence_passes,
    "overconfidence_corrected": overconfidence_corrected,
    "calibration_passes": scales,
    "nl_follows_ece": order(of_student=False, key="nonlinearity"),
    "robustness_order": robustness_order,
    "smooth_most": smooth_most,
    "noise_least": noise_least,
    "pixelate_loses": pixelate,
    "mixup_teacher": mixup_teacher,
    "mixup_v_score": mixup_v_score,
    "capacity_v_score": capacity_v_score,
    "eq11": eq11,
}


def test_every_claim_is_tried():
    assert list(BUILDERS) == [claim.key for claim in CLAIMS]


@pytest.mark.parametrize(("verdict", "sign", "width"), THREE_WAYS)
@pytest.mark.parametrize("key", BUILDERS)
def test_a_known_verdict(key: str, verdict: str, sign: int, width: float):
    found = row(BUILDERS[key](sign, width), key)
    assert found.verdict == verdict, found.detail


@pytest.mark.parametrize("shape", some_shapes("no_validation", "with_answers_over_seeds"))
def test_the_order_of_models_changes_no_verdict(shape: str):
    raw = make_results(**SHAPES[shape])
    before = verdicts(raw)
    for seed in range(3):
        shuffled = copy.deepcopy(raw)
        random.Random(seed).shuffle(shuffled["teachers"])
        random.Random(seed).shuffle(shuffled["students"])
        assert verdicts(shuffled) == before


def test_every_shape_answers_each_claim_once():
    for shape in SHAPES.values():
        section = study_claims(arrange(make_results(**shape)))
        assert sorted(r.key for r in (*section.rows, *section.no_data)) == sorted(claim.key for claim in CLAIMS)


def test_seeds_that_spread_leave_it_open():
    raw = make_results(teachers=1)
    for model in students(raw, "mixup"):
        set_scalar(model, "accuracy", 0.80, 0.001)
    for model, accuracy in zip(students(raw, "kd_mixup"), (0.819, 0.82, 0.821), strict=True):
        set_scalar(model, "accuracy", accuracy, 0.001)
    found = row(raw, "beats_mixup")
    assert found.verdict == "supported"
    assert found.effect.startswith("+2.00 points (+")
    for model, accuracy in zip(students(raw, "kd_mixup"), (0.79, 0.82, 0.85), strict=True):
        set_scalar(model, "accuracy", accuracy, 0.001)
    found = row(raw, "beats_mixup")
    assert found.verdict == "undecided"
    assert "one such comparison finds an effect of" in found.detail


def test_one_seed_is_not_testable_and_says_what_its_networks_show():
    raw = made_up_results.make_results(teachers=1)
    set_scalar(students(raw, "mixup")[0], "accuracy", 0.8, 0.001)
    set_scalar(students(raw, "kd_mixup")[0], "accuracy", 0.9, 0.001)
    found = row(raw, "beats_mixup")
    assert found.verdict == "not testable"
    assert "of these networks, by the images alone, it holds for calibrated (T = 2)" in found.detail
    assert row(raw, "dominance").verdict in ("supported", "contradicted", "undecided")  # about the teacher itself


def test_eq11_is_the_residual_that_was_measured():
    raw = made_up_results.make_results(teachers=1)
    assert row(raw, "eq11").verdict == "no data"
    raw["teachers"][0]["information"] = {"lam": LAM.tolist(), "residual_eq11": [*[9.0] * 10, -0.321, *[9.0] * 10]}
    found = row(raw, "eq11")
    assert found.effect.split()[0] == "−0.321"
    # Without resamples the interval is that of the terms of the vicinal curves.
    bounds = raw["teachers"][0]["vicinity"]["intervals"]
    width = [
        [high - low for low, high in zip(bounds[key]["lower"], bounds[key]["upper"], strict=True)]
        for key in ("entropy", "nonlinearity")
    ]
    half = math.hypot(width[0][10], width[1][10], (width[0][0] + width[0][20]) / 2) / 2
    assert f"({-0.321 - half:+.3f} to".replace("-", "−") in found.effect


def test_mean_nl_is_that_of_table_5():
    """By the trapezoidal rule, as the paper's table 5 from the same study."""
    raw = make_results(teachers=1, seeds=(0, 1))
    number = study_evidence(arrange(raw)).teachers[0].numbers["nl_mean"]
    table = next(table for table in paper_tables(arrange(raw)) if table.number == 5)
    assert list(number.by_seed.values()) == [seed.value for seed in table.rows[0].cells["global_nl"].seeds]
    values = raw["teachers"][0]["vicinity"]["nonlinearity"]
    assert number.by_seed[0] == pytest.approx(sum(a + b for a, b in itertools.pairwise(values)) / 2 / 20)


def test_sentences_claims_and_recommendation_give_one_answer():
    """All three rest on the one comparator: the same interval and p."""
    raw = add_optional(make_results(teachers=1, arms=("baseline", "kd_mixup")))
    for gain, spread, verdict, answer, words in (
        (0.05, 0.001, "supported", "yes", "It is more accurate than the runner-up, Baseline"),
        (0.01, 0.02, "undecided", "undecided", "It is not told apart from the runner-up, Baseline"),
    ):
        for model in raw["students"]:
            level = 0.82 + (gain + spread * (model["seed"] - 1) if model["arm"] == "kd_mixup" else 0.0)
            set_scalar(model, "accuracy", level, 0.001)
            model["validation"] |= {"accuracy": level, "nll": 1 - level}
        results = arrange(raw)
        gap = compared(results, results.distilled[0], results.undistilled[0], "accuracy")
        judged = row(raw, "beats_baseline")
        assert judged.verdict == verdict
        low, high = gap.inference.interval
        effect = f"+{100 * gain:.2f} points ({low:+.2f} to {high:+.2f})".replace("-", "−")
        assert judged.effect == effect
        said = next(found for found in findings(results) if "more accurate than the baseline" in found.question)
        assert said.verdict == answer
        known = f"{effect}, {p_value_text(gap.inference.p_value())}"
        advice = recommendation(results).text
        assert known in said.text
        assert words in advice
        assert known in advice
        assert ("in 80\u00a0% of cases" in said.text) == ("in 80\u00a0% of cases" in advice) == (answer == "undecided")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"name": "CIFAR-10 (JPEG)", "source": "photos/"}, "cifar10"),
        ({"name": "mine", "source": "torch/cifar100"}, "cifar100"),
        ({"name": "", "source": "hfds/uoft-cs/cifar10"}, "cifar10"),
        ({"name": "CIFAR100", "source": "x"}, "cifar100"),
        ({"name": "ImageNet", "source": "x"}, "imagenet"),
        ({"name": "Imagenette", "source": "x"}, None),
        ({"name": "Tiny-ImageNet", "source": "x"}, None),
        ({"name": "Fashion-MNIST", "source": "embedded/fashion-mnist"}, None),
        ({}, None),
    ],
)
def test_the_papers_data_sets_are_recognised(data: dict[str, str], expected: str | None):
    assert paper_data_set(data) == expected


def test_the_papers_own_verdict_stands_beside():
    raw = make_results()
    assert all(r.paper is None for r in study_claims(arrange(raw)).rows)
    raw["data"] |= {"name": "CIFAR-100", "class_names": [f"class {k}" for k in range(100)]}
    section = study_claims(arrange(raw))
    assert section.paper_data == "CIFAR-100"
    assert {r.key: r.paper for r in section.rows}["beats_mixup"] == "fails as printed"
    assert "Paper, CIFAR-100" in claims_markdown(arrange(raw))


def test_missing_and_empty_values_are_left_out():
    raw = make_results(validation=False)
    for model in students(raw, "kd_mixup"):
        model["accuracy"] = None
        versus_own_teacher(model)["linearity_gain"][3] = None
        model["intervals"].pop("ece")
    found = verdicts(raw)
    assert found["beats_baseline"] == "no data"
    assert found["ece_order"] in ("undecided", "contradicted")
    assert all(math.isfinite(n.value) for s in study_evidence(arrange(raw)).students for n in s.numbers.values())


@pytest.mark.parametrize("shape", some_shapes("quickstart", "teachers_only", "one_teacher"))
def test_tables_hold_every_claim(shape: str, tmp_path):
    raw = make_results(**SHAPES[shape])
    write_report(write_results(tmp_path, raw))
    lines = list(csv.DictReader(io.StringIO((tmp_path / "tables/claims.csv").read_text(encoding="utf-8"))))
    assert {line["claim"]: line["verdict"] for line in lines} == verdicts(raw)
    assert [line["claim"] for line in lines] == [claim.key for claim in CLAIMS]
    markdown = (tmp_path / "tables/claims.md").read_text(encoding="utf-8")
    for claim in CLAIMS:
        assert claim.sentence.rstrip(".") in markdown
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = html.partition('<section id="study-claims">')[2].partition("</section>")[0]
    rows = study_claims(arrange(raw)).rows
    assert section.count('<th scope="row">') == len(rows)
    for verdict in {r.verdict for r in rows}:
        assert section.count(f">{verdict}</span>") == sum(r.verdict == verdict for r in rows)


def test_csv_keeps_full_precision():
    raw = make_results(teachers=1)
    own, other = (np.mean([model["accuracy"] for model in students(raw, arm)]) for arm in ("kd_mixup", "mixup"))
    lines = csv.DictReader(io.StringIO(claims_csv(arrange(raw))))
    effect = next(float(line["effect"]) for line in lines if line["claim"] == "beats_mixup")
    assert effect == pytest.approx(100 * (own - other), abs=1e-12)
