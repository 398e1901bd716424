"""A study file gone wrong is a study or one line, in bounded time; numbers are read as people write them."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from mutated_studies import BOMBS, FRAGMENTS, mutated_studies

from vicinal.config import StudySpec, load_study
from vicinal.errors import UsageError

SECONDS = 10.0  # the slowest takes half a second; 20,000 keys once took 90
LONGEST_LINE = 5000


def study_or_line(*arguments: Any) -> StudySpec | str:
    """What load_study makes of it; anything but a study or a UsageError of one line fails the test."""
    started = time.process_time()
    try:
        found: StudySpec | str = load_study(*arguments)
    except UsageError as error:
        found = str(error)
        assert "\n" not in found
        assert len(found) < LONGEST_LINE
    assert time.process_time() - started < SECONDS
    return found


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_one_line_at_once(tmp_path: Path, bomb: str):
    path = tmp_path / "s.yaml"
    path.write_text(BOMBS[bomb], encoding="utf-8")
    assert isinstance(study_or_line(str(path)), str)


def test_mutated_studies_are_studies_or_one_line(tmp_path: Path):
    path = tmp_path / "s.yaml"
    good = 0
    for text in mutated_studies(60, seed=10):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        good += isinstance(study_or_line(str(path)), StudySpec)
    assert 2 < good < 40  # neither refuses all nor takes all


KEYS = [
    "name", "title", "data", "data.source", "data.image_size", "data.x", "teachers.calibrated.lr", "teachers.a/b.model", "student",
    "student.augment.crop", "arms", "arms.0", "arms.kd.temperature", "arms.kd.terms", "arms.kd.terms.x", "seeds", "seeds.0", "runtime",
    "measures.vicinity.precision_nats", "measures.representation.classes", "runtime.device", "a.b.c", "", ".", "arms.", "extends",
    ".".join(["a"] * 5000), "arms." + "9" * 5000, "\ud800", "a\nb",
]  # fmt: skip


def test_hostile_overrides_are_studies_or_one_line():
    draw = random.Random(10)
    for key in KEYS:
        for fragment in draw.sample(FRAGMENTS, 2):
            study_or_line("quickstart", [f"{key}={fragment}"])


# --- numbers and words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "side"),
    [("0224", 224), ("010", 10), ("007", 7), ("1_000", 1000), ("0x10", 16), ("0o17", 15), ("1e3", 1000), ("+32", 32), ("'0224'", 224)],
)  # fmt: skip
def test_whole_numbers_are_read_as_people_write_them(text: str, side: int):
    assert load_study("quickstart", [f"data.image_size={text}"]).data.image_size == side


@pytest.mark.parametrize(
    ("text", "lr"),
    [("1e-3", 0.001), ("1E-3", 0.001), ("1.e-3", 0.001), (".5", 0.5), ("+1e-1", 0.1), ("01", 1), ("1_0.5", 10.5)],
)
def test_real_numbers_are_read_as_people_write_them(text: str, lr: float):
    assert load_study("quickstart", [f"student.lr={text}"]).student.lr == lr  # type: ignore[union-attr]


@pytest.mark.parametrize("key", ["data.image_size", "student.lr", "student.epochs", "seeds", "arms.kd.temperature"])
@pytest.mark.parametrize(
    "text", ["1:30", "190:20:30", "2024-01-01", "0x_", "1__0", "_1", "1_", "yes", "true", "''", ".nan", "-.inf", "1e400",
     "9" * 5000, "2**3", "١٢"]
)  # fmt: skip
def test_what_is_no_number_is_refused_with_its_key(key: str, text: str):
    with pytest.raises(UsageError, match=key):
        load_study("quickstart", [f"{key}={text}"])


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y", "n", "1:30", "2024-01-01", "0x_", "1e", "<", "="])
def test_words_are_words(word: str):
    classes = load_study("quickstart", [f"measures.representation.classes=[{word}, Bag]"]).measures.representation
    assert classes is not None
    assert classes.classes == (word, "Bag")


@pytest.mark.parametrize("word", ["null", "~", "true", "False", "0", "007", "1e3", "0x10", ".inf"])
def test_what_is_no_word_asks_for_quotes(word: str):
    with pytest.raises(UsageError, match=r"measures.representation.classes.0.*(quotes|no value)"):
        load_study("quickstart", [f"measures.representation.classes=[{word}, Bag]"])
    classes = load_study("quickstart", [f"measures.representation.classes=['{word}', Bag]"]).measures.representation
    assert classes is not None
    assert classes.classes == (word, "Bag")


@pytest.mark.parametrize(
    ("word", "flag"), [("true", True), ("yes", True), ("on", True), ("False", False), ("no", False), ("off", False)]
)
def test_switches_take_the_usual_words(word: str, flag: bool):
    assert load_study("quickstart", [f"data.lazy={word}"]).data.lazy is flag


def test_an_alias_is_a_copy(tmp_path: Path):
    """An override of one place once changed the other."""
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: a\ndata: {source: x}\nteachers:\n  a: &t {model: m, epochs: 1}\n  b: {<<: *t, epochs: 2}\n  c: *t\n"
    )
    spec = load_study(str(path), ["teachers.a.epochs=5"])
    assert [teacher.epochs for teacher in spec.teachers.values()] == [5, 2, 1]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.image_size=100000", "less than or equal to 4096"),
        ("seeds=18446744073709551616", "less than or equal to 4294967295"),
        ("arms.kd.temperature=1e300", "0.001 to 1,000,000"),
        ("measures.vicinity.precision_nats=1e-300", "greater than or equal to 0.000001"),
        ("measures.ece_bins=1000000000", "less than or equal to 10000"),
        ("measures.representation.classes=[Bag, Bag]", "lists 'Bag' twice"),
        ("measures.corruptions.names=[fog, fog]", "lists 'fog' twice"),
        ("arms.kd.temperature=[2, 2.0]", "lists 2.0 twice"),
        ("arms.kd.teachers=[calibrated, calibrated]", "lists 'calibrated' twice"),
        ("seeds=[1, 1]", "lists 1 twice"),
        ("student.epochs=", "student.epochs has no value"),
        ("runtime.device=gpu", "runtime.device: is auto, cpu, mps, cuda or cuda:N (given: 'gpu')"),
        ("name=a/b", "name: is letters, digits"),
        ("arms.kd.terms={kd: x}", "arms.kd.terms.kd: "),
        ("arms.kd.alpha=1e7", "arms.kd.alpha: input should be less than or equal to 1000000"),
        ("student.lr=1e9", "student.lr: input should be less than or equal to 1000"),
        ("title=" + "x" * 1001, "title: string should have at most 1000 characters"),
    ],
)  # fmt: skip
def test_every_number_has_its_bounds_and_plain_words(override: str, words: str):
    with pytest.raises(UsageError) as refused:
        load_study("temperature" if "kd" in override and "alpha" not in override else "quickstart", [override])
    assert words in str(refused.value)


def test_every_number_of_a_study_is_bounded():
    """In the schema that editors read, too; but for numbers that only a choice of words or of a place may hold."""
    from vicinal.config import study_file_schema

    def unbounded(part: Any, path: str) -> list[str]:
        if isinstance(part, list):
            return [found for k, item in enumerate(part) for found in unbounded(item, f"{path}.{k}")]
        if not isinstance(part, dict):
            return []
        kind, own = part.get("type"), []
        if kind in ("integer", "number") and not (
            {"maximum", "exclusiveMaximum"} & part.keys() and {"minimum", "exclusiveMinimum"} & part.keys()
        ):
            own = [path]
        return own + [found for key, item in part.items() for found in unbounded(item, f"{path}.{key}")]

    assert unbounded(study_file_schema(), "") == []
