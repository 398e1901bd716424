"""The figures: one small panel for each teacher and quantity, drawn the same way for the page and for the SVG files.

An arm keeps one colour and one marker everywhere, a teacher one marker in ink, a temperature one dash pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vicinal.report.figures.svg import ARM_SLOTS, Key, Panel, compose, render, sentinel
from vicinal.report.rows import SCALED, Model, Results, Row, floats, mean_and_spread, versus_teacher

Array = NDArray[np.float64]

TEXT = 8.0
WIDTH, HEIGHT = 245.0, 165.0  # px of a panel; its text stays readable from a phone's width to print
MARKERS = ("o", "s", "^", "D")
# By slot, as the colours: who does not see these tells arms by their marks.
ARM_MARKERS = ("v", "X", "P", "*", "<", ">")
DASHES = ("", "5 2", "1.5 1.8", "7 2 1.5 2", "3 1.2", "9 2", "1.2 3", "9 2 3 2")
KNOWN_ARMS = ("baseline", "mixup", "kd", "kd_mixup")
FEWEST_IMAGES = 10  # a bin with fewer shows noise
CONSISTENCY_WORDS = (
    "Pale bars on the diagonal: where 95\u00a0% of the accuracies of a perfectly calibrated network lie, each bin for itself; a point "
    "inside its bar tells of nothing but noise. "
)
ARM_MARKS = 5  # of an arm along a curve
MOST_BANDS = 8  # a panel with more curves keeps the teacher's band only


@dataclass(frozen=True)
class FigureSet:
    """One figure: its panels for the page, its legend, and words."""

    name: str
    heading: str
    caption: str
    keys: tuple[Key, ...]
    panels: tuple[Panel, ...]
    columns: int

    def file(self) -> str:
        """The figure as one SVG file."""
        return compose(self.panels, self.columns, self.keys, f"{self.heading}. {self.caption}")


@dataclass(frozen=True)
class Styles:
    """Who is drawn how."""

    arms: dict[str, str]
    markers: dict[str, str]
    repeats: dict[
        str, int
    ]  # how many arms before it have an arm's colour, where a study has more arms than there are colours

    @classmethod
    def of(cls, results: Results) -> Styles:
        """One colour for each arm, the known ones first; more arms than colours repeat them."""
        others = [arm for row in results.students if (arm := row.arm) is not None and arm not in KNOWN_ARMS]
        arms = {arm: f"arm-{1 + slot}" for slot, arm in enumerate(KNOWN_ARMS)}
        free = [4, 5, *(slot for slot in range(4) if KNOWN_ARMS[slot] not in {row.arm for row in results.students})]
        for position, arm in enumerate(dict.fromkeys(others)):
            slot = free[position] if position < len(free) else position % ARM_SLOTS
            arms[arm] = f"arm-{1 + slot}"
        shown = [arm for arm in arms if arm in {row.arm for row in results.students}]
        repeats = {arm: sum(arms[other] == arms[arm] for other in shown[:k]) for k, arm in enumerate(shown)}
        return cls(arms, {row.label: MARKERS[k % len(MARKERS)] for k, row in enumerate(results.teachers)}, repeats)

    def key(self, row: Row) -> Key:
        """The legend entry of a row."""
        if row.is_teacher:
            return Key(f"Teacher {row.label}", "ink", marker=self.markers[row.label], width=1.9)
        label = row.label + (" † (scaled)" if row.shown_scaled else " †" if row.scale_free else "")
        # Two arms of one colour differ by their dashes as well.
        rank = row.temperature_rank + 3 * self.repeats[row.arm or ""]
        arm, dash = row.arm or "", DASHES[rank % len(DASHES)]
        return Key(label, self.arms[arm], dash=dash, marker=self.arm_marker(arm), width=1.6)

    def arm_marker(self, arm: str) -> str:
        """The marker of an arm: that of its colour; the next where an arm before it has the colour."""
        return ARM_MARKERS[(_slot(self.arms[arm]) + self.repeats[arm]) % len(ARM_MARKERS)]

    def keys(self, rows: Sequence[Row]) -> tuple[Key, ...]:
        """The legend of some rows, each entry once."""
        return tuple(dict.fromkeys(self.key(row) for row in rows))


def _slot(colour: str) -> int:
    """The place of an arm's colour, from 0; 0 for any other colour."""
    return int(colour.removeprefix("arm-")) - 1 if colour.startswith("arm-") else 0


def all_figures(results: Results) -> list[FigureSet]:
    """The figures that the results have numbers for."""
    styles = Styles.of(results)
    figures = [confidence_accuracy(results, styles), vicinal_curves(results, styles)]
    if results.students and results.teachers:
        figures += [linearity_gain(results, styles), alignment(results, styles)]
    return [figure for figure in figures if figure.panels]


# --- what is plotted --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """A line over x with an optional band."""

    x: Array
    y: Array
    lower: Array | None = None
    upper: Array | None = None


def over_seeds(x: Sequence[float], curves: Sequence[Sequence[float | None]], bounds: dict[str, Any] | None) -> Curve:
    """The mean over seeds with a band of one sample standard deviation, or the one seed with its bootstrap interval."""
    stack = np.stack([floats(curve) for curve in curves])
    grid = np.asarray(x, dtype=np.float64)
    if len(stack) > 1:
        mean, spread = stack.mean(axis=0), stack.std(axis=0, ddof=1)
        return Curve(grid, mean, mean - spread, mean + spread)
    if not bounds:
        return Curve(grid, stack[0])
    return Curve(grid, stack[0], floats(bounds["lower"]), floats(bounds["upper"]))


def vicinal_curve(row: Row, quantity: str) -> Curve:
    """A vicinal quantity over λ; of a scale-free student after temperature scaling where that was measured."""
    curves = [_shown(model, "vicinity", row.scale_free) for model in row.models]
    return over_seeds(curves[0]["lam"], [c[quantity] for c in curves], (curves[0].get("intervals") or {}).get(quantity))


def _shown(model: Model, key: str, scale_free: bool) -> Any:
    return (model.get(key + SCALED) if scale_free else None) or model[key]


def gain_curve(row: Row, teacher: Row) -> Curve | None:
    """Δ_lin over λ of a student over a teacher; None where it was not measured.

    Of a scale-free student it is the gain after temperature scaling of both, which has no band.
    """
    measured = [versus_teacher(model, teacher.label) for model in row.models]
    lam = row.models[0]["vicinity"]["lam"]
    if row.scale_free:
        scaled = [found.get("linearity_gain" + SCALED) for found in measured]
        return None if None in scaled else over_seeds(lam, [gain for gain in scaled if gain is not None], None)
    known = [found for found in measured if found.get("linearity_gain")]
    if not known:
        return None
    return over_seeds(lam, [found["linearity_gain"] for found in known], known[0].get("linearity_gain_interval"))


def reliability_curve(row: Row) -> Curve:
    """Accuracy over confidence, all seeds' images together, without the bins of too few images.

    Its bounds are the consistency bars: where the accuracy of a calibrated network lies. Of several seeds they are the mean of
    the networks' bars, since all see the same images.
    """
    bins = [_shown(model, "reliability", row.scale_free) for model in row.models]
    counts = np.stack([np.asarray(b["count"], dtype=np.float64) for b in bins])
    total = counts.sum(axis=0)

    def pooled(key: str) -> Array:
        weighted = np.nan_to_num(np.stack([floats(b[key]) for b in bins])) * counts
        return np.asarray(np.divide(weighted.sum(axis=0), total, out=np.full_like(total, np.nan), where=total > 0))

    enough = total >= FEWEST_IMAGES
    bars = [pooled(f"consistency_{side}")[enough] for side in ("lower", "upper") if bins[0].get(f"consistency_{side}")]
    return Curve(pooled("confidence")[enough], pooled("accuracy")[enough], *bars)


# --- drawing ----------------------------------------------------------------------------------------------------------


def new_axes(title: str, x_label: str, y_label: str, left: float = 33.0, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """A panel of `WIDTH` × `height` px with a title and room of `left` px for the labels of the y axis."""
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    bottom, top, right = 29.0, 21.0, 8.0
    area = (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, (height - bottom - top) / height)
    axes = figure.add_axes(area)
    ink, muted = sentinel("ink"), sentinel("muted")
    # At the left edge of the panel, where a long title has the most room.
    figure.text(2 / WIDTH, 1 - 12 / height, title, fontsize=TEXT + 1, fontweight="bold", color=ink)
    axes.set_xlabel(x_label, fontsize=TEXT, color=muted, labelpad=3)
    axes.set_ylabel(y_label, fontsize=TEXT, color=muted, labelpad=3)
    axes.tick_params(labelsize=TEXT, labelcolor=muted, length=0, pad=4)
    axes.grid(True, color=sentinel("grid"), linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(sentinel("muted"))
        spine.set_linewidth(0.7)
    return figure, axes


def panel_title(name: str, rest: str) -> str:
    """A panel's title: the teacher's name, cut in the middle where it would not fit, and what is shown."""
    room = 42 - len(rest)
    if len(name) > room:
        name = f"{name[: room - 9]}…{name[-8:]}"
    return name + rest


def draw_curve(axes: Axes, curve: Curve, key: Key, band: bool, every: int | None = None, points: bool = False) -> None:
    """Draw a curve as its key says; with `points` at each, else with a teacher's marker at every so many and few of an arm's."""
    colour, is_arm = sentinel(key.colour), key.marker in ARM_MARKERS
    apart = max(1, len(curve.x) // ARM_MARKS)
    # Arms begin at different places, so that their marks do not lie on one another where curves do.
    marked = (_slot(key.colour) % apart, apart) if is_arm else every
    pattern = tuple(float(length) for length in key.dash.split())
    if band and curve.lower is not None and curve.upper is not None:
        axes.fill_between(curve.x, curve.lower, curve.upper, color=colour, alpha=0.16, linewidth=0)
    axes.plot(
        curve.x,
        curve.y,
        color=colour,
        linewidth=key.width,
        linestyle=(0, tuple(length / key.width for length in pattern)) if pattern else "solid",
        marker=key.marker or ("." if points else ""),
        markersize=4.6 if key.marker else 4.0,
        markeredgewidth=0.6 if is_arm else 0.8,
        markevery=marked if key.marker and not points else None,
        # The teacher stands on top, since the students are compared with it.
        zorder=4 if key.marker and not is_arm else 3,
        clip_on=False,
    )


def draw_reliability(axes: Axes, curve: Curve, key: Key) -> None:
    """Draw `reliability_curve` over its consistency bars."""
    if curve.lower is not None and curve.upper is not None:
        axes.vlines(curve.x, curve.lower, curve.upper, colors=sentinel(key.colour), linewidth=3.2, alpha=0.22, zorder=2)
    draw_curve(axes, curve, key, band=False, points=True)


def lam_axis(axes: Axes) -> None:
    """An x axis of λ from 0 to 1."""
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


def common_limits(curves: Sequence[Curve], zero: bool) -> tuple[float, float]:
    """One y range for the panels that are compared, bands included."""
    parts = [part for c in curves for part in (c.y, c.lower, c.upper) if part is not None]
    values = np.concatenate(parts) if parts else np.array([0.0, 1.0])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    pad = 0.06 * (high - low or 1.0)
    return (low - pad if low < 0 else 0.0), high + pad


def band_words(results: Results, unit: str) -> str:
    """What the bands of a caption are: over seeds, or an interval by resampling a unit such as "test images"."""
    if len(results.seeds) > 1:
        words = "Lines: mean over seeds; bands: one sample standard deviation either side"
        single = any(len(row.models) == 1 for row in results.rows)
        return words + (
            f", for a network of one seed its {results.coverage} interval by resampling {unit}." if single else "."
        )
    return f"Bands: {results.coverage} interval by resampling {unit}."


def dagger_words(rows: Sequence[Row]) -> str:
    """What the dagger in a legend says."""
    if any(row.shown_scaled for row in rows):
        return " † after temperature scaling, since these logits have no scale of their own."
    if any(row.scale_free for row in rows):
        return " † as measured: these logits have no scale of their own, so the curve means nothing by itself."
    return ""


def blocks(results: Results) -> list[tuple[str, list[Row]]]:
    """For each teacher the rows of its panel; for a study without teachers one block of all."""
    if not results.teachers:
        return [("Students", list(results.students))]
    return [(t.label, [t, *results.compared_with(t.label)]) for t in results.teachers]


def confidence_accuracy(results: Results, styles: Styles) -> FigureSet:
    """Accuracy against confidence (the paper's figure 3), one panel for each teacher."""
    panels = []
    for number, (name, rows) in enumerate(blocks(results)):
        figure, axes = new_axes(panel_title(name, ""), "mean confidence of the bin", "accuracy of the bin")
        axes.plot([0, 1], [0, 1], color=sentinel("muted"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
        for row in rows:
            draw_reliability(axes, reliability_curve(row), styles.key(row))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        panels.append(render(figure, f"ca{number}", f"Confidence and accuracy: {name} and its students"))
    diagonal = Key("Perfect calibration", "muted", dash="2 2", width=1.0)
    return FigureSet(
        "confidence_accuracy",
        "Confidence and accuracy",
        "Test images binned by confidence. Below the diagonal a network is surer than it is right (overconfident), above it less "
        f"sure. {CONSISTENCY_WORDS}Bins of fewer than {FEWEST_IMAGES} images are left out.{dagger_words(results.rows)}",
        (*styles.keys(results.rows), diagonal),
        tuple(panels),
        min(3, len(panels)),
    )


def vicinal_curves(results: Results, styles: Styles) -> FigureSet:
    """NL, H and D over λ (the paper's figure 4, with the students), a row of panels for each teacher."""
    shown = (
        ("nonlinearity", "NL(λ)", ", nats"),
        ("entropy", "H(λ)", ", nats"),
        ("dominance", "D(λ) = NL / H", ""),
    )
    curves = {(row, quantity): vicinal_curve(row, quantity) for row in results.rows for quantity, _, _ in shown}
    panels = []
    for number, (name, rows) in enumerate(blocks(results)):
        for quantity, label, unit in shown:
            figure, axes = new_axes(panel_title(name, f": {label}{unit}"), "λ", "")
            limits = common_limits([curve for (_, q), curve in curves.items() if q == quantity], zero=True)
            axes.set_ylim(limits)
            lam_axis(axes)
            if quantity == "dominance":
                axes.axhline(1, color=sentinel("muted"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
            for row in rows:
                curve, key = curves[row, quantity], styles.key(row)
                draw_curve(
                    axes, curve, key, band=row.is_teacher or len(rows) <= MOST_BANDS, every=max(1, len(curve.x) // 10)
                )
            panels.append(render(figure, f"vc{number}-{quantity}", f"{label} over λ: {name} and its students"))
    few = all(len(rows) <= MOST_BANDS for _, rows in blocks(results))
    bands = band_words(results, "the images of the pairs") + (
        "" if few else " With this many curves only the teacher’s band is drawn."
    )
    return FigureSet(
        "vicinal_curves",
        "Between training images",
        "What networks answer on the way from one training image (λ = 0) to another (λ = 1): departure from linear behaviour NL, "
        f"entropy H of the answer, and their ratio D. Above the dotted line (D = 1) mismatch outweighs entropy. {bands}"
        f"{dagger_words(results.rows)}",
        styles.keys(results.rows),
        tuple(panels),
        3,
    )


def linearity_gain(results: Results, styles: Styles) -> FigureSet:
    """Δ_lin over λ (the paper's figure 5), one panel for each teacher."""
    blocks = [
        (t, [(row, c) for row in results.compared_with(t.label) if (c := gain_curve(row, t))]) for t in results.teachers
    ]
    blocks = [(teacher, curves) for teacher, curves in blocks if curves]
    limits = common_limits([curve for _, curves in blocks for _, curve in curves], zero=True)
    panels = []
    for number, (teacher, curves) in enumerate(blocks):
        figure, axes = new_axes(panel_title(teacher.label, ": Δ_lin(λ), nats"), "λ", "")
        axes.set_ylim(limits)
        lam_axis(axes)
        axes.axhline(0, color=sentinel("ink"), linewidth=1.0, zorder=2)
        for row, curve in curves:
            draw_curve(axes, curve, styles.key(row), band=len(curves) <= MOST_BANDS)
        panels.append(render(figure, f"lg{number}", f"Linearity gain over λ of the students over {teacher.label}"))
    rows = [row for _, curves in blocks for row, _ in curves]
    return FigureSet(
        "linearity_gain",
        "Linearity gain over the teacher",
        "NL of the teacher minus NL of the student: above 0 the student is the more linear of the two. Students without "
        f"a teacher are compared with each. {band_words(results, 'the images of the pairs')}{dagger_words(rows)}",
        styles.keys(rows),
        tuple(panels),
        min(3, max(1, len(panels))),
    )


def alignment(results: Results, styles: Styles) -> FigureSet:
    """KL(teacher ‖ student) on clean and on mixed images, one panel for each teacher."""
    blocks = [(t.label, _alignments(results, t.label)) for t in results.teachers]
    blocks = [(name, found) for name, found in blocks if found]
    largest = max((value for _, found in blocks for _, *pair in found for value in pair), default=1.0)
    left = 12 + 4.9 * max((len(_alignment_label(row)) for _, found in blocks for row, *_ in found), default=10)
    panels = []
    for number, (name, found) in enumerate(blocks):
        figure, axes = new_axes(
            panel_title(name, ": KL, nats"),
            "KL(teacher ‖ student)",
            "",
            left=min(left, 125.0),
            height=58.0 + 17.0 * len(found),
        )
        for place, (row, real, mixed) in enumerate(found):
            colour = sentinel(styles.key(row).colour)
            axes.plot([real, mixed], [place, place], color=colour, linewidth=1.6, zorder=2, alpha=0.75)
            axes.plot([real], [place], "o", color=colour, markerfacecolor=sentinel("surface"), markersize=5.2, zorder=3)
            axes.plot([mixed], [place], "o", color=colour, markersize=5.2, zorder=3)
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.set_yticks(range(len(found)), [_alignment_label(row) for row, *_ in found])
        axes.tick_params(axis="y", labelcolor=sentinel("ink"), pad=5)
        axes.set_xlim(0, 1.06 * largest or 1)
        axes.grid(False, axis="y")
        panels.append(
            render(figure, f"al{number}", f"KL divergence of the students from {name} on clean and mixed images")
        )
    dagger = (
        " † The logits of these students have no scale of their own, and these KL values depend on it."
        if any(row.scale_free for _, found in blocks for row, *_ in found)
        else ""
    )
    return FigureSet(
        "alignment",
        "Agreement with the teacher",
        "How far a student’s answers are from the teacher’s on clean images and on mixed ones. The length of a line is the "
        f"independent response, KL mixed − KL real.{' Means over seeds.' if len(results.seeds) > 1 else ''}{dagger}",
        (
            Key("KL real: clean images", "muted", marker="o", line=False, hollow=True),
            Key("KL mixed: mixed images", "muted", marker="o", line=False),
        ),
        tuple(panels),
        min(3, max(1, len(panels))),
    )


def _alignment_label(row: Row) -> str:
    return row.label + (" †" if row.scale_free else "")


def _alignments(results: Results, teacher: str) -> list[tuple[Row, float, float]]:
    """Mean KL real and KL mixed of every student beside a teacher."""

    def kl(model: Model, key: str) -> list[float]:
        value = (versus_teacher(model, teacher).get("alignment") or {}).get(key)
        return [] if value is None else [float(value)]

    found = []
    for row in results.compared_with(teacher):
        real = mean_and_spread([value for model in row.models for value in kl(model, "kl_real")])
        mixed = mean_and_spread([value for model in row.models for value in kl(model, "kl_mixed")])
        if real and mixed:
            found.append((row, real[0], mixed[0]))
    return found


def figure_context(figure: FigureSet) -> dict[str, Any]:
    """What the template needs of a figure; its SVG is made here from escaped text, so it is safe to insert."""
    return {
        "name": figure.name,
        "heading": figure.heading,
        "caption": figure.caption,
        "keys": [(Markup(key.swatch()), key.label) for key in figure.keys],  # noqa: S704
        "panels": [Markup(panel.inline()) for panel in figure.panels],  # noqa: S704
        "caption_columns": 3 - len(figure.panels) % 3 if figure.columns < 3 else 3,
    }
