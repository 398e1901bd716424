"""What a training knows of the processes that share it; `SINGLE` is one that does it all, `processes` has the others.

What an implementation for several has to keep: every process is given the same runs and sees the same losses, so that all of them
take every decision alike; only the main one writes, but for records of a teacher bank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

Said = TypeVar("Said")  # whatever JSON holds


class Parallel(Protocol):
    """How a process stands among those that share a training, and what they tell one another."""

    @property
    def rank(self) -> int:
        """Which of the `world_size` slices of every batch this process steps on, from 0."""

    @property
    def world_size(self) -> int:
        """How many slices a batch is cut into; 1: every process steps the whole batch."""

    @property
    def batches_at_once(self) -> int:
        """How many batches the teacher is asked about at once, a process each; 1: every process asks about what it steps."""

    @property
    def number(self) -> int:
        """Which of the batches that are asked about at once is this process's, from 0."""

    @property
    def shards_teacher(self) -> bool:
        """Whether the teacher's parameters are spread over the processes, which then all ask it as often as one does."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes weights, checkpoints, logs and summaries; true of one."""

    @property
    def described(self) -> Mapping[str, int | str]:
        """How many processes there are and what they share, as a run's summary keeps it."""

    def wrap(self, network: nn.Module) -> Callable[[Tensor], Any]:
        """The network as a step calls it, so that after the backward pass every process has the sum of all gradients.

        Called at the beginning of each phase, when it is known which parameters are trained.
        """

    def summing(self, call: Callable[[Tensor], Any]) -> AbstractContextManager[None]:
        """Within it, backward passes leave this process's own gradients of what `wrap` gave, to be added to by the last one."""

    def mean(self, loss_sum: Tensor, rows: int) -> Tensor:
        """The mean loss over a batch of `rows` images, from the sum over those that are this process's.

        Its value is that of the whole batch; its gradients are this process's share of it, and `wrap` adds them up, so that
        shares of unequal size weigh as much as they have rows.
        """

    def agree(self, value: Said) -> Said:
        """The main process's value, in every process: what a clock, free memory or a measurement decides is decided once."""

    def exchange(self, own: Tensor | None, shapes: Sequence[tuple[int, ...]], device: torch.device) -> list[Tensor]:
        """What each of the first `len(shapes)` processes brings, in every process: (a shape) float32 on `device` each.

        Args:
            own: what this process brings, of `shapes[number]`; None beyond them.
        """


class SingleProcess:
    """One process that does it all."""

    rank, world_size, is_main, shards_teacher = 0, 1, True, False
    batches_at_once, number = 1, 0
    described: Mapping[str, int | str] = MappingProxyType({"processes": 1})

    def wrap(self, network: nn.Module) -> Callable[[Tensor], Any]:
        """The network itself."""
        return network

    def summing(self, _: Callable[[Tensor], Any]) -> AbstractContextManager[None]:
        """Nothing: gradients are this process's."""
        return nullcontext()

    def mean(self, loss_sum: Tensor, rows: int) -> Tensor:
        """The sum over the number of rows."""
        return loss_sum / rows

    def agree(self, value: Said) -> Said:
        """The value itself."""
        return value

    def exchange(self, own: Tensor | None, shapes: Sequence[tuple[int, ...]], device: torch.device) -> list[Tensor]:  # noqa: ARG002
        """Its own."""
        return [] if own is None else [own]


SINGLE = SingleProcess()
