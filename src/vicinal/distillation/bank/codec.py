"""How an answer is stored: whole and exact, or smaller with a measured error.

Shapes: B of a batch, K classes, k largest logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal.config import AnswersSpec
from vicinal.errors import VicinalError

EXACT = AnswersSpec()


class AnswerParts(NamedTuple):
    """What is kept of (B, K) answers."""

    values: Tensor  # (B, k) logits, float32 or float16, the largest first; (B, K) where all are kept, in their order
    classes: Tensor | None  # (B, k) int64 classes they belong to; None where all are kept
    rest: Tensor | None  # (B,) float32 log Σ exp over the other classes' logits


@dataclass(frozen=True)
class AnswerCodec:
    """Answers to bytes of fixed size and back.

    With `top_k`, the largest k logits are kept, and of the others the log-sum-exp; decoded, they share it equally, so that the
    softmax at T = 1 keeps the mass of the rest.

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
        parts = self.quantize(answers)
        self._check_range(parts)
        records = np.empty(len(answers), dtype=self._record)
        for name, column in parts._asdict().items():
            if column is not None:
                records[name] = column.cpu().numpy()
        return records.view(np.uint8).reshape(len(answers), self.bytes)

    def decode(self, records: NDArray[np.uint8]) -> Tensor:
        """(B, bytes) to (B, K) float32 logits."""
        return self.dequantize(self.unpacked(records))

    def roundtrip(self, answers: Tensor) -> Tensor:
        """What a reader of a bank would get for these (B, K) logits, on their own device: the same numbers.

        Raises VicinalError for logits that float16 cannot hold; on a GPU, which this must not wait for, they become infinite
        and the run stops at a loss that is not finite.
        """
        if self.is_exact:
            return answers
        parts = self.quantize(answers)
        if answers.device.type == "cpu":
            self._check_range(parts)
        return self.dequantize(parts)

    def quantize(self, answers: Tensor) -> AnswerParts:
        """What is kept of (B, K) logits, on their device."""
        answers = answers.detach().float()
        kept = torch.float32 if self.dtype == "float32" else torch.float16
        if self.top_k is None:
            return AnswerParts(answers.to(kept), None, None)
        values, index = answers.topk(self.top_k)
        return AnswerParts(values.to(kept), index, answers.scatter(1, index, -torch.inf).logsumexp(1))

    def dequantize(self, parts: AnswerParts) -> Tensor:
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
        """The largest |kept − asked| over the logits kept, and over the rest's log-sum-exp, of (B, K) answers predicted again."""
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
