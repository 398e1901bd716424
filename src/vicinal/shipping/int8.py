"""int8.onnx of a student: which of its forms is taken, whether it is fit to ship, what it promises and what it costs.

The form is chosen, and refused, on the validation images that its temperature is fitted on; test images only measure it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.data import Originals
from vicinal.errors import UsageError, VicinalError, one_line
from vicinal.metrics import paired_interval, proportion_interval
from vicinal.shipping.finished import FinishedRun
from vicinal.shipping.graphs import (
    INPUT,
    LOGITS,
    OUTPUT,
    PIXELS,
    Parts,
    StudentGraph,
    assembled,
    onnx_session,
    save_onnx,
)
from vicinal.shipping.promises import Halves, promises
from vicinal.shipping.quantised import FORMS, STORED_AS, Form, Pixels, quantised
from vicinal.shipping.stored_images import GoneError, StoredImages, stored_images
from vicinal.workspace import format_bytes

INT8_FILE = "int8.onnx"
CALIBRATION_IMAGES = 256
CHOOSING_IMAGES = 1000  # at most: every form answers each of them
SAME_ANSWERS_AT_LEAST = 0.9  # share of validation images
ACCURACY_DROP_AT_MOST = 0.02  # share of validation images, that the interval of the drop has to reach down to
CONFIDENCE_LEVEL = 0.95
TIMED_IMAGES = 40
_PARTS_TOLERANCE = 1e-3  # of a probability, between the file and its parts on the same images, all but a few of them
_PARTS_APART = 0.05  # share of images where a rounding fell otherwise
_BATCH = 8
_T = TypeVar("_T")


class RefusedError(Exception):
    """Why no int8.onnx is written, a clause; the export goes on without it."""


@dataclass(frozen=True, eq=False)
class Int8Images:
    """What an 8-bit network is made with: bytes of training images, the validation and the test images that were measured."""

    calibration: list[NDArray[np.uint8]]  # (S, S, C) each, as stored
    validation: StoredImages
    test: StoredImages | None  # None where the study measured none


def int8_images(run: FinishedRun) -> Int8Images:
    """The study's images for `--int8`. Raises UsageError where they cannot be had."""
    way = "put the study's images back where they were, or leave --int8 out"
    stored = run.predictions
    if stored is None:
        raise UsageError("--int8 needs the network's answers to validation images: let the study measure it first")
    if len(stored.validation_labels) < 2:
        raise UsageError(
            "--int8 chooses and calibrates on validation images, of which the study has none: leave --int8 out"
        )
    try:
        originals = run.images
    except VicinalError as error:
        raise UsageError(f"--int8 calibrates on training images, which are not to be had ({error}): {way}") from None
    try:
        validation = stored_images(run, "validation")
        test = stored_images(run, "test") if len(stored.test_labels) else None
    except GoneError as error:
        raise UsageError(f"--int8 measures on the study's images, but {error}: {way}") from None
    for one in filter(None, (validation, test)):
        if None in one.places:
            raise UsageError(f"--int8 measures on the study's images, but some {one.role} images are gone: {way}")
    calibration = _calibration_images(run, originals)
    if not calibration:
        raise UsageError(f"--int8 calibrates on training images, and none can be read: {way}")
    return Int8Images(calibration, validation, test)


def _calibration_images(run: FinishedRun, originals: Originals) -> list[NDArray[np.uint8]]:
    """Up to `CALIBRATION_IMAGES`, from all over the split, so that every class has its share."""
    count = originals.count("train")
    at = np.unique(np.linspace(0, count - 1, min(count, CALIBRATION_IMAGES)).astype(int)).tolist()
    return [run.shown.stored.array(one.image) for one in originals.of("train", run.channels, at)]


@dataclass(frozen=True)
class Compared:
    """Answers of the 8-bit network beside those of the float one, to the same images."""

    images: int
    same: int
    only_float: int  # that the float network alone gets right
    only_int8: int
    total_variation: float  # between the two networks' probabilities, mean

    @classmethod
    def of(cls, whole: Tensor, small: Tensor, labels: Tensor) -> Compared:
        """Of (N, K) logits of both, float and int8, and labels (N,)."""
        top, other = whole.argmax(-1), small.argmax(-1)
        right, also = top == labels, other == labels
        apart = (whole.double().softmax(-1) - small.double().softmax(-1)).abs().sum(-1) / 2
        same, lost, won = (int(each.sum()) for each in (top == other, right & ~also, also & ~right))
        return cls(len(labels), same, lost, won, float(apart.mean()))

    @property
    def share(self) -> float:
        """Of images with the same answer."""
        return self.same / self.images

    @property
    def drop(self) -> float:
        """Of accuracy, a share of the images."""
        return (self.only_float - self.only_int8) / self.images

    @property
    def facts(self) -> dict[str, Any]:
        """As vicinal.json has them; intervals of 95 %, Wilson's and Tango's."""
        return {
            "images": self.images,
            "same_answers": self.share,
            "same_answers_interval": list(proportion_interval(self.same, self.images, CONFIDENCE_LEVEL)),
            "accuracy_drop": self.drop,
            "accuracy_drop_interval": list(
                paired_interval(self.only_float, self.only_int8, self.images, CONFIDENCE_LEVEL)
            ),
            "total_variation": self.total_variation,
        }

    def __str__(self) -> str:
        low, high = proportion_interval(self.same, self.images, CONFIDENCE_LEVEL)
        return f"{self.share:.1%} are answered as in float ({low:.1%} to {high:.1%})"


def refusal(found: Compared) -> str | None:
    """Why a network with such answers to validation images is not fit to stand in for the float one, a clause; None where it is.

    A lower accuracy counts where it is beyond doubt: few images leave an interval that reaches down to `ACCURACY_DROP_AT_MOST`.
    """
    where = f"of {found.images:,} validation images"
    if found.share < SAME_ANSWERS_AT_LEAST:
        return f"only {found.share:.1%} {where} are answered as in float, at least {SAME_ANSWERS_AT_LEAST:.0%} are asked for"
    low, high = paired_interval(found.only_float, found.only_int8, found.images, CONFIDENCE_LEVEL)
    if low > ACCURACY_DROP_AT_MOST:
        return (
            f"accuracy falls by {100 * found.drop:.1f} points ({100 * low:.1f} to {100 * high:.1f}) {where}, "
            f"by more than {100 * ACCURACY_DROP_AT_MOST:g}"
        )
    return None


@dataclass(frozen=True)
class _Form:
    """A form that was tried."""

    form: Form
    model: Any
    session: Any
    found: Compared

    @property
    def rank(self) -> tuple[float, float]:
        """The more equal answers the better, then the nearer its probabilities."""
        return self.found.share, -self.found.total_variation


class Int8Export:
    """One int8.onnx. `values` become the key int8 of vicinal.json, whether the file is written or refused."""

    def __init__(
        self,
        run: FinishedRun,
        graph: StudentGraph,
        parts: Parts,
        images: Int8Images,
        float_values: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self.run, self.graph, self.parts, self.images = run, graph, parts, images
        self.float_values, self.say = float_values, say
        self.values: dict[str, Any] = {"file": None, "refused": None, "stored_as": STORED_AS}

    def write(self, folder: Path, metadata: Mapping[str, Any], samples: Sequence[NDArray[np.uint8]]) -> None:
        """int8.onnx beside model.onnx. Raises RefusedError, and UsageError where an image has gone meanwhile.

        Args:
            metadata: of model.onnx; the temperature is replaced.
            samples: (H, W, C) images that the file is tried on.
        """
        try:
            self._write(folder, metadata, samples)
        except RefusedError as reason:
            self.values |= {"refused": str(reason)}
            (folder / INT8_FILE).unlink(missing_ok=True)
            raise
        except GoneError as error:
            raise UsageError(f"--int8: {error}, so nothing was written") from None

    def _write(self, folder: Path, metadata: Mapping[str, Any], samples: Sequence[NDArray[np.uint8]]) -> None:
        import onnxruntime

        network = self.parts.network
        whole = onnx_session(network.SerializeToString())
        fitted, promised = (half.tolist() for half in Halves.positions(len(self.images.validation)))
        chosen = self._chosen(network, whole, fitted[:CHOOSING_IMAGES])
        reason = refusal(chosen.found)
        self.values |= {
            "calibration_images": len(self.images.calibration),
            "form": str(chosen.form),
            "validation": chosen.found.facts,
            "onnxruntime": onnxruntime.__version__,
        }
        if reason is not None:
            raise RefusedError(f"{reason} (the best of {len(FORMS)} forms)")
        temperature = self._measured(whole, chosen.session, fitted + promised)
        model = assembled(Parts(self.parts.front, chosen.model), temperature, len(self.run.class_names))
        path = folder / INT8_FILE
        save_onnx(model, path, {**metadata, "temperature": temperature, "stored_as": STORED_AS})
        self._check(onnx_session(path), chosen.session, temperature, samples)
        self.values |= {
            "file": INT8_FILE,
            "bytes": {"float": (folder / "model.onnx").stat().st_size, "int8": path.stat().st_size},
            "time": self._times(folder / "model.onnx", path, network, chosen.model, samples),
        }
        for line in self._said():
            self.say(line)

    def _chosen(self, network: Any, whole: Any, positions: list[int]) -> _Form:
        batches = [self._pixels(part) for part in _parts(self.images.calibration)]
        self.say(f"int8: {len(FORMS)} forms, calibrated on {len(self.images.calibration):,} training images")
        made: list[tuple[Form, Any, Any]] = []
        failure = ""
        for form in FORMS:
            try:
                model = quantised(network, batches, form)
                made.append((form, model, onnx_session(model.SerializeToString())))
            except Exception as error:
                failure = one_line(error, 160)
                self.say(f"int8: {form}: onnxruntime does not take it ({failure})")
        if not made:
            raise RefusedError(f"onnxruntime cannot bring this network to 8 bits ({failure})")
        answers = self._answers([whole, *(session for _, _, session in made)], self.images.validation, positions)
        labels = self.images.validation.labels[positions]
        tried = [
            _Form(*one, Compared.of(answers[0], other, labels)) for one, other in zip(made, answers[1:], strict=True)
        ]
        for one in tried:
            self.say(f"int8: {one.form}: of {len(positions):,} validation images {one.found}")
        self.values["forms"] = [{"form": str(one.form), **one.found.facts} for one in tried]
        return max(tried, key=lambda one: one.rank)

    def _measured(self, whole: Any, small: Any, validation: list[int]) -> float | None:
        """The temperature of its own; with it what is promised and what test images make of it."""
        stored = self.run.predictions
        assert stored is not None
        known = torch.empty_like(stored.validation, dtype=torch.float32)
        (known[validation],) = self._answers([small], self.images.validation, validation)
        test = torch.empty_like(stored.test, dtype=torch.float32)
        if self.images.test is not None:
            self.say(f"int8: measuring on {len(test):,} test images")
            before, test = self._answers([whole, small], self.images.test, list(range(len(test))))
            self.values["test_compared"] = Compared.of(before, test, self.images.test.labels).facts
        found = promises(replace(stored, validation=known, test=test))
        self.values |= {"temperature": found.temperature, "temperature_note": found.temperature_note, **found.values}
        return found.temperature

    def _pixels(self, stored: Sequence[NDArray[np.uint8]]) -> Pixels:
        """What the network sees of (S, S, C) images that Pillow made."""
        with torch.inference_mode():
            pixels: Pixels = self.graph.shown(
                torch.from_numpy(np.stack(stored)).permute(0, 3, 1, 2).float() / 255
            ).numpy()
        return np.ascontiguousarray(pixels)

    def _answers(self, sessions: Sequence[Any], images: StoredImages, positions: list[int]) -> list[Tensor]:
        """(n, K) logits of each session to images at positions, read once and a batch at a time."""
        answers: list[list[Tensor]] = [[] for _ in sessions]
        for part in _parts(positions):
            pixels = self._pixels([self.run.shown.stored.array(image) for image in images.read(part)])
            for session, known in zip(sessions, answers, strict=True):
                known.append(torch.from_numpy(session.run([LOGITS], {PIXELS: pixels})[0]))
        return [torch.cat(known) for known in answers]

    @torch.inference_mode()
    def _check(
        self, session: Any, network: Any, temperature: float | None, samples: Sequence[NDArray[np.uint8]]
    ) -> None:
        """The file answers as its parts do, one after the other, but where a rounding falls otherwise."""
        apart = 0
        for image in samples:
            pixels = self.graph.shown(self.graph.pixels(torch.from_numpy(image.copy())[None])).numpy()
            logits = torch.from_numpy(network.run([LOGITS], {PIXELS: pixels})[0]) / (temperature or 1.0)
            given = session.run([OUTPUT], {INPUT: image[None]})[0]
            apart += float(np.abs(logits.softmax(-1).numpy() - given).max()) > _PARTS_TOLERANCE
        if apart > _PARTS_APART * len(samples):
            raise RefusedError(f"its file answers otherwise than its parts on {apart} of {len(samples)} images")

    def _times(
        self, whole: Path, small: Path, network: Any, small_network: Any, samples: Sequence[NDArray[np.uint8]]
    ) -> dict[str, Any]:
        """Of one image at a time on one thread, float and int8 in turn; the network's part by itself beside it."""
        images = [{INPUT: image[None]} for image in samples[:TIMED_IMAGES]]
        seen = {PIXELS: self._pixels(self.images.calibration[:1])}
        files = _alternated(onnx_session(whole, 1), onnx_session(small, 1), images)
        before, after = (onnx_session(model.SerializeToString(), 1) for model in (network, small_network))
        parts = _alternated(before, after, [seen] * TIMED_IMAGES)
        return {
            "threads": 1,
            "images": len(images),
            "float_ms": 1e3 * files[0],
            "int8_ms": 1e3 * files[1],
            "ratio": files[1] / files[0],
            "network_float_ms": 1e3 * parts[0],
            "network_int8_ms": 1e3 * parts[1],
            "network_ratio": parts[1] / parts[0],
        }

    def _said(self) -> list[str]:
        own, size, took = self.values, self.values["bytes"], self.values["time"]
        lines = [
            f"{INT8_FILE}: {own['form']}; {format_bytes(size['int8'])} against {format_bytes(size['float'])}; {took['ratio']:.2f} of "
            f"the time of model.onnx for an image on one thread, its network alone {took['network_ratio']:.2f}"
        ]
        if own["test"]:
            before, after = self.float_values["test"], own["test"]
            low, high = own["test_compared"]["same_answers_interval"]
            told = [
                f"{what} {before[key]:.3f} in float, {after[key]:.3f} in int8"
                for key, what in (("accuracy", "accuracy"), ("nll", "NLL"), ("ece", "ECE"))
            ]
            share = own["test_compared"]["same_answers"]
            lines.append(
                f"{INT8_FILE}: on {after['images']:,} test images {', '.join(told)}; {share:.1%} of answers as in float "
                f"({low:.1%} to {high:.1%})"
            )
            if share < SAME_ANSWERS_AT_LEAST:
                lines.append(
                    f"note: {INT8_FILE} has fewer equal answers on test images than the {SAME_ANSWERS_AT_LEAST:.0%} asked for "
                    f"on validation images ({own['validation']['images']:,})"
                )
        return lines


def _parts(values: Sequence[_T]) -> list[Sequence[_T]]:
    return [values[start : start + _BATCH] for start in range(0, len(values), _BATCH)]


def _alternated(first: Any, second: Any, inputs: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Seconds of one run, the median over inputs, each given to one session and then to the other."""
    seconds: list[list[float]] = [[], []]
    for session in (first, second):
        session.run(None, inputs[0])
    for number, one in enumerate(inputs):
        turns = [(0, first), (1, second)]
        for at, session in turns if number % 2 else reversed(turns):
            start = time.perf_counter()
            session.run(None, one)
            seconds[at].append(time.perf_counter() - start)
    return float(np.median(seconds[0])), float(np.median(seconds[1]))
