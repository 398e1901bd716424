"""The figures of the page: a dot and the range over the rounds for each entrant, throughput against the reference, from 0."""

from __future__ import annotations

from matplotlib.figure import Figure

from benchmarks.results import BenchmarkResult, CaseResult
from vicinal.report import COLOURS, Panel, compose, render, sentinel

WIDTH_IN = 6.4
ROW_IN = 0.27
DARK = {
    "ink": "#e8eaed",
    "muted": "#9aa3b2",
    "grid": "#343a46",
    "surface": "#14171d",
    "arm-2": "#57b0ec",
    "arm-4": "#ff8a50",
}


def draw(result: BenchmarkResult) -> str:
    """One SVG file, a panel for each case; it carries its own ground, light or dark as the reader's page."""
    panels = [_panel(result.benchmark, case) for case in result.cases if any(e.seconds for e in case.entrants)]
    text = compose(
        panels, 1, (), f"{result.benchmark}: throughput against the reference, median and range over the rounds"
    )
    rules = "".join(f"{COLOURS[name][1]}:{colour};" for name, colour in DARK.items())
    ground = f"rect.ground{{fill:var({COLOURS['surface'][1]},{COLOURS['surface'][2]})}}"
    style = f"<style>{ground}@media (prefers-color-scheme:dark){{svg{{{rules}}}}}</style>"
    head, body = text.split("</title>\n", 1)
    return f'{head}</title>\n{style}<rect class="ground" width="100%" height="100%"/>\n{body}'


def _panel(benchmark: str, case: CaseResult) -> Panel:
    shown = [e for e in case.entrants if e.seconds][::-1]
    figure = Figure(figsize=(WIDTH_IN, 0.75 + ROW_IN * len(shown)))
    axes = figure.add_axes((0.46, 0.42 / figure.get_figheight(), 0.46, ROW_IN * len(shown) / figure.get_figheight()))
    highest = 1.0
    for row, entrant in enumerate(shown):
        ratio = case.ratio(entrant.name, case.reference)
        assert ratio is not None
        highest = max(highest, ratio.high)
        colour = sentinel("arm-4" if "vicinal" in entrant.title else "arm-2")
        axes.plot([0, ratio.median], [row, row], color=colour, linewidth=1, alpha=0.45, solid_capstyle="butt")
        axes.plot([ratio.low, ratio.high], [row, row], color=colour, linewidth=3.5, alpha=0.55, solid_capstyle="butt")
        axes.plot([ratio.median], [row], "o", color=colour, markersize=5.5)
        axes.annotate(
            f"{ratio.median:.2f}",
            (ratio.high, row),
            (5, -3),
            textcoords="offset points",
            fontsize=8,
            color=sentinel("ink"),
        )
    axes.axvline(1, color=sentinel("muted"), linewidth=0.8, linestyle=(0, (3, 3)))
    axes.set_xlim(0, 1.15 * highest)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_yticks(range(len(shown)), [e.title for e in shown], fontsize=8, color=sentinel("ink"))
    axes.tick_params(axis="x", labelsize=7.5, labelcolor=sentinel("muted"), color=sentinel("grid"))
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(sentinel("grid"))
    reference = next(e.title for e in case.entrants if e.name == case.reference)
    axes.set_xlabel(f"{case.unit} a second, over those of: {reference}", fontsize=7.5, color=sentinel("muted"))
    figure.text(0.01, 1 - 0.2 / figure.get_figheight(), case.title, fontsize=9, color=sentinel("ink"), weight="bold")
    return render(figure, f"{benchmark}-{case.name}", case.title)
