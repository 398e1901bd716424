"""What all metrics here share: as torchmetrics wants them, gathered from all processes in everything they say, and drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.metric import jit_distributed_available
from torchmetrics.utilities.data import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

from vicinal.metrics.alone import is_alone

_DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.bool,
    torch.uint8,
)
_MOST_DIMENSIONS = 6
WAY_OUT = (
    ", or make the metric with refuse_probabilities=False where these are logits"  # ends the refusal of probabilities
)


def _others_are_to_ask() -> bool:
    return not is_alone() and bool(jit_distributed_available())


class GatheredMetric(Metric):
    """A `torchmetrics.Metric` whose `compute` gives a dict of tensors, or one of them alone.

    Where a process group is at work, everything that it says is of all processes' data, intervals too: every process must ask,
    also one that has seen no data. `not_gathered` ends that for a while.

    Args:
        only: name of the one figure that `compute` gives, as a tensor of the metric's dtype (float32, or as `set_dtype` says), for
            `torchmetrics.BootStrapper` and others that take no dict.
        refuse_probabilities: raise ValueError where what is given as logits are probabilities (every row in [0, 1] with sum 1);
            False where your logits happen to be so.

    Example:
        >>> from vicinal.metrics import Calibration
        >>> metric = Calibration(15, only="accuracy")
        >>> metric.update(torch.tensor([[3.0, 0.0], [2.0, 1.0]]), torch.tensor([0, 1]))
        >>> float(metric.compute())
        0.5
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    figures_of_compute: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, only: str | None = None, refuse_probabilities: bool = True, **kwargs: Any) -> None:
        super().__init__(**({"distributed_available_fn": _others_are_to_ask} | kwargs))
        if only is not None and only not in self.figures_of_compute:
            raise ValueError(f"only: {only!r} is no figure of it; there are {', '.join(self.figures_of_compute)}")
        self.only, self.refuse_probabilities = only, refuse_probabilities

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw what `compute` gives, or `val` that it gave: curves over λ, single numbers side by side. Needs matplotlib.

        Returns:
            (figure or None where `ax` was given, axes), as torchmetrics' metrics do.
        """
        value = self.compute() if val is None else val
        if isinstance(value, dict) and "lam" in value:
            import matplotlib.pyplot as plt

            figure, axes = plt.subplots() if ax is None else (None, ax)
            for name, curve in value.items():
                if name != "lam":
                    axes.plot(value["lam"].cpu(), curve.cpu(), label=name)
            axes.set_xlabel("λ")
            axes.legend()
            return figure, axes
        if isinstance(value, dict) and any(part.numel() == 1 for part in value.values()):
            value = {name: part for name, part in value.items() if part.numel() == 1}
        return self._plot(value, ax)

    def _shown(self, figures: dict[str, Tensor]) -> Any:
        return figures if self.only is None else figures[self.only].to(self.dtype)

    def _seen(self, state: str) -> Tensor:
        """A list state as one tensor on the CPU. Raises ValueError where nothing was seen."""
        parts = getattr(self, state)
        if (isinstance(parts, list) and not parts) or (isinstance(parts, Tensor) and not len(parts)):
            raise ValueError("nothing to compute: call update first")
        joined: Tensor = dim_zero_cat(parts).detach().cpu()
        return joined

    @contextmanager
    def _gathered(self) -> Iterator[None]:
        """With the states of all processes; as they are inside `compute`, where there is one process or syncing is off."""
        if self._is_synced:
            yield
            return
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            should_sync=self._to_sync,
            distributed_available=self.distributed_available_fn,
        ):
            yield

    def _sync_dist(
        self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any | None = None
    ) -> None:
        """As torchmetrics', but a process without data gives empty tensors of the type and shape of the others'.

        torchmetrics would give a flat float32 one, and the gathering of shapes with it ends the process.
        """
        group = process_group or self.process_group
        for name, reduction in self._reductions.items():
            parts = getattr(self, name)
            if reduction is not dim_zero_cat or not isinstance(parts, list):
                continue
            own = dim_zero_cat(parts) if parts else None
            form = torch.zeros(3 + _MOST_DIMENSIONS, dtype=torch.int64, device=self.device)
            if own is not None:
                form[:3] = torch.tensor([1, _DTYPES.index(own.dtype), own.dim()])
                form[3 : 3 + own.dim()] = torch.tensor(own.shape)
            forms = [f.tolist() for f in dist_sync_fn(form, group=group)]
            known = next((found for found in forms if found[0]), None)
            if own is None and known is not None:
                shape = (0, *known[4 : 3 + known[2]])
                own = torch.empty(shape, dtype=_DTYPES[known[1]], device=self.device)
            if own is not None:
                setattr(self, name, [own])
        super()._sync_dist(dist_sync_fn, process_group)
