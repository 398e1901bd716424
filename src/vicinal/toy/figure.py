"""Figure 2 as SVG."""

from __future__ import annotations

from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from vicinal.report import COLOURS
from vicinal.toy.experiment import AMBIVALENT, TITLES, Field, Toy

TEXT = 8.0
CAPTION = "Decision boundaries of ERM, mixup, KD and KD + mixup in two dimensions: the probability of class 1"
POINT_COLOURS = ("arm-2", "arm-4")
FIELD_COLOURS = ("#83b9de", "#fbfaf7", "#eb9f77")  # paler than the points, so that these stand out
EDGE = f"edge of the ambivalent region: largest probability {AMBIVALENT:g}"
DASHES: tuple[float, tuple[float, ...]] = (0, (3, 2))


def draw_figure(toy: Toy) -> Figure:
    """The fields of probability on one colour scale, with the points, the decision line and the ambivalent region."""
    ink, muted = _light("ink"), _light("muted")
    scale = LinearSegmentedColormap.from_list("classes", FIELD_COLOURS)
    panel_w, panel_h, gap, top, margin, foot = 224.0, 176.0, 14.0, 33.0, 10.0, 46.0
    width, height = 2 * margin + 3 * panel_w + 2 * gap, 2 * margin + 2 * (panel_h + top) + gap + foot
    figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
    images = []
    for at, field in enumerate(toy.fields):
        x = margin + (at % 3) * (panel_w + gap)
        y = height - margin - (at // 3) * (panel_h + top + gap)
        figure.text(x / width, (y - 10) / height, TITLES[field.name], fontsize=TEXT + 1.5, fontweight="bold", color=ink)
        figure.text(x / width, (y - 23) / height, _words(field.metrics), fontsize=TEXT, color=muted)
        axes = figure.add_axes((x / width, (y - top - panel_h) / height, panel_w / width, panel_h / height))
        images.append(_draw_field(axes, toy, field, scale, ink))
    # The bar and the legend share the foot: the scale under the last column, the marks to its left.
    x = margin + 2 * (panel_w + gap)
    bar = figure.add_axes(((x + 4) / width, 23 / height, (panel_w - 8) / width, 9 / height))
    colours = figure.colorbar(images[0], cax=bar, orientation="horizontal", ticks=[0, 0.25, 0.5, 0.75, 1])
    colours.ax.set_xticklabels(["0", "0.25", "0.5", "0.75", "1"], fontsize=TEXT, color=muted)
    colours.ax.tick_params(length=0, pad=4)
    colours.ax.set_title("probability of class 1", fontsize=TEXT, color=muted, pad=5)
    for edge in (1 - AMBIVALENT, AMBIVALENT):
        colours.ax.axvline(edge, color=ink, linewidth=0.8, linestyle=DASHES)
    colours.ax.axvline(0.5, color=ink, linewidth=1.5)
    colours.outline.set_visible(False)
    marks = [
        Line2D(
            [], [], color=_light(colour), linestyle="none", marker="o", markersize=5, markeredgecolor="white",
            markeredgewidth=0.7, label=f"training point of class {k}",
        )
        for k, colour in enumerate(POINT_COLOURS)
    ]  # fmt: skip
    lines = [
        Line2D([], [], color=ink, linewidth=1.5, label="decision line"),
        Line2D([], [], color=ink, linewidth=0.8, linestyle=DASHES, label=EDGE),
    ]  # fmt: skip
    figure.legend(
        handles=[*marks, *lines], ncols=2, loc="lower left", bbox_to_anchor=(margin / width, 14 / height), frameon=False,
        fontsize=TEXT, labelcolor=ink, handlelength=2.2, labelspacing=0.6, columnspacing=2.5, borderaxespad=0, borderpad=0,
    )  # fmt: skip
    return figure


def _draw_field(axes: Axes, toy: Toy, field: Field, scale: LinearSegmentedColormap, ink: str) -> AxesImage:
    image = axes.imshow(
        field.probability,
        extent=toy.extent,
        origin="lower",
        vmin=0,
        vmax=1,
        cmap=scale,
        aspect="auto",
        interpolation="bilinear",
    )
    lines: dict[str, Any] = {"extent": toy.extent, "origin": "lower", "colors": ink}
    with rc_context({"contour.negative_linestyle": "solid"}):
        for levels, width, style in (([0.5], 1.5, "solid"), ([1 - AMBIVALENT, AMBIVALENT], 0.8, DASHES)):
            if any(field.probability.min() < level < field.probability.max() for level in levels):
                axes.contour(field.probability, levels=levels, linewidths=width, linestyles=[style], **lines)
    for k, colour in enumerate(POINT_COLOURS):
        own = toy.points[toy.labels == k]
        axes.scatter(own[:, 0], own[:, 1], s=19, color=_light(colour), edgecolor="white", linewidth=0.7, zorder=3)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _words(metrics: dict[str, float]) -> str:
    return (
        f"accuracy {metrics['accuracy']:.3f} · ECE {metrics['ece']:.3f} · "
        f"ambivalent {100 * metrics['ambivalent_share']:.0f}\u00a0%"
    )


def _light(colour: str) -> str:
    return COLOURS[colour][2]
