"""What a reader wants first: which student to ship and whether to, what it costs, where it fails, and where its weights lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from vicinal.claims import listed
from vicinal.report.budgets import epochs_words
from vicinal.report.comparisons import compared
from vicinal.report.degenerate import some
from vicinal.report.evidence import teacher_of
from vicinal.report.faults import Faults, faults_of, rule_words
from vicinal.report.findings import Choice, advice_on, best_seed, choose, row_sentence_name
from vicinal.report.fitness import Recall, balanced_accuracy, wilson
from vicinal.report.floors import floor_words
from vicinal.report.recalls import classes_are_unequal, test_recalls
from vicinal.report.rows import Model, Results, Row, stored_interval
from vicinal.report.tables import csv_text, markdown_line
from vicinal.workspace import format_bytes

WORDS = {"yes": "Fit to ship", "no": "Not fit to ship", "undecided": "Open"}
COVERAGES = (0.9, 0.8, 0.5)  # at which the error of the answered images is told
_SAFE = re.compile(r"[\w.+@=-]+")
NO_BREAK = "\u00a0"


@dataclass(frozen=True)
class Fact:
    """A line of the answer."""

    name: str
    text: str


@dataclass(frozen=True)
class Answer:
    """Whether to ship, and what."""

    verdict: str  # the class of its mark: yes, no or undecided
    word: str
    sentence: str
    facts: tuple[Fact, ...] = ()
    weights: str = ""  # the recommended network's file, from the study's folder
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    numbers: tuple[tuple[str, str, float], ...] = ()  # what is said: line, number as shown, number


@dataclass
class _Said:
    """Says what there is to say of one network of a student, and keeps the numbers that it said."""

    results: Results
    row: Row
    model: Model
    line: str = "Answer"
    numbers: list[tuple[str, str, float]] = field(default_factory=list)

    def number(self, value: float, form: str = ".3f") -> str:
        shown = f"{value:{form}}".replace("-", "−")
        self.numbers.append((self.line, shown, value))
        return shown

    def percent(self, value: float) -> str:
        return f"{self.number(100 * value, '.1f')}{NO_BREAK}%"

    def range(self, bounds: tuple[float, float] | None) -> str:
        """(84.1 to 86.2), of fractions; nothing where it is not known."""
        if bounds is None:
            return ""
        return f" ({self.number(100 * bounds[0], '.1f')} to {self.number(100 * bounds[1], '.1f')})"


@lru_cache(maxsize=2)  # the page, two files and the terminal ask
def ship_answer(results: Results) -> Answer | None:
    """The answer; None for a study without students."""
    if not results.students:
        return None
    choice = choose(results)
    return _no_choice(results) if choice is None else _of_choice(results, choice)


def _no_choice(results: Results) -> Answer:
    """Nothing was looked at that a student could be chosen by."""
    known = [(row, faults_of(results, row, row.models[0])) for row in results.students]
    rule = (rule_words(results),)
    if all(faults.clear for _, faults in known):
        said = "; ".join(f"{row.name}: {listed(faults.clear)}" for row, faults in known[:3])
        return Answer("no", WORDS["no"], f"None of the students is fit to ship. {said}.", notes=rule)
    why = (
        "there are no validation images to choose one by"
        if not results.images("validation")
        else "no student has figures on validation images that count"
    )
    fit = [row.name for row, faults in known if not faults.clear]
    sentence = f"No student can be chosen: {why}. Without a fault on the test images: {some(fit, kind='students')}."
    return Answer("undecided", WORDS["undecided"], sentence, notes=rule)


def _of_choice(results: Results, choice: Choice) -> Answer:
    row, model = choice.row, best_seed(choice.row, results)
    said = _Said(results, row, model)
    faults = faults_of(results, row, model)
    verdict, word, sentence = _verdict(results, choice, faults, said)
    facts = [Fact("Student", _student_words(row, model))]
    for name, words in (
        ("Accuracy", _accuracy_words),
        ("Size and cost", _cost_words),
        ("Weakest class", _weakest_words),
        ("Probabilities", _probability_words),
        ("Where to refuse", _refuse_words),
    ):
        said.line = name
        if text := words(said):
            facts.append(Fact(name, text))
    weights = _weights(model)
    notes = [rule_words(results)]
    if results.other_budgets:
        notes.append(
            f"Chosen among the students trained {epochs_words(row)}, the study’s first budget; those of other budgets stand under "
            "“Every budget”."
        )
    return Answer(
        verdict, word, sentence, tuple(facts), weights, _commands() if verdict != "no" else (), tuple(notes), tuple(said.numbers)
    )  # fmt: skip


def _verdict(results: Results, choice: Choice, faults: Faults, said: _Said) -> tuple[str, str, str]:
    """The mark and the one sentence."""
    name = row_sentence_name(choice.row)
    if faults.clear:
        others = [row for row in results.students if row is not choice.row]
        fit = [row.name for row in others if not faults_of(results, row, best_seed(row, results)).clear]
        chosen = "the only student" if not others else "selected on validation images"
        reasons = "; ".join(faults.clear)
        if not fit:
            start = "None of the students is fit to ship" if others else "The student is not fit to ship"
            return "no", WORDS["no"], f"{start}: {name}, {chosen}, fails, since {reasons}."
        rest = f"{some(fit, kind='students')}; to take one of them now is to choose on test images"
        shown = f"{name}, {chosen}, is not fit to ship: {reasons}. Without such a fault on these test images: {rest}."
        return "no", WORDS["no"], shown
    words = _headline(said)
    advice = advice_on(results, choice)
    if faults.left_open:
        reasons = "; ".join(faults.left_open)
        return "undecided", WORDS["undecided"], f"Whether {name} is fit to ship is open: {reasons}. {words}"
    start = f"{name} has no fault that would keep it back, but"
    if advice.word == "Open":
        return "undecided", WORDS["undecided"], f"{start} nothing confirms it: {_why(results)}. {words}"
    if advice.word == "Not confirmed":
        broken = "the test images do not keep what validation images promised (see “Which student to take”)"
        return "undecided", "Not confirmed", f"{start} {broken}. {words}"
    return "yes", WORDS["yes"], f"{name} is fit to ship. {words}"


def _why(results: Results) -> str:
    return "the test images selected its epochs" if results.selected_on_test else "there are no test figures to do so"


def _headline(said: _Said) -> str:
    """Accuracy, distance to the teacher, size and weakest class, in one sentence."""
    results, row, model = said.results, said.row, said.model
    parts = [f"accuracy {said.percent(model['accuracy'])}{said.range(stored_interval(model, 'accuracy'))}"]
    found = _teacher(results, row, model)
    if found is not None:
        teacher, other = found
        gap = 100 * (model["accuracy"] - other["accuracy"])
        side = "below" if gap < 0 else "above"
        parts.append(
            f"{said.number(abs(gap), '.1f')} points {side} teacher {teacher.label}{_smaller(model, other, said)}"
        )
    if (weakest := _weakest(results, model)) is not None:
        parts.append(f"weakest class {weakest.name}, recognised in {said.percent(weakest.value)} of its images")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _smaller(model: Model, teacher: Model, said: _Said) -> str:
    own, theirs = model.get("parameters"), teacher.get("parameters")
    if not own or not theirs or own >= theirs:
        return ""
    return f" with {said.number(theirs / own, '.1f')} times fewer parameters"


def _student_words(row: Row, model: Model) -> str:
    parts = [row_sentence_name(row), str(model.get("model") or "network of unknown name")]
    if len(row.models) > 1:
        parts.append(f"seed {model['seed']} of {len(row.models)}, selected as the student was, on validation images")
    else:
        parts.append(f"seed {model['seed']}")
    return ", ".join(parts)


def _teacher(results: Results, row: Row, model: Model) -> tuple[Row, Model] | None:
    """The student's teacher; of a student without one the study's most accurate."""
    plain = [one for one in results.teachers if one.scaled_from is None]
    own = next((one for one in results.teachers if one.label == row.teacher), None)
    teacher = own or max(plain, key=lambda one: max(one.values("accuracy"), default=0.0), default=None)
    if teacher is None:
        return None
    return teacher, teacher_of(results, teacher.label, model) or teacher.models[0]


def _accuracy_words(said: _Said) -> str:
    results, row, model = said.results, said.row, said.model
    images = results.images("test")
    parts = [
        f"{said.percent(model['accuracy'])}{said.range(stored_interval(model, 'accuracy'))} of {images:,} test images"
    ]
    recalls = test_recalls(results, model)
    balanced = balanced_accuracy(recalls)
    if balanced is not None and classes_are_unequal(results):
        parts.append(
            f"mean over the classes (balanced accuracy) {said.percent(balanced[0])}, since classes are of unequal size"
        )
    found = _teacher(results, row, model)
    if found is not None and (beside := compared(results, row, found[0], "accuracy")) is not None:
        parts.append(f"against teacher {found[0].label} {beside.text}")
    baseline = next((one for one in results.undistilled if one.arm == "baseline"), None)
    if (
        baseline is not None
        and row is not baseline
        and (beside := compared(results, row, baseline, "accuracy")) is not None
    ):
        parts.append(f"against the baseline {beside.text}")
    return "; ".join(parts)


_COSTS = (  # key of a model, words, factor, form, whether more is better
    ("parameters", "parameters", False),
    ("weights_bytes", "on disk", False),
    ("forward_flops", "an image", False),
    ("predicted_per_second", "images/s here", True),
)


def _amount(key: str, value: float) -> str:
    if key == "weights_bytes":
        return format_bytes(int(value))
    if key == "forward_flops":
        return f"{value / 1e9:.3g} GFLOPs" if value >= 1e8 else f"{value / 1e6:.3g} MFLOPs"
    if key == "parameters" and value >= 10_000:
        return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value / 1e3:.3g} k"
    return f"{value:,.0f}"


def _cost_words(said: _Said) -> str:
    """Each cost beside the teacher's and the ratio."""
    results, row, model = said.results, said.row, said.model
    found, parts = _teacher(results, row, model), []
    for key, words, more in _COSTS:
        own = model.get(key)
        if not own:
            continue
        text = f"{_amount(key, own)} {words}"
        theirs = found[1].get(key) if found is not None else None
        if theirs and found is not None:
            ratio = (own / theirs) if more else (theirs / own)
            good, bad = ("faster", "slower") if more else ("less", "more")
            shown = f"{said.number(ratio if ratio >= 1 else 1 / ratio, '.1f')} times {good if ratio >= 1 else bad}"
            text += f" (teacher {_amount(key, theirs)}: {shown})"
        parts.append(text)
    return "; ".join(parts)


def _weakest(results: Results, model: Model) -> Recall | None:
    known = [recall for recall in test_recalls(results, model) if recall.images]
    return min(known, key=lambda recall: (recall.value, -recall.images), default=None)


def _weakest_words(said: _Said) -> str:
    results, row, model = said.results, said.row, said.model
    weakest = _weakest(results, model)
    if weakest is None:
        return ""
    bounds = wilson(weakest.right, weakest.images, results.confidence_level)
    recall = f"{said.percent(weakest.value)}{said.range(bounds)}"
    text = f"{weakest.name}: {weakest.right:,} of its {weakest.images:,} test images are recognised, {recall}"
    found = _teacher(results, row, model)
    theirs = test_recalls(results, found[1]) if found is not None else []
    beside = next((recall for recall in theirs if recall.name == weakest.name), None)
    if beside is not None and found is not None:
        text += f"; teacher {found[0].label} {said.percent(beside.value)}"
    where = "under “Images by class”" if results.data.get("images_by_class") else "in tables/classes.csv"
    return f"{text}. Every class is {where}"


def _probability_words(said: _Said) -> str:
    results, row, model = said.results, said.row, said.model
    if row.scale_free:
        return ""
    gap = model["confidence"] - model["accuracy"]
    side = "above" if gap > 0 else "below"
    apart = f"{said.number(100 * abs(gap), '.1f')} points {side} the accuracy"
    text = f"mean confidence {said.percent(model['confidence'])}, {apart}; ECE {said.number(model['ece'])}"
    one = Row(row.label, row.arm, row.teacher, row.temperature, row.temperature_rank, (model,), row.budget)
    if words := floor_words(one, "ece", results.confidence_level):
        text += f" ({words})"
    fitted, scaled = model.get("fitted_temperature"), model.get("ece_after_temperature_scaling")
    if fitted is not None and scaled is not None:
        divisor = f"the temperature {said.number(fitted, '.2f')}, fitted on validation images"
        text += f". Divide its logits by {divisor}: ECE {said.number(scaled)}"
        if words := floor_words(one, "ece_after_temperature_scaling", results.confidence_level):
            text += f" ({words})"
    return text


def _refuse_words(said: _Said) -> str:
    """The error among the most confident share of images, and the share at which it is half of all."""
    model = said.model
    found: dict[str, Any] = model.get("selective") or {}
    coverage, risk = found.get("coverage") or [], found.get("risk") or []
    if not coverage or len(coverage) != len(risk) or not risk[-1]:
        return ""
    points = list(zip(coverage, risk, strict=True))
    at = [min(points, key=lambda point: abs(point[0] - share)) for share in COVERAGES]
    shown = [f"of the surest {said.percent(share)} {said.percent(error)}" for share, error in dict.fromkeys(at)]
    half = risk[-1] / 2
    reached = [share for share, error in points if error <= half]
    tail = (
        f"Half of the error of all, {said.percent(half)}, is reached by refusing the {said.percent(1 - max(reached))} least sure"
        if reached
        else "Refusing the least sure nowhere halves it"
    )
    return (
        f"of all images {said.percent(risk[-1])} are answered wrongly, {listed(shown)}. {tail}. These are the test images; "
        "vicinal export states thresholds from validation images"
    )


def _weights(model: Model) -> str:
    """Where a network's weights lie in the study's folder; nothing where that is not known."""
    run = str(model.get("run") or "")
    return f"runs/{run}/weights.safetensors" if _SAFE.fullmatch(run) and not run.startswith(".") else ""


def _commands() -> tuple[str, ...]:
    return "vicinal export . --out student", "vicinal predict student PHOTOS"


def ship_markdown(results: Results) -> str | None:
    """The answer in Markdown; None for a study without students."""
    answer = ship_answer(results)
    if answer is None:
        return None
    lines = [f"**{answer.word}.** {answer.sentence}", ""]
    if answer.facts:
        lines += [markdown_line(["", ""]), markdown_line(["---", "---"])]
        lines += [markdown_line([fact.name, fact.text]) for fact in answer.facts]
        lines += [markdown_line(["Weights", f"`{answer.weights}`"])] if answer.weights else []
        lines.append("")
    lines += [f"{note}\n" for note in answer.notes]
    return "\n".join(lines).rstrip() + "\n"


def ship_csv(results: Results) -> str | None:
    """Every number of the answer, as shown and whole, by the line that it stands in; None where it has none."""
    answer = ship_answer(results)
    if answer is None or not answer.numbers:
        return None
    lines: Sequence[Sequence[Any]] = [[line, results.selection, shown, value] for line, shown, value in answer.numbers]
    return csv_text(["line", "selection", "shown", "value"], lines)
