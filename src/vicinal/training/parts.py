"""Batches that a network is given part by part: which networks may be."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from vicinal.errors import UsageError


def check_parts(network: nn.Module, batch_size: int, micro_batch_size: int | None, name: str) -> None:
    """UsageError where parts of a batch would teach a network something else: batch norms need all rows at once.

    Args:
        name: of the network or run, for the message.
    """
    if micro_batch_size is None or micro_batch_size >= batch_size:
        return
    path = batch_norm_of(network)
    if path is not None:
        raise UsageError(
            f"runtime.micro_batch_size: {name} has batch norms ({path}), whose statistics are those of all {batch_size} rows: "
            "leave it out, lower batch_size, share the rows among devices (runtime.parallel=data), or take a network without "
            "them (ConvNeXt, ViT)"
        )


def batch_norm_of(network: nn.Module) -> str | None:
    """The name of a module that takes statistics of a batch; None where rows are answered each by itself."""
    for path, module in network.named_modules():
        if isinstance(module, _BatchNorm) or (isinstance(module, _NormBase) and module.track_running_stats):
            return str(path)
    return None
