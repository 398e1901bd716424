"""Figures 7 and 8: features of networks and of students, laid out by t-SNE."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from vicinal.paper import printed_numbers
from vicinal.report.figures import (
    ARM_SLOTS,
    TEXT,
    Array,
    FigureSet,
    Key,
    Panel,
    css,
    panel_title,
)
from vicinal.report.paper.cells import (
    keep,
    main_temperature_note,
    papers_name,
    scalar_value,
    setting_notes,
    teacher_label,
    undistilled,
    value_notes,
    value_of,
)
from vicinal.report.paper.match import paper_teacher
from vicinal.report.paper.paper_figure import PaperFigure, figure_notes, main_students
from vicinal.report.paper.table import PaperTable, Quantity, TableRow, Value
from vicinal.report.rows import Model, Results, Row

FIGURE_7_CLASSES = {"baby", "boy", "girl", "man", "woman"}
MOST_POINTS = 600  # in one scatter: more hide each other and weigh down the page


def _represented(row: Row | None) -> Model | None:
    """The first seed of a row with a picture of its features."""
    models = row.models if row is not None else ()
    return next((model for model in models if (model.get("representation") or {}).get("points")), None)


def _feature_value(row: Row, key: str, paper: float | None) -> Value | None:
    return value_of(row.models, lambda m: (m.get("representation") or {}).get(key), paper)


def _same_classes(row: Row) -> bool:
    """Whether the classes are the paper's five; a V-score of other classes is another quantity."""
    model = _represented(row)
    names = (model or {}).get("representation", {}).get("classes") or []
    return {str(name).lower() for name in names} == FIGURE_7_CLASSES


_FEATURE_COLUMNS = (
    Quantity("v_score", "V-score", "V-score", 3),
    Quantity("silhouette", "Silhouette", "Silhouette", 3, signed=True),
    Quantity("accuracy", "Accuracy", "Accuracy", 2, "%"),
)


def _feature_cells(row: Row, printed: Sequence[float | None] | None) -> dict[str, Value]:
    v_score, accuracy = printed or (None, None)
    return keep(
        v_score=_feature_value(row, "v_score", v_score if _same_classes(row) else None),
        silhouette=_feature_value(row, "silhouette", None),
        accuracy=scalar_value(row, "accuracy", accuracy, 100, needs_scale=False),
    )


def networks_features(results: Results, data_set: str | None) -> PaperFigure:
    """Figure 7: t-SNE of the penultimate features of teachers and student, trained without and with mixup."""
    title = "Features of networks trained without and with mixup"
    paper = printed_numbers()["figure7_clusters_cifar100"] if data_set == "cifar100" else {}
    shown: dict[str, list[tuple[Row, str, str | None]]] = {"erm": [], "mixup": []}
    for teacher in results.teachers:
        kind = "mixup" if teacher.trained_with_mixup else "erm"
        shown[kind].append((teacher, teacher_label(teacher), paper_teacher(teacher.model_name)))
    for arm, kind in (("baseline", "erm"), ("mixup", "mixup")):
        row = undistilled(results, arm)
        if row is not None:
            shown[kind].append((row, f"Student, {row.label.lower()}", "mobilenetv2"))
    shown = {kind: [entry for entry in rows if _represented(entry[0])] for kind, rows in shown.items()}
    everything = [(kind, *entry) for kind, rows in shown.items() for entry in rows]
    if not everything:
        return PaperFigure(7, title, missing=("measures.representation",))
    rows = []
    for kind, row, label, name in everything:
        words = "without mixup" if kind == "erm" else "with mixup"
        printed = (paper.get(kind) or {}).get(name or "")
        rows.append(TableRow((label, words), _feature_cells(row, printed), starts=row is shown[kind][0][0]))
    missing = [] if shown["erm"] else ["networks trained without mixup"]
    missing += [] if shown["mixup"] else ["networks trained with mixup: the arm mixup or a teacher with a mixing"]
    notes = value_notes(results, "test images (accuracy)")
    if paper:
        notes.append(
            "The paper’s figure 7 leaves open which of its two middle columns is which network, so those are not compared; "
            "a V-score is compared only where the classes are the paper’s five."
        )
    panels = [_scatter(row, label, f"paper7-{k}") for k, (_, row, label, _) in enumerate(everything)]
    drawn = FigureSet(
        "figure7", title, _feature_caption(results, everything[0][1]), _class_keys(everything[0][1]), tuple(panels),
        min(4, max(len(found) for found in shown.values())),
    )  # fmt: skip
    numbers = PaperTable(
        None, "figure7", f"Numbers of figure 7: clusters and accuracy, {results.data_name}", ("Network", "Trained"),
        _FEATURE_COLUMNS, tuple(rows), notes=tuple(notes), setting=setting_notes(results, paper),
    )  # fmt: skip
    return PaperFigure(7, title, drawn, numbers, tuple(missing))


def students_features(results: Results, data_set: str | None) -> PaperFigure:
    """Figure 8: features of the KD + mixup students of teachers trained without mixup and of their siblings trained with it."""
    title = "Students of teachers trained without and with mixup"
    students = {t: s for t, s in main_students(results) if _represented(s)}
    pairs = []
    for mixed in (t for t in students if t.trained_with_mixup):
        model = mixed.model_name
        plain = next((t for t in students if not t.trained_with_mixup and t.model_name == model), None)
        if plain is not None:
            pairs.append((plain, mixed))
    if not pairs:
        needs = []
        if not any(t.trained_with_mixup for t in results.teachers):
            needs.append("a teacher trained with mixup beside one of the same model trained without")
        if not any(s for _, s in main_students(results)):
            needs.append("the arm kd_mixup")
        if not students:
            needs.append("measures.representation")
        return PaperFigure(8, title, missing=tuple(needs or ["KD + mixup students of both teachers of one model"]))
    paper = printed_numbers()["figure8_students_cifar100"] if data_set == "cifar100" else {}
    shown = [(plain, plain, "teacher_without_mixup") for plain, _ in pairs]
    shown += [(mixed, plain, "teacher_with_mixup") for plain, mixed in pairs]
    rows, panels = [], []
    for k, (teacher, plain, key) in enumerate(shown):
        words = "with mixup" if teacher.trained_with_mixup else "without mixup"
        printed = (paper.get(key) or {}).get(papers_name(plain) or "")
        rows.append(
            TableRow((teacher.label, words), _feature_cells(students[teacher], printed), starts=k in (0, len(pairs)))
        )
        panels.append(_scatter(students[teacher], f"Student of {teacher_label(teacher)}", f"paper8-{k}"))
    first = students[pairs[0][0]]
    caption = f"{_feature_caption(results, first)} {' '.join(main_temperature_note(results))}".strip()
    drawn = FigureSet("figure8", title, caption, _class_keys(first), tuple(panels), min(4, len(pairs)))
    numbers = PaperTable(
        None, "figure8", f"Numbers of figure 8: students of both kinds of teacher, {results.data_name}",
        ("Teacher", "It was trained"),
        _FEATURE_COLUMNS, tuple(rows), notes=figure_notes(results, "test images (accuracy)"), setting=setting_notes(results, paper),
    )  # fmt: skip
    return PaperFigure(8, title, drawn, numbers)


def _feature_caption(results: Results, row: Row) -> str:
    found = (_represented(row) or {}).get("representation") or {}
    images = f"{found['images']:,} test images" if found.get("images") else "test images"
    several = f" Seed {(_represented(row) or {}).get('seed')} is drawn." if len(results.seeds) > 1 else ""
    return (
        f"Penultimate features of {images} of {len(found.get('classes') or [])} classes, laid out by t-SNE: distances between "
        "groups mean nothing, and each panel has axes of its own. V-score: how well k-means on the features themselves finds the "
        f"classes, 1 at best.{several}"
    )


def _class_keys(row: Row) -> tuple[Key, ...]:
    classes = ((_represented(row) or {}).get("representation") or {}).get("classes") or []
    return tuple(_class_key(k, str(name)) for k, name in enumerate(classes))


def _class_key(position: int, label: str) -> Key:
    # After six colours come six rings.
    return Key(label, f"arm-{1 + position % ARM_SLOTS}", marker="o", line=False, hollow=position // ARM_SLOTS % 2 == 1)


def _scatter(row: Row, label: str, name: str) -> Panel:
    """The features of one network as dots; drawn by hand, since a path for each class is a tenth of matplotlib's bytes."""
    model = _represented(row) or {}
    found = model["representation"]
    width, height, top = 212.0, 212.0, 34.0
    points = np.array(found["points"], dtype=np.float64).reshape(-1, 2)
    labels = np.array(found["labels"], dtype=np.int64)
    if len(points) > MOST_POINTS:
        chosen = np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int)
        points, labels = points[chosen], labels[chosen]
    xy = _fitted(points, (8.0, top + 6, width - 8.0, height - 8.0))
    parts = []
    for position in sorted(set(labels.tolist())):
        key = _class_key(position, "")
        path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in xy[labels == position])
        parts.append(
            f'<path d="{path}" style="fill:none;stroke:{css(key.colour)};stroke-width:3.6;stroke-linecap:round;stroke-opacity:.85"/>'
        )
        if key.hollow:
            parts.append(
                f'<path d="{path}" style="fill:none;stroke:{css("surface")};stroke-width:1.8;stroke-linecap:round"/>'
            )
    facts = [
        f"V-score {found['v_score']:.3f}" if found.get("v_score") is not None else "",
        f"accuracy {100 * model['accuracy']:.1f} %",
    ]
    words = " · ".join(fact for fact in facts if fact)
    title = escape(panel_title(label, ""))
    text = (
        f'<text x="2" y="12" style="font-size:{TEXT + 1.5:g}px;font-weight:700;fill:{css("ink")}">{title}</text>'
        f'<text x="2" y="25" style="font-size:{TEXT + 0.5:g}px;fill:{css("muted")}">{escape(words)}</text>'
        f'<rect x=".5" y="{top:g}" width="{width - 1:g}" height="{height - top - 1:g}" rx="3" style="fill:none;stroke:{css("grid")}"/>'
    )
    group = f'<g id="{name}">{text}{"".join(parts)}</g>'
    return Panel(group, width, height, f"{label}: t-SNE of its features; {words}")


def _fitted(points: Array, box: tuple[float, float, float, float]) -> Array:
    """Points moved and scaled, alike in both directions, into a box of px."""
    x0, y0, x1, y1 = box
    low, high = points.min(axis=0), points.max(axis=0)
    scale = min((x1 - x0) / max(high[0] - low[0], 1e-9), (y1 - y0) / max(high[1] - low[1], 1e-9))
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    return np.asarray(centre + (points - (low + high) / 2) * scale)
