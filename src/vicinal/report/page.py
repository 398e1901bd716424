"""The page: words around the tables and figures, and the HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from vicinal.claims import listed
from vicinal.report.figures import SUBSCRIPT, FigureSet, Styles, figure_context
from vicinal.report.findings import findings, recommendation
from vicinal.report.paper import study_claims
from vicinal.report.rows import ARM_LABELS, Model, Results, Row, mean_and_spread
from vicinal.report.ship import ship_answer
from vicinal.report.tables import (
    between_tables,
    budgets_context,
    calibration_context,
    classes_context,
    columns_of,
    images_context,
    measures,
    optional_context,
    optional_definitions,
    shown_table,
    table_notes,
)
from vicinal.report.terms import explained

PAPER = "https://arxiv.org/abs/2606.12171"

DEFINITIONS = (
    (
        "Accuracy, confidence",
        "share of test images classified correctly; mean probability given to the predicted class.",
    ),
    (
        "ECE",
        "mean distance between accuracy and confidence over {bins} equal-width bins of confidence, weighted by images.",
    ),
    ("ECE scaled", "the same after temperature scaling: all logits divided by one number fitted on validation images."),
    (
        "NLL, Brier",
        "negative log-likelihood of the true class, nats; squared distance from probabilities to the true label.",
    ),
    (
        "NL(λ)",
        "non-linearity residual (eq. 12): KL from the mix of a network’s two answers to its answer on the mixed image.",
    ),
    ("H(λ)", "entropy of the network’s answer on the mixed image, in nats."),
    ("D(λ)", "dominance ratio (eq. 13): mean NL over mean H. Above 1, mismatch outweighs entropy."),
    (
        "I_lin(λ)",
        "linearity information (eq. 14): entropy of the two answers, mixed, minus NL. Below 0 nothing is left of what linear mixing "
        "would tell.",
    ),
    (
        "Δ_lin(λ)",
        "linearity gain (eq. 15): NL of the teacher minus NL of the student. Positive: the student is more linear, which "
        "does not by itself mean a larger I_lin.",
    ),
    (
        "KL real, KL mixed",
        "KL(teacher ‖ student) on clean and on mixed images; their difference is the independent response.",
    ),
    (
        "Arms",
        "Baseline: true labels. Mixup: mixed images and labels. KD: the teacher’s answers on clean images. KD + mixup: on mixed ones.",
    ),
)

INDEX_PLACE = "<!-- index -->"


@cache
def _environment() -> Environment:
    """The templates of this room, compiled once."""
    found = Environment(
        loader=PackageLoader("vicinal", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["typeset"] = typeset
    return found


PATHS = {
    "mixup": "mixup’s line λ x_i + (1 − λ) x_j",
    "cutmix": "CutMix’s path (a rectangle of one image that grows over the other about a fixed centre)",
}


def html_page(results: Results, figures: Sequence[FigureSet], paper_part: Mapping[str, Any]) -> str:
    """The report as one HTML file that needs nothing else; `paper_part` is `paper.paper_context`."""
    raw = results.raw
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=raw.get("title") or raw["study"],
            study=raw["study"],
            version=raw["version"],
            created=str(raw.get("created") or "")[:10],
            description=raw.get("description") or "",
            run_words=what_was_run(results),
            optimistic=results.selected_on_test,
            selection=results.selection_sentence,
            ship=ship_answer(results),
            recommendation=recommendation(results),
            findings=findings(results),
            study_claims=study_claims(results),
            columns=columns_of(results),
            sections=shown_table(results, columns_of(results)),
            table_notes=table_notes(results),
            between=between_tables(results),
            colours=_table_colours(results),
            figures=[figure_context(figure) for figure in figures],
            definitions=[(term, text.format(bins=raw["measures"].get("ece_bins", 15))) for term, text in DEFINITIONS],
            optional=optional_context(results),
            calibration=calibration_context(results),
            images=images_context(results),
            classes=classes_context(results),
            budgets=budgets_context(results),
            optional_definitions=optional_definitions(measures(results)),
            selected=what_was_selected(results),
            command=raw.get("command") or "",
            facts=rerun_facts(results),
            class_names=raw["data"].get("class_names") or [],
            spec=json.dumps(raw.get("spec"), indent=2, ensure_ascii=False) if raw.get("spec") else "",
            paper=PAPER,
            paper_part=paper_part,
        )
    )
    return explained(with_index(html))


_ENTRIES = re.compile(
    r'<section id="(?P<section>[\w-]+)"[^>]*>\s*<h2>(?P<heading>.*?)</h2>|<article id="(?P<item>[\w-]+)" data-short="(?P<short>[^"]*)"'
)


def with_index(html: str) -> str:
    """The page with links to all its sections where the template marks the place, and to the items inside them."""
    parts: list[str] = []
    for entry in _ENTRIES.finditer(html):
        if entry["section"]:
            parts.append(f'</ul></li><li><a href="#{entry["section"]}">{entry["heading"]}</a><ul>')
        else:
            parts.append(f'<li><a href="#{entry["item"]}">{entry["short"]}</a></li>')
    listed = "".join(parts).removeprefix("</ul></li>") + "</ul></li>"
    index = f'<nav class="index" aria-label="Contents"><ul>{listed.replace("<ul></ul>", "")}</ul></nav>'
    return html.replace(INDEX_PLACE, index, 1)


def typeset(text: str) -> Markup:
    """Escaped text with the indices of Δ_lin, I_lin and σ_t as subscripts, and without line breaks inside an arm's name."""
    unbroken = str(escape(text)).replace("KD + mixup", "KD\u00a0+\u00a0mixup")
    return Markup(re.sub(SUBSCRIPT, r"\1<sub>\2</sub>", unbroken))  # noqa: S704


def _table_colours(results: Results) -> dict[Row, str]:
    """The colour of every row."""
    styles = Styles.of(results)
    return {row: styles.key(row).colour for row in results.rows}


# --- words ------------------------------------------------------------------------------------------------------------


def what_was_run(results: Results) -> list[str]:
    """Data, networks, seeds, machine and time, in a few sentences."""
    raw, data = results.raw, results.data
    shape = " × ".join(map(str, (data.get("image_shape") or [])[:2]))
    classes = len(data.get("class_names") or [])
    about = ", ".join(
        part for part in (f"{shape} px" if shape else "", f"{classes} classes" if classes else "") if part
    )
    counts = [f"{data[part]:,} {word}" for part, word in (("train", "training"), ("validation", "validation"), ("test", "test"))
              if data.get(part)]  # fmt: skip
    sentences = [
        f"{data.get('name') or data.get('source')}{f' ({about})' if about else ''}: {listed(counts) or 'no'} images."
    ]
    if results.teachers:
        teachers = [f"{row.label} ({_network(row)})" for row in results.teachers]
        sentences.append(f"{'Teachers' if len(teachers) > 1 else 'Teacher'}: {listed(teachers)}.")
    if results.students:
        arms = list(dict.fromkeys(ARM_LABELS.get(row.arm or "", row.arm or "") for row in results.students))
        sentences.append(f"Student: {_network(results.students[0])}, trained as {listed(arms)}.")
    seeds = results.seeds
    sentences.append(
        f"{'Seeds' if len(seeds) > 1 else 'Seed'} {', '.join(map(str, seeds))}. {results.selection_sentence}"
    )
    machine = _machine(raw["environment"])
    time = f" in {duration(raw['wall_time_s'])}" if raw.get("wall_time_s") is not None else ""
    if machine or time:
        sentences.append(f"Run{time}{f' on {machine}' if machine else ''}.")
    return sentences


def _network(row: Row) -> str:
    """Model, size, images and epochs of a row."""
    model: Model = row.models[0]
    parts = [str(model.get("model", "network of unknown name"))]
    if model.get("parameters"):
        parts.append(f"{count_words(model['parameters'])} parameters")
    if model.get("train_images"):
        parts.append(f"{model['train_images']:,} training images")
    if model.get("epochs") is not None:
        parts.append(f"{model['epochs']} epoch{'' if model['epochs'] == 1 else 's'}")
    return ", ".join(parts)


def _machine(environment: dict[str, Any]) -> str:
    parts = [environment.get("processor") or environment.get("platform")]
    if environment.get("cores"):
        parts.append(f"{environment['cores']} cores")
    if environment.get("memory_gib"):
        parts.append(f"{environment['memory_gib']:g} GiB")
    if environment.get("device") and environment["device"] != "cpu":
        parts.append(str(environment["device"]))
    return ", ".join(str(part) for part in parts if part)


def count_words(count: int) -> str:
    """A number of parameters as people say it: 31 k, 0.30 M, 87.6 M."""
    if count < 100_000:
        return f"{count / 1000:.0f} k" if count >= 1000 else str(count)
    return f"{count / 1e6:.2f} M" if count < 10_000_000 else f"{count / 1e6:.1f} M"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, the two largest that apply."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def what_was_selected(results: Results) -> list[str]:
    """Every choice between training and the table, in sentences."""
    raw, measures = results.raw, results.raw["measures"]
    lines = [results.selection_sentence]
    epochs = [_selected_epochs(row) for row in results.rows if row.models[0].get("selected_epoch") is not None]
    if epochs and results.selection != "last":
        lines.append(f"Epochs selected: {'; '.join(epochs)}.")
    if measures.get("calibrated_on"):
        lines.append(f"Temperature scaling is fitted on the {measures['calibrated_on']} split, never on test images.")
    else:
        lines.append(
            "There is no validation split, so no temperature is fitted and nothing is shown after temperature scaling."
        )
    if measures.get("pairs"):
        lines.append(
            f"Vicinal curves: {measures['pairs']:,} pairs of the students’ training images, in both orders, at "
            f"{measures.get('lam_points', 'several')} values of λ, along {PATHS[measures.get('path') or 'mixup']}, whatever a network "
            "was trained on."
        )
    if measures.get("bootstrap_resamples"):
        lines.append(
            f"Intervals: {results.coverage}, from {measures['bootstrap_resamples']:,} bootstrap resamples of test images or of the "
            "images that pairs are made of; of an accuracy Wilson’s, of an ECE by "
            "inverting the distribution of the bins’ gaps."
        )
    if results.resamples is None:
        lines.append(
            "No resamples lie beside these results, so differences are compared as if networks had seen other images: intervals are "
            "wider than they need be, and what rests on few of them is left open."
        )
    temperatures = [row for row in results.rows if row.values("fitted_temperature")]
    if temperatures:
        fitted = [
            f"{row.name} {mean[0]:.2f}"
            for row in temperatures
            if (mean := mean_and_spread(row.values("fitted_temperature")))
        ]
        lines.append(f"Fitted temperatures: {', '.join(fitted)}.")
    if measures.get("calibrated_on"):
        lines += [_not_fitted(row) for row in results.rows if len(row.values("fitted_temperature")) < len(row.models)]
    return [*lines, *map(str, raw["data"].get("notes") or []), *map(str, raw.get("notes") or [])]


def _not_fitted(row: Row) -> str:
    """Why a row has no fitted temperature, or not in every seed."""
    without = [model for model in row.models if model.get("fitted_temperature") is None]
    reasons = list(
        dict.fromkeys(str(model.get("no_fitted_temperature") or "the reason was not stored") for model in without)
    )
    seeds = f" (seed {', '.join(str(model['seed']) for model in without)})" if len(row.models) > 1 else ""
    return f"No temperature is fitted for {row.name}{seeds}, and nothing of it shown after temperature scaling: {'; '.join(reasons)}."


def _selected_epochs(row: Row) -> str:
    chosen = ", ".join(str(model.get("selected_epoch")) for model in row.models)
    return f"{row.name} {chosen} of {row.models[0].get('epochs', '?')}"


def rerun_facts(results: Results) -> list[tuple[str, str]]:
    """Versions, seeds, machine and data hash."""
    raw, environment = results.raw, results.raw["environment"]
    versions = [
        f"{name} {environment[name]}"
        for name in ("python", "torch", "torchvision", "timm", "numpy")
        if environment.get(name)
    ]
    machine = [_machine(environment), f"{environment['threads']} threads" if environment.get("threads") else ""]
    platform = environment.get("platform") if environment.get("processor") else None
    data = raw["data"]
    facts = [
        ("Study", f"{raw['study']}, vicinal {raw['version']}, finished {raw.get('created') or 'at an unknown time'}"),
        ("Seeds", ", ".join(map(str, results.seeds))),
        ("Versions", ", ".join(versions)),
        ("Machine", ", ".join(str(part) for part in (*machine, platform) if part)),
        ("Data", f"{data.get('source') or data.get('name')}, content hash {data.get('content_hash') or 'unknown'}"),
    ]
    return [(name, text) for name, text in facts if text]
