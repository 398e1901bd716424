"""The figures of a measurement, drawn by the report's own hands: reliability, risk over coverage, and what lies between two images."""

from __future__ import annotations

from collections.abc import Sequence

from vicinal.measuring.tables import SCALED, Value
from vicinal.report import (
    DASHES,
    FigureSet,
    Key,
    Panel,
    Row,
    common_limits,
    draw_curve,
    draw_reliability,
    lam_axis,
    new_axes,
    reliability_curve,
    render,
    risk_curve,
    sentinel,
    vicinal_curve,
)

SLOTS = ("arm-2", "arm-4", "arm-3", "arm-1", "arm-5", "arm-6")
_TICKS = [0, 0.25, 0.5, 0.75, 1]
_CONSISTENCY = (
    "Pale bars on the diagonal: where 95\u00a0% of the accuracies of a perfectly calibrated classifier lie, each bin for itself; a "
    "point inside its bar tells of nothing but noise. Bins of fewer than 10 images are left out."
)


def figures_of(value: Value) -> list[FigureSet]:
    """The figures that the measurement has numbers for."""
    models = value["models"]
    keys = tuple(
        Key(model["name"], SLOTS[k % len(SLOTS)], dash=DASHES[k % len(DASHES)], width=1.8)
        for k, model in enumerate(models)
    )
    found = [_reliability(models, keys), _risk(value, models, keys)]
    if all(model.get("vicinity") for model in models):
        found.append(_between(value, models, keys))
    return found


def _row(model: Value, scaled: bool = False) -> Row:
    """A classifier as the report's curves take it."""
    if scaled:
        model = {**model, "reliability": model[f"reliability{SCALED}"]}
    return Row(model["name"], None, model["name"], None, 0, (model,))


def _reliability(models: Sequence[Value], keys: Sequence[Key]) -> FigureSet:
    panels = []
    variants = [(False, "As it answers")]
    if all(model.get(f"reliability{SCALED}") for model in models):
        variants.append((True, "At the fitted temperature"))
    for scaled, title in variants:
        figure, axes = new_axes(title, "mean confidence of the bin", "accuracy of the bin")
        axes.plot([0, 1], [0, 1], color=sentinel("muted"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
        for model, key in zip(models, keys, strict=True):
            draw_reliability(axes, reliability_curve(_row(model, scaled)), key)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(_TICKS, ["0", "0.25", "0.5", "0.75", "1"])
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        panels.append(render(figure, f"re{int(scaled)}", f"Confidence and accuracy: {title.lower()}"))
    diagonal = Key("Perfect calibration", "muted", dash="2 2", width=1.0)
    return FigureSet(
        "reliability",
        "Confidence and accuracy",
        f"Images by confidence. Below the diagonal a classifier is surer than it is right, above it less sure. {_CONSISTENCY}",
        (*keys, diagonal),
        tuple(panels),
        2,
    )


def _risk(value: Value, models: Sequence[Value], keys: Sequence[Key]) -> FigureSet:
    figure, axes = new_axes(
        "Errors among the surest answers", "coverage: share of images answered", "risk: share of errors"
    )
    curves = [risk_curve(_row(model), value["data"]["images"]) for model in models]
    known = [curve for curve in curves if curve is not None and len(curve.x)]
    axes.set_xlim(0, 1)
    axes.set_xticks(_TICKS, ["0", "0.25", "0.5", "0.75", "1"])
    if known:
        axes.set_ylim(0, max(common_limits(known, zero=True)[1], 0.01))
    for curve, key in zip(curves, keys, strict=True):
        if curve is not None and len(curve.x):
            draw_curve(axes, curve, key, band=False)
    return FigureSet(
        "risk_coverage",
        "Where to refuse",
        "If only the images that a classifier is surest of are answered (coverage), how often is it wrong (risk)? At coverage 1 this "
        "is its error rate; the lower to the left, the more its confidence knows.",
        tuple(keys),
        (render(figure, "rc", "Risk over coverage"),),
        1,
    )


def _between(value: Value, models: Sequence[Value], keys: Sequence[Key]) -> FigureSet:
    panels: list[Panel] = []
    shown = (("nonlinearity", "NL(λ), nats"), ("entropy", "H(λ), nats"), ("dominance", "D(λ) = NL / H"))
    for quantity, title in shown:
        figure, axes = new_axes(title, "λ", "")
        curves = [vicinal_curve(_row(model), quantity) for model in models]
        axes.set_ylim(common_limits(curves, zero=True))
        lam_axis(axes)
        if quantity == "dominance":
            axes.axhline(1, color=sentinel("muted"), linewidth=0.9, linestyle=(0, (2, 2)), zorder=2)
        for curve, key in zip(curves, keys, strict=True):
            draw_curve(axes, curve, key, band=len(models) <= 4)
        panels.append(render(figure, f"bt-{quantity}", f"{title} over λ"))
    level = 100 * value["measures"]["confidence_level"]
    return FigureSet(
        "vicinal_curves",
        "Between images",
        f"What a classifier answers on the way from one image (λ = 0) to another (λ = 1), over {value['measures']['pairs']:,} pairs of "
        "these images: how far it departs from mixing its two answers (the non-linearity residual NL, in nats: units of information, "
        "1 nat = 1.44 bits), how undecided it is (the entropy H of its answer), and the ratio D of the two. Where D is above 1 "
        f"(dotted), the departure outweighs the doubt. Bands: {level:g}\u00a0% interval by resampling the images of the pairs.",
        tuple(keys),
        tuple(panels),
        3,
    )
