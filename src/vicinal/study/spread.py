"""Teachers that lie spread over the processes of a study when the main one, which measures, asks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.errors import UsageError
from vicinal.networks import FUSING_IMAGES, Classifier
from vicinal.study.context import StudyContext
from vicinal.study.networks import inference_network
from vicinal.study.plan import PlannedRun, StudyPlan
from vicinal.training import Parallel, shard


class SpreadTeachers:
    """What the main process asks of a teacher that no device holds, and how the others take part in every answer.

    A spread network's blocks come together in calls of all processes. So the main one says before each call how large it is, and the
    others call theirs on as many empty pixels.

    Raises UsageError where the study measures what such a network does not give.
    """

    def __init__(self, context: StudyContext, plan: StudyPlan, parallel: Parallel) -> None:
        if context.spec.measures.representation is not None:
            raise UsageError(
                "runtime.shard_teacher: measures.representation reads features, which a teacher that is spread over processes "
                "does not give; leave one of them out"
            )
        self._context, self._plan, self._parallel = context, plan, parallel
        self._held: Classifier | None = None  # by a process that is not the main one

    def open(self, run: PlannedRun) -> Classifier:
        """The trained network of a finished run as it predicts, in the main process: a teacher's spread, another's whole."""
        if run not in self._plan.teachers:
            return inference_network(self._context, run)
        self._parallel.agree({"spread": run.folder.path.name})
        network = self._spread(run)
        network.register_forward_pre_hook(self._announce, prepend=True)  # before its parts begin to come together
        return network

    def take_part(self, told: Mapping[str, Any]) -> bool:
        """For the others: do what the main process says; False where that is something else."""
        if "spread" in told:
            self._held = None
            self._held = self._spread(self._plan.named(told["spread"]))
        elif "forward" in told:
            assert self._held is not None
            with torch.no_grad():
                self._held(torch.zeros(told["forward"], device=self._context.device))
        else:
            self._held = None
            return False
        return True

    def _announce(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._parallel.agree({"forward": list(inputs[0].shape)})

    def _spread(self, run: PlannedRun) -> Classifier:
        network = inference_network(self._context, run, torch.device("cpu"))
        pixels = self._context.seen_pixels(run.spec.network, self._context.data.test, FUSING_IMAGES)
        shard(network, self._context.device, pixels[:1])
        return network
