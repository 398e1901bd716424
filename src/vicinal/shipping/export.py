"""A run of a study to a folder that ships: timm's files, an ONNX file, class names, promises and a model card."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vicinal.errors import UsageError, VicinalError
from vicinal.networks import FUSING_IMAGES, Classifier, TimmClassifier, fused
from vicinal.shipping.agreement import (
    ALLOWED,
    ROUNDED_ALLOWED,
    Agreement,
    Measured,
    graph_agreement,
    measured_images,
    timm_agreement,
)
from vicinal.shipping.card import PICTURE, CardFacts, write_card
from vicinal.shipping.finished import FinishedRun, finished_run, source_facts
from vicinal.shipping.graphs import (
    INPUT,
    OUTPUT,
    TOLERANCE,
    Parts,
    StudentGraph,
    assembled,
    exported,
    largest_difference,
    onnx_session,
    parts_of,
    save_onnx,
    write_pt2,
)
from vicinal.shipping.int8 import INT8_FILE, Int8Export, Int8Images, RefusedError, int8_images
from vicinal.shipping.promises import Promises, promises
from vicinal.shipping.timm_folder import PLAIN_WEIGHTS, TIMM_FILES, NotTimmError, timm_model_of, write_timm_folder
from vicinal.version import __version__
from vicinal.workspace import cannot_write, printable

STUDENT_FILE = "vicinal.json"
SCHEMA = 1
CHECKED_IMAGES = 100


@dataclass(frozen=True)
class ExportOptions:
    """What goes into a student's folder beside what always does."""

    onnx: bool = True
    torch_export: bool = False  # also where timm has the network
    force: bool = False  # replace a student that lies there
    int8: bool = False


def export_student(
    source: Path,
    out: Path,
    *,
    run: str | None = None,
    onnx: bool = True,
    torch_export: bool = False,
    force: bool = False,
    int8: bool = False,
    command: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write the folder of a student that runs without vicinal. Returns `out`.

    Args:
        source: a study folder, or a run's folder in it.
        out: the folder to write, whole or not at all.
        run: which of the study's runs; default: the recommended student.
        onnx: write model.onnx; torch_export: write model.pt2 also where timm has the network.
        force: replace a student's folder that lies there.
        int8: write int8.onnx beside model.onnx where it is fit to stand in for it.
        command: that makes this folder, as the card states it.
        say: told what is done, in lines.

    Raises:
        UsageError: nothing to export, or a folder that is in the way.
        VicinalError: damaged files, a network that no exporter takes, graphs whose answers differ, a full disk; and, behind all
            other files, an int8.onnx that was refused.
    """
    _check_out(out, force)
    if int8 and not onnx:
        raise UsageError("--int8 is measured against model.onnx: leave --no-onnx out")
    shipped = finished_run(Path(source), run)
    images = int8_images(shipped) if int8 else None
    say(f"{shipped.name}: {shipped.spec.network.model}, {len(shipped.class_names):,} classes")
    options = ExportOptions(onnx, torch_export, force, int8)
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        mode = part.stat().st_mode & 0o666
        export = _Export(shipped, part, options, command or f"vicinal export {source}", say)
        export.int8_images = images
        export.write()
        for file in part.iterdir():  # some libraries write files that their owner alone may read
            file.chmod(mode)
        _move(part, out)
    except OSError as error:
        raise cannot_write(out, error) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    if export.card.int8 is not None and export.card.int8["file"] is None:
        raise VicinalError(f"{INT8_FILE} was not written: {export.card.int8['refused']}; all other files lie in {out}")
    return out


def _check_out(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file: give another folder with --out")
    if any(out.iterdir()):
        if not (out / STUDENT_FILE).is_file():
            raise UsageError(f"{out} holds other files and no student: give an empty folder with --out")
        if not force:
            raise UsageError(f"{out} holds a student already: --force replaces it, --out names another folder")


def _move(part: Path, out: Path) -> None:
    """Put a finished folder in its place; what lay there goes only when it can."""
    if out.exists():
        old = out.with_name(f".{out.name}.{secrets.token_hex(4)}.old")
        out.rename(old)
        try:
            part.rename(out)
        except OSError:
            old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        part.rename(out)


class _Export:
    """One export: its parts in the order in which they are written."""

    def __init__(
        self, run: FinishedRun, folder: Path, options: ExportOptions, command: str, say: Callable[[str], None]
    ) -> None:
        self.run, self.folder, self.options, self.say = run, folder, options, say
        self.promises: Promises = promises(run.predictions)
        self.card = CardFacts(
            printable(command), self.promises.values, self.promises.temperature, self.promises.temperature_note, None
        )
        self.files = self.card.files
        self.int8_images: Int8Images | None = None  # where int8.onnx is asked for
        self.measured: Measured | None = None  # test images with what the study measured, where they are to be had

    def write(self) -> None:
        images, generated = sample_images(self.run)
        measured = measured_images(self.run, self.promises.temperature, CHECKED_IMAGES)
        if isinstance(measured, str):
            self._note(f"not compared with the answers that the study measured: {measured}")
        else:
            self.measured = measured
        self._timm()
        self._graphs(images, generated)
        (self.folder / "class_names.txt").write_text(
            "".join(f"{_line(name)}\n" for name in self.run.class_names), encoding="utf-8"
        )
        self.files.append(("class_names.txt", "the classes, a line each, in the order of the answers"))
        self.files.append(
            (STUDENT_FILE, "temperature, preparation, thresholds and prediction sets, for `vicinal predict`")
        )
        if self.card.promises.get("test"):
            self.files.append((PICTURE, "the reliability diagram"))
        value = self._facts()
        (self.folder / STUDENT_FILE).write_text(
            json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
        write_card(self.folder, self.run, self.card)

    def _timm(self) -> None:
        run = self.run
        try:
            model = timm_model_of(run.network, run.channels, run.view.side)
            network = cast(TimmClassifier, run.network)
            write_timm_folder(model, self.folder, network, run.view, run.class_names, self.promises.temperature)
            self._check_timm()
        except NotTimmError as reason:
            self.card.not_timm = str(reason)
            self.say(f"no timm model: {reason}; it is exported as ONNX and for torch.export")
            for name in TIMM_FILES:
                (self.folder / name).unlink(missing_ok=True)
            return
        cfg = cast(Any, model).pretrained_cfg
        self.card.licence = cfg.get("license") if run.spec.network.weights == "hub" else None
        if run.spec.network.weights == "hub" and cfg.get("hf_hub_id"):
            self.card.base_model = cfg["hf_hub_id"]
        self.files += [
            ("model.safetensors", "the weights as timm reads them, the temperature in the classifier (W/T, b/T)"),
            ("config.json", "architecture, classes and preparation, as timm writes them"),
            (PLAIN_WEIGHTS, "the weights as trained, without the temperature"),
        ]

    def _check_timm(self) -> None:
        """NotTimmError where one step of resizing only comes near to what the study measured, and not near enough."""
        reason = self.run.shown.inexact
        if self.measured is None:
            if reason is not None:
                raise NotTimmError(f"{reason}, and there are no test images to see what timm's transform makes of that")
            return
        found = timm_agreement(self.folder, self.measured)
        if not found.holds and reason is not None:
            raise NotTimmError(f"{reason}; through timm's transform {found}")
        self._hold("config.json", "timm's own transform and model answer", found, found.holds, ALLOWED)

    def _check_graph(self, graph: StudentGraph, session: Any) -> None:
        assert self.measured is not None
        found, rounded = graph_agreement(graph, self.run.shown, session, self.measured)
        name, way = "model.onnx", "--no-onnx leaves the file out"
        if found.images:
            self._hold(name, "onnxruntime answers", found, found.holds, ALLOWED, way)
        if rounded.images:
            who = "where its resizing rounds otherwise than Pillow's, onnxruntime answers"
            self._hold(name, who, rounded, rounded.nearly_holds, ROUNDED_ALLOWED, way)

    def _hold(self, file: str, who: str, found: Agreement, holds: bool, allowed: float, way: str = "") -> None:
        """What a file answers is what the study measured, or nothing is written."""
        if not holds:
            raise VicinalError(
                f"{file}: {who} otherwise than the study measured ({found}; at most {allowed:g} is allowed), so nothing was written: "
                f"the test images may have changed since{'; ' + way if way else ''}"
            )
        self._note(f"{file}: {who} as the study measured: {found}")

    def _note(self, line: str) -> None:
        self.card.checks.append(line)
        self.say(line)

    def _graphs(self, images: list[NDArray[np.uint8]], generated: bool) -> None:
        run, needed = self.run, self.card.not_timm is not None
        if not (self.options.onnx or self.options.torch_export or needed):
            return
        graph = student_graph(run, self.promises.temperature)
        if self.options.torch_export or needed:
            write_pt2(exported(graph, run.channels), self.folder / "model.pt2")
            self.files.append(("model.pt2", "for torch.export.load: bytes of images to probabilities"))
        if not (self.options.onnx or needed):
            return
        path = self.folder / "model.onnx"
        parts = parts_of(graph, run.channels)
        save_onnx(assembled(parts, graph.temperature, len(run.class_names)), path, self._metadata())
        session = onnx_session(path)
        difference = largest_difference(graph, session, images)
        if not difference <= TOLERANCE:
            raise VicinalError(
                f"onnxruntime answers otherwise than torch (a probability differs by {difference:.2g}, at most {TOLERANCE:g} is "
                "allowed), so nothing was written; --no-onnx leaves the file out"
            )
        if self.measured is not None:
            self._check_graph(graph, session)
        pillow = pillow_difference(run, graph, session, images)
        kind = "made images" if generated else "images of the study"
        sizes = f"{len(images)} {kind} of {len({image.shape[:2] for image in images})} sizes"
        self.card.checks += [
            f"model.onnx: the same probabilities as torch on {sizes}, to {difference:.1g}",
            f"model.onnx resizes as Pillow does: probabilities after Pillow's resizing differ by at most {pillow:.1g} (more "
            "for images twice as high as wide, where new Pillows go down the rows first)",
        ]
        self.say(f"model.onnx: as torch to {difference:.1g} and as after Pillow's resizing to {pillow:.1g} on {sizes}")
        self.files.append(("model.onnx", "for onnxruntime: bytes of images to calibrated probabilities"))
        if self.int8_images is not None:
            self._int8(graph, parts, self.int8_images, images)

    def _int8(self, graph: StudentGraph, parts: Parts, images: Int8Images, samples: list[NDArray[np.uint8]]) -> None:
        export = Int8Export(self.run, graph, parts, images, self.promises.values, self.say)
        self.card.int8 = export.values
        try:
            export.write(self.folder, self._metadata(), samples)
        except RefusedError as reason:
            self.say(f"{INT8_FILE} is refused: {reason}")
            return
        self.files.append(
            (INT8_FILE, "the same with its network in 8 bits; its probabilities and thresholds are its own")
        )

    def _metadata(self) -> dict[str, Any]:
        return {
            "class_names": list(self.run.class_names),
            "preparation": preparation_facts(self.run),
            "temperature": self.promises.temperature,
            "made_by": f"vicinal {__version__}",
        }

    def _facts(self) -> dict[str, Any]:
        run = self.run
        return {
            "schema": SCHEMA,
            "made_by": f"vicinal {__version__}",
            "command": self.card.command,
            "source": source_facts(run),
            "files": [name for name, _ in self.files],
            "class_names": list(run.class_names),
            "preparation": preparation_facts(run),
            "temperature": self.promises.temperature,
            "temperature_note": self.promises.temperature_note,
            "not_timm": self.card.not_timm,
            **self.promises.values,
            "int8": self.card.int8,
        }


def student_graph(run: FinishedRun, temperature: float | None) -> StudentGraph:
    """The run's network from bytes to probabilities, its batch norms fused."""
    side = run.shown.stored.side
    stored = torch.rand(FUSING_IMAGES, run.channels, side, side, generator=torch.Generator().manual_seed(0))
    pixels = run.shown.pixels(stored)
    network: Classifier = fused(run.network, pixels).to(memory_format=torch.contiguous_format)
    return StudentGraph(network, run.shown, run.channels, temperature).eval()


def preparation_facts(run: FinishedRun) -> dict[str, Any]:
    """How an image becomes the network's pixels, as vicinal.json and ONNX metadata say it."""
    mean, std = (getattr(run.network, name, None) for name in ("mean", "std"))
    return {
        "image_size": run.view.side,
        "resize": run.view.resize,
        "crop_mode": run.view.mode,
        "interpolation": run.view.interpolation,
        "fill": list(run.view.fill),
        "channels": run.channels,
        "mean": None if mean is None else [round(v, 7) for v in mean.flatten().tolist()],
        "std": None if std is None else [round(v, 7) for v in std.flatten().tolist()],
    }


def sample_images(run: FinishedRun, count: int = CHECKED_IMAGES) -> tuple[list[NDArray[np.uint8]], bool]:
    """(H, W, C) uint8 images of many sizes to try a student on: the study's test images, or made ones where these are gone (True).

    Images of one size are resized to others, since those that a student will get are not alike.
    """
    generator = np.random.default_rng(0)
    found: list[Image.Image] = []
    try:
        originals = run.images
        at = np.unique(np.linspace(0, originals.count("test") - 1, min(count, originals.count("test"))).astype(int))
        found = [one.image for one in originals.of("test", run.channels, at.tolist())]
    except VicinalError:
        pass
    generated = not found
    if generated:
        mode = "L" if run.channels == 1 else "RGB"
        shape = (count, 24, 24) if run.channels == 1 else (count, 24, 24, 3)
        found = [Image.fromarray(one, mode) for one in generator.integers(0, 256, shape, dtype=np.uint8)]
    while len(found) < count:
        found.append(found[len(found) - count // 2 if len(found) > count // 2 else 0])
    if len({image.size for image in found}) < count // 4:
        side = run.view.side
        sizes = generator.integers(max(2, side // 2), 3 * side, (len(found), 2)).tolist()
        found = [image.resize((w, h), Image.Resampling.BICUBIC) for image, (w, h) in zip(found, sizes, strict=True)]
    return [np.asarray(image).reshape(image.height, image.width, run.channels) for image in found], generated


@torch.inference_mode()
def pillow_difference(run: FinishedRun, graph: StudentGraph, session: Any, images: list[NDArray[np.uint8]]) -> float:
    """The largest difference of a probability between the ONNX file and the network on what Pillow's resizing makes."""
    most = 0.0
    for image in images:
        seen = run.shown.stored.array(Image.fromarray(image[..., 0] if run.channels == 1 else image))
        ours = (graph.network(run.shown.of(torch.from_numpy(seen.copy()))) / graph.temperature).softmax(-1).numpy()
        most = max(most, float(np.abs(ours - session.run([OUTPUT], {INPUT: image[None]})[0]).max()))
    return most


def _line(name: str) -> str:
    return " ".join(name.splitlines())
