"""From study folders to joined.json: who stands beside whom, what differed before, and every difference of what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import stdev
from typing import Any

from vicinal.claims import Number, infer
from vicinal.measuring.compare import ACCURACIES
from vicinal.measuring.joined.differences import HALF, compare_studies, factor_of, figures_of
from vicinal.measuring.joined.match import Line, lines_of
from vicinal.measuring.joined.settings import environment_differences, setting_differences
from vicinal.measuring.joined.studies import OpenStudy, SameImages, open_studies, same_images
from vicinal.report import Row, told_in_a_line
from vicinal.results import JOINED_SCHEMA, JoinedResults
from vicinal.version import __version__

COSTS = ("parameters", "forward_flops", "weights_bytes", "predicted_per_second")


def join_studies(folders: Sequence[Path], command: str = "") -> JoinedResults:
    """Finished studies side by side, and every further one less the first; nothing is written.

    Raises UsageError, in one line, as `open_studies` and `same_images`.
    """
    studies = open_studies(folders)
    same = [same_images(studies[0], other) for other in studies[1:]]
    lines = lines_of([study.results for study in studies])
    networks = [_network(studies, line, _whose_pairs(same)) for line in lines]
    compared = []
    for k, (other, images) in enumerate(zip(studies[1:], same, strict=True), start=1):
        with told_in_a_line(other.folder):
            found = compare_studies(studies[0], other, lines, k, images)
        compared.append({"study": k, "pairs": images.pairs, **vars(found)})
    data = studies[0].results.data
    value = {
        "schema": JOINED_SCHEMA,
        "version": __version__,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "confidence_level": max(study.results.confidence_level for study in studies),
        "studies": [_study(study) for study in studies],
        "images": {
            "name": studies[0].results.data_name,
            "images": studies[0].results.images("test"),
            "class_names": list(data.get("class_names") or []),
            "known_by": "content" if all(images.known_by == "content" for images in same) else "place",
        },
        "settings": setting_differences([study.spec for study in studies]),
        "environment": environment_differences([_environment(study) for study in studies]),
        "networks": networks,
        "comparisons": compared,
        "notes": _notes(studies, lines),
    }
    return JoinedResults.model_validate(value)


def _whose_pairs(same: Sequence[SameImages]) -> str:
    """Whose pairs a table of all studies shows: test images' where that is what two of them have in common."""
    return "test" if same and all(images.pairs == "test" for images in same) else "training"


def _study(study: OpenStudy) -> dict[str, Any]:
    raw = study.results.raw
    return {
        "name": study.name,
        "folder": str(study.folder),
        "study": raw["study"],
        "version": raw["version"],
        "command": raw.get("command") or "",
        "created": raw.get("created"),
        "seeds": study.results.seeds,
        "selection": study.results.selection,
    }


def _environment(study: OpenStudy) -> dict[str, Any]:
    raw = study.results.raw
    return {"vicinal": raw["version"], **raw["environment"]}


def _network(studies: Sequence[OpenStudy], line: Line, pairs: str) -> dict[str, Any]:
    entries = []
    for study, row in zip(studies, line.rows, strict=True):
        with told_in_a_line(study.folder):
            entries.append(None if row is None else _entry(study, row, pairs))
    return {"role": "teacher" if line.first.is_teacher else "student", "name": line.name, "entries": entries}


def _entry(study: OpenStudy, row: Row, pairs: str) -> dict[str, Any]:
    model = row.models[0]
    times = [float(m["training_s"]) for m in row.models if m.get("training_s") is not None]
    numbers = figures_of(study, row, pairs)
    return {
        "label": row.label,
        "model": row.model_name,
        "teacher": None if row.is_teacher else row.teacher,
        "temperature": row.temperature,
        "budget": row.budget,
        "seeds": [m["seed"] for m in row.models],
        "scale_free": row.scale_free,
        "figures": {key: _figure(row, key, number) for key, number in numbers.items()},
        **{key: model.get(key) for key in COSTS},
        "training_s": sum(times) / len(times) if times else None,
    }


def _figure(row: Row, key: str, number: Number) -> dict[str, Any]:
    """A figure in its own unit; of one seed with the interval over its images."""
    factor, values = factor_of(key), list(number.by_seed.values())
    interval = None
    if len(values) == 1:
        interval = None if key.endswith(HALF) else row.interval(key)
        found = infer(replace(number, least_error=0.0))
        if interval is None and found is not None and key not in ACCURACIES:
            interval = found.interval
    return {
        "value": number.value / factor,
        "spread": stdev(values) / factor if len(values) > 1 else None,
        "interval": None if interval is None else list(interval),
    }


def _notes(studies: Sequence[OpenStudy], lines: Sequence[Line]) -> list[str]:
    notes = [
        f"{study.name}: {study.results.selection_sentence}"
        for study in studies
        if study.results.selected_on_test or study.results.selection != studies[0].results.selection
    ]
    scale_free = [line.name for line in lines if any(row is not None and row.scale_free for row in line.rows)]
    if scale_free:
        notes.append(
            f"{', '.join(scale_free)}: the scale of these logits means nothing, so only what follows temperature scaling is shown."
        )
    return notes
