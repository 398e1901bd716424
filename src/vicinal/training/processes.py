"""Several processes on one training, by torch.distributed: those that torchrun started."""

from __future__ import annotations

import contextlib
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from vicinal.errors import UsageError, VicinalError
from vicinal.training.batch_norms import share_batch_norms
from vicinal.training.parallel import SINGLE, Parallel, Said, SingleProcess
from vicinal.training.sharded import is_of_processes
from vicinal.workspace import launched

# Processes wait for the main one while it measures, for hours; that one has ended is noticed at once by its connections.
LONGEST_WAIT = timedelta(days=7)
_meetings = itertools.count()  # of these processes: a second one must not find the addresses of the first


class LostProcessError(VicinalError):
    """Another process of this training has ended."""


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[Parallel]:
    """The processes that torchrun started with this one, sharing a teacher, until all are done; `SINGLE` where it is alone.

    Args:
        device: of this process's networks.

    Raises:
        LostProcessError: one of the others has ended.
        UsageError: this program has a process group at work already.
    """
    own = launched()
    if own.count == 1:
        yield SINGLE
        return
    if dist.is_initialized():
        raise UsageError(
            "a process group of this program is at work; call torch.distributed.destroy_process_group() first: vicinal opens its own"
        )
    gpu = device.type == "cuda"
    if gpu:
        torch.cuda.set_device(
            device
        )  # where NCCL and FSDP look for it: without, all processes would spread over the first GPU
    try:
        own_keys = f"vicinal-{next(_meetings)}"
        store = dist.PrefixStore(own_keys, next(rendezvous("env://"))[0])  # type: ignore[attr-defined]  # no stub has it
        # What processes tell one another lies on the CPU, tensors of networks where these are.
        backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
        dist.init_process_group(backend, store=store, rank=own.number, world_size=own.count, timeout=LONGEST_WAIT)
        yield SharedTeacher()
    except (dist.DistError, RuntimeError) as error:
        if not is_of_processes(error):
            raise
        raise LostProcessError(
            f"one of the {own.count} processes of this training has ended; the same command continues from the last checkpoint"
        ) from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def sharing(parallel: Parallel, mode: Literal["teacher", "data"], shards_teacher: bool = False) -> Parallel:
    """The same processes, that share a training in another way: the teacher's batches, or the rows of every batch.

    Args:
        shards_teacher: spread the teacher's parameters over them.
    """
    if parallel is SINGLE:
        return parallel
    shared = SharedTeacher() if mode == "teacher" else SharedRows()
    shared.shards_teacher = shards_teacher
    return shared


class _Processes:
    """What processes tell one another, however they share the work."""

    shares: str  # as `runtime.parallel` names it
    shards_teacher = False

    def __init__(self) -> None:
        self.number, self._count = dist.get_rank(), dist.get_world_size()
        self.is_main = self.number == 0
        self.described: Mapping[str, int | str] = {"processes": self._count, "parallel": self.shares}

    def agree(self, value: Said) -> Said:
        """The main process's value, as JSON, which runs nothing when it is read."""
        said = json.dumps(value).encode() if self.is_main else b""
        size = torch.tensor([len(said)])
        dist.broadcast(size, 0)
        content = torch.empty(int(size), dtype=torch.uint8)
        if self.is_main:
            content = torch.frombuffer(bytearray(said), dtype=torch.uint8)
        dist.broadcast(content, 0)
        return cast(Said, json.loads(content.numpy().tobytes()))

    def exchange(self, own: Tensor | None, shapes: Sequence[tuple[int, ...]], device: torch.device) -> list[Tensor]:
        """By a broadcast from each."""
        parts = [torch.empty(shape, device=device) for shape in shapes]
        if own is not None:
            parts[self.number] = own.contiguous()
        sent = [dist.broadcast(part, source, async_op=True) for source, part in enumerate(parts)]
        for work in sent:
            if work is not None:
                work.wait()
        return parts


class SharedTeacher(_Processes, SingleProcess):
    """The teacher's batches are shared out, and every process steps every student on the whole of each, as one alone does: exact for
    every network."""

    shares = "teacher"

    def __init__(self) -> None:
        super().__init__()
        self.batches_at_once = self._count


class SharedRows(_Processes):
    """The rows of every batch are shared out: teacher, students and gradients; equal to one process but for the order of sums."""

    shares, batches_at_once = "data", 1

    def __init__(self) -> None:
        super().__init__()
        self.rank, self.world_size = self.number, self._count
        self._of_norms = cast(dist.ProcessGroup, dist.new_group())  # whose sums stand between those of the gradients

    def wrap(self, network: nn.Module) -> Callable[[Tensor], Any]:
        """With the gradients' mean over processes, and batch norms over all rows."""
        share_batch_norms(network, self._of_norms)
        with warnings.catch_warnings(
            action="ignore", category=FutureWarning
        ):  # broadcast_buffers' new name is newer than torch 2.8
            return DistributedDataParallel(network, broadcast_buffers=False, find_unused_parameters=True)

    def summing(self, call: Callable[[Tensor], Any]) -> contextlib.AbstractContextManager[None]:
        """Without the processes' mean."""
        return cast(DistributedDataParallel, call).no_sync()

    def mean(self, loss_sum: Tensor, rows: int) -> Tensor:
        """The whole batch's mean, with so large a gradient that the mean over processes is their sum."""
        total = loss_sum.detach().clone()
        dist.all_reduce(total)
        return cast(Tensor, _ValueOf.apply(loss_sum * (self._count / rows), total / rows))


class _ValueOf(torch.autograd.Function):
    """The value of the whole batch, with the gradient of a share of it."""

    @staticmethod
    def forward(_: Any, __: Tensor, total: Tensor) -> Tensor:
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
