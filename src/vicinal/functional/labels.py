"""Labels and probabilities as they must be: what is no class, or no probability, is refused and never counted.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def checked_labels(labels: Tensor, classes: int, look: bool = True) -> Tensor:
    """The labels as int64, each one of 0 ... K − 1.

    Args:
        labels: of any shape and integer type.
        look: at the values, for which a GPU must be waited for; the type is always looked at.

    Raises:
        ValueError: another type, or a label outside the classes; −1 and −100 mean "no label" elsewhere, and are no class here.

    Example:
        >>> import torch
        >>> checked_labels(torch.tensor([0, 2], dtype=torch.uint8), classes=3)
        tensor([0, 2])
    """
    if labels.dtype not in _INTEGERS:
        raise ValueError(
            f"labels are whole numbers (int64), one class each, not {str(labels.dtype).removeprefix('torch.')}"
        )
    labels = labels.long()
    if look and labels.numel():
        low, high = (int(bound) for bound in labels.aminmax())
        if low < 0 or high >= classes:
            raise ValueError(
                f"labels go from {low} to {high}, and the classes from 0 to {classes - 1}: leave out what has no label"
            )
    return labels


def check_probabilities(probabilities: Tensor) -> None:
    """Raises ValueError where a number is NaN or lies outside [0, 1], so that it is no probability.

    Example:
        >>> import torch
        >>> check_probabilities(torch.tensor([[3.0, -1.0]]).softmax(-1))
    """
    if probabilities.numel() and not bool(((probabilities >= -1e-6) & (probabilities <= 1 + 1e-6)).all()):
        raise ValueError("probabilities must lie in [0, 1]; give the softmax of logits, all of them finite")


def look_like_probabilities(logits: Tensor) -> bool:
    """Whether what is given as (..., K) logits are probabilities: every number in [0, 1] and every row's sum 1.

    The sum to 1e-3, of half-precision numbers to 1e-2. Logits are that by chance only where they are few: one row of two classes
    in about a thousand. Rows of one 1 and zeros count as probabilities.

    Example:
        >>> import torch
        >>> look_like_probabilities(torch.tensor([[0.9, 0.1]])), look_like_probabilities(torch.tensor([[0.9, 0.2]]))
        (True, False)
    """
    if not logits.numel() or logits.shape[-1] < 2:
        return False
    rows = logits.detach().reshape(-1, logits.shape[-1])
    # Of logits the first row tells, so that the others need not be looked at.
    return _are_probabilities(rows[:1]) and _are_probabilities(rows)


def _are_probabilities(rows: Tensor) -> bool:
    tolerance = 1e-2 if rows.dtype in (torch.float16, torch.bfloat16) else 1e-3
    in_range = (rows >= 0) & (rows <= 1)
    return bool(in_range.all() and ((rows.double().sum(-1) - 1).abs() <= tolerance).all())


def refuse_probabilities(*logits: Tensor, way_out: str = "") -> None:
    """Raises ValueError where one of the sets of logits `look_like_probabilities`; `way_out` ends the sentence.

    Example:
        >>> import torch
        >>> refuse_probabilities(torch.tensor([[0.9, 0.1]]).log())  # logarithms of probabilities are logits
    """
    if any(look_like_probabilities(z) for z in logits):
        raise ValueError(
            "these are probabilities (each row lies in [0, 1] and sums to 1), and logits are asked for: give the logits, or the "
            f"logarithm of the probabilities{way_out}"
        )
