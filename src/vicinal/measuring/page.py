"""The page of a measurement: one HTML file that opens offline and prints whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vicinal.measuring.figures import figures_of
from vicinal.measuring.tables import (
    ClassRow,
    Value,
    answer_sentence,
    class_rows,
    difference_rows,
    figure_rows,
    refusal_rows,
)
from vicinal.report import FigureSet, count_words, duration, figure_context, typeset

CLASSES_SHOWN = 40
MATRIX_MOST = 20  # classes of a confusion matrix that a page shows
CONFUSIONS_SHOWN = 20


@cache
def environment() -> Environment:
    """The templates of this room, compiled once."""
    found = Environment(
        loader=PackageLoader("vicinal", "measuring"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["typeset"] = typeset
    return found


def html_page(value: Value, pictures: Mapping[int, str], figures: Sequence[FigureSet] | None = None) -> str:
    """The page of measurement.json, as `report.inert` leaves it.

    Args:
        pictures: data: URIs of images by position, as far as they are at hand.
        figures: default: those of the value.
    """
    data, measures = value["data"], value["measures"]
    drawn = figures_of(value) if figures is None else figures
    return (
        environment()
        .get_template("measurement.html.j2")
        .render(
            title=_title(value),
            version=value["version"],
            created=str(value.get("created") or "")[:10],
            answer=answer_sentence(value),
            facts=_facts(value),
            several=len(value["models"]) > 1,
            models=[_model_context(model, pictures) for model in value["models"]],
            names=[model["name"] for model in value["models"]],
            rows=figure_rows(value),
            refusals=refusal_rows(value),
            differences=difference_rows(value),
            pairs=[_pair_words(value, one) for one in value["comparisons"]],
            figures={figure.name: figure_context(figure) for figure in drawn},
            data=data,
            level=f"{100 * measures['confidence_level']:g}",
            bins=measures["ece_bins"],
            halves=measures["calibrated_on"] == "halves",
            notes=[*data["notes"], *value["notes"]],
            imbalance=_imbalance(data),
            command=value["command"],
            rerun=_rerun(value),
            matrix_most=MATRIX_MOST,
        )
    )


def _title(value: Value) -> str:
    names = [model["name"] for model in value["models"]]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{shown} on {value['data']['name']}"


def _facts(value: Value) -> list[str]:
    """What was measured on what, in sentences."""
    data, measures = value["data"], value["measures"]
    sentences = [
        f"{data['images']:,} images of {len(data['class_names']):,} classes from {data['source']}; every image given is measured, and "
        "nothing is trained."
    ]
    if measures["calibrated_on"] == "validation":
        where = f" from {data['validation_source']}" if data["validation_source"] else ""
        sentences.append(f"The temperature is fitted on {data['validation']:,} validation images{where}.")
    else:
        sentences.append(
            "There are no validation images: what is said at the fitted temperature is of each half of the images at the temperature "
            "that the other half asks for."
        )
    if measures["pairs"]:
        sentences.append(
            f"What lies between images is asked of {measures['pairs']:,} pairs of {measures['pair_images']:,} of them."
        )
    if value.get("wall_time_s"):
        sentences.append(f"Measured in {duration(value['wall_time_s'])}.")
    return sentences


def _imbalance(data: Value) -> str:
    counts = [(count, name) for count, name in zip(data["images_by_class"], data["class_names"], strict=True)]
    low, high = min(counts), max(counts)
    if not low[0]:
        without = sum(count == 0 for count, _ in counts)
        return f"{without:,} of {len(counts):,} classes have no image here."
    if high[0] < 2 * low[0]:
        return ""
    return (
        f"The classes differ in size: {high[1]} has {high[0]:,} images, {low[1]} {low[0]:,}. Accuracy is mostly about the large ones; "
        "balanced accuracy counts every class alike."
    )


def _model_context(model: Value, pictures: Mapping[int, str]) -> dict[str, Any]:
    rows = class_rows(model)
    return {
        "name": model["name"],
        "facts": [
            ("Asked for as", model["model"] + (f", weights {model['weights']}" if model.get("weights") else "")),
            ("Parameters", count_words(model["parameters"])),
            ("Sees", model["preparation"]),
            ("Single images", f"answered in {duration(model['predicting_s'])}"),
        ],
        "notes": model["notes"],
        "no_temperature": model.get("no_fitted_temperature"),
        "classes": rows[:CLASSES_SHOWN],
        "class_count": len(rows),
        "confusions": model["confusions"][:CONFUSIONS_SHOWN],
        "confusion_count": len(model["confusions"]),
        "matrix": _matrix(model, rows) if 1 < len(rows) <= MATRIX_MOST else None,
        "matrix_names": model["class_names"],
        "mistakes": [_card(entry, pictures) for entry in model["confident_mistakes"]],
        "uncertain": [_card(entry, pictures) for entry in model["least_certain"]],
    }


def _card(entry: Value, pictures: Mapping[int, str]) -> dict[str, Any]:
    return {
        **entry,
        "picture": pictures.get(entry["position"]),
        "percent": f"{100 * entry['probability']:.1f}",
        "true_percent": f"{100 * entry['true_probability']:.1f}",
        "right": entry["answer"] == entry["true_class"],
        "file": (entry["path"] or f"image {entry['position']:,}"),
    }


def _matrix(model: Value, rows: Sequence[ClassRow]) -> list[dict[str, Any]]:
    """The confusion matrix: a line for each class that has images, a share of its images in each cell."""
    taken = {(c["true_class"], c["answer"]): c["images"] for c in model["confusions"]}
    by_name = {row.name: row for row in rows}
    lines = []
    for name in model["class_names"]:
        row = by_name[name]
        if not row.images or row.recall is None:
            continue
        counts = [taken.get((name, other), 0) for other in model["class_names"]]
        counts[model["class_names"].index(name)] = round(row.recall * row.images)
        lines.append({"name": name, "cells": [{"count": n, "share": n / row.images, "own": model["class_names"][k] == name}
                                              for k, n in enumerate(counts)]})  # fmt: skip
    return lines


def _pair_words(value: Value, one: Value) -> dict[str, str]:
    names = [model["name"] for model in value["models"]]
    first, second, test = names[one["first"]], names[one["second"]], one["mcnemar"]
    return {
        "heading": f"{first} less {second}",
        "words": f"The same answer to {100 * one['same_answers']:.1f} % of the images; {first} alone is right about "
        f"{test['only_first']:,}, {second} alone about {test['only_second']:,} (McNemar’s exact test: p = {test['p_value']:.2g}), "
        f"neither about {one['both_wrong']:,}.",
    }


def _rerun(value: Value) -> list[tuple[str, str]]:
    env = value["environment"]
    versions = [f"{name} {env[name]}" for name in ("python", "torch", "torchvision", "timm", "numpy") if env.get(name)]
    machine = [str(env[key]) for key in ("processor", "device") if env.get(key)]
    facts = [
        ("Versions", ", ".join([f"vicinal {value['version']}", *versions])),
        ("Machine", ", ".join(machine)),
        ("Images", f"content hash {value['data']['content_hash']}"),
    ]
    return [(name, text) for name, text in facts if text]
