"""Values of a study as the paper's tables show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vicinal.config import sigma_multiple
from vicinal.paper import printed_numbers
from vicinal.report.degenerate import answers_of, percent
from vicinal.report.paper.match import paper_teacher
from vicinal.report.paper.table import SeedValue, Value
from vicinal.report.rows import Model, Results, Row, stored_interval, temperature_label

MAIN_TEMPERATURE = 2.0  # the paper fixes it after table 1


def value_of(
    models: Iterable[Model],
    get: Callable[[Model], float | None],
    paper: float | None = None,
    interval: Callable[[Model], Sequence[float | None] | None] = lambda _: None,
    scale: float = 1.0,
    scale_free: bool = False,
) -> Value | None:
    """The value of every seed that has it, times `scale`; None where no seed has."""
    seeds = []
    for model in models:
        found = get(model)
        if found is None:
            continue
        bounds = interval(model)
        low, high = bounds if bounds is not None else (None, None)
        if low is None or high is None:
            seeds.append(SeedValue(model["seed"], scale * float(found)))
        else:
            seeds.append(SeedValue(model["seed"], scale * float(found), scale * float(low), scale * float(high)))
    return Value(tuple(seeds), paper, scale_free) if seeds else None


def scalar_value(
    row: Row, key: str, paper: float | None = None, scale: float = 1.0, needs_scale: bool = True
) -> Value | None:
    """A scalar of results.json with its stored interval."""
    return value_of(
        row.models,
        lambda model: model.get(key),
        paper,
        lambda model: stored_interval(model, key),
        scale,
        scale_free=needs_scale and row.scale_free,
    )


def keep(**cells: Value | None) -> dict[str, Value]:
    """The cells that there are."""
    return {key: value for key, value in cells.items() if value is not None}


def teacher_label(row: Row) -> str:
    """A teacher's name; one trained with mixup says so."""
    return row.label + (", trained with mixup" if row.trained_with_mixup else "")


def papers_name(row: Row) -> str | None:
    """The paper's name of a teacher, which trained its own without mixup and left their logits as they were."""
    return None if row.trained_with_mixup or row.scaled_from else paper_teacher(row.model_name)


def students_of(results: Results, teacher: Row, arm: str) -> list[Row]:
    """A teacher's students of an arm: by temperature, numbers first."""
    rows = [row for row in results.distilled if row.arm == arm and row.teacher == teacher.label]
    return sorted(rows, key=lambda row: temperature_order(row.temperature))


def temperature_order(temperature: float | str | None) -> tuple[int, float]:
    """A key that sorts fixed temperatures first, then the σ variants."""
    if not isinstance(temperature, str):
        return 0, temperature or 0.0
    multiple = sigma_multiple(temperature)
    return (2, 0.0) if multiple is None else (1, multiple)


def main_student(results: Results, teacher: Row) -> Row | None:
    """A teacher's KD + mixup student at T = 2, as the paper fixes it; without one, at the lowest temperature there is."""
    rows = students_of(results, teacher, "kd_mixup")
    return next((row for row in rows if row.temperature == MAIN_TEMPERATURE), rows[0] if rows else None)


def undistilled(results: Results, arm: str) -> Row | None:
    """The students of an arm without a teacher."""
    return next((row for row in results.undistilled if row.arm == arm), None)


def has_corruptions(row: Row | None) -> bool:
    """Whether a row has corruption results."""
    return row is not None and any(model.get("corruptions") for model in row.models)


def value_notes(results: Results, of: str) -> list[str]:
    """How the values of a table came about: the selection first, then what stands after ±."""
    notes = [results.selection_sentence]
    if len(results.seeds) > 1:
        single = any(len(row.models) == 1 for row in results.rows)
        notes.append(
            f"Mean ± sample standard deviation over seeds {', '.join(map(str, results.seeds))}"
            + (f"; of a network of one seed its {results.coverage} interval over {of}." if single and of else ".")
        )
    elif of:
        notes.append(f"One seed ({results.seeds[0]}); ranges are {results.coverage} intervals over {of}.")
    if "test images" in of and len(results.seeds) == 1:
        notes.append(
            "Of an accuracy the range is Wilson’s, of an ECE the distribution of its bins’ gaps inverted, else a bootstrap."
        )
    return notes


def prior_note(results: Results) -> list[str]:
    """What the class shares of the test images reach without looking at an image; nothing where an older version left it out."""
    known = (answers for row in results.rows for model in row.models if (answers := answers_of(model)))
    found = next(known, None)
    if found is None:
        return []
    return [
        f"Without looking at an image: always the commonest class has an accuracy of {percent(found['prior_accuracy'])}, the class "
        f"shares an NLL of {found['prior_nll']:.3f} nats."
    ]


def setting_notes(results: Results, paper: Any) -> tuple[str, ...]:
    """What differs from the paper's setting; nothing where none of its values (`paper`) stand beside."""
    if not paper:
        return ()
    numbers, data = printed_numbers()["setup"], results.data
    recipe = numbers["recipe_in_the_authors_repository"]
    model = results.students[0].models[0] if results.students else results.teachers[0].models[0]
    ours = [str(model.get("model") or "a network of unknown name")]
    size = data.get("image_size") or (data.get("image_shape") or [None])[0]
    ours += [f"{size} px"] if size else []
    images = model.get("train_images") or data.get("train")
    ours += [f"{images:,} training images"] if images else []
    ours += [f"{model['epochs']} epoch{'' if model['epochs'] == 1 else 's'}"] if model.get("epochs") is not None else []
    notes = [
        f"The paper’s values: student MobileNetV2, {recipe['image_size']} px, {numbers['epochs']} epochs, no spread given. "
        f"Here: {', '.join(ours)}. A difference is this study minus the paper, so between these settings too."
    ]
    if any(papers_name(row) == "resnet152v2" for row in results.teachers):
        notes.append("ResNet152 stands where the paper has ResNet152V2, of which timm has no weights.")
    return tuple(notes)


def main_temperature_note(results: Results) -> list[str]:
    """At which temperatures the students shown for KD + mixup were distilled."""
    students = [main_student(results, teacher) for teacher in results.teachers]
    found = dict.fromkeys(temperature_label(row.temperature) for row in students if row is not None)
    return [f"KD + mixup at {' and '.join(found)}."] if found else []
