"""A process that measures alone, beside others of its group; without torchmetrics, so that training need not wait for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_alone = 0  # how many `not_gathered` are open


@contextmanager
def not_gathered() -> Iterator[None]:
    """Within it, metrics of this process speak of its own data alone, also where a process group is at work.

    For a process that measures while the others do something else, which would be waited for.

    Example:
        >>> import torch
        >>> from vicinal.metrics import Calibration, not_gathered
        >>> metric = Calibration(15, only="accuracy")
        >>> metric.update(torch.tensor([[3.0, 0.0], [2.0, 1.0]]), torch.tensor([0, 1]))
        >>> with not_gathered():
        ...     float(metric.compute())
        0.5
    """
    global _alone  # of the process, as its group is: measuring may use threads
    _alone += 1
    try:
        yield
    finally:
        _alone -= 1


def is_alone() -> bool:
    """Whether a `not_gathered` is open in this process."""
    return _alone > 0
