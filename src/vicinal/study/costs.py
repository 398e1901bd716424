"""What a study takes before anything is spent: time and storage, from each of its networks measured once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from vicinal.config import SEVERITIES
from vicinal.distillation import BankLayout
from vicinal.networks import Classifier, NetworkCost, inference_seconds, network_cost
from vicinal.study.checks import CheckedNetwork
from vicinal.study.context import StudyContext
from vicinal.study.groups import Group, bank_layout
from vicinal.study.plan import PlannedRun, StudyPlan
from vicinal.study.predict import StudyPredictions
from vicinal.workspace import launched


@dataclass(frozen=True)
class DeploymentCost:
    """What a network asks of whoever runs it."""

    forward_flops: int  # of one image
    predicted_per_second: float | None  # images, on the study's device; None where no device holds it


class Estimate:
    """Seconds and bytes of a study's runs on this device.

    Args:
        networks: of the study, checked and kept; each is timed for a moment when its cost is first wanted.
        groups, banks: who is stepped together, and the bank of every run to do.
        existing_banks: fingerprints of banks that are there.
    """

    def __init__(
        self,
        context: StudyContext,
        plan: StudyPlan,
        networks: Mapping[str, CheckedNetwork],
        predictions: StudyPredictions,
        groups: Sequence[Group],
        banks: Mapping[Path, BankLayout],
        existing_banks: frozenset[str],
    ) -> None:
        self._context, self._plan, self._networks, self._predictions = context, plan, networks, predictions
        self._existing = existing_banks if plan.spec.runtime.bank_gb > 0 else frozenset[str]()
        # The share of the teacher's answers that a run infers: the first of a group without a bank all, a reader of a bank those to
        # epochs that no reader before it has had.
        self._infers: dict[Path, float] = {}
        served: dict[str, int] = {}
        for group in groups:
            path = group[0].folder.path
            bank = banks.get(path)
            if bank is None:
                self._infers[path] = 1.0
                continue
            before = served.get(bank.fingerprint, 0)
            self._infers[path] = max(0, bank.epochs - before) / max(1, bank.epochs)
            served[bank.fingerprint] = max(before, bank.epochs)

    @cached_property
    def network_costs(self) -> dict[str, NetworkCost]:
        """What an image costs each network, by its dotted path; takes a few seconds each."""
        timed = {key: self._network_cost(key) for key in self._networks if not self._is_spread(key)}
        student = timed.get("student")
        if student is not None:
            timed |= {key: self._cost_beside(student, key) for key in self._networks if key not in timed}
        return {key: timed[key] if key in timed else self._network_cost(key) for key in self._networks}

    def _is_spread(self, key: str) -> bool:
        """Whether a network is a teacher that lies spread over processes, as none of their devices may hold it."""
        runtime = self._context.spec.runtime
        return key.startswith("teachers.") and runtime.shard_teacher and max(runtime.devices, launched().count) > 1

    def _cost_beside(self, timed: NetworkCost, key: str) -> NetworkCost:
        """Of a network that cannot be timed, by what another's arithmetic takes."""
        flops = self._networks[key].forward_flops
        times = flops / max(timed.forward_flops, 1)
        return NetworkCost(flops, timed.inference_s * times, timed.step_s * times)

    def _network_cost(self, key: str) -> NetworkCost:
        network, pixels = self._shown(key)
        spec = self._context.spec.networks()[key]
        return network_cost(network, pixels, spec.batch_size, spec.precision)

    @cached_property
    def deployment_costs(self) -> dict[str, DeploymentCost]:
        """What each network takes once it is trained, by its dotted path; takes a moment each."""
        found = {}
        for key, checked in self._networks.items():
            if self._is_spread(key):
                found[key] = DeploymentCost(checked.forward_flops, None)
                continue
            seconds = inference_seconds(*self._shown(key))
            found[key] = DeploymentCost(checked.forward_flops, round(1 / max(seconds, 1e-9), 1))
        return found

    def _shown(self, key: str) -> tuple[Classifier, Tensor]:
        """A network on the study's device, and the pixels of an image as it sees it."""
        context, spec = self._context, self._context.spec.networks()[key]
        network = self._networks[key].network.to(context.device).to(memory_format=torch.channels_last)
        return network, context.seen_pixels(spec, context.training_images(spec), 1).to(context.device)

    def run_s(self, run: PlannedRun) -> float:
        """Seconds that a run would take on this device, its measures included, and nothing for what is done."""
        own = self.network_costs[run.network_key]
        training = 0.0 if run.folder.is_done else run.rows * (own.step_s + self._teacher_s(run))
        return training + (0.0 if self._predictions.exist(run) else self.images_predicted * own.inference_s)

    def _teacher_s(self, run: PlannedRun) -> float:
        """Seconds that the teacher's answer adds to an image of a run: nothing where another run or a bank gives it."""
        share = self._infers.get(run.folder.path, 0.0)
        if run.teacher is None or not share:
            return 0.0
        if self._existing and bank_layout(run, self._plan).fingerprint in self._existing:
            return 0.0
        return share * sum(self.network_costs[one.network_key].inference_s for one in run.teacher.networks)

    @property
    def images_predicted(self) -> int:
        """The images, clean, mixed and corrupted, that every network predicts when it is measured."""
        return self._predictions.inputs.count + self._predictions.optional_count

    def storage_bytes(self, run: PlannedRun) -> int:
        """Bytes that a finished run keeps: weights, and stored predictions in float32, of corrupted images in float16."""
        predictions, corrupted = self._predictions, self._predictions.corrupted
        values = 4 * predictions.inputs.count
        if corrupted is not None:
            values += 2 * len(SEVERITIES) * len(corrupted.spec.names) * len(corrupted.test)
        return 4 * self._networks[run.network_key].parameters + values * self._context.classes
