"""A measurement as rows: figures of every classifier with their intervals, differences, classes, and the CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vicinal.claims import p_value_text
from vicinal.report import csv_text

SCALED = "_after_temperature_scaling"
Value = dict[str, Any]  # a classifier's entry, or the whole of measurement.json, as plain values


@dataclass(frozen=True)
class Figure:
    """One number of a classifier, as people read it."""

    key: str
    label: str
    meaning: str
    percent: bool = False
    digits: int = 3
    test: str | None = None  # of `calibration_tests`

    def text(self, value: float, signed: bool = False) -> str:
        """A value as shown."""
        sign = "+" if signed else ""
        found = f"{100 * value:{sign}.1f} %" if self.percent else f"{value:{sign}.{self.digits}f}"
        return found.replace("-", "−")


FIGURES = (
    Figure("accuracy", "Accuracy", "share of the images whose likeliest class is the true one", percent=True),
    Figure("accuracy_top5", "Top-5 accuracy", "share whose true class is among the five likeliest", percent=True),
    Figure(
        "accuracy_balanced",
        "Balanced accuracy",
        "mean of the classes’ recalls, so that every class counts alike",
        percent=True,
    ),
    Figure("confidence", "Confidence", "mean probability given to the answer", percent=True),
    Figure(
        "ece", "ECE", "expected calibration error: how far confidence and accuracy lie apart, bin by bin", test="ece"
    ),
    Figure(f"ece{SCALED}", "ECE scaled", "the same at the fitted temperature", test=f"ece{SCALED}"),
    Figure("nll", "NLL", "negative log-likelihood of the true class, nats"),
    Figure(f"nll{SCALED}", "NLL scaled", "the same at the fitted temperature"),
    Figure("brier", "Brier score", "squared distance from the probabilities to the truth, 0 to 2"),
    Figure(f"brier{SCALED}", "Brier scaled", "the same at the fitted temperature"),
    Figure("fitted_temperature", "Temperature", "what its logits are to be divided by so that NLL is lowest", digits=2),
    Figure("aurc", "AURC", "area under risk over coverage: mean error when only the surest are answered"),
)
AT_HALF = (
    Figure(
        "nonlinearity",
        "NL(½)",
        "half-way between two images: how far its answer is from the mix of its two answers, nats",
    ),
    Figure("entropy", "H(½)", "half-way between two images: entropy of its answer, nats"),
    Figure("dominance", "D(½)", "NL over H; above 1 mismatch outweighs doubt"),
    Figure("linearity_information", "I_lin(½)", "what is left of the information that linear mixing would carry, nats"),
)
DIFFERENCES = {
    **{figure.key: figure for figure in FIGURES},
    **{f"{figure.key}_at_half": figure for figure in AT_HALF},
}


def value_of(model: Value, figure: Figure) -> tuple[float | None, tuple[float, float] | None]:
    """A figure of a classifier and its interval; None for what was not measured."""
    if figure.key == "aurc":
        found = (model.get("selective") or {}).get("aurc")
    elif figure in AT_HALF:
        return _at_half(model, figure.key)
    else:
        found = model.get(figure.key)
    ends = (model.get("intervals") or {}).get(figure.key)
    bounds = (float(ends[0]), float(ends[1])) if ends and None not in ends else None
    return (None if found is None else float(found)), bounds


def _at_half(model: Value, quantity: str) -> tuple[float | None, tuple[float, float] | None]:
    curves = model.get("vicinity")
    if not curves or curves[quantity][len(curves["lam"]) // 2] is None:
        return None, None
    half = len(curves["lam"]) // 2
    bounds = (curves.get("intervals") or {}).get(quantity)
    ends = None if not bounds else (bounds["lower"][half], bounds["upper"][half])
    return float(curves[quantity][half]), (None if ends is None or None in ends else ends)


def floor_text(model: Value, figure: Figure) -> str:
    """ "floor 0.021, p = 0.004": what noise alone shows of an ECE; else nothing."""
    test = (model.get("calibration_tests") or {}).get(figure.test) if figure.test else None
    return "" if not test else f"floor {test['floor']:.3f}, {p_value_text(test['p_value'])}"


@dataclass(frozen=True)
class ShownCell:
    """A number with what stands below it."""

    text: str
    small: str = ""
    clear: bool = False  # of a difference: whether it is shown to be one


@dataclass(frozen=True)
class ShownRow:
    """One figure of all classifiers."""

    label: str
    meaning: str
    cells: tuple[ShownCell, ...]


def figure_rows(value: Value) -> list[ShownRow]:
    """The figures that any classifier has, a cell for each."""
    rows = []
    for figure in (*FIGURES, *AT_HALF):
        cells = [_cell(model, figure) for model in value["models"]]
        if any(cell.text != "–" for cell in cells):
            rows.append(ShownRow(figure.label, figure.meaning, tuple(cells)))
    return rows


def _cell(model: Value, figure: Figure) -> ShownCell:
    found, ends = value_of(model, figure)
    if found is None:
        return ShownCell("–")
    parts = [] if ends is None else [f"{figure.text(ends[0])} to {figure.text(ends[1])}"]
    floor = floor_text(model, figure)
    return ShownCell(figure.text(found), "; ".join([*parts, *([floor] if floor else [])]))


def difference_rows(value: Value) -> list[ShownRow]:
    """What every two classifiers differ by, a cell for each two."""
    rows = []
    for key, figure in DIFFERENCES.items():
        found = [comparison["differences"].get(key) for comparison in value["comparisons"]]
        if any(found):
            rows.append(ShownRow(figure.label, figure.meaning, tuple(difference_cell(figure, one) for one in found)))
    return rows


def difference_cell(figure: Figure, found: Value | None) -> ShownCell:
    """A difference of two figures: in bold where it is clear, with its interval below it."""
    if found is None:
        return ShownCell("–")
    scale = 0.01 if figure.percent and figure.key != "confidence" else 1.0

    def text(number: float) -> str:
        return figure.text(scale * number, signed=True).replace(" %", "")

    unit = " points" if figure.percent else ""
    ends = found["interval"]
    small = "" if not ends or None in ends else f"{text(ends[0])} to {text(ends[1])}"
    return ShownCell(text(found["value"]) + unit, small, found["sign"] != 0)


@dataclass(frozen=True)
class ClassRow:
    """One class of one classifier."""

    name: str
    images: int
    recall: float | None
    lower: float | None
    upper: float | None
    taken_for: str  # what its images are most often taken for
    predicted: int  # images that get this answer


def class_rows(model: Value) -> list[ClassRow]:
    """The classes, the least recognised first; those without images last."""
    wrong: dict[str, list[Value]] = {}
    answered = dict.fromkeys(model["class_names"], 0)
    for confusion in model["confusions"]:
        wrong.setdefault(confusion["true_class"], []).append(confusion)
        answered[confusion["answer"]] += confusion["images"]
    bounds = model["recall_by_class_interval"]
    images = model["class_calibration"]["images"]
    rows = []
    for k, name in enumerate(model["class_names"]):
        recall = model["recall_by_class"][k]
        right = 0 if recall is None else round(recall * images[k])
        taken = ", ".join(f"{c['answer']} ({c['images']:,})" for c in wrong.get(name, [])[:3])
        row = ClassRow(name, images[k], recall, bounds["lower"][k], bounds["upper"][k], taken, answered[name] + right)
        rows.append(row)
    return sorted(rows, key=lambda row: (row.recall is None, row.recall or 0.0, -row.images))


def refusal_rows(value: Value) -> list[ShownRow]:
    """The share of errors when only the surest images are answered."""
    rows = []
    for share in (1.0, 0.9, 0.8, 0.7, 0.5, 0.3):
        cells = [_risk_at(model, share) for model in value["models"]]
        if any(cell.text != "–" for cell in cells):
            rows.append(ShownRow(f"the surest {100 * share:.0f} %" if share < 1 else "all images", "", tuple(cells)))
    return rows


def _risk_at(model: Value, share: float) -> ShownCell:
    found = model.get("selective") or {"coverage": [], "risk": []}
    near = [(abs(c - share), r) for c, r in zip(found["coverage"], found["risk"], strict=True)]
    if not near or min(near)[0] > 0.011:
        return ShownCell("–")
    return ShownCell(f"{100 * min(near)[1]:.1f} %")


# --- CSV files -----------------------------------------------------------------------------------------------------


def csv_files(value: Value) -> dict[str, str]:
    """The tables by file name, in full precision, a line for each classifier and row."""
    models = value["models"]
    files = {
        "summary.csv": csv_text(
            ["model", "figure", "value", "lower", "upper", "floor", "p_value"], _summary_lines(models)
        ),
        "classes.csv": csv_text(
            ["model", "class", "images", "recall", "lower", "upper", "answers", "ece", "ece_floor", "ece_p_value"],
            _class_lines(models),
        ),
        "confusions.csv": csv_text(
            ["model", "class", "answer", "images"],
            ([m["name"], c["true_class"], c["answer"], c["images"]] for m in models for c in m["confusions"]),
        ),
        "selective.csv": csv_text(
            ["model", "coverage", "risk"],
            (
                [m["name"], c, r]
                for m in models
                for c, r in zip(m["selective"]["coverage"], m["selective"]["risk"], strict=True)
            ),
        ),
    }
    if any(model.get("vicinity") for model in models):
        quantities = tuple(figure.key for figure in AT_HALF)
        header = ["model", "temperature_scaled", "lam"]
        header += [name for q in quantities for name in (q, f"{q}_lower", f"{q}_upper")]
        files["vicinity.csv"] = csv_text(header, _curve_lines(models, quantities))
    if value.get("comparisons"):
        files["differences.csv"] = csv_text(
            ["first", "second", "figure", "difference", "lower", "upper", "p_value", "detectable"], _pair_lines(value)
        )
    return files


def _summary_lines(models: Sequence[Value]) -> Iterable[list[Any]]:
    for model in models:
        for figure in (*FIGURES, *AT_HALF):
            found, ends = value_of(model, figure)
            if found is not None:
                test = (model.get("calibration_tests") or {}).get(figure.test or "") or {}
                yield [
                    model["name"],
                    figure.key,
                    found,
                    *(ends or (None, None)),
                    test.get("floor"),
                    test.get("p_value"),
                ]


def _class_lines(models: Sequence[Value]) -> Iterable[list[Any]]:
    for model in models:
        calibration, place = model["class_calibration"], {name: k for k, name in enumerate(model["class_names"])}
        for row in class_rows(model):
            k = place[row.name]
            figures = [calibration[key][k] for key in ("ece", "floor", "p_value")]
            yield [model["name"], row.name, row.images, row.recall, row.lower, row.upper, row.predicted, *figures]


def _curve_lines(models: Sequence[Value], quantities: Sequence[str]) -> Iterable[list[Any]]:
    for model in models:
        for scaled, end in ((False, ""), (True, SCALED)):
            curves: Value = model.get(f"vicinity{end}") or {"lam": ()}
            for k, lam in enumerate(curves["lam"]):
                line: list[Any] = [model["name"], scaled, lam]
                for quantity in quantities:
                    bounds = (curves.get("intervals") or {}).get(quantity) or {}
                    line += [curves[quantity][k], *(bounds[side][k] if bounds else None for side in ("lower", "upper"))]
                yield line


def _pair_lines(value: Value) -> Iterable[list[Any]]:
    names = [model["name"] for model in value["models"]]
    for one in value["comparisons"]:
        for key, found in one["differences"].items():
            ends = found["interval"] or (None, None)
            yield [
                names[one["first"]],
                names[one["second"]],
                key,
                found["value"],
                *ends,
                found["p_value"],
                found["detectable"],
            ]


# --- sentences -----------------------------------------------------------------------------------------------------


def answer_sentence(value: Value) -> str:
    """The measurement in a sentence or two."""
    if len(value["models"]) == 1:
        return _of_one(value, value["models"][0])
    return _of_several(value)


def _of_one(value: Value, model: Value) -> str:
    low, high = model["intervals"]["accuracy"]
    words = (
        f"{model['name']} is right about {100 * model['accuracy']:.1f} % of {value['data']['images']:,} images "
        f"({100 * low:.1f} to {100 * high:.1f} %)"
    )
    gap = 100 * (model["confidence"] - model["accuracy"])
    test = (model.get("calibration_tests") or {}).get("ece")
    alpha = 1 - value["measures"]["confidence_level"]
    if test and test["p_value"] < alpha:
        way = "surer than it is right" if gap > 0 else "less sure than it is right"
        words += f" and {abs(gap):.1f} points {way} (ECE {model['ece']:.3f}, {p_value_text(test['p_value'])} for noise alone)"
        if model.get("fitted_temperature") is not None:
            after = model[f"ece{SCALED}"]
            words += f"; at temperature {model['fitted_temperature']:.2f} its ECE is {after:.3f}"
    else:
        words += f"; its ECE of {model['ece']:.3f} is what noise alone shows"
    weakest = weakest_class(model)
    return words + (f". Its weakest class: {weakest}." if weakest else ".")


def weakest_class(model: Value) -> str:
    """The class of the least recall with its interval, in a few words; nothing where there is one class."""
    rows = [row for row in class_rows(model) if row.recall is not None]
    if len(rows) < 2:
        return ""
    row = rows[0]
    recall, lower, upper = (f"{100 * (share or 0):.0f}" for share in (row.recall, row.lower, row.upper))
    return f"{row.name}, {recall} % of {row.images:,} images ({lower} to {upper} %)"


def _of_several(value: Value) -> str:
    models = value["models"]
    order = sorted(range(len(models)), key=lambda k: -models[k]["accuracy"])
    best = order[0]
    signs: dict[tuple[int, int], int] = {}
    for one in value["comparisons"]:
        found = one["differences"].get("accuracy")
        sign = found["sign"] if found else 0
        signs[one["first"], one["second"]], signs[one["second"], one["first"]] = sign, -sign
    beaten = [k for k in order[1:] if signs[best, k] > 0]
    level = [k for k in order[1:] if signs[best, k] <= 0]

    def named(positions: Sequence[int]) -> str:
        return ", ".join(f"{models[k]['name']} ({100 * models[k]['accuracy']:.1f} %)" for k in positions)

    words = f"{named([best])} is right most often about {value['data']['images']:,} images"
    if beaten:
        words += f", clearly more than {named(beaten)}"
    if level:
        words += f"{'; from' if beaten else ', but from'} {named(level)} these images cannot tell it apart"
    sharpest = min(range(len(models)), key=lambda k: models[k].get(f"nll{SCALED}") or models[k]["nll"])
    return f"{words}. By NLL after scaling the best probabilities are those of {models[sharpest]['name']}."
