"""joined.json as rows: what differs before and after, with the texts of cells, the CSV files, and the answer in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vicinal.claims import listed
from vicinal.measuring.tables import AT_HALF, FIGURES, SCALED, Figure, ShownCell, Value, difference_cell
from vicinal.report import count_words, csv_text, duration

ABSENT = "–"
SHOWN = tuple(figure for figure in FIGURES if figure.key not in ("aurc", "confidence", "brier", f"brier{SCALED}"))
ALL = {
    **{figure.key: figure for figure in FIGURES if figure.key != "aurc"},
    **{f"{figure.key}_at_half": figure for figure in AT_HALF},
}
COLUMNS = {
    **{figure.key: figure for figure in SHOWN},
    **{f"{figure.key}_at_half": figure for figure in AT_HALF[:3]},
}
RUNTIME = "runtime."  # keys that say how a study is run, not what


@dataclass(frozen=True)
class ShownLine:
    """One network of a table."""

    name: str
    cells: tuple[ShownCell, ...]
    study: str = ""  # of a table that has a line for each


def kept_columns(value: Value) -> dict[str, Figure]:
    """The figures that some network has."""
    entries = [entry for network in value["networks"] for entry in network["entries"] if entry is not None]
    return {key: figure for key, figure in COLUMNS.items() if any(key in entry["figures"] for entry in entries)}


def figure_lines(value: Value, columns: dict[str, Figure]) -> list[ShownLine]:
    """The figures of every network in every study, a line for each."""
    lines = []
    for network in value["networks"]:
        for k, entry in enumerate(network["entries"]):
            if entry is not None:
                cells = tuple(figure_cell(figure, entry["figures"].get(key)) for key, figure in columns.items())
                lines.append(ShownLine(network["name"], cells, value["studies"][k]["name"]))
    return lines


def figure_cell(figure: Figure, found: Value | None) -> ShownCell:
    """A figure with its spread over seeds, or of one seed its interval."""
    if found is None or found["value"] is None:
        return ShownCell(ABSENT)
    small = ""
    if found["spread"] is not None:
        small = f"± {figure.text(found['spread'])}"
    elif found["interval"] is not None:
        small = " to ".join(figure.text(bound) for bound in found["interval"])
    return ShownCell(figure.text(found["value"]), small)


def difference_lines(value: Value, comparison: Value, columns: dict[str, Figure]) -> list[ShownLine]:
    """What every network of a study has more than in the first, and the mean over them."""

    def cells(found: Value) -> tuple[ShownCell, ...]:
        shown = (difference_cell(figure, found.get(key)) for key, figure in columns.items())
        return tuple(replace(cell, text=cell.text.removesuffix(" points")) for cell in shown)  # said above the table

    networks = comparison["networks"]
    lines = [ShownLine(value["networks"][one["network"]]["name"], cells(one["differences"])) for one in networks]
    count = count_of_mean(value, comparison)
    if count > 1:
        lines.append(ShownLine(f"Mean of the {count} {comparison['mean_of']}s", cells(comparison["mean"])))
    return lines


def count_of_mean(value: Value, comparison: Value) -> int:
    """How many networks the mean is over."""
    roles = [value["networks"][one["network"]]["role"] for one in comparison["networks"]]
    return roles.count(comparison["mean_of"])


COSTS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("model", "Network", str),
    ("parameters", "Parameters", count_words),
    ("forward_flops", "FLOPs an image", lambda flops: f"{flops / 1e6:,.1f} M"),
    ("weights_bytes", "Weights file", lambda count: f"{count / 1e6:,.2f} MB"),
    ("predicted_per_second", "Images a second", lambda rate: f"{rate:,.0f}"),
    ("training_s", "Training", lambda seconds: duration(seconds) if seconds >= 1 else f"{seconds:.1f} s"),
)


def cost_lines(value: Value) -> list[ShownLine]:
    """Size and cost of every network in every study."""
    return [
        ShownLine(
            network["name"],
            tuple(ShownCell(ABSENT if entry[key] is None else text(entry[key])) for key, _, text in COSTS),
            value["studies"][k]["name"],
        )
        for network in value["networks"]
        for k, entry in enumerate(network["entries"])
        if entry is not None
    ]


# --- CSV files -----------------------------------------------------------------------------------------------------


def csv_files(value: Value) -> dict[str, str]:
    """The tables by file name, in full precision."""
    names = [study["name"] for study in value["studies"]]
    settings = [[line["key"], *line["values"]] for line in (*value["settings"], *value["environment"])]
    differences = [
        "network",
        "study",
        "less",
        "figure",
        "difference",
        "lower",
        "upper",
        "p_value",
        "detectable",
        "seeds",
    ]
    return {
        "settings.csv": csv_text(["key", *names], settings),
        "figures.csv": csv_text(
            ["network", "study", "figure", "value", "spread", "lower", "upper"], _figure_lines(value, names)
        ),
        "differences.csv": csv_text(differences, _difference_lines(value, names)),
        "costs.csv": csv_text(["network", "study", *(key for key, *_ in COSTS)], _cost_lines(value, names)),
    }


def _entries(value: Value) -> Iterable[tuple[str, int, Value]]:
    for network in value["networks"]:
        for k, entry in enumerate(network["entries"]):
            if entry is not None:
                yield network["name"], k, entry


def _figure_lines(value: Value, names: Sequence[str]) -> Iterable[list[Any]]:
    for name, k, entry in _entries(value):
        for key, found in entry["figures"].items():
            yield [name, names[k], key, found["value"], found["spread"], *(found["interval"] or (None, None))]


def _difference_lines(value: Value, names: Sequence[str]) -> Iterable[list[Any]]:
    for one in value["comparisons"]:
        named = [(value["networks"][own["network"]]["name"], own["differences"]) for own in one["networks"]]
        if count_of_mean(value, one) > 1:
            named.append((f"mean of {one['mean_of']}s", one["mean"]))
        for name, differences in named:
            for key, found in differences.items():
                numbers = [found["value"], *(found["interval"] or (None, None)), found["p_value"], found["detectable"]]
                yield [name, names[one["study"]], names[0], key, *numbers, found["seeds"]]


def _cost_lines(value: Value, names: Sequence[str]) -> Iterable[list[Any]]:
    for name, k, entry in _entries(value):
        yield [name, names[k], *(entry[key] for key, *_ in COSTS)]


# --- sentences -----------------------------------------------------------------------------------------------------


def what_differs(value: Value) -> str:
    """How many settings differ, and which where there are few."""
    settings = [line for line in value["settings"] if not line["key"].startswith(RUNTIME)]
    if not settings:
        return "No setting differs between the study files."
    if len(settings) == 1:
        line = settings[0]
        values = [ABSENT if one is None else one for one in line["values"]]
        return f"One setting differs: {line['key']} ({' → '.join(values)})."
    shown = listed(
        [line["key"] for line in settings[:3]] + ([f"{len(settings) - 3} more"] if len(settings) > 3 else [])
    )
    return f"{len(settings)} settings differ: {shown}."


def answer_sentences(value: Value) -> list[str]:
    """A sentence for every study held against the first."""
    return [_answer(value, comparison) for comparison in value["comparisons"]]


def _answer(value: Value, one: Value) -> str:
    first, other = value["studies"][0]["name"], value["studies"][one["study"]]["name"]
    if one["mean_of"] is None:
        return f"{other} and {first} have no network in common, so nothing is set against each other."
    count, accuracy = count_of_mean(value, one), one["mean"].get("accuracy")
    names = [value["networks"][own["network"]] for own in one["networks"]]
    sole = next(network["name"] for network in names if network["role"] == one["mean_of"])
    over = f"over the {count} {one['mean_of']}s of both" if count > 1 else f"in {sole}"
    if accuracy is None:
        return f"{other} and {first} have no accuracy in common {over}."
    size = _in_brackets(ALL["accuracy"], accuracy)
    if accuracy["sign"]:
        way = "more" if accuracy["sign"] > 0 else "less"
        words = f"{other} is {way} accurate than {first} {over}, by {size}"
    else:
        words = f"{other} cannot be told from {first} in accuracy {over}: {size}"
    words += _sharpness(one)
    if accuracy["of_networks"]:
        words += ". With one seed this is said of these networks; another training of either gives others"
    return words + _by_themselves(value, one, count) + "."


def _sharpness(one: Value) -> str:
    """What the probabilities say, at the fitted temperature where there is one."""
    key = f"nll{SCALED}" if f"nll{SCALED}" in one["mean"] else "nll"
    found = one["mean"].get(key)
    if found is None:
        return ""
    after = " after scaling" if key != "nll" else ""
    if not found["sign"]:
        how = "their" if one["mean"]["accuracy"]["sign"] else "nor can their"
        rest = "cannot be told apart" if one["mean"]["accuracy"]["sign"] else "be told apart"
        return f"; {how} NLL{after} {rest} ({_in_brackets(ALL[key], found)})"
    way = "higher" if found["sign"] > 0 else "lower"
    return f"; its NLL{after} is {way} ({_in_brackets(ALL[key], found)})"


def _by_themselves(value: Value, one: Value, count: int) -> str:
    """Which networks' accuracies differ each for itself."""
    if count < 2:
        return ""
    found = {own["network"]: own["differences"].get("accuracy") for own in one["networks"]}
    clear = [n for n in one["clear"] if found.get(n)]
    if not clear:
        return ". Of no network alone is the accuracy shown to differ"
    told = [f"{value['networks'][n]['name']} ({difference_cell(ALL['accuracy'], found[n]).text})" for n in clear]
    return f". Shown to differ each for itself: {listed(told)}"


def _in_brackets(figure: Figure, found: Value) -> str:
    cell, unit = difference_cell(figure, found), " nats" if figure.key.startswith("nll") else ""
    return f"{cell.text}{unit}, {cell.small}" if cell.small else cell.text
