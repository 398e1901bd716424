"""The page of joined studies, and what a terminal shows of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicinal.measuring.joined.figure import differences_drawn
from vicinal.measuring.joined.rows import (
    ABSENT,
    ALL,
    COSTS,
    answer_sentences,
    cost_lines,
    csv_files,
    difference_lines,
    figure_lines,
    kept_columns,
    what_differs,
)
from vicinal.measuring.page import environment
from vicinal.measuring.tables import SCALED, Value, difference_cell
from vicinal.measuring.write import check_measurement_folder
from vicinal.report import figure_context, inert
from vicinal.results import JOINED_FILE, JoinedResults, write_joined_results
from vicinal.workspace import write_atomically

if TYPE_CHECKING:
    from rich.table import Table

PAGE = "joined.html"
ON_TERMINAL = ("accuracy", f"nll{SCALED}", "nll", f"ece{SCALED}", "ece")  # the scaled ones in place of the others
MOST_ON_TERMINAL = 16
PAIRS = {
    "training": "training images that both studies were asked about",
    "test": "test images, since training images make other pairs",
}


def check_joined_folder(folder: Path) -> None:
    """Raises UsageError where joined studies would be written over something else."""
    check_measurement_folder(folder, JOINED_FILE, "joined studies")


def default_joined_folder(results: JoinedResults) -> Path:
    """Where joined studies go when nobody says."""
    names = [study.name.replace("/", "-") for study in results.studies]
    return Path("measurements") / "-and-".join(names)[:120]


def write_joined(results: JoinedResults, folder: Path) -> Path:
    """Write the folder of joined studies; returns the page's path. Earlier ones there are replaced.

    Raises VicinalError where it cannot be written, UsageError as `check_joined_folder`.
    """
    check_joined_folder(folder)
    value = inert(results.to_json())
    page = joined_page(value)
    for name, text in csv_files(value).items():
        write_atomically(folder / "tables" / name, text)
    write_joined_results(folder, results)
    # Last, so that a page never stands beside older numbers.
    write_atomically(folder / PAGE, page)
    return folder / PAGE


def joined_page(value: Value) -> str:
    """The page of joined.json, as `report.inert` leaves it."""
    columns = kept_columns(value)
    names = [study["name"] for study in value["studies"]]
    drawn = differences_drawn(value)
    return (
        environment()
        .get_template("joined.html.j2")
        .render(
            title=" and ".join(names) if len(names) == 2 else ", ".join(names),
            version=value["version"],
            created=str(value.get("created") or "")[:10],
            answers=answer_sentences(value),
            differs=what_differs(value),
            facts=_facts(value),
            names=names,
            studies=value["studies"],
            settings=_shown(value["settings"]),
            environment=_shown(value["environment"]),
            columns=list(columns.values()),
            comparisons=[
                {
                    "name": names[one["study"]],
                    "first": names[0],
                    "lines": difference_lines(value, one, columns),
                    "notes": one["notes"],
                    "pairs": PAIRS.get(one["pairs"]),
                }
                for one in value["comparisons"]
            ],
            figures=figure_lines(value, columns),
            cost_columns=[heading for _, heading, _ in COSTS],
            costs=cost_lines(value),
            drawn=None if drawn is None else figure_context(drawn),
            level=f"{100 * value['confidence_level']:g}",
            notes=value["notes"],
            command=value["command"],
        )
    )


def _facts(value: Value) -> str:
    images = value["images"]
    classes = f" of {len(images['class_names']):,} classes" if images["class_names"] else ""
    return (
        f"{images['images']:,} test images{classes} from {images['name']}, the same in all of these studies; nothing is trained or "
        "predicted anew."
    )


def _shown(lines: list[Value]) -> list[tuple[str, list[str]]]:
    return [(line["key"], [ABSENT if one is None else one for one in line["values"]]) for line in lines]


def joined_table(results: JoinedResults) -> Table:
    """The main figures of every network in the studies and, of two, what they differ by."""
    from rich.table import Table
    from rich.text import Text

    value = inert(results.to_json())
    keys = [key for key in ON_TERMINAL if key in kept_columns(value)]
    keys = [key for key in keys if f"{key}{SCALED}" not in keys]
    table = Table(box=None, pad_edge=False)
    table.add_column(" → ".join(study["name"] for study in value["studies"]))
    for key in keys:
        table.add_column(ALL[key].label, justify="right")
    two = len(value["comparisons"]) == 1
    differences = {one["network"]: one["differences"] for one in value["comparisons"][0]["networks"]} if two else {}
    for n, network in enumerate(value["networks"][:MOST_ON_TERMINAL]):
        cells = []
        for key in keys:
            found = [None if entry is None else entry["figures"].get(key) for entry in network["entries"]]
            values = [None if one is None else one["value"] for one in found]
            text = " → ".join(ABSENT if one is None else ALL[key].text(one) for one in values)
            cells.append(Text(text + _change(key, differences.get(n))))
        table.add_row(Text(network["name"]), *cells)
    return table


def _change(key: str, differences: Value | None) -> str:
    if not differences or key not in differences:
        return ""
    cell = difference_cell(ALL[key], differences[key])
    return f" ({cell.text.removesuffix(' points')})" + ("*" if cell.clear else " ")


def joined_text(results: JoinedResults) -> str:
    """The answer in a sentence, after what differs between the studies."""
    value: dict[str, Any] = inert(results.to_json())
    lines = []
    if len(value["networks"]) > MOST_ON_TERMINAL:
        lines.append(f"and {len(value['networks']) - MOST_ON_TERMINAL} more on the page")
    if len(value["comparisons"]) == 1:
        lines.append("* the interval of the difference does not hold 0")
    lines += [what_differs(value), *answer_sentences(value)]
    return "\n".join([*lines, *(note for one in value["comparisons"] for note in one["notes"]), *value["notes"]])
