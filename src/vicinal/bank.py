"""`TeacherBank`: a teacher's answers along a plan, asked once and read by every arm that shares teacher and plan.

A plan makes every mixed input a pure function of (seed, epoch, position), so a stored answer is the answer to exactly the batch
in hand, crops and flips included. An `AnswerCodec` says how an answer is stored: whole and exact (a run that reads such answers
has the same weights, bit for bit, as one that asks), or smaller, and then live answers pass through the codec too.

`answers.bin` holds a record of fixed size for every image of the plan, in the plan's order: the coded answer and a checksum.
Any process may fill any records, in any order. Files are read and written by pread and pwrite: the kernel's page cache does what
a memory map would, and a file that was cut short gives a short read instead of SIGBUS. Nothing is forced to the disk; what a
crash tears, the checksums notice. Shapes: N images, B of a batch, K classes, k largest logits.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal import __version__
from vicinal.errors import UsageError, VicinalError
from vicinal.functional import kl_divergence
from vicinal.specs import AnswersSpec, fingerprint
from vicinal.store import cannot_write, write_json

FORMAT = 2  # of answers.bin and bank.json
ANSWERS, TOLD = "answers.bin", "bank.json"
ERROR_TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
REST_ROUNDING = 2.0**-21  # of a float32 log-sum-exp, relative: a few of its last digits
ERROR_ANSWERS = 2000  # that the error of a codec is measured on, from the first on
EXACT = AnswersSpec()
_CHECK_BYTES = 4
_PRIME = 4294967291  # the largest below 2^32
_BASE = 2654435761  # 2^32 over the golden ratio; any number whose powers do not repeat soon would do
_WORDS = 2**15  # of 16 bits, whose weighted sum fits 64 bits
_CHUNK_BYTES = 2**22  # read at a time where a whole bank is looked through

Precision = Literal["fp32", "bf16"]


# --- how an answer is stored ------------------------------------------------------------------------------------------


class AnswerParts(NamedTuple):
    """What is kept of (B, K) answers."""

    values: Tensor  # (B, k) logits, float32 or float16, the largest first; (B, K) where all are kept, in their order
    classes: Tensor | None  # (B, k) int64 classes they belong to; None where all are kept
    rest: Tensor | None  # (B,) float32 log Σ exp over the other classes' logits


@dataclass(frozen=True)
class AnswerCodec:
    """Answers to bytes of fixed size and back.

    With `top_k`, the largest k logits are kept, and of the others the log-sum-exp; decoded, they share it equally, so that the
    softmax at T = 1 keeps the mass of the rest. `rest_bounds` says what that can mean at another T.

    Args:
        classes: K.
        dtype: of the logits kept; float32 is exact.
        top_k: how many of the largest logits are kept, fewer than K; None for all.
    """

    classes: int
    dtype: Literal["float32", "float16"] = "float32"
    top_k: int | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None and not 1 <= self.top_k < self.classes:
            raise ValueError(f"top_k must lie between 1 and {self.classes - 1}, got {self.top_k}")

    @classmethod
    def of(cls, spec: AnswersSpec | None, classes: int) -> Self:
        """The codec of a study's `answers`; None stands for the default, which is exact."""
        spec = spec or EXACT
        return cls(classes, spec.dtype, spec.top_k)

    @property
    def is_exact(self) -> bool:
        """Whether what comes out is what went in, bit for bit."""
        return self.dtype == "float32" and self.top_k is None

    @property
    def bytes(self) -> int:
        """Of one image's answer."""
        return self._record.itemsize

    @property
    def _record(self) -> np.dtype[np.void]:
        kept, number = self.top_k or self.classes, "<f4" if self.dtype == "float32" else "<f2"
        fields: list[Any] = [("values", number, (kept,))]
        if self.top_k is not None:
            fields += [("classes", "<u2" if self.classes <= 2**16 else "<u4", (kept,)), ("rest", "<f4")]
        return np.dtype(fields)

    def encode(self, answers: Tensor) -> NDArray[np.uint8]:
        """(B, K) float32 logits to (B, bytes). Raises VicinalError for logits that float16 cannot hold."""
        parts = self.parts(answers)
        self._check_range(parts)
        records = np.empty(len(answers), dtype=self._record)
        for name, column in parts._asdict().items():
            if column is not None:
                records[name] = column.cpu().numpy()
        return records.view(np.uint8).reshape(len(answers), self.bytes)

    def decode(self, records: NDArray[np.uint8]) -> Tensor:
        """(B, bytes) to (B, K) float32 logits."""
        return self.whole(self.unpacked(records))

    def roundtrip(self, answers: Tensor) -> Tensor:
        """What a reader of a bank would get for these (B, K) logits, on their own device: the same numbers.

        Raises VicinalError for logits that float16 cannot hold; on a GPU, which this must not wait for, they become infinite
        and the run stops at a loss that is not finite.
        """
        if self.is_exact:
            return answers
        parts = self.parts(answers)
        if answers.device.type == "cpu":
            self._check_range(parts)
        return self.whole(parts)

    def parts(self, answers: Tensor) -> AnswerParts:
        """What is kept of (B, K) logits, on their device."""
        answers = answers.detach().float()
        kept = torch.float32 if self.dtype == "float32" else torch.float16
        if self.top_k is None:
            return AnswerParts(answers.to(kept), None, None)
        values, index = answers.topk(self.top_k)
        return AnswerParts(values.to(kept), index, answers.scatter(1, index, -torch.inf).logsumexp(1))

    def whole(self, parts: AnswerParts) -> Tensor:
        """(B, K) float32 logits from what was kept of them."""
        values = parts.values.float()
        if parts.classes is None or parts.rest is None:
            return values
        share = torch.tensor(math.log(self.classes - values.shape[1]), dtype=torch.float32, device=values.device)
        return (parts.rest - share)[:, None].repeat(1, self.classes).scatter(1, parts.classes, values)

    def unpacked(self, records: NDArray[np.uint8]) -> AnswerParts:
        """(B, bytes) to what was kept, on the CPU."""
        fields = np.ascontiguousarray(records).reshape(-1).view(self._record)
        values = torch.from_numpy(fields["values"].astype("f4" if self.dtype == "float32" else "f2"))
        if self.top_k is None:
            return AnswerParts(values, None, None)
        classes = torch.from_numpy(fields["classes"].astype(np.int64))
        return AnswerParts(values, classes, torch.from_numpy(fields["rest"].astype("f4")))

    def difference(self, kept: AnswerParts, answers: Tensor) -> float:
        """The largest |kept − asked| over the logits kept, and over the rest's log-sum-exp, of (B, K) answers asked again."""
        answers = answers.detach().float().cpu()
        if kept.classes is None or kept.rest is None:
            return float((kept.values.float() - answers).abs().max())
        rest = answers.scatter(1, kept.classes, -torch.inf).logsumexp(1)
        apart = (kept.values.float() - answers.gather(1, kept.classes)).abs().max(), (kept.rest - rest).abs().max()
        return max(map(float, apart))

    def _check_range(self, parts: AnswerParts) -> None:
        if self.dtype == "float16" and not bool(parts.values.isfinite().all()):
            raise VicinalError(
                "the teacher's logits are beyond 65504, the largest number that float16 holds, or not finite; "
                "answers.dtype: float32 keeps them as they are"
            )

    def __str__(self) -> str:
        return self.dtype if self.top_k is None else f"top {self.top_k} {self.dtype}"


def rest_bounds(values: Tensor, rest: Tensor, classes: int, temperature: float) -> tuple[Tensor, Tensor]:
    """The least and the largest probability at T that the classes left out can have together beside the logits that are kept.

    Each of the K − k logits left out is at most the k-th largest, and log Σ exp of them is known. Σ exp(z / T) = Σ (exp z)^(1/T) is
    concave in the numbers exp z for T > 1, so equal shares make it largest, and shares as unequal as the cap lets them be make
    it least; for T < 1 it is convex and the two change places; at T = 1 they meet, but for the rounding of what is kept.

    Args:
        values: (B, k) largest logits, the largest first; of float16 ones, the cap allows for their rounding.
        rest: (B,) log-sum-exp of the others.
        classes: K.
        temperature: T above 0.

    Returns:
        Two (B,) float64 probabilities.
    """
    top, rest, count = values.double(), rest.double(), classes - values.shape[-1]
    cap = values[:, -1]
    if cap.dtype == torch.float16:
        cap = torch.nextafter(cap, torch.full_like(cap, torch.inf))
    rounding = REST_ROUNDING * rest.abs().clamp(min=1)
    masses = []  # log Σ exp(z / T)
    for sum_out in (rest - rounding, rest + rounding):
        mean = sum_out - math.log(count)
        masses.append(math.log(count) + mean / temperature)
        # As unequal as can be: so many at the cap, one with what remains, the others at nothing.
        ceiling = torch.maximum(cap.double(), mean)
        full = (sum_out - ceiling).exp().floor()
        remains = torch.where(full < count, 1 - full * (ceiling - sum_out).exp(), 0).clamp(min=0)
        masses.append(torch.logaddexp(full.log() + ceiling / temperature, (remains.log() + sum_out) / temperature))
    shares = torch.stack([torch.sigmoid(mass - (top / temperature).logsumexp(1)) for mass in masses])
    return shares.amin(0), shares.amax(0)


# --- checksums --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _powers(count: int) -> NDArray[np.uint64]:
    powers, power = [], 1
    for _ in range(count):
        power = power * _BASE % _PRIME
        powers.append(power)
    return np.array(powers, dtype=np.uint64)


def checksums(records: NDArray[np.uint8], first: int) -> NDArray[np.uint32]:
    """A checksum for each of (B, bytes) records, whose places in the file begin at `first`: (B,) uint32, never 0.

    A polynomial over the record's 16-bit words and its place, modulo a prime (Rabin and Karp): a change
    in one word, so in one byte, always changes it, any other with a chance of 1 − 2⁻³². A record at another's place does not fit.
    """
    count, width = records.shape
    words = np.ascontiguousarray(records).view("<u2").reshape(count, width // 2)
    weights = _powers(width // 2 + 1)
    places = np.arange(first, first + count, dtype=np.uint64) % _PRIME
    total = places * weights[-1] % _PRIME
    for start in range(0, width // 2, _WORDS):
        part = slice(start, start + _WORDS)
        total += words[:, part].astype(np.uint64) @ weights[:-1][part] % _PRIME
    checks: NDArray[np.uint32] = (total % _PRIME + 1).astype("<u4")
    return checks


# --- the bank ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BankLayout:
    """What a bank holds: whose answers, to which inputs, how many, and in which form."""

    inputs: dict[str, Any]  # all that decides a batch and the answer to it
    epochs: int
    images: int
    batch_size: int
    classes: int
    answers: AnswersSpec = EXACT
    teacher: str = field(default="", compare=False)  # what people call it

    @property
    def description(self) -> dict[str, Any]:
        """What makes two banks one: all but the epochs, so that a longer run continues a shorter one's bank."""
        return {
            "format": FORMAT,
            "inputs": self.inputs,
            "images": self.images,
            "batch_size": self.batch_size,
            "classes": self.classes,
            "answers": self.answers.model_dump(mode="json"),
        }

    @property
    def fingerprint(self) -> str:
        """12 hex digits of the description; the name of the bank's folder."""
        return fingerprint(self.description)

    @property
    def codec(self) -> AnswerCodec:
        return AnswerCodec.of(self.answers, self.classes)

    @property
    def batches(self) -> int:
        """Of an epoch."""
        return -(-self.images // self.batch_size)

    @property
    def record_bytes(self) -> int:
        """Of one image: its answer and the checksum."""
        return self.codec.bytes + _CHECK_BYTES

    @property
    def bytes(self) -> int:
        """On disk, when every image is answered."""
        return self.epochs * self.images * self.record_bytes

    @property
    def size(self) -> str:
        """500 epochs x 50,000 images x 204 B = 5.1 GB."""
        return f"{self.epochs:,} epochs x {self.images:,} images x {self.record_bytes:,} B = {format_bytes(self.bytes)}"

    def batch_images(self, position: int) -> int:
        """Of batch number `position`: the last one is as small as it comes."""
        return min(self.batch_size, self.images - position * self.batch_size)


@dataclass(frozen=True)
class BankContent:
    """Which records of a bank are there."""

    stored: NDArray[np.bool_]  # (epochs, N): whole
    damaged: NDArray[np.bool_]  # (epochs, N): something is there that does not fit its checksum

    @property
    def share(self) -> float:
        return float(self.stored.mean()) if self.stored.size else 1.0


class TeacherBank:
    """Answers on disk in fixed-size records, one for each image of the plan; filled by whoever asks first.

    A batch counts as stored only if every record of it fits its checksum, so a process killed while writing costs one batch.

    Args:
        root: folder of all banks of a study; the bank lies in a folder of its layout's fingerprint.
        teacher_weights: SHA-256 of the file of the teacher's weights; None where nobody can say, and then it is not compared.
        device: that the answers come from, as it is kept in bank.json.
        create: False for a bank that must be there and is only read.

    Raises:
        VicinalError: the folder holds another bank, or answers of other weights, or cannot be written.
        UsageError: `create` is False and there is no such bank.
    """

    def __init__(
        self,
        root: Path,
        layout: BankLayout,
        teacher_weights: str | None = None,
        device: torch.device | str = "cpu",
        create: bool = True,
    ) -> None:
        self.layout, self.path, self.codec = layout, root / layout.fingerprint, layout.codec
        if not create and not (self.path / TOLD).exists():
            raise UsageError(f"{self.path} holds no bank; vicinal bank build makes it")
        try:
            if create:
                self.path.mkdir(parents=True, exist_ok=True)
            self._answers = os.open(self.path / ANSWERS, os.O_RDWR | os.O_CREAT if create else os.O_RDONLY, 0o644)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        try:
            self._told = self._opened(teacher_weights, device) if create else self._checked(teacher_weights)
        except BaseException:
            os.close(self._answers)
            raise

    def close(self) -> None:
        """Give the file back; the bank is of no use afterwards."""
        os.close(self._answers)

    @property
    def precision(self) -> Precision | None:
        """What its answers were asked in; set once, by the first to write, and the same for all. None before.

        Raises VicinalError where it is set and differs.
        """
        if self._told["precision"] is None:
            self._told = read_told(self.path)
        return cast(Precision | None, self._told["precision"])

    @precision.setter
    def precision(self, value: Precision) -> None:
        if self._told["precision"] != value:
            with self._changing() as told:
                if told["precision"] not in (None, value):
                    raise VicinalError(
                        f"{self.path} holds answers asked in {told['precision']}, not in {value}; ask in {told['precision']}, "
                        "or delete the folder"
                    )
                told["precision"] = value

    def is_of(self, device: torch.device) -> bool:
        """Whether its answers come from such a device."""
        return bool(self._told["provenance"].get("device") == _device_name(device))

    def read(self, epoch: int, position: int, rows: slice | None = None) -> Tensor | None:
        """(B, K) float32 answers to a batch, or to `rows` of it; None where they are not stored, or not whole."""
        records = self._records(epoch, position, rows)
        return None if records is None else self.codec.decode(records)

    def read_parts(self, epoch: int, position: int) -> AnswerParts | None:
        """What is kept of the answers to a batch, or None as in `read`."""
        records = self._records(epoch, position, None)
        return None if records is None else self.codec.unpacked(records)

    def holds(self, epoch: int, position: int, rows: slice | None = None) -> bool:
        """Whether `read` would give answers."""
        return self._records(epoch, position, rows) is not None

    def write(self, epoch: int, position: int, answers: Tensor, rows: slice | None = None) -> None:
        """Store the (B, K) answers, as the teacher gave them, to a batch or to `rows` of it.

        Raises VicinalError where the disk is full, or where the form kept cannot hold the answers.
        """
        first, count = self._place(epoch, position, rows)
        if tuple(answers.shape) != (count, self.layout.classes):
            raise ValueError(
                f"batch {position} has {count} images of {self.layout.classes} classes there, not {tuple(answers.shape)}"
            )
        if not count:
            return
        records = self.codec.encode(answers)
        checks = checksums(records, first).view(np.uint8).reshape(count, _CHECK_BYTES)
        try:
            _write(self._answers, np.concatenate([records, checks], axis=1).tobytes(), first * self.layout.record_bytes)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        if not self.codec.is_exact and self._told["error"]["answers"] < ERROR_ANSWERS:
            self._add_error(answers)

    def content(self) -> BankContent:
        """Which records are there, from reading them all."""
        size, total = self.layout.record_bytes, self.layout.epochs * self.layout.images
        stored, damaged = np.zeros(total, dtype=bool), np.zeros(total, dtype=bool)
        step = max(_CHUNK_BYTES // size, 1)
        for first in range(0, total, step):
            data = os.pread(self._answers, min(step, total - first) * size, first * size)
            if not data:
                break
            whole = np.frombuffer(data, dtype=np.uint8)[: len(data) // size * size].reshape(-1, size)
            part = slice(first, first + len(whole))
            stored[part] = _fit(whole, first)
            damaged[part] = whole.any(axis=1) & ~stored[part]
        shape = (self.layout.epochs, self.layout.images)
        return BankContent(stored.reshape(shape), damaged.reshape(shape))

    def _records(self, epoch: int, position: int, rows: slice | None) -> NDArray[np.uint8] | None:
        """(B, bytes) coded answers, if each fits its checksum."""
        first, count = self._place(epoch, position, rows)
        size = self.layout.record_bytes
        data = os.pread(self._answers, count * size, first * size)
        if len(data) < count * size:
            return None
        whole = np.frombuffer(data, dtype=np.uint8).reshape(count, size)
        return whole[:, :-_CHECK_BYTES] if _fit(whole, first).all() else None

    def _place(self, epoch: int, position: int, rows: slice | None) -> tuple[int, int]:
        """The first record of (rows of) a batch, and how many there are."""
        layout = self.layout
        if not (0 <= epoch < layout.epochs and 0 <= position < layout.batches):
            raise IndexError(
                f"epoch {epoch}, batch {position}: the bank has {layout.epochs} epochs of {layout.batches} batches"
            )
        start, stop, step = (rows or slice(None)).indices(layout.batch_images(position))
        if step != 1:
            raise ValueError(f"rows of a batch are neighbours, so a slice has no step; got {rows}")
        return epoch * layout.images + position * layout.batch_size + start, max(stop - start, 0)

    def _opened(self, weights: str | None, device: torch.device | str) -> dict[str, Any]:
        """What bank.json says, written now where the bank is new."""
        with self._locked():
            if (self.path / TOLD).exists():
                told = self._checked(weights)
                if told["epochs"] < self.layout.epochs:
                    told["epochs"] = self.layout.epochs
                    write_json(self.path / TOLD, told)
                return told
            if os.fstat(self._answers).st_size:
                raise VicinalError(
                    f"{self.path} holds answers but no {TOLD}, so nobody knows whose; delete the folder and give the command again"
                )
            told = {
                **self.layout.description,
                "epochs": self.layout.epochs,
                "teacher": self.layout.teacher,
                "teacher_weights": weights,
                "precision": None,
                "provenance": {
                    "vicinal": __version__,
                    "torch": torch.__version__,
                    "device": _device_name(torch.device(device)),
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                },
                "error": {"answers": 0, "temperatures": list(ERROR_TEMPERATURES), "kl_mean": None, "kl_max": None},
            }
            write_json(self.path / TOLD, told)
            return told

    def _checked(self, weights: str | None) -> dict[str, Any]:
        told = read_told(self.path)
        described = json.loads(json.dumps(self.layout.description))
        if {key: told.get(key) for key in described} != described:
            raise VicinalError(f"{self.path} holds another bank; delete the folder and give the command again")
        if weights is not None and told["teacher_weights"] != weights:
            whose = (
                f"of other weights ({str(told['teacher_weights'])[:12]}...)"
                if told["teacher_weights"]
                else "of unknown weights"
            )
            raise VicinalError(
                f"{self.path} holds answers {whose}, not of this teacher's ({weights[:12]}...); put the teacher's run that it was made "
                "with in its place, or delete the bank's folder"
            )
        return told

    def _add_error(self, answers: Tensor) -> None:
        """Add the error of what is stored of these answers to what bank.json says of it."""
        exact = answers.detach().float().cpu()
        kept = self.codec.roundtrip(exact).double()
        kl = torch.stack([kl_divergence(exact.double() / t, kept / t) for t in ERROR_TEMPERATURES])  # (temperatures, B)
        with self._changing() as told:
            error, count = told["error"], kl.shape[1]
            seen = error["answers"]
            before = zip(error["kl_mean"] or [0.0] * len(kl), error["kl_max"] or [0.0] * len(kl), kl, strict=True)
            merged = [
                ((mean * seen + float(k.sum())) / (seen + count), max(most, float(k.max()))) for mean, most, k in before
            ]
            error |= {"answers": seen + count, "kl_mean": [m for m, _ in merged], "kl_max": [m for _, m in merged]}

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """bank.json to change, with the other processes that fill this bank kept out meanwhile."""
        with self._locked():
            told = read_told(self.path)
            yield told
            write_json(self.path / TOLD, told)
            self._told = told

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._answers, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._answers, fcntl.LOCK_UN)


def read_told(folder: Path) -> dict[str, Any]:
    """What the bank.json of a bank's folder says. Raises VicinalError where it is damaged or of another format."""
    try:
        told = json.loads((folder / TOLD).read_text(encoding="utf-8"))
        if told.get("format") != FORMAT:
            raise VicinalError(f"{folder} holds a bank of another version of vicinal; delete the folder")
        if not {"inputs", "epochs", "teacher_weights", "precision", "provenance", "error"} <= set(told):
            raise ValueError
    except (OSError, ValueError, AttributeError, TypeError):
        raise VicinalError(
            f"{folder / TOLD} is damaged, so nobody knows whose answers these are; delete the folder"
        ) from None
    return cast(dict[str, Any], told)


def layout_told(folder: Path) -> tuple[BankLayout, dict[str, Any]]:
    """The layout of the bank in a folder, and all that its bank.json says. Raises VicinalError as `read_told` does."""
    told = read_told(folder)
    try:
        answers = AnswersSpec.model_validate(told["answers"])
        epochs, images, batch_size, classes = (int(told[key]) for key in ("epochs", "images", "batch_size", "classes"))
        layout = BankLayout(told["inputs"], epochs, images, batch_size, classes, answers, str(told.get("teacher", "")))
    except (KeyError, TypeError, ValueError):
        layout = None
    if layout is None or layout.fingerprint != folder.resolve().name:
        raise VicinalError(f"{folder / TOLD} does not belong to its folder; delete the folder")
    return layout, told


def format_bytes(count: int) -> str:
    """2880 as 2,880 B, 5100000000 as 5.1 GB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e4)):
        if count >= size:
            return f"{count / (1e3 if unit == 'kB' else size):.3g} {unit}"
    return f"{count:,} B"


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _fit(whole: NDArray[np.uint8], first: int) -> NDArray[np.bool_]:
    """(B,) whether records fit their checksums."""
    checks = np.ascontiguousarray(whole[:, -_CHECK_BYTES:]).view("<u4")[:, 0]
    fit: NDArray[np.bool_] = checks == checksums(whole[:, :-_CHECK_BYTES], first)
    return fit


def _write(file: int, data: bytes, place: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(file, data[written:], place + written)
