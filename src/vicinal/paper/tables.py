"""The paper's numbers as printed, with their digits, and as evidence for its claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml

from vicinal.claims import (
    EPSILON,
    Evidence,
    ModelResults,
    Number,
    StudentVersusTeacher,
    constant,
    difference,
    temperature_text,
)
from vicinal.config import CORRUPTIONS

DATA_SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
TEST_IMAGES = {
    "cifar10": 10_000,
    "cifar100": 10_000,
    "imagenet": 50_000,
}  # of the benchmarks; ImageNet's are its validation images
TEACHERS = {
    "convnext_large": "ConvNeXt-Large",
    "vit_base_patch16": "ViT-B/16",
    "resnet152v2": "ResNet152V2",
    "convnext_tiny": "ConvNeXt-Tiny",
}
# As published, with their heads for ImageNet (Keras Applications; Dosovitskiy et al. 2021), in millions.
PARAMETERS_MILLION = {"convnext_large": 197.8, "vit_base_patch16": 86.6, "resnet152v2": 60.4, "convnext_tiny": 28.6}
STUDENT = "MobileNetV2"
PERFORMANCE_TABLES = {"cifar10": 2, "cifar100": 3, "imagenet": 4}


class Printed(float):
    """A printed decimal: its value, its text, and half a unit of its last digit, which rounding may hide."""

    text: str

    def __new__(cls, text: str) -> Printed:
        number = super().__new__(cls, text)
        number.text = text
        return number

    @property
    def half(self) -> float:
        """Half a unit of the last digit."""
        decimals = len(self.text.partition(".")[2]) if "e" not in self.text.lower() else 0
        return 0.5 * 10.0**-decimals


class Loader(yaml.SafeLoader):
    """Keeps the digits of decimals: 86.30 is more precise than 86.3."""


def _printed(_: yaml.SafeLoader, node: yaml.ScalarNode) -> Printed:
    return Printed(str(node.value))


Loader.add_constructor("tag:yaml.org,2002:float", _printed)


@cache
def printed_numbers() -> Mapping[str, Any]:
    """The content of the package's results.yaml, decimals as `Printed`."""
    text = resources.files("vicinal.paper").joinpath("results.yaml").read_text(encoding="utf-8")
    return MappingProxyType(yaml.load(text, Loader))  # noqa: S506 (a safe loader of our own file)


def number(value: Printed, scale: float = 1.0) -> Number:
    """A printed decimal as evidence, with the interval that its rounding leaves."""
    exact = float(value)
    return Number(
        exact * scale,
        interval=((exact - value.half) * scale, (exact + value.half) * scale),
        printed=True,
    )


@dataclass(frozen=True)
class Entry:
    """One printed row of accuracy, confidence and ECE, as fractions. An absent number is None."""

    table: int
    data: str  # key of DATA_SETS
    row: str  # as shown
    role: str  # teacher, or the arm
    teacher: str | None  # key of TEACHERS
    temperature: float | str | None
    accuracy: Number | None
    confidence: Number | None
    ece: Number | None
    text: tuple[str, str, str]

    @property
    def ece_bounds(self) -> tuple[Number, Number] | None:
        """|acc − conf| and (1 − acc) + (1 − conf), between which every ECE lies, with what rounding leaves of them."""
        if self.accuracy is None or self.confidence is None:
            return None
        gap = difference(self.accuracy, self.confidence)
        low, high = gap.interval or (gap.value, gap.value)
        least = Number(
            abs(gap.value),
            interval=(0.0 if low < 0 < high else min(abs(low), abs(high)), max(abs(low), abs(high))),
            printed=True,
        )
        whole = Number(2.0, interval=(2.0, 2.0), printed=True)
        return least, difference(difference(whole, self.accuracy), self.confidence)

    @property
    def is_impossible(self) -> bool:
        """Whether no classifier can have these three numbers, however they were rounded."""
        bounds = self.ece_bounds
        if bounds is None or self.ece is None or self.ece.interval is None:
            return False
        least, most = (bound.interval or (bound.value, bound.value) for bound in bounds)
        return self.ece.interval[1] < least[0] - EPSILON or self.ece.interval[0] > most[1] + EPSILON


@cache
def entries() -> tuple[Entry, ...]:
    """Every row of tables 1 to 4."""
    return (*_temperature_entries(), *_performance_entries())


def _temperature_entries() -> Iterator[Entry]:
    table = printed_numbers()["table1_temperature_cifar100"]
    for key, arm, row in (
        ("classic_training", "baseline", "Classic training"),
        ("mixup_classic", "mixup", "Mixup classic"),
    ):
        yield _entry(1, "cifar100", row, arm, None, None, _percent_cells(table[key]), 0.01)
    for teacher, label in TEACHERS.items():
        for key, cells in table[teacher].items():
            if key == "kd_classic":
                yield _entry(1, "cifar100", f"{label}, KD classic", "kd", teacher, 2.0, _percent_cells(cells), 0.01)
                continue
            temperature = key if key == "sigma" else float(key)
            shown = f"{label}, T = {temperature_text(temperature)}"
            yield _entry(1, "cifar100", shown, "kd_mixup", teacher, temperature, _percent_cells(cells), 0.01)


def _percent_cells(cells: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return cells["accuracy_pct"], cells["confidence_pct"], cells["ece"]


def _performance_entries() -> Iterator[Entry]:
    for data, table_number in PERFORMANCE_TABLES.items():
        table = printed_numbers()[f"table{table_number}_{data}"]
        for teacher, label in TEACHERS.items():
            yield _entry(
                table_number, data, f"{label} (teacher)", "teacher", teacher, None, tuple(table["teachers"][teacher])
            )
        for teacher, label in TEACHERS.items():
            yield _entry(
                table_number, data, f"KD + mixup, {label}", "kd_mixup", teacher, 2.0, tuple(table["kd_mixup"][teacher])
            )
        yield _entry(table_number, data, "Baseline", "baseline", None, None, tuple(table["baseline"]))


def _entry(
    table: int,
    data: str,
    row: str,
    role: str,
    teacher: str | None,
    temperature: float | str | None,
    cells: tuple[Any, ...],
    scale: float = 1.0,
) -> Entry:
    accuracy, confidence, ece = cells
    return Entry(
        table, data, row, role, teacher, temperature,
        None if accuracy is None else number(accuracy, scale),
        None if confidence is None else number(confidence, scale),
        None if ece is None else number(ece),
        tuple("" if cell is None else cell.text for cell in cells),  # type: ignore[arg-type]
    )  # fmt: skip


# --- evidence ---------------------------------------------------------------------------------------------------------


@cache
def paper_evidence() -> Mapping[str, Evidence]:
    """What the paper's tables say, by data set."""
    return MappingProxyType({data: _evidence(data) for data in DATA_SETS})


def _evidence(data: str) -> Evidence:
    rows = [entry for entry in entries() if entry.data == data]
    teachers = {entry.teacher: _numbers(entry) for entry in rows if entry.role == "teacher"}
    # Table 1 repeats the T = 2 rows of table 3 and adds the other temperatures; the first entry stands.
    students: dict[tuple[str, str | None, float | str | None], dict[str, Number]] = {}
    for entry in rows:
        if entry.role != "teacher":
            known = students.setdefault((entry.role, entry.teacher, entry.temperature), {})
            # CIFAR-100's baseline has its accuracy in table 1 (classic training) and its ECE in table 3 only.
            students[entry.role, entry.teacher, entry.temperature] = {**_numbers(entry), **known}
    if data == "cifar100":
        for name, numbers in teachers.items():
            mean_nl, peak_nl, _ = printed_numbers()["table5_nonlinearity_cifar100"][name]
            numbers |= {"nl_mean": number(mean_nl), "nl_peak": number(peak_nl)}
        for name, entropy in printed_numbers()["global_entropy_cifar100"].items():
            teachers[name]["entropy_mean"] = number(entropy)
        _add_v_scores(teachers, students)
    students_of_arms = [
        ModelResults(
            name=arm, arm=arm, teacher=TEACHERS.get(teacher or ""), temperature=temperature, model=STUDENT, numbers=numbers,
            **(_beyond(teacher) if data == "cifar100" and arm == "kd_mixup" and temperature == 2 and teacher is not None else {}),
        )
        for (arm, teacher, temperature), numbers in students.items()
    ]  # fmt: skip
    taught = [ModelResults(TEACHERS[name or ""], model=name, numbers=numbers) for name, numbers in teachers.items()]
    if data == "cifar100":
        _add_mixup_teachers(taught, students_of_arms)
    return Evidence(DATA_SETS[data], tuple(taught), tuple(students_of_arms), CLASSES[data])


def _numbers(entry: Entry) -> dict[str, Number]:
    found: dict[str, Number] = {}
    for key, value in (("accuracy", entry.accuracy), ("confidence", entry.confidence)):
        if value is not None and value.interval is not None:
            ends = (100 * value.interval[0], 100 * value.interval[1])
            found[key] = Number(100 * value.value, interval=ends, printed=True, images=TEST_IMAGES[entry.data])
    if entry.ece is not None:
        found["ece"] = Number(
            entry.ece.value, interval=entry.ece.interval, printed=True, impossible=entry.is_impossible
        )
    return found


def _beyond(teacher: str) -> dict[str, Any]:
    """What section 7 says of a teacher's KD + mixup student."""
    gain, real, mixed, independent = map(number, printed_numbers()["table6_alignment_cifar100"][teacher])
    beside = StudentVersusTeacher(gain_peak=gain, kl_real=real, kl_mixed=mixed, independent_response=independent)
    return {"versus_teacher": {TEACHERS[teacher]: beside}, "corruption_gain": corruption_gain(teacher)}


def corruption_gain(teacher: str) -> dict[str, dict[int, Number]]:
    """Accuracy of a teacher's student less the baseline's, percentage points, by corruption and severity (table 7)."""
    table = printed_numbers()["table7_corruption_cifar100_pct"]
    return {
        corruption: {
            severity: difference(number(own), number(baseline))
            for severity, (own, baseline) in enumerate(
                zip(table[teacher][corruption], table["baseline"][corruption], strict=True), 1
            )
        }
        for corruption in CORRUPTIONS
    }


def _columns_of_figure7() -> dict[str, str]:
    """Which column of figure 7 is whose, by teacher: the one with its accuracy in table 3."""
    table, figure = (
        printed_numbers()["table3_cifar100"]["teachers"],
        printed_numbers()["figure7_clusters_cifar100"]["erm"],
    )
    return {
        name: column
        for name in TEACHERS
        for column, (_, accuracy) in figure.items()
        if column != "mobilenetv2" and abs(accuracy - 100 * table[name][0]) < EPSILON
    }


def _add_v_scores(
    teachers: Mapping[str | None, dict[str, Number]],
    students: Mapping[tuple[str, str | None, float | str | None], dict[str, Number]],
) -> None:
    """Figure 7, ERM and mixup: V-scores of the teachers and of the student without one, and what is known of their sizes."""
    figure = printed_numbers()["figure7_clusters_cifar100"]
    for name, column in _columns_of_figure7().items():
        teachers[name] |= {
            "v_score": number(figure["erm"][column][0]),
            "parameters": constant(1e6 * PARAMETERS_MILLION[name], printed=True),
        }
    for arm, row in (("baseline", "erm"), ("mixup", "mixup")):
        students[arm, None, None]["v_score"] = number(figure[row]["mobilenetv2"][0])
    size = printed_numbers()["setup"]["students"]["mobilenetv2"]["parameters_million"]["cifar100"]
    students["baseline", None, None]["parameters"] = constant(1e6 * size, printed=True)


def _add_mixup_teachers(teachers: list[ModelResults], students: list[ModelResults]) -> None:
    """Figures 7 and 8: teachers trained with mixup, their students, and the V-scores of both kinds."""
    figure = printed_numbers()["figure8_students_cifar100"]
    for name, column in _columns_of_figure7().items():
        v_score, _ = printed_numbers()["figure7_clusters_cifar100"]["mixup"][column]
        numbers = {"v_score": number(v_score)}
        teachers.append(ModelResults(f"{TEACHERS[name]} + mixup", model=name, trained_with_mixup=True, numbers=numbers))
    for name, (v_score, accuracy) in figure["teacher_with_mixup"].items():
        label = f"{TEACHERS[name]} + mixup"
        numbers = {"accuracy": number(accuracy), "v_score": number(v_score)}
        students.append(ModelResults("kd_mixup", "kd_mixup", label, 2.0, STUDENT, numbers=numbers))
    for position, student in enumerate(students):
        key = next((key for key, label in TEACHERS.items() if label == student.teacher), None)
        if student.arm == "kd_mixup" and student.temperature == 2 and key in figure["teacher_without_mixup"]:
            numbers = {**student.numbers, "v_score": number(figure["teacher_without_mixup"][key][0])}
            students[position] = ModelResults(
                student.name, student.arm, student.teacher, student.temperature, STUDENT, numbers=numbers,
                versus_teacher=student.versus_teacher, corruption_gain=student.corruption_gain,
            )  # fmt: skip
