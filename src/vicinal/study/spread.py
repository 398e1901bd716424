"""Teachers that lie spread over the processes of a study when the main one, which measures, asks them."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from vicinal.config import StudySpec
from vicinal.errors import UsageError
from vicinal.networks import FUSING_IMAGES, Classifier
from vicinal.study.checks import CheckedNetwork
from vicinal.study.context import StudyContext
from vicinal.study.networks import inference_network
from vicinal.study.plan import PlannedRun, StudyPlan
from vicinal.training import Parallel, shard


class SpreadTeachers:
    """What the main process asks of a teacher that no device holds, and how the others take part in every answer.

    A spread network's blocks come together in calls of all processes. So the main one says before each call of which network it is
    and how large, and the others call theirs on as many empty pixels. Several may be open at once: the others keep those that the main
    one still has when it begins something else.

    Args:
        networks: of the study, by dotted path.

    Raises UsageError for teachers that cannot be spread, or where something is measured that they then do not give.
    """

    def __init__(
        self, context: StudyContext, plan: StudyPlan, networks: Mapping[str, CheckedNetwork], parallel: Parallel
    ) -> None:
        _check(context.spec, networks)
        self._context, self._plan, self._parallel = context, plan, parallel
        self._open = WeakValueDictionary[str, Classifier]()  # in the main process, as long as anything uses them
        self._held: dict[str, Classifier] = {}  # by the others

    def open(self, run: PlannedRun) -> Classifier:
        """The trained network of a finished run as it predicts, in the main process: a teacher's spread, another's whole."""
        if run not in self._plan.teachers:
            return inference_network(self._context, run)
        name = run.folder.path.name
        if (open_already := self._open.get(name)) is not None:
            return open_already
        self._parallel.agree({"spread": name, "beside": self.in_use()})
        network = self._spread(run)
        # Before its parts begin to come together.
        network.register_forward_pre_hook(partial(self._announce, name), prepend=True)
        self._open[name] = network
        return network

    def in_use(self) -> list[str]:
        """The runs whose networks the main process still has, which alone the others keep when it begins something else."""
        gc.collect()  # spread networks are in circles of references
        return sorted(self._open)

    def take_part(self, told: Mapping[str, Any]) -> bool:
        """For the others: do what the main process says; False where that is something else."""
        if "beside" in told:
            self._held = {name: self._held[name] for name in told["beside"]}
        if "spread" in told:
            self._held[told["spread"]] = self._spread(self._plan.named(told["spread"]))
        elif "forward" in told:
            with torch.no_grad():
                self._held[told["of"]](torch.zeros(told["forward"], device=self._context.device))
        else:
            return False
        return True

    def _announce(self, name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._parallel.agree({"of": name, "forward": list(inputs[0].shape)})

    def _spread(self, run: PlannedRun) -> Classifier:
        network = inference_network(self._context, run, torch.device("cpu"))
        pixels = self._context.seen_pixels(run.spec.network, self._context.data.test, FUSING_IMAGES)
        shard(network, pixels[:1], self._context.device)
        return network


def _check(spec: StudySpec, networks: Mapping[str, CheckedNetwork]) -> None:
    """UsageError for teachers that cannot be spread, or where something is measured that they then do not give."""
    for key, checked in networks.items():
        if key.startswith("teachers.") and next(checked.network.parameters(), None) is None:
            raise UsageError(
                f"runtime.shard_teacher: {key} has no parameters that could be shared out over processes; leave it out"
            )
    if spec.measures.representation is not None:
        raise UsageError(
            "runtime.shard_teacher: measures.representation reads features, which a teacher that is spread over processes does not "
            "give; leave one of them out"
        )
