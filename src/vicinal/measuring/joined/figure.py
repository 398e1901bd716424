"""The differences of joined studies, drawn: a line for each network, its interval, and where no difference would be."""

from __future__ import annotations

from vicinal.measuring.figures import SLOTS
from vicinal.measuring.joined.rows import ALL, count_of_mean
from vicinal.measuring.tables import SCALED, Value
from vicinal.report import FigureSet, Key, Panel, new_axes, render, sentinel

DRAWN = (
    ("accuracy", "Accuracy, points", ()),
    ("nll", "NLL, nats", (f"nll{SCALED}",)),
    ("ece", "ECE", (f"ece{SCALED}",)),
)
MARKS = ("o", "s", "^", "D")
LONGEST = 22  # characters of a network's name beside its line
MOST = 30  # networks
Line = tuple[str, list[Value | None]]  # a network's name, and its difference in each of the further studies


def differences_drawn(value: Value) -> FigureSet | None:
    """Accuracy, NLL and ECE (after scaling where they have it) of every further study less the first; None without any."""
    comparisons = value["comparisons"]
    panels = []
    for key, title, better in DRAWN:
        shown = next((other for other in better if _lines(value, other)), key)
        lines = _lines(value, shown)
        if lines:
            after = " after scaling" if shown != key else ""
            panels.append(_panel(shown, title.replace(",", f"{after},") if "," in title else title + after, lines))
    if not panels:
        return None
    first = value["studies"][0]["name"]
    keys = tuple(
        Key(
            f"{value['studies'][one['study']]['name']} less {first}",
            SLOTS[k % len(SLOTS)],
            marker=MARKS[k % len(MARKS)],
            line=False,
        )
        for k, one in enumerate(comparisons)
    )
    level = f"{100 * value['confidence_level']:g}\u00a0%"
    return FigureSet(
        "differences",
        "Differences",
        f"Points: what a study has more than {first}; lines: the {level} interval, over seeds and test images together. A line "
        "that does not reach the upright at 0 shows a difference. More accuracy is better, less NLL and ECE.",
        keys,
        tuple(panels),
        3,
    )


def _lines(value: Value, key: str) -> list[Line]:
    """The networks that have a figure's difference, and the mean of several."""
    found: dict[int, list[Value | None]] = {}
    for k, one in enumerate(value["comparisons"]):
        for own in one["networks"]:
            if key in own["differences"]:
                found.setdefault(own["network"], [None] * len(value["comparisons"]))[k] = own["differences"][key]
    lines = [(value["networks"][n]["name"], found[n]) for n in sorted(found)[:MOST]]
    if any(count_of_mean(value, one) > 1 for one in value["comparisons"]):
        means = [one["mean"].get(key) if count_of_mean(value, one) > 1 else None for one in value["comparisons"]]
        if any(means):
            lines.append((f"mean of {value['comparisons'][0]['mean_of']}s", means))
    return lines


def _panel(key: str, title: str, lines: list[Line]) -> Panel:
    labels = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name, _ in lines]
    left = min(122.0, 14 + 4.9 * max(map(len, labels)))
    figure, axes = new_axes(title, "", "", left=left, height=58.0 + 17.0 * len(lines))
    axes.axvline(0, color=sentinel("muted"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
    for place, (_, found) in enumerate(lines):
        for k, one in enumerate(found):
            if one is None:
                continue
            height = place + 0.22 * (k - (len(found) - 1) / 2)
            colour = sentinel(SLOTS[k % len(SLOTS)])
            if one["interval"] is not None and None not in one["interval"]:
                axes.plot(one["interval"], [height, height], color=colour, linewidth=1.6, zorder=3)
            hollow = sentinel("surface") if not one["sign"] else colour
            axes.plot(
                [one["value"]],
                [height],
                MARKS[k % len(MARKS)],
                color=colour,
                markerfacecolor=hollow,
                markersize=5.0,
                zorder=4,
            )
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_yticks(range(len(lines)), labels)
    axes.tick_params(axis="y", labelcolor=sentinel("ink"), pad=5)
    axes.grid(False, axis="y")
    axes.margins(x=0.08)
    return render(figure, f"df-{key.replace('_', '-')}", f"Differences in {ALL[key].label}")
