"""How torchrun started this process, as it tells in the environment; alone where it did not."""

from __future__ import annotations

import os
from dataclasses import dataclass

from vicinal.errors import UsageError


@dataclass(frozen=True)
class Launched:
    """A process among those that were started together."""

    number: int  # from 0, the main one
    count: int
    on_machine: int  # its number among those of its machine, from 0

    @property
    def is_main(self) -> bool:
        """Whether it decides, writes and speaks."""
        return self.number == 0


def launched() -> Launched:
    """This process among those that torchrun started. Raises UsageError where RANK and WORLD_SIZE make no sense."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if not all(name in os.environ for name in names):
        return Launched(0, 1, 0)
    try:
        number, count, on_machine = (int(os.environ[name]) for name in names)
    except ValueError:
        number, count, on_machine = -1, 0, 0
    if not 0 <= number < count:
        told = ", ".join(f"{name}={os.environ[name]}" for name in names)
        raise UsageError(f"the environment says {told}, which torchrun would not; start several processes by torchrun")
    return Launched(number, count, on_machine)
