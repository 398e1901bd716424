"""The processes that share one training: each steps on its rows of every batch. Today there is one.

What an implementation for several has to keep: every process is given the same runs and sees the same losses, so that all of them
take every decision alike; only the main one writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn


class Parallel(Protocol):
    """How a process stands among those that share a training, and what they tell one another."""

    @property
    def rank(self) -> int:
        """This process's number, from 0."""

    @property
    def world_size(self) -> int:
        """How many processes there are."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes weights, checkpoints, logs and summaries; true of one."""

    def wrap(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        """The network as a step calls it, so that after the backward pass every process has the sum of all gradients.

        Called at the beginning of each phase, when it is known which parameters are trained.
        """

    def mean(self, loss_sum: Tensor, rows: int) -> Tensor:
        """The mean loss over a batch of `rows` images, from the sum over those that are this process's.

        Its value is that of the whole batch; its gradients are this process's share of it, and `wrap` adds them up, so that
        shares of unequal size weigh as much as they have rows.
        """

    def agree(self, value: bool) -> bool:
        """The main process's value, in every process: what a clock decides is decided once."""


class SingleProcess:
    """One process that does it all."""

    rank, world_size, is_main = 0, 1, True

    def wrap(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        """The network itself."""
        return network

    def mean(self, loss_sum: Tensor, rows: int) -> Tensor:
        """The sum over the number of rows."""
        return loss_sum / rows

    def agree(self, value: bool) -> bool:
        """The value itself."""
        return value


SINGLE = SingleProcess()
