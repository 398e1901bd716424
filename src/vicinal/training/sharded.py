"""A frozen network whose parameters lie in parts, one on each process's device: for a teacher that fits on none of them.

By torch.distributed's `fully_shard` (FSDP2): a block's parameters come together when it is called and go apart after it, so that a
process holds its part of all and the whole of one block. What it answers is what the whole network answers, digit for digit.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vicinal.errors import UsageError, one_line

BLOCK_SHARE = 1 / 8  # of all parameters that a block may have which comes together at a time
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # whose parts may be called one by one, past them


def shard(network: nn.Module, pixels: Tensor, device: torch.device) -> None:
    """Spread a frozen network over all processes, in place; each calls this, and from then on all call the network together.

    Args:
        network: on the CPU, or on the device if it fits there, the same in all processes.
        pixels: (1, C, H, W) that it is tried on, before and after.
        device: where its parts lie.

    Raises:
        DistError, RuntimeError: another process has ended.
        UsageError: a network that cannot be spread: without parameters, or one that uses its blocks' parameters past them.
    """
    from torch.distributed.device_mesh import init_device_mesh  # here, as importing them takes a while
    from torch.distributed.fsdp import fully_shard

    count = sum(weights.numel() for weights in network.parameters())
    if not count:
        raise UsageError("runtime.shard_teacher: the teacher has no parameters that could be shared out; leave it out")
    gc.collect()  # what was spread before is in circles of references, and its memory does not show to Python
    with torch.no_grad():
        whole = network(pixels.to(next(network.parameters()).device)).cpu()
    _keep_layout(network)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in blocks(network, int(count * BLOCK_SHARE)):
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(network, mesh=mesh, reshard_after_forward=True)
    try:
        with torch.no_grad():
            spread = network(pixels.to(device)).cpu()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        if is_of_processes(error):
            raise
        reason = one_line(error, 160)
        raise UsageError(f"runtime.shard_teacher: this teacher cannot be shared out ({reason}); leave it out") from None
    if not torch.allclose(whole, spread, rtol=1e-2, atol=1e-2 * float(whole.abs().max())):
        raise UsageError("runtime.shard_teacher: the teacher answers otherwise once it is shared out; leave it out")


def is_of_processes(error: Exception) -> bool:
    """Whether what torch raises tells that another process has ended."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _keep_layout(network: nn.Module) -> None:
    """Parameters are cut as they are counted, channels first; those that were channels last are so again when they are used, since
    the last digits of a convolution hang on it.
    """
    for module in network.modules():
        weight = module._parameters.get("weight")
        if weight is not None and weight.stride() != torch.empty(weight.shape, device="meta").stride():
            module.register_forward_pre_hook(partial(_lay_out, stride=weight.stride()))
            module.register_forward_hook(_forget)
    network.to(memory_format=torch.contiguous_format)


def _lay_out(module: nn.Module, _: object, stride: tuple[int, ...]) -> None:
    whole = cast(Tensor, module._parameters["weight"])
    laid_out = torch.empty_strided(whole.shape, stride, dtype=whole.dtype, device=whole.device)
    vars(module)["weight"] = laid_out.copy_(whole)  # found before the parameter


def _forget(module: nn.Module, *_: object) -> None:
    del vars(module)["weight"]


def blocks(module: nn.Module, most: int) -> Iterator[nn.Module]:
    """The largest modules below one that have at most so many parameters and parts of their own; what else it has stays with it."""
    for child in module.children():
        size = sum(weights.numel() for weights in child.parameters())
        if size and size <= most and not isinstance(child, _CONTAINERS) and next(child.children(), None) is not None:
            yield child
        elif size:
            yield from blocks(child, most)
