"""Which cases a claim speaks of: teachers that are neither over- nor underconfident, mirrored λ, means over λ, sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vicinal.claims import CLAIMS, Evidence, Judgement, ModelResults, Number, StudentVersusTeacher, judge
from vicinal.paper import paper_evidence


def verdict(key: str, evidence: Evidence) -> Judgement:
    return judge(next(claim for claim in CLAIMS if claim.key == key), evidence)


def printed(value: float, half: float = 0.005) -> Number:
    return Number(value, interval=(value - half, value + half), printed=True)


def evidence_of(*teachers: ModelResults, students: tuple[ModelResults, ...] = ()) -> Evidence:
    return Evidence("made up", teachers, students, classes=100)


def student(teacher: str | None, arm: str = "kd_mixup", **parts: Any) -> ModelResults:
    return ModelResults(arm, arm, teacher, 2.0 if teacher else None, **parts)


def numbers(**values: float) -> dict[str, Number]:
    return {key: printed(value) for key, value in values.items()}


def test_a_calibrated_teacher_is_left_out_and_named():
    teachers = [
        ModelResults(name, numbers=numbers(accuracy=80, confidence=80 + gap))
        for name, gap in {"over": 5, "under": -5, "neither": 0}.items()
    ]
    students = tuple(
        student(name, numbers=numbers(accuracy=80, confidence=80 + gap))
        for name, gap in {"over": 1, "under": 1, "neither": 9}.items()
    )
    judged = verdict("confidence_passes", evidence_of(*teachers, students=students))
    assert {(case.subject, case.condition, case.sign) for case in judged.cases} == {
        ("over", "overconfident", 1),
        ("under", "underconfident", -1),
    }
    assert judged.detail.endswith("Left out: neither, which is neither clearly over- nor underconfident.")


def test_a_student_without_a_scale_of_its_own_has_no_confidence_to_inherit():
    teacher = ModelResults("over", numbers=numbers(accuracy=80, confidence=85, ece=5))
    own = student("over", scale_free=True, numbers=numbers(accuracy=80, confidence=99, ece=4))
    for key in ("confidence_passes", "overconfidence_corrected"):
        assert verdict(key, evidence_of(teacher, students=(own,))).verdict == "no data"


def test_a_symmetric_curve_counts_once_and_the_symmetry_is_not_tested():
    curve = {lam: printed(4 * lam * (1 - lam)) for lam in (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)}
    judged = verdict("nl_peak", evidence_of(ModelResults("A", curves={"nonlinearity": curve})))
    assert [case.condition for case in judged.cases] == ["λ = 0.1", "λ = 0.25"]
    assert "Its symmetry is not testable" in judged.detail
    assert "counted once" in judged.detail


def test_information_is_asked_about_where_the_gain_is_positive():
    lams = (0.0, 0.25, 0.5, 0.75, 1.0)
    teacher = ModelResults("A", curves={"linearity_information": {lam: printed(1.0) for lam in lams}})
    gain = {lam: printed(0.2 if lam == 0.5 else 0.0) for lam in lams}
    own = student(
        "A",
        curves={"linearity_information": {lam: printed(0.9) for lam in lams}},
        versus_teacher={"A": StudentVersusTeacher(gain=gain)},
    )
    judged = verdict("gain_information", evidence_of(teacher, students=(own,)))
    assert [(case.condition, case.sign) for case in judged.cases] == [("λ = 0.5", -1)]


@pytest.mark.parametrize(("entropy", "sign"), [(1.13, -1), (1.73, 0)])
def test_equation_11_over_all_lam(entropy: float, sign: int):
    """A mean entropy below the mean NL leaves less than nothing for H[p(x)]; one above it says nothing."""
    teacher = ModelResults("A", numbers=numbers(nl_mean=1.72, nl_peak=3.1, entropy_mean=entropy))
    (case,) = verdict("eq11", evidence_of(teacher)).cases
    assert (case.condition, case.sign) == ("mean over λ", sign)
    assert f"mean NL over its mean entropy is {1.72 / entropy:.2f}" in verdict("dominance", evidence_of(teacher)).detail


def test_mixup_without_a_sibling_says_nothing_of_clusters():
    mixed = ModelResults("A + mixup", model="A", trained_with_mixup=True, numbers=numbers(v_score=0.5))
    other = ModelResults("B", model="B", numbers=numbers(v_score=0.9))
    assert verdict("mixup_v_score", evidence_of(mixed, other)).verdict == "no data"


def test_the_lead_of_two_is_told_in_images():
    judged = verdict("two_best", paper_evidence()["cifar100"])
    assert judged.detail.endswith("The least lead is 6 of 10,000 images (ResNet152V2, over T = σ).")
    behind = tuple(
        replace(student("A", numbers={"accuracy": replace(printed(value), images=500)}), temperature=t)
        for t, value in ((2.0, 80.0), (4.0, 80.6), (8.0, 70.0))
    )
    judged = verdict("two_best", evidence_of(ModelResults("A"), students=behind))
    assert judged.detail.endswith("The least lead is −3 of 500 images (A, over T = 4).")


def test_networks_of_one_size_count_as_one():
    sizes = {"A": (1.0, 0.5), "B": (1.0, 0.7), "C": (2.0, 0.8)}
    teachers = [
        ModelResults(name, model=name, numbers={"parameters": printed(size, 0.0), "v_score": printed(score)})
        for name, (size, score) in sizes.items()
    ]
    judged = verdict("capacity_v_score", evidence_of(*teachers))
    assert [(case.condition, case.sign) for case in judged.cases] == [("A with B and C", 1)]
    assert verdict("capacity_v_score", evidence_of(*teachers[:2])).verdict == "no data"


def test_the_papers_v_scores_are_those_of_the_accuracies_of_table_3():
    """Figure 7 by hand: its second column has ResNet152V2's accuracy, 82.57 %, its third ConvNeXt-Tiny's, 81.96 %."""
    evidence = paper_evidence()["cifar100"]
    found = {t.name: t.numbers["v_score"].value for t in evidence.teachers if "v_score" in t.numbers}
    assert found == {
        "ConvNeXt-Large": 0.940, "ResNet152V2": 0.771, "ConvNeXt-Tiny": 0.648,
        "ConvNeXt-Large + mixup": 0.903, "ResNet152V2 + mixup": 0.758, "ConvNeXt-Tiny + mixup": 0.601,
    }  # fmt: skip
    students = {arm: evidence.undistilled(arm) for arm in ("baseline", "mixup")}
    assert [s.numbers["v_score"].value for s in students.values() if s is not None] == [0.607, 0.580]
    sizes = {t.name: t.numbers["parameters"].value for t in evidence.plain_teachers if "parameters" in t.numbers}
    assert sorted(sizes, key=lambda name: -sizes[name]) == ["ConvNeXt-Large", "ResNet152V2", "ConvNeXt-Tiny"]
