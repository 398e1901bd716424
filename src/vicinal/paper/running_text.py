"""Numbers of the paper's running text against its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from vicinal.claims import EPSILON, ModelResults, Number, decide, difference
from vicinal.paper.finding import Finding
from vicinal.paper.tables import TEACHERS, Loader, Printed, entries, number, paper_evidence


@dataclass(frozen=True)
class Apart:
    """A number that the text gives otherwise than a table."""

    where: str
    what: str
    said: str
    table: str


@cache
def stated() -> Mapping[str, Any]:
    """Numbers of the running text that a table gives as well, from the package's text.yaml."""
    text = resources.files("vicinal.paper").joinpath("text.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader)  # type: ignore[no-any-return]  # noqa: S506 (a safe loader of our own file)


def running_text() -> Iterator[Finding]:
    """The finding on every number that the text and a table give differently, if there is any."""
    apart = [*_best_student()]
    for key, label in TEACHERS.items():
        cifar100 = paper_evidence()["cifar100"]
        teacher = cifar100.teacher(label)
        student = cifar100.reference("kd_mixup", teacher) if teacher is not None else None
        assert teacher is not None
        assert student is not None
        apart += [
            *_gain_over_baseline(key, label, student),
            *_accuracies(key, label, teacher, student),
            *_first_severity(key, label, student),
        ]
    if apart:
        yield Finding(
            "text", "disagreement",
            "The text and the tables give different numbers: "
            + "; ".join(f"{a.what}, {a.said} in {a.where} and {a.table} by the table" for a in apart) + ".",
            data={f"{a.where}: {a.what}": [a.said, a.table] for a in apart},
        )  # fmt: skip


def _accuracy(where: str, what: str, said: Printed, table: Number) -> Iterator[Apart]:
    if decide(difference(number(said), table)):
        yield Apart(where, f"accuracy of {what}", f"{said.text} %", f"{table.value:.2f} %")


def _best_student() -> Iterator[Apart]:
    best = max(
        (e for e in entries() if e.table == 2 and e.role == "kd_mixup"),
        key=lambda e: e.accuracy.value if e.accuracy else 0,
    )
    cifar10 = paper_evidence()["cifar10"]
    teacher = cifar10.teacher(TEACHERS[best.teacher or ""])
    student = cifar10.reference("kd_mixup", teacher) if teacher is not None else None
    assert student is not None
    said = stated()["best_student_cifar10"]["accuracy_pct"]
    return _accuracy("§6.2", "the best CIFAR-10 student", said, student.numbers["accuracy"])


def _gain_over_baseline(key: str, label: str, student: ModelResults) -> Iterator[Apart]:
    table3 = next(e for e in entries() if e.table == 3 and e.role == "baseline").accuracy
    assert table3 is not None
    assert table3.interval is not None
    low, high = table3.interval
    gain = difference(
        student.numbers["accuracy"], Number(100 * table3.value, interval=(100 * low, 100 * high), printed=True)
    )
    for part in ("gain_over_baseline_cifar100_pp", "smallest_gain_cifar100_pp"):
        said = stated()[part].get(key)
        # The text gives one or two digits of a difference: a unit of its last digit is within its care.
        if said is not None and abs(gain.value - said) > 2 * said.half + EPSILON:
            what = f"gain of {label}’s student over table 3’s baseline"
            yield Apart(stated()[part]["where"], what, f"{said.text} points", f"{gain.value:.2f} points")


def _accuracies(key: str, label: str, teacher: ModelResults, student: ModelResults) -> Iterator[Apart]:
    of_student = student.numbers["accuracy"]
    said = stated()["student_accuracy_cifar100_pct"]
    if key in said:
        yield from _accuracy(said["where"], f"{label}’s student", said[key], of_student)
    in_figure = stated()["figure3_accuracy_pct"][key]
    yield from _accuracy("figure 3", label, in_figure[0], teacher.numbers["accuracy"])
    yield from _accuracy("figure 3", f"{label}’s student", in_figure[1], of_student)


def _first_severity(key: str, label: str, student: ModelResults) -> Iterator[Apart]:
    first = next((s for s, gain in student.corruption_gain["pixelate"].items() if decide(gain) < 0), None)
    said = stated()["pixelate_below_baseline_from_severity"]
    if first != said[key]:
        what = f"severity from which pixelate puts {label}’s student below the baseline"
        yield Apart(said["where"], what, f"{said[key]}", f"{first}")
