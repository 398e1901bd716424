"""What the paper's numbers cannot be and where they disagree, found by computation from the printed digits alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

from vicinal.claims import (
    CLAIMS,
    EPSILON,
    ORDER_OF_MAGNITUDE,
    SMOOTH_CORRUPTIONS,
    Judgement,
    ModelResults,
    Number,
    corruption_text,
    decide,
    difference,
    judge,
    listed,
    mean,
    mean_gain_by_corruption,
    mean_robustness_gain,
    ratio,
)
from vicinal.config import CORRUPTIONS
from vicinal.paper.finding import Finding
from vicinal.paper.running_text import running_text
from vicinal.paper.sentences import sentences
from vicinal.paper.tables import (
    DATA_SETS,
    TEACHERS,
    Entry,
    Printed,
    corruption_gain,
    entries,
    number,
    paper_evidence,
    printed_numbers,
)

BOUND_WORDS = (
    "|accuracy − confidence| ≤ ECE ≤ (1 − accuracy) + (1 − confidence), rounding of the printed digits allowed for"
)
REPEATED_CELLS = 3  # columns that two rows of a table have to share; fewer coincide by chance


def audit() -> list[Finding]:
    """Everything the checks find in the paper's numbers, kind by kind."""
    return [
        *impossible_entries(entries()),
        *repeated_rows(),
        *_peak_gains(),
        *_figure6(),
        *_baselines(),
        *_repeated_figures(),
        *running_text(),
        *_facts(),
        *sentences(),
    ]


def impossible_entries(rows: Sequence[Entry]) -> Iterator[Finding]:
    """The rows whose ECE lies outside the bounds that their accuracy and confidence set."""
    for entry in rows:
        bounds = entry.ece_bounds
        if not entry.is_impossible or bounds is None or entry.ece is None:
            continue
        least, most = bounds
        accuracy, confidence, ece = entry.text
        above = entry.ece.value > most.value
        limit = f"above {most.value:.4f}, the most" if above else f"below {least.value:.4f}, the least"
        yield Finding(
            "impossible_ece", "impossible",
            f"Table {entry.table}, {DATA_SETS[entry.data]}, {entry.row}: ECE {ece} is {limit} that accuracy {accuracy} and confidence "
            f"{confidence} allow.",
            ((entry.table, entry.row),),
            {"ece": entry.ece.value, "least": least.value, "most": most.value},
        )  # fmt: skip


def repeated_rows() -> Iterator[Finding]:
    """Rows of table 7 that share the numbers of several columns."""
    table = printed_numbers()["table7_corruption_cifar100_pct"]
    rows = [(name, corruption, table[name][corruption]) for name in table for corruption in table[name]]
    for (name, corruption, cells), (other, other_corruption, others) in combinations(rows, 2):
        same = [severity for severity, pair in enumerate(zip(cells, others, strict=True), 1) if pair[0] == pair[1]]
        if len(same) < REPEATED_CELLS:
            continue
        differ = [severity for severity in range(1, len(cells) + 1) if severity not in same]
        parts = [f"{cells[s - 1].text} and {others[s - 1].text} at severity {s}" for s in differ]
        tail = f"; they differ in {listed(parts)}" if differ else ""
        labels = (table7_label(name, corruption), table7_label(other, other_corruption))
        yield Finding(
            "repeated_row", "repeated",
            f"Table 7: {labels[0]} and {labels[1]} share {len(same)} of {len(cells)} numbers, severities "
            f"{listed(list(map(str, same)))} ({', '.join(cells[s - 1].text for s in same)}){tail}.",
            ((7, labels[0]), (7, labels[1])),
            {"severities": same, "values": [float(cells[s - 1]) for s in same]},
        )  # fmt: skip


def table7_label(name: str, corruption: str) -> str:
    """How a row of table 7 is shown."""
    return f"{TEACHERS.get(name, 'Baseline')}, {corruption_text(corruption)}"


def _peak_gains() -> Iterator[Finding]:
    """Peak linearity gain: figure 5 and the text against table 6."""
    figure, table = printed_numbers()["figure5_peak_linearity_gain"], printed_numbers()["table6_alignment_cifar100"]
    apart = [(name, figure[name], table[name][0]) for name in TEACHERS if _differ(figure[name], table[name][0])]
    if apart:
        yield Finding(
            "peak_gain", "disagreement",
            f"Peak linearity gain differs between figure 5 (and §7.4) and table 6 for {len(apart)} of {len(TEACHERS)} teachers: "
            + ", ".join(f"{TEACHERS[name]} {a.text} and {b.text}" for name, a, b in apart) + ".",
            tuple((6, TEACHERS[name]) for name, _, _ in apart),
            {TEACHERS[name]: [float(a), float(b)] for name, a, b in apart},
        )  # fmt: skip
    wrong = [name for name in TEACHERS if decide(_response_gap(table[name]))]
    if wrong:
        yield Finding("independent_response", "disagreement", "Table 6: KL mixed less KL real is not the independent response for "
                      f"{listed([TEACHERS[name] for name in wrong])}.", tuple((6, TEACHERS[name]) for name in wrong))  # fmt: skip


def _response_gap(cells: Sequence[Printed]) -> Number:
    return difference(difference(number(cells[2]), number(cells[1])), number(cells[3]))


def _figure6() -> Iterator[Finding]:
    """Figure 6 has a bar for each teacher and a number at the longest of a corruption: both follow from table 7, or are found."""
    labels = printed_numbers()["figure6_extreme_teacher_gain_pp"]
    apart: dict[str, dict[str, float]] = {}
    for corruption in CORRUPTIONS:
        bars = [mean(list(corruption_gain(name)[corruption].values())).value for name in TEACHERS]
        longest = max(bars, key=abs)
        if abs(longest - labels[corruption]) > labels[corruption].half + EPSILON:
            apart[corruption] = {"label": float(labels[corruption]), "table7": round(longest, 3)}
    if apart:
        parts = [f"{corruption_text(c)} {_signed(v['label'])} and {_signed(v['table7'])}" for c, v in apart.items()]
        yield Finding("figure6", "disagreement", f"The longest bars of figure 6 and the gains of table 7 differ: {'; '.join(parts)}.",
                      data=apart)  # fmt: skip


def _baselines() -> Iterator[Finding]:
    """Which arm of table 1 the baseline of table 3 is."""
    baseline = next(e for e in entries() if e.table == 3 and e.role == "baseline")
    for entry in entries():
        if entry.table == 1 and entry.role == "mixup" and _equal(entry.accuracy, baseline.accuracy):
            classic = next(e for e in entries() if e.table == 1 and e.role == "baseline")
            same = [name for name, a, b in _columns(entry, baseline) if a is not None and _equal(a, b)]
            others = [
                f"{name} {b_text}, not {a_text}" for name, a_text, b_text in _texts(entry, baseline) if name not in same
            ]
            yield Finding(
                "baseline_is_mixup", "disagreement",
                f"The baseline of table 3 has the accuracy of “{entry.row}” in table 1 ({entry.text[0]} %), not of “{classic.row}” "
                f"({classic.text[0]} %), but {' and '.join(others)}.",
                ((1, entry.row), (3, baseline.row)),
            )  # fmt: skip
    for entry in (e for e in entries() if e.table == 3 and e.role == "kd_mixup"):
        twin = next(
            e
            for e in entries()
            if e.table == 1 and (e.role, e.teacher, e.temperature) == ("kd_mixup", entry.teacher, 2.0)
        )
        apart = [name for name, a, b in _columns(entry, twin) if not _equal(a, b)]
        if apart:
            yield Finding("table1_table3", "disagreement", f"Tables 1 and 3 differ in {listed(apart)} of {entry.row}.",
                          ((1, twin.row), (3, entry.row)))  # fmt: skip


def _columns(a: Entry, b: Entry) -> list[tuple[str, Number | None, Number | None]]:
    return [("accuracy", a.accuracy, b.accuracy), ("confidence", a.confidence, b.confidence), ("ECE", a.ece, b.ece)]


def _texts(a: Entry, b: Entry) -> list[tuple[str, str, str]]:
    return list(zip(("accuracy", "confidence", "ECE"), a.text, b.text, strict=True))


def _equal(a: Number | None, b: Number | None) -> bool:
    return a is not None and b is not None and decide(difference(a, b)) == 0


def _repeated_figures() -> Iterator[Finding]:
    """Figures 7 and 8 give accuracies that tables 1 and 3 give too, table 5 the teachers' ECE of table 3."""
    apart = []
    for name, (_, accuracy) in printed_numbers()["figure8_students_cifar100"]["teacher_without_mixup"].items():
        table = printed_numbers()["table1_temperature_cifar100"][name]["2"]["accuracy_pct"]
        if _differ(accuracy, table):
            apart.append((f"student of {TEACHERS[name]}", "figure 8", accuracy, "table 1", table))
    mobile = printed_numbers()["figure7_clusters_cifar100"]
    table1 = printed_numbers()["table1_temperature_cifar100"]
    for row, key in (("erm", "classic_training"), ("mixup", "mixup_classic")):
        accuracy, table = mobile[row]["mobilenetv2"][1], table1[key]["accuracy_pct"]
        if _differ(accuracy, table):
            words = {"erm": "MobileNetV2 without mixup", "mixup": "MobileNetV2 with mixup"}[row]
            apart.append((words, "figure 7", accuracy, "table 1", table))
    if apart:
        yield Finding(
            "figure_accuracy", "disagreement",
            "Accuracies that a figure and a table both give differ: "
            + "; ".join(f"{what}, {a.text} % in {where_a} and {b.text} % in {where_b}" for what, where_a, a, where_b, b in apart) + ".",
            data={f"{what}, {where_a}": [float(a), float(b)] for what, where_a, a, _, b in apart},
        )  # fmt: skip
    ece = {
        name: (
            printed_numbers()["table5_nonlinearity_cifar100"][name][2],
            printed_numbers()["table3_cifar100"]["teachers"][name][2],
        )
        for name in TEACHERS
    }
    wrong = [name for name, (a, b) in ece.items() if _differ(a, b)]
    if wrong:
        yield Finding("teacher_ece", "disagreement", f"Tables 3 and 5 differ in the ECE of {listed([TEACHERS[n] for n in wrong])}.",
                      tuple((5, TEACHERS[n]) for n in wrong))  # fmt: skip


# --- what the tables say against the text -----------------------------------------------------------------------------


def _facts() -> Iterator[Finding]:
    """The failures behind contradicted claims, said with their counts."""
    cifar100 = paper_evidence()["cifar100"]
    yield from _not_monotone(_judgement("ece_falls"))
    yield from _failing("ece_below_kd", "KD + mixup rows of table 1 have a higher ECE than their KD classic")
    yield from _failing("beats_mixup", "KD + mixup rows of table 1 are less accurate than mixup classic")
    yield from _orders(cifar100.plain_teachers)
    students = [
        s for teacher in cifar100.plain_teachers if (s := cifar100.reference("kd_mixup", teacher)) and s.corruption_gain
    ]
    gains = mean_gain_by_corruption(students)
    for other in gains:
        for smooth in SMOOTH_CORRUPTIONS:
            if other not in SMOOTH_CORRUPTIONS and decide(difference(gains[other], gains[smooth])) > 0:
                yield Finding(
                    "corruption_order", "fact",
                    f"On average over teachers and severities {corruption_text(other)} gains more than {corruption_text(smooth)}: "
                    f"{_signed(gains[other].value)} and {_signed(gains[smooth].value)} points over the baseline.",
                    data={name: round(gain.value, 3) for name, gain in gains.items()},
                )  # fmt: skip
    yield from _largest_ratio()


def _judgement(key: str) -> Judgement:
    return judge(next(claim for claim in CLAIMS if claim.key == key), paper_evidence()["cifar100"])


def _not_monotone(judgement: Judgement) -> Iterator[Finding]:
    rises: dict[str, list[str]] = {}
    for case in judgement.cases:
        if case.sign < 0 and case.effect is not None:
            rises.setdefault(case.subject, []).append(
                f"{case.condition.removeprefix('T = ')} by {-case.effect.value:.4f}"
            )
    if rises:
        yield Finding(
            "ece_not_monotone", "fact",
            f"ECE does not fall monotonically with T for {len(rises)} of {len(TEACHERS)} teachers of table 1; it rises at "
            + "; ".join(f"{teacher}, T = {', '.join(steps)}" for teacher, steps in rises.items()) + ".",
            data={"teachers": list(rises)},
        )  # fmt: skip


def _failing(key: str, words: str) -> Iterator[Finding]:
    failing = [case for case in _judgement(key).cases if case.sign < 0]
    if failing:
        by_teacher: dict[str, list[str]] = {}
        for case in failing:
            by_teacher.setdefault(case.subject, []).append(case.condition.removeprefix("T = "))
        yield Finding(
            key, "fact",
            f"{len(failing)} {words}: {'; '.join(f'{teacher} at T = {listed(at)}' for teacher, at in by_teacher.items())}.",
            tuple((1, f"{case.subject}, {case.condition}") for case in failing),
            {"count": len(failing), "by_teacher": by_teacher},
        )  # fmt: skip


def _orders(teachers: Sequence[ModelResults]) -> Iterator[Finding]:
    """The order of robustness gains against that of linearity gains."""
    cifar100 = paper_evidence()["cifar100"]
    peak, robust = {}, {}
    for teacher in teachers:
        student = cifar100.reference("kd_mixup", teacher)
        gain = (
            student.versus_teacher[teacher.name].gain_peak
            if student is not None and teacher.name in student.versus_teacher
            else None
        )
        if student is not None and gain is not None and student.corruption_gain:
            peak[teacher.name], robust[teacher.name] = gain.value, mean_robustness_gain(student).value
    by_peak, by_robust = (sorted(values, key=lambda name: -values[name]) for values in (peak, robust))
    if by_peak != by_robust:
        yield Finding(
            "robustness_order", "fact",
            "Mean gain on corrupted images orders the teachers "
            + " > ".join(f"{name} ({_signed(robust[name])})" for name in by_robust)
            + ", the peak linearity gain " + " > ".join(f"{name} ({peak[name]:.3f})" for name in by_peak) + ".",
            data={"by_robustness_gain": by_robust, "by_linearity_gain": by_peak},
        )  # fmt: skip


def _largest_ratio() -> Iterator[Finding]:
    """What is left of the order of magnitude if an impossible baseline had the largest ECE that its row allows."""
    for entry in entries():
        bounds = entry.ece_bounds
        if (
            entry.role != "baseline"
            or not entry.is_impossible
            or bounds is None
            or entry.ece is None
            or entry.ece.value < bounds[1].value
        ):
            continue
        others = [e.ece for e in entries() if e.table == entry.table and e.role == "kd_mixup" and e.ece is not None]
        largest = max((ratio(bounds[1], ece) for ece in others), key=lambda r: r.value)
        at_most = (largest.interval or (0, math.inf))[1]
        if at_most < ORDER_OF_MAGNITUDE:
            yield Finding(
                "largest_ratio", "fact",
                f"Even the largest ECE that {DATA_SETS[entry.data]}’s baseline can have, {bounds[1].value:.4f}, is no more than "
                f"{at_most:.2f} times that of any KD + mixup student: no order of magnitude is possible.",
                ((entry.table, entry.row),), {"at_most": at_most},
            )  # fmt: skip


def _differ(a: Printed, b: Printed) -> bool:
    return decide(difference(number(a), number(b))) != 0


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
