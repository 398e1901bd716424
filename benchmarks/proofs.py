"""A benchmark proves what it times. Each of these raises `ProofError` where a figure would not mean what it says.

torch.compile keeps its graphs on the code object of `forward`, so an instance can silently reuse another one's graph and answer
with weights that it does not have; that is how a "frozen" teacher was once timed unfrozen.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.errors import VicinalError

CLOSE = 5e-3  # of logits, relative to the largest: what folding, compiling and (bf16) rounding may move
CLOSE_BF16 = 0.05  # where the product's bound allows bf16 at all


class ProofError(VicinalError):
    """What was timed is not what the benchmark says it timed."""


class Witness:
    """Sees the weights of an entrant before its turns and after them."""

    def __init__(
        self, name: str, frozen: Sequence[nn.Module], learning: Sequence[nn.Module], learns: bool = True
    ) -> None:
        if learns != bool(learning):
            raise ProofError(f"{name}: {len(learning)} networks to be seen learning")
        self._name, self._frozen, self._learning = name, frozen, learning
        self._before = [_copied(module) for module in frozen]
        self._started = [_copied(module) for module in learning]

    def check(self) -> None:
        """Raises ProofError unless every frozen network is unchanged bit for bit and every learning one has changed."""
        for module, before in zip(self._frozen, self._before, strict=True):
            changed = [key for key, value in module.state_dict().items() if not torch.equal(value, before[key])]
            if changed:
                raise ProofError(f"{self._name}: the teacher changed while it was timed ({changed[0]})")
        for number, (module, before) in enumerate(zip(self._learning, self._started, strict=True), 1):
            parameters = dict(module.named_parameters())
            if all(torch.equal(value, before[key]) for key, value in parameters.items()):
                raise ProofError(f"{self._name}: student {number} learned nothing while it was timed")


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in module.state_dict().items()}


def compilations() -> dict[str, int]:
    """How often torch.compile has worked so far in this process, by kind; empty where it was never loaded."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    if dynamo is None:
        return {}
    kinds = ("frames", "stats", "aot_autograd", "inductor")
    return {f"{kind}.{key}": int(n) for kind in kinds for key, n in dynamo.counters[kind].items() if n}


def forget_graphs() -> None:
    """Start a case without the graphs of the ones before: a code object keeps a few and then falls back to eager."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


@contextlib.contextmanager
def compiles(name: str) -> Iterator[None]:
    """Says in one line that torch.compile failed, and the way out: a killed run leaves half a file in its cache, which then fails."""
    try:
        yield
    except VicinalError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
            raise
        from torch._inductor.runtime.cache_dir_utils import cache_dir

        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise VicinalError(
            f"{name}: torch.compile failed ({line}); where a run was killed, delete {cache_dir()}; or give --no-compiled"
        ) from error


@contextlib.contextmanager
def nothing_compiles(name: str) -> Iterator[None]:
    """Raises ProofError at the end where something was compiled inside."""
    before = compilations()
    yield
    after = compilations()
    if after != before:
        key = next(k for k, n in after.items() if before.get(k) != n)
        raise ProofError(
            f"{name}: torch.compile worked inside a timed turn ({key}); warm up longer, or with the same shapes"
        )


def runs_compiled(name: str, step: Callable[[], object], networks: int) -> None:
    """Take one untimed step; raises ProofError unless it passed through as many compiled graphs as there are compiled networks.

    torch.compile falls back to eager without a word once a code object has met too many instances.
    """
    with torch.autograd.profiler.profile(use_kineto=False) as profile:
        step()
    seen = sum(event.name.startswith("Torch-Compiled Region") for event in profile.function_events)
    if seen < networks:
        raise ProofError(f"{name}: {seen} of {networks} networks ran compiled; the others fell back to eager")


@contextlib.contextmanager
def _counted(module: nn.Module, counts: list[int]) -> Iterator[None]:
    def count(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        counts.append(len(inputs[0]))

    handle = module.register_forward_pre_hook(count)
    try:
        yield
    finally:
        handle.remove()


def sees(name: str, step: Callable[[], object], expected: Sequence[tuple[nn.Module, int]]) -> None:
    """Take one untimed step; raises ProofError unless every network was shown as many images as the entrant counts."""
    counts: list[list[int]] = [[] for _ in expected]
    with contextlib.ExitStack() as stack:
        for (module, _), seen in zip(expected, counts, strict=True):
            stack.enter_context(_counted(module, seen))
        step()
    for (module, images), seen in zip(expected, counts, strict=True):
        if sum(seen) != images:
            raise ProofError(f"{name}: {type(module).__name__} was shown {sum(seen)} images in a step, not {images}")


def frozen_is_frozen(
    name: str,
    network: nn.Module,
    freeze: Callable[[Any], Callable[[Tensor], Tensor]],
    pixels: Tensor,
    bf16: bool = False,
) -> None:
    """Raises ProofError unless the frozen form of `network` answers by its own weights, and by those it had when it was frozen.

    Args:
        network: the original; its weights are changed and put back.
        freeze: makes its frozen (folded, compiled) form, as the timed loop does.
        pixels: (B, C, H, W) to ask.
    """
    original = copy.deepcopy(network.state_dict())
    weight = next(p for p in network.parameters() if p.dim() > 1)
    close = CLOSE_BF16 if bf16 else CLOSE
    try:
        first = freeze(network)
        answer, plain = _asked(first, pixels), _asked(network, pixels)
        with torch.no_grad():
            weight.mul_(-2).add_(0.1)
        if not torch.equal(_asked(first, pixels), answer):
            raise ProofError(f"{name}: a frozen teacher's answer moved when a weight of the original was changed")
        # A second instance beside the first: each must answer by its own weights, whoever compiled first.
        second = freeze(network)
        other, plain_other = _asked(second, pixels), _asked(network, pixels)
        if _apart(plain, plain_other) <= 4 * close:
            raise ProofError(f"{name}: the change of the weight cannot be seen in the answers, so it proves nothing")
        for mine, own in ((answer, plain), (other, plain_other), (_asked(first, pixels), plain)):
            if _apart(mine, own) > close:
                raise ProofError(
                    f"{name}: a frozen teacher answers with weights that are not its own (a graph was shared)"
                )
    finally:
        network.load_state_dict(original)


def _asked(ask: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    with torch.no_grad():
        return ask(pixels).float().clone()


def _apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the spread of the answers."""
    scale = torch.maximum(a.abs().amax(), b.abs().amax()).clamp_min(1e-12)
    return float((a - b).abs().amax() / scale)
