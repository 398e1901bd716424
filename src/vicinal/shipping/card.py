"""README.md of a student: a Hugging Face model card with what it is, how it is used, what it promises and what it does not."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from vicinal.claims import temperature_text
from vicinal.report import term_label
from vicinal.results import Student, Teacher
from vicinal.shipping.finished import FinishedRun
from vicinal.shipping.promises import BINS
from vicinal.version import __version__
from vicinal.workspace import format_bytes, printable

SHOWN_COVERAGES, SHOWN_RISKS = (0.8, 0.9, 0.95, 0.99), (0.01, 0.02, 0.05, 0.1, 0.2)
PICTURE = "reliability.png"


@dataclass
class CardFacts:
    """What the card says beside the run itself."""

    command: str
    promises: Mapping[str, Any]  # as vicinal.json has them
    temperature: float | None
    temperature_note: str
    not_timm: str | None  # why there is no timm model; None where there is one
    files: list[tuple[str, str]] = field(default_factory=list)  # names and what they are
    checks: list[str] = field(default_factory=list)  # what was compared, a sentence each
    int8: Mapping[str, Any] | None = None
    licence: str | None = None
    base_model: str | None = None


def write_card(folder: Path, run: FinishedRun, facts: CardFacts) -> None:
    """README.md and its picture."""
    test = facts.promises.get("test")
    if test:
        _draw(folder / PICTURE, test, facts.promises.get("test_uncalibrated"))
    name = _title(run)
    data = run.results.data.name if run.results is not None else "its data"
    results = None
    if test:
        values = {"accuracy": test["accuracy"], "nll": test["nll"], "expected_calibration_error": test["ece"]}
        results = [
            EvalResult(
                task_type="image-classification",
                dataset_type="image-folder",
                dataset_name=data,
                metric_type=kind,
                metric_value=round(value, 6),
            )
            for kind, value in values.items()
        ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        about = ModelCardData(
            library_name="onnx" if facts.not_timm else "timm",
            pipeline_tag="image-classification",
            tags=["image-classification", "knowledge-distillation", "calibration", "vicinal"]
            + ([] if facts.not_timm else ["timm"]),
            license=facts.licence,
            base_model=facts.base_model,
            metrics=["accuracy", "nll", "expected_calibration_error"] if test else None,
            model_name=name,
            eval_results=results,
        )
        text = "\n\n".join(part for part in _parts(name, run, facts, data) if part)
        card = ModelCard(f"---\n{about.to_yaml()}\n---\n\n{text}\n")
    (folder / "README.md").write_text(str(card), encoding="utf-8")


def _title(run: FinishedRun) -> str:
    what = run.spec.network.model.rpartition("/")[2]
    return f"{what} for {run.results.data.name}" if run.results is not None else what


def _parts(name: str, run: FinishedRun, facts: CardFacts, data: str) -> list[str]:
    return [
        f"# {_text(name)}",
        _what(run, data),
        "## Files\n\n" + "\n".join(f"- `{file}`: {what}" for file, what in facts.files),
        f"No timm model: {facts.not_timm}. Use the ONNX file or the torch.export file." if facts.not_timm else "",
        _use(run, facts),
        _calibration(facts, data),
        _selective(facts),
        _conformal(facts),
        _int8(facts),
        _classes(run, facts),
        _limits(run, data),
        "## How it was made\n\n" + "\n".join(f"- {line}" for line in _origin(run, facts)),
    ]


def _text(value: object) -> str:
    """Text from outside, inert in Markdown."""
    plain = printable(str(value))
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in plain)


def _what(run: FinishedRun, data: str) -> str:
    classes = len(run.class_names)
    seen = f"It tells {classes:,} classes apart in {'grey' if run.channels == 1 else 'colour'} images of {run.view.side} px."
    entry, net = run.entry, _text(run.spec.network.model)
    counts = ""
    if run.results is not None:
        d = run.results.data
        counts = f" of {_text(data)} ({d.train:,} training, {d.validation:,} validation and {d.test:,} test images)"
    if isinstance(entry, Student):
        if entry.teacher is None:
            learned = f"the labels{counts} (arm {_text(entry.arm)}{_terms(entry)}, no teacher)"
        else:
            at = f" at T = {temperature_text(entry.temperature)}" if entry.temperature is not None else ""
            teacher = f"{_text(entry.teacher)} ({_teacher_model(run, entry.teacher)})"
            learned = (
                f"the answers of the teacher {teacher} on images{counts}; arm {_text(entry.arm)}{_terms(entry)}{at}"
            )
        return f"A {net} that learned from {learned}. {seen}"
    if isinstance(entry, Teacher):
        return f"A {net}, the teacher {_text(entry.name)} of a study on images{counts}. {seen}"
    return f"A {net}. {seen}"


def _terms(entry: Student) -> str:
    """Further terms of its loss, to follow its arm."""
    terms = entry.objective.model_dump(mode="json")["terms"] if entry.objective is not None else {}
    return "".join(f" + {_text(term_label(name, term))}" for name, term in terms.items())


def _teacher_model(run: FinishedRun, name: str) -> str:
    found = [t.model for t in run.results.teachers if t.name == name and t.model] if run.results is not None else []
    return _text(found[0]) if found else "unknown model"


def _use(run: FinishedRun, facts: CardFacts) -> str:
    mode = "L" if run.channels == 1 else "RGB"
    axis = "[None, ..., None]" if run.channels == 1 else "[None]"
    parts = ["## How to use it"]
    if not facts.not_timm:
        parts.append(f"""With timm, in this folder (`hf-hub:OWNER/NAME` once it is pushed). Its logits are calibrated.

```python
import timm
import torch
from PIL import Image, ImageOps

model = timm.create_model("local-dir:.", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("{mode}")
with torch.inference_mode():
    probabilities = model(transform(image)[None]).softmax(-1)[0]
print(model.pretrained_cfg["label_names"][int(probabilities.argmax())], float(probabilities.max()))
```""")
    read = f"""image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("{mode}")
pixels = np.asarray(image){axis}  # uint8 (images, height, width, channels), of any one size"""
    names = [name for name, _ in facts.files]
    if "model.onnx" in names:
        parts.append(f"""With onnxruntime: bytes of an image in, calibrated probabilities out; resizing and normalisation are inside.

```python
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx")
classes = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
{read}
probabilities = session.run(None, {{"images": pixels}})[0][0]
print(classes[probabilities.argmax()], probabilities.max())
```""")
    if "model.pt2" in names:
        parts.append(f"""With torch alone, the same:

```python
import numpy as np
import torch
from PIL import Image, ImageOps

student = torch.export.load("model.pt2").module()
{read}
probabilities = student(torch.from_numpy(pixels.copy()))[0]
print(open("class_names.txt", encoding="utf-8").read().splitlines()[int(probabilities.argmax())], float(probabilities.max()))
```""")
    parts.append("""With vicinal, which also gives prediction sets and knows when to say "don't know":

```sh
vicinal predict . photos/ --coverage 0.9 --risk 0.05 --out answers.csv
```""")
    return "\n\n".join(parts)


def _calibration(facts: CardFacts, data: str) -> str:
    test, before = facts.promises.get("test"), facts.promises.get("test_uncalibrated")
    if not test or not before:
        return f"## Calibration\n\n{facts.temperature_note} There are no test images to say how good it is."
    rows = [
        f"| {what} | {before[key]:.4f} | {test[key]:.4f} |"
        for key, what in (("accuracy", "accuracy"), ("confidence", "mean confidence"), ("nll", "NLL, nats"),
                          ("ece", f"ECE, {BINS} bins"), ("brier", "Brier score"))
    ]  # fmt: skip
    inside = "It is folded into the weights and the graph." if facts.temperature is not None else ""
    return "\n".join([
        "## Calibration", "",
        f"{facts.temperature_note} {inside} On {test['images']:,} test images of {_text(data)}:", "",
        "| | as trained | as shipped |", "|---|---|---|", *rows, "",
        f"![Accuracy against confidence on the test images]({PICTURE})",
    ])  # fmt: skip


def _shown(entries: Sequence[Mapping[str, Any]], key: str, wanted: Sequence[float]) -> list[Mapping[str, Any]]:
    return [entry for entry in entries if any(abs(entry[key] - value) < 1e-9 for value in wanted)]


def _selective(facts: CardFacts) -> str:
    found = facts.promises.get("selective")
    if not found:
        return ""
    lines = ["## When not to trust it", "",
             "Answer where the confidence is at least the threshold, else say \"don't know\": then the share of wrong answers "
             f"among those given is below the risk, with a probability of {1 - found['delta']:.0%} over the {found['images']:,} "
             "validation images "
             "that this was calibrated on (each risk by itself), for images like these.", "",
             "| risk | threshold | answered on test images | wrong among these |", "|---|---|---|---|"]  # fmt: skip
    for entry in _shown(found["thresholds"], "risk", SHOWN_RISKS):
        if entry["threshold"] is None:
            lines.append(f"| {entry['risk']:.3g} | none: it cannot be promised | | |")
            continue
        share, wrong = entry.get("test_answered"), entry.get("test_risk")
        lines.append(
            f"| {entry['risk']:.3g} | {entry['threshold']:.4f} | {'' if share is None else f'{share:.1%}'} | "
            f"{'' if wrong is None else f'{wrong:.1%}'} |"
        )
    return "\n".join(lines)


def _conformal(facts: CardFacts) -> str:
    found = facts.promises.get("conformal")
    if not found:
        return ""
    lines = ["## Prediction sets", "",
             "All classes with a probability of at least 1 − q, and the most probable one: the true class is among them with at "
             f"least the stated probability, for images like the {found['images']:,} validation images that this was calibrated on "
             "(split conformal; none of them fitted the temperature). It is a promise of all images together, not of each class.", "",
             "| coverage | q | coverage on test images | classes in a set, mean |", "|---|---|---|---|"]  # fmt: skip
    for entry in _shown(found["quantiles"], "coverage", SHOWN_COVERAGES):
        q = "none: too few images, every class" if entry["quantile"] is None else f"{entry['quantile']:.4f}"
        held, size = entry.get("test_coverage"), entry.get("test_mean_size")
        lines.append(
            f"| {entry['coverage']:.3g} | {q} | {'' if held is None else f'{held:.3f}'} | {'' if size is None else f'{size:.2f}'} |"
        )
    return "\n".join(lines)


def _int8(facts: CardFacts) -> str:
    own = facts.int8
    if own is None:
        return ""
    if own["file"] is None:
        return f"## int8\n\nAn 8-bit file was asked for and refused: {_text(own['refused'])}. Use the float files."
    size, took = own["bytes"], own["time"]
    temperature = (
        "no temperature" if own["temperature"] is None else f"a temperature of its own ({own['temperature']:.4g})"
    )
    lines = [
        "## int8", "",
        f"`{own['file']}` is used like `model.onnx`. Its network has 8-bit weights and activations ({own['stored_as']}; "
        f"{own['form']}), calibrated on {own['calibration_images']:,} training images, and {temperature}; resizing, temperature and "
        "softmax are as in `model.onnx`. The form was chosen on "
        f"{own['validation']['images']:,} validation images ({_same(own['validation'])}). Sets and thresholds above are the float "
        "network's: its own are in `vicinal.json` under `int8`, and `vicinal predict . photos/ --engine int8` goes by them.", "",
        f"It has {format_bytes(size['int8'])} against {format_bytes(size['float'])} and took {took['ratio']:.2f} of the time of "
        f"`model.onnx` for one image on one thread of the machine that wrote it, resizing included; of the network alone "
        f"{took['network_ratio']:.2f}.",
    ]  # fmt: skip
    before, after = facts.promises.get("test"), own["test"]
    if before and after:
        lines += [
            "", f"On {after['images']:,} test images, each at its own temperature:", "", "| | float | int8 |", "|---|---|---|",
            *(f"| {what} | {before[key]:.4f} | {after[key]:.4f} |"
              for key, what in (("accuracy", "accuracy"), ("nll", "NLL, nats"), ("ece", f"ECE, {BINS} bins"))),
            f"| same answer as the float network | | {_same(own['test_compared'])} |",
        ]  # fmt: skip
    return "\n".join(lines)


def _same(compared: Mapping[str, Any]) -> str:
    low, high = compared["same_answers_interval"]
    return f"{compared['same_answers']:.1%}, 95 % interval {low:.1%} to {high:.1%}"


def _classes(run: FinishedRun, facts: CardFacts) -> str:
    test = facts.promises.get("test")
    if not test:
        return ""
    order = sorted(
        (k for k, recall in enumerate(test["class_recall"]) if recall is not None),
        key=lambda k: (test["class_recall"][k], k),
    )
    shown = order[:20]
    more = f" (the {len(shown)} weakest of {len(order)})" if len(order) > len(shown) else ""
    lines = [f"## Recall by class{more}", "", "| class | test images | recall |", "|---|---|---|"]
    lines += [
        f"| {_text(run.class_names[k])} | {test['class_images'][k]:,} | {test['class_recall'][k]:.3f} |" for k in shown
    ]
    return "\n".join(lines)


def _limits(run: FinishedRun, data: str) -> str:
    return "\n".join([
        "## Limits", "",
        f"- It knows {len(run.class_names):,} classes and answers with one of them for whatever it is shown: confidence tells known "
        "images apart from each other, and only to some extent known from unknown ones.",
        f"- Temperature, sets and thresholds hold for images like those of {_text(data)}. Other cameras, places, seasons or shares of "
        "the classes need validation images of their own.",
        "- Which images it gets wrong may differ between groups that nobody labelled here.",
    ])  # fmt: skip


def _origin(run: FinishedRun, facts: CardFacts) -> list[str]:
    results = run.results
    lines = [f"`{printable(facts.command)}`"]
    if results is not None:
        lines.append(f"study {_text(results.study)}, run `{run.name}`: `{printable(results.command)}`")
        lines.append(_text(f"selection: {results.selection}; seed {run.spec.seed}; {run.spec.network.epochs} epochs"))
    return [*lines, f"vicinal {__version__}", *map(_text, facts.checks)]


def _draw(path: Path, test: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
    """The reliability diagram: accuracy against confidence in bins, the area of a mark as its share of images."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#8c959f", linewidth=1, label="calibrated")
    kinds = [("as trained", before, "#d55e00", "s"), ("as shipped", test, "#0072b2", "o")]
    for label, numbers, colour, marker in kinds:
        if numbers is None:
            continue
        bins = numbers["reliability"]
        filled = [k for k, n in enumerate(bins["count"]) if n]
        sizes = [12 + 200 * bins["count"][k] / numbers["images"] for k in filled]
        x, y = ([bins[key][k] for k in filled] for key in ("confidence", "accuracy"))
        axes.plot(x, y, color=colour, linewidth=1, alpha=0.6)
        axes.scatter(x, y, s=sizes, color=colour, marker=marker, alpha=0.8, label=f"{label}: ECE {numbers['ece']:.3f}")
    axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), xlabel="confidence", ylabel="accuracy", aspect="equal")
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Software": "vicinal"})
