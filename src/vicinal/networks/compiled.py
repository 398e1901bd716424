"""A network called through torch.compile where that works.

Shapes: B samples of a batch, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vicinal.errors import one_line

GRAPHS = 64  # that torch.compile may keep for one `forward`; past its own limit of 8 it would go back to eager without a word


class Compiled:
    """A network called through torch.compile for batches of one size, and as it is for odd ones or where compiling fails.

    The parameters are the network's own, inputs of the graph and not part of it: a second network of the same architecture
    reuses the graph with its own weights, and a changed weight changes the answer.

    Args:
        batch_size: B of the batches that are compiled for.
        say: told in one line, once, when compiling fails and training goes on without.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], batch_size: int, say: Callable[[str], None]) -> None:
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
        self.network, self._batch_size, self._say = network, batch_size, say
        self._fast: Callable[[Tensor], Tensor] | None = torch.compile(network, dynamic=False)
        self._has_worked = False

    @property
    def works(self) -> bool:
        """Whether compiled code answers; False after compiling has failed."""
        return self._fast is not None

    def __call__(self, pixels: Tensor) -> Tensor:
        if self._fast is not None and len(pixels) == self._batch_size:
            try:
                answers = self._fast(pixels)
                self._has_worked = True
                return answers
            except Exception as error:
                if self._has_worked:
                    raise
                # No compiler, a damaged cache, an architecture it cannot trace; what is not its fault fails again below.
                self._fast = None
                reason = one_line(error, 160)
                self._say(
                    f"torch.compile does not work here ({reason}); goes on without, as with runtime.compile=never"
                )
        return self.network(pixels)
