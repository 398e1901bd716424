"""bank.json: whose answers a bank holds, in which precision, from where, and the error of the form that they are kept in."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor

from vicinal.config import AnswersSpec
from vicinal.distillation.bank.codec import AnswerCodec
from vicinal.distillation.bank.layout import FORMAT, BankLayout
from vicinal.distillation.teacher import Precision
from vicinal.errors import VicinalError
from vicinal.functional import kl_divergence
from vicinal.version import __version__
from vicinal.workspace import DamagedError, read_sealed_json, write_sealed_json

MANIFEST = "bank.json"
ERROR_TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
ERROR_ANSWERS = 2000  # that the error of a codec is measured on, from the first on
_KEYS = {"inputs", "epochs", "teacher_weights", "precision", "provenance", "error"}


class Manifest:
    """The bank.json of a bank's folder. A change reads it anew and writes it whole, with other processes kept out meanwhile.

    Args:
        locked: keeps other processes out; for a manifest that is changed.

    Raises:
        VicinalError: it is damaged, or of another version of vicinal.
    """

    def __init__(
        self, folder: Path, locked: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    ) -> None:
        self.folder, self._locked = folder, locked
        self._values = _read(folder)

    @classmethod
    def open(
        cls,
        folder: Path,
        layout: BankLayout,
        teacher_weights: str | None,
        device: torch.device | str,
        locked: Callable[[], AbstractContextManager[None]],
        has_answers: bool,
    ) -> Self:
        """The manifest of a bank that is filled: checked, or written now where the bank is new; with the more epochs of the two.

        Raises:
            VicinalError: as `check`, or there are answers and no manifest that says whose.
        """
        with locked():
            if not (folder / MANIFEST).exists():
                if has_answers:
                    raise VicinalError(
                        f"{folder} holds answers but no {MANIFEST} that says whose; delete the folder and give the command again"
                    )
                write_sealed_json(folder / MANIFEST, _new(layout, teacher_weights, torch.device(device)))
            manifest = cls(folder, locked)
            manifest.check(layout, teacher_weights)
            if manifest._values["epochs"] < layout.epochs:
                manifest._values["epochs"] = layout.epochs
                write_sealed_json(folder / MANIFEST, manifest._values)
            return manifest

    @property
    def layout(self) -> BankLayout:
        """What the bank holds. Raises VicinalError where that is not what the folder's name says."""
        values, layout = self._values, None
        with contextlib.suppress(KeyError, TypeError, ValueError):
            answers = AnswersSpec.model_validate(values["answers"])
            counts = {key: int(values[key]) for key in ("epochs", "images", "batch_size", "classes")}
            counts |= {key: int(values[key]) for key in ("rows_per_image", "mixed_images") if key in values}
            layout = BankLayout(values["inputs"], **counts, answers=answers, teacher=str(values.get("teacher", "")))
        if layout is None or layout.fingerprint != self.folder.resolve().name:
            raise VicinalError(f"{self.folder / MANIFEST} does not belong to its folder; delete the folder")
        return layout

    @property
    def provenance(self) -> dict[str, Any]:
        """With which vicinal and torch, on which device and when it was begun."""
        return cast(dict[str, Any], self._values["provenance"])

    @property
    def error(self) -> dict[str, Any]:
        """Mean and largest KL(teacher^T ‖ stored^T) in nats at each of its temperatures, and over how many answers."""
        return cast(dict[str, Any], self._values["error"])

    @property
    def precision(self) -> Precision | None:
        """What its answers were computed in; set once, by the first to write, and the same for all. None before.

        Raises VicinalError where it is set and differs.
        """
        if self._values["precision"] is None:
            self._values = _read(self.folder)
        return cast(Precision | None, self._values["precision"])

    @precision.setter
    def precision(self, value: Precision) -> None:
        if self._values["precision"] == value:
            return
        with self._changing() as values:
            known = values["precision"]
            if known not in (None, value):
                raise VicinalError(
                    f"{self.folder} holds answers computed in {known}, not in {value}; set the teacher's inference_precision to "
                    f"{known}, or delete the folder"
                )
            values["precision"] = value

    def was_computed_on(self, device: torch.device) -> bool:
        """Whether its answers come from such a device."""
        return bool(self.provenance.get("device") == _device_name(device))

    def check(self, layout: BankLayout, teacher_weights: str | None) -> None:
        """Raises VicinalError where this is another bank than the layout's, or of other weights than the ones given, if any are."""
        described = json.loads(json.dumps(layout.description))
        if {key: self._values.get(key) for key in described} != described:
            raise VicinalError(f"{self.folder} holds another bank; delete the folder and give the command again")
        known = self._values["teacher_weights"]
        if teacher_weights is not None and known != teacher_weights:
            whose = f"of other weights ({str(known)[:12]}...)" if known else "of unknown weights"
            raise VicinalError(
                f"{self.folder} holds answers {whose}, not of this teacher's ({teacher_weights[:12]}...); put the teacher's run that "
                "it was made with in its place, or delete the bank's folder"
            )

    def add_error(self, answers: Tensor, codec: AnswerCodec) -> None:
        """Add the error of what a codec keeps of (B, K) answers, until `ERROR_ANSWERS` are measured."""
        if self.error["answers"] >= ERROR_ANSWERS:
            return
        exact = answers.detach().float().cpu()
        kept = codec.roundtrip(exact).double()
        kl = torch.stack([kl_divergence(exact.double() / t, kept / t) for t in ERROR_TEMPERATURES])  # (temperatures, B)
        with self._changing() as values:
            error, count = values["error"], kl.shape[1]
            seen = error["answers"]
            before = zip(error["kl_mean"] or [0.0] * len(kl), error["kl_max"] or [0.0] * len(kl), kl, strict=True)
            merged = [
                ((mean * seen + float(k.sum())) / (seen + count), max(most, float(k.max()))) for mean, most, k in before
            ]
            error |= {"answers": seen + count, "kl_mean": [m for m, _ in merged], "kl_max": [m for _, m in merged]}

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        with self._locked():
            values = _read(self.folder)
            yield values
            write_sealed_json(self.folder / MANIFEST, values)
            self._values = values


def _read(folder: Path) -> dict[str, Any]:
    try:
        values = read_sealed_json(folder / MANIFEST)
        if values.get("format") != FORMAT:
            raise VicinalError(f"{folder} holds a bank of another version of vicinal; delete the folder")
        if not set(values) >= _KEYS:
            raise ValueError
    except (DamagedError, ValueError):
        raise VicinalError(
            f"{folder / MANIFEST} is damaged, so it cannot be told whose answers these are; delete the folder"
        ) from None
    return values


def _new(layout: BankLayout, teacher_weights: str | None, device: torch.device) -> dict[str, Any]:
    return {
        **layout.description,
        "epochs": layout.epochs,
        "teacher": layout.teacher,
        "teacher_weights": teacher_weights,
        "precision": None,
        "provenance": {
            "vicinal": __version__,
            "torch": torch.__version__,
            "device": _device_name(device),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        "error": {"answers": 0, "temperatures": list(ERROR_TEMPERATURES), "kl_mean": None, "kl_max": None},
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
