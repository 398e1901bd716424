"""Batch norms over the rows of a batch that several processes have: statistics of all, on any backend, also of processes without a row.

`nn.SyncBatchNorm` does the same on GPUs alone. Shapes: (B, C) or (B, C, ...) activations.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vicinal.errors import UsageError

KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNormAct2d)


def share_batch_norms(network: nn.Module, group: dist.ProcessGroup | None = None) -> None:
    """Have the batch norms of a network, in train mode, take the statistics of all processes' rows.

    Raises UsageError for a kind of batch norm whose arithmetic is not known.
    """
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm):
            if type(module) not in KNOWN:
                raise UsageError(
                    f"runtime.parallel: data: {name} is a {type(module).__name__}, whose statistics cannot be taken over processes; "
                    "use runtime.parallel=teacher"
                )
            vars(module)["forward"] = partial(_forward, module, group=group)


def _forward(module: _BatchNorm, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    if not module.training:
        return type(module).forward(module, x)
    y = _normalised(module, x, group)
    return cast(Tensor, module.act(module.drop(y))) if isinstance(module, BatchNormAct2d) else y


def _normalised(module: _BatchNorm, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    wide = x if x.dtype == torch.float64 else x.float()
    over, shape = [d for d in range(x.dim()) if d != 1], [1, -1, *[1] * (x.dim() - 2)]
    own = x.numel() // x.shape[1]
    mean = wide.sum(over) / max(own, 1)
    squares = (wide - mean.view(shape)).square().sum(over)
    # In float64, so that the squares of the mean cancel without a trace.
    parts = torch.cat(
        [own * mean.double(), squares.double() + own * mean.double().square(), mean.new_tensor([own]).double()]
    )
    total = cast(Tensor, _Sum.apply(parts, group))
    count = total[-1].detach()
    if count <= 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
    mean, mean_square = (total[:-1] / count).chunk(2)
    variance = (mean_square - mean.square()).clamp(min=0)
    _remember(module, mean.detach(), (variance * count / (count - 1)).detach())
    scale = (variance + module.eps).rsqrt()
    y = (wide - mean.to(wide.dtype).view(shape)) * scale.to(wide.dtype).view(shape)
    if module.affine:
        y = y * module.weight.view(shape) + module.bias.view(shape)
    return y.to(x.dtype)


@torch.no_grad()
def _remember(module: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """The moving statistics, as nn.BatchNorm2d keeps them."""
    if not module.track_running_stats:
        return
    assert module.num_batches_tracked is not None
    assert module.running_mean is not None
    assert module.running_var is not None
    module.num_batches_tracked += 1
    share = module.momentum if module.momentum is not None else 1 / float(module.num_batches_tracked)
    for kept, new in ((module.running_mean, mean), (module.running_var, variance)):
        kept.mul_(1 - share).add_(new.to(kept.dtype), alpha=share)


class _Sum(torch.autograd.Function):
    """The sum over processes, in every process; the gradient of a part is the sum of what all make of the sum."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group, total = group, part.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None
