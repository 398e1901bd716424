"""One network in training: its weights, its optimizer, its own random numbers, and where it stands."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vicinal.config import NetworkSpec, RunSpec
from vicinal.distillation import Need, StudentOutputs, TeacherAnswers, objective_needs, training_loss
from vicinal.errors import UsageError, VicinalError
from vicinal.evaluation import predict
from vicinal.inputs import VicinalBatch
from vicinal.networks import (
    Compiled,
    TimmClassifier,
    bf16_training_pays,
    build_classifier,
    features_of_passes,
    save_weights,
)
from vicinal.training.optimizers import make_optimizer
from vicinal.training.parallel import SINGLE, Parallel
from vicinal.training.parts import batch_norm_of, check_parts
from vicinal.training.phases import trained_image_count, training_plan
from vicinal.training.projected import Projected
from vicinal.training.saved import read_checkpoint, write_checkpoint
from vicinal.training.schedule import learning_rate, lowered, watch_plateau
from vicinal.training.state import Phase, State, TrainingData
from vicinal.workspace import RunFolder


class Learner:
    """One network in training: its weights, its optimizer, its own random numbers, and where it stands.

    Args:
        folder: of its run, where a checkpoint may lie that it continues from.
        compiled: call the network through torch.compile; `say` is told where that does not work.
        parallel: the processes that train it, each on its rows of every batch; the main one writes.
        micro_batch_size: rows that it is given at once; None: all that are this process's.

    Raises:
        UsageError: the objective has a loss term that is not registered, the run was begun on another number of threads, or the
            network cannot be trained on parts of a batch.
        VicinalError: a file cannot be written.
    """

    def __init__(
        self,
        folder: RunFolder,
        data: TrainingData,
        device: torch.device,
        compiled: bool,
        say: Callable[[str], None],
        parallel: Parallel = SINGLE,
        micro_batch_size: int | None = None,
    ) -> None:
        self.folder, self.run, self.device, self.is_compiled = folder, folder.spec, device, compiled
        self.state, self.objective = State(), folder.spec.objective
        self.needs: frozenset[Need] = objective_needs(self.objective)  # of this phase
        self._say, self._parallel, self._micro_batch_size = say, parallel, micro_batch_size
        spec = self.run.network
        if parallel.is_main:
            folder.open()
        with torch.random.fork_rng(devices=_cuda_devices(device)):
            torch.manual_seed(self.run.seed)
            network = build_classifier(spec, data.classes, data.train.images.shape[-1], data.class_names).to(device)
            network.preparation = data.seen_preparation
            rows = spec.batch_size * training_plan(self.run, len(data.train)).rows_per_image
            check_parts(network, rows, micro_batch_size, self.run.name)
            self.network = network.to(memory_format=torch.channels_last) if spec.channels_last else network
            self._generators = _generator_states(device)
        # Where it stands: at the start, or at the last checkpoint.
        self._log: list[dict[str, Any]] = []  # up to there, as the checkpoint has it
        self._saved = read_checkpoint(folder, self.network.state_dict(), say)
        if self._saved is not None:
            _check_threads(folder, self._saved.get("threads"), device)
            self.state = State(**self._saved["state"])
            self.network.load_state_dict(self._saved["network"])
            self._generators, self._log = self._saved["generators"], self._saved["log"]
        if parallel.is_main:
            folder.write_log(self._log)
        self.state.precision = self.state.precision or _precision(self.network, spec, data, device)
        self._compiled: Compiled | None = None
        self._call: Callable[[Tensor], Any] = self.network
        self.teacher_features = 0  # of the teacher whose features are learned from
        self._projected: Projected | None = None  # where they are
        self._average: ModelEmaV3 | None = None  # of weights and buffers, once the whole network is trained
        self.optimizer: torch.optim.Optimizer
        self.losses: list[Tensor] = []  # on the device, not yet read
        self.lr = 0.0

    def enter(self, phase: Phase) -> None:
        """Begin, or continue, a phase."""
        self.train_mode(phase)  # before the optimizer, which leaves frozen parameters out
        self.objective = self.run.objective if phase.name == "train" else phase.objective
        self.needs = objective_needs(self.objective)
        self._projected = None
        if "teacher_features" in self.needs:
            self._projected = Projected(self.network, self.teacher_features, self.run.seed)
        self.optimizer = make_optimizer(self.network, self.run.network, phase, self.device, self._projected)
        if self._saved is not None and self._saved["phase"] == phase.name:
            self.optimizer.load_state_dict(self._saved["optimizer"])
            if self._projected is not None:
                self._projected.regressor.load_state_dict(self._saved["regressor"])
        if phase.name == "train" and self.run.network.ema_decay is not None:
            # Buffers, too: batch statistics of other weights than the mean's would not be its own.
            self._average = ModelEmaV3(self.network, self.run.network.ema_decay, use_warmup=True)
            if self._saved is not None and self._saved.get("average"):
                self._average.module.load_state_dict(self._saved["average"])
        self._saved = None
        self._call = self._parallel.wrap(self._projected or self.network)
        # Compiled code gives no features, and the head's warm-up is too short for it.
        if self.is_compiled and phase.name == "train" and not self.needs & {"features", "teacher_features"}:
            rows = self.run.network.batch_size * phase.plan.rows_per_image
            at_once = min(rows, self._micro_batch_size or rows)
            self._call = self._compiled = Compiled(self._call, at_once, self._say)

    def train_mode(self, phase: Phase) -> None:
        """In the head's warm-up the backbone is frozen whole: no gradients and no moving batch statistics."""
        self.network.train()
        head_only = phase.name == "head_warmup"
        self.network.backbone.requires_grad_(not head_only)
        if head_only:
            self.network.backbone.eval()

    def learn(
        self,
        batch: VicinalBatch,
        answers: TeacherAnswers,
        phase: Phase,
        epoch: float,
        images: int,
        rows_of_each: int = 1,
    ) -> None:
        """One step on a batch, at a point of the phase in epochs.

        Args:
            batch, answers: of the rows of the batch that are this process's.
            images: in the batch over all processes.
            rows_of_each: of these images.
        """
        spec = self.run.network
        self.lr = lowered(learning_rate(spec, phase.name, epoch, phase.steps), spec, phase, self.state)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * group.get("lr_scale", 1.0)
        if self._parallel.world_size > 1:
            self.network.images_of_batch = images * rows_of_each
        answers = answers.times(self.run.teacher_logit_scale or 1.0)  # here, so that one answer serves every scale
        self.optimizer.zero_grad(set_to_none=True)
        with self._own_random_numbers():
            if (
                self._parallel.rank
            ):  # its rows' numbers are others than the main process's, and no checkpoint holds them
                key = np.random.SeedSequence([self.run.seed, self.state.step, self._parallel.rank])
                torch.manual_seed(int(key.generate_state(1, np.uint64)[0]) >> 1)
            loss = self._gradients(batch, answers, images, rows_of_each)
        if spec.clip_gradient_norm is not None:
            trained = [weights for group in self.optimizer.param_groups for weights in group["params"]]
            torch.nn.utils.clip_grad_norm_(trained, spec.clip_gradient_norm)
        self.optimizer.step()
        self.state.step += 1
        if self._average is not None:
            self._average.update(self.network, step=round(epoch * phase.plan.batches) + 1)
        self.losses.append(loss)

    def _gradients(self, batch: VicinalBatch, answers: TeacherAnswers, images: int, rows_of_each: int) -> Tensor:
        """The loss, once its gradients are there: of all rows at once, or part by part, as many in every process."""
        largest = -(-images // self._parallel.world_size) * rows_of_each
        size = self._micro_batch_size or largest
        starts = range(0, largest, size)
        losses = []
        for start in starts:
            rows, is_last = slice(start, start + size), start == starts[-1]
            own, told = (batch, answers) if len(starts) == 1 else (batch.part(rows), answers.part(rows))
            with contextlib.nullcontext() if is_last else self._parallel.summing(self._call):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.state.precision == "bf16"):
                    outputs = self._outputs(own.mixed)
                mean = partial(self._batch_mean, rows=images * rows_of_each, weight=own.weight)
                loss = training_loss(self.objective, outputs, own, told, mean)
                loss.backward()
            losses.append(loss.detach())
        return sum(losses[1:], start=losses[0])

    def _outputs(self, pixels: Tensor) -> StudentOutputs:
        """Logits, and features where a term needs them, of one forward pass."""
        if len(pixels) or batch_norm_of(self.network) is not None:
            return self._outputs_of(pixels)
        # Of a small last batch a process may have no rows, which windowed attention does not take.
        return self._outputs_of(pixels.new_zeros(1, *pixels.shape[1:])).part(slice(0))

    def _outputs_of(self, pixels: Tensor) -> StudentOutputs:
        if self._projected is not None:
            return StudentOutputs(*self._call(pixels))
        if "features" not in self.needs:
            return StudentOutputs(self._call(pixels))
        with features_of_passes(self.network) as features:
            logits = self._call(pixels)
        return StudentOutputs(logits, features[0])

    def _batch_mean(self, per_row: Tensor, rows: int, weight: Tensor | None) -> Tensor:
        return self._parallel.mean((per_row if weight is None else per_row * weight).sum(), rows)

    def end_epoch(self, phase: Phase, epoch: int, data: TrainingData, speed: float) -> dict[str, Any]:
        """Look at the selection images where it is time to, log the epoch, keep the best weights; returns the log's new line."""
        run, state = self.run, self.state
        entry: dict[str, Any] = {"phase": phase.name, "epoch": epoch, "step": state.step, "lr": self.lr}
        entry |= {"loss": state.epoch_loss / state.epoch_images, "images_per_second": round(speed, 1)}
        if phase.name == "train" and len(data.selection_images) and _looks(run, epoch):
            accuracy, loss = self._parallel.agree(self._look(data) if self._parallel.is_main else (0.0, 0.0))
            entry["selection_accuracy"] = accuracy
            entry["selection_loss"] = loss if math.isfinite(loss) else None
            watch_plateau(state, run.network, accuracy, loss)
            _keep_best(state, run, self._kept, epoch, accuracy)
        state.epoch_loss, state.epoch_images = 0.0, 0
        self._log.append({**entry, "seconds": round(state.seconds, 3)})
        if self._parallel.is_main:
            self.folder.append_log(self._log[-1])
        return self._log[-1]

    @property
    def _kept(self) -> nn.Module:
        """The weights that are selected by and kept: those in training, or their moving average."""
        return self.network if self._average is None else cast(nn.Module, self._average.module)

    def _look(self, data: TrainingData) -> tuple[float, float]:
        """Accuracy and mean cross-entropy on the selection images."""
        logits = predict(self._kept, data.selection_images, data.preparation, self.device)
        labels = data.selection_images.labels
        return float((logits.argmax(1) == labels).double().mean()), float(cross_entropy(logits.double(), labels))

    def finish(self, train_images: int, trained_together: int, without_partner: float | None = None) -> None:
        """Leave the selected weights and the mark that they are whole. Raises VicinalError where they are not finite."""
        if self.state.best_weights or self._average is not None:
            self.network.load_state_dict(self.state.best_weights or self._kept.state_dict())
        if not all(bool(t.isfinite().all()) for t in self.network.state_dict().values()):
            raise VicinalError(
                f"{self.run.name}: weights are not finite after the last step; try a lower lr or precision: fp32"
            )
        if not self._parallel.is_main:
            return
        save_weights(self.network, self.folder.weights)
        summary = _summary(self.run, self.state, self.network, train_images, self.device)
        summary |= {"threads": torch.get_num_threads(), **self._parallel.described}
        summary |= {} if without_partner is None else {"without_partner": without_partner}
        summary |= {} if self._micro_batch_size is None else {"micro_batch_size": self._micro_batch_size}
        summary |= {"trained_together": trained_together, "compiled": bool(self._compiled and self._compiled.works)}
        self.folder.finish(summary, self._log)

    def save(self, phase: Phase) -> None:
        """A checkpoint, whole or not at all."""
        if not self._parallel.is_main:
            return
        value = {
            "phase": phase.name,
            "state": vars(self.state),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": self._generators,
            "log": self._log,
            "threads": torch.get_num_threads(),
            "average": {} if self._average is None else self._average.module.state_dict(),
            "regressor": {} if self._projected is None else self._projected.regressor.state_dict(),
        }
        write_checkpoint(self.folder, value)

    @contextlib.contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """Dropout draws from the run's own generators, whoever else is stepped in between."""
        outside = _generator_states(self.device)
        _set_generators(self._generators)
        try:
            yield
        finally:
            self._generators = _generator_states(self.device)
            _set_generators(outside)


def _check_threads(folder: RunFolder, begun_on: int | None, device: torch.device) -> None:
    """UsageError where a run was begun on another number of CPU threads: sums in another order lead to other weights."""
    now = torch.get_num_threads()
    if device.type == "cpu" and begun_on not in (None, now):
        raise UsageError(
            f"{folder.path} was begun on {begun_on} threads and this process has {now}, which ends with other weights: "
            f"runtime.threads={begun_on} continues it; without its {folder.checkpoint.name} it begins anew"
        )


def _precision(network: TimmClassifier, spec: NetworkSpec, data: TrainingData, device: torch.device) -> str:
    """As asked for, or bf16 where that pays."""
    if spec.precision != "auto":
        return spec.precision
    pixels = data.preparation.pixels(data.train.images[torch.arange(1)]).to(device)
    return "bf16" if bf16_training_pays(network, pixels) else "fp32"


def _looks(run: RunSpec, epoch: int) -> bool:
    return epoch % run.validate_every_epochs == 0 or epoch == run.network.epochs


def _summary(
    run: RunSpec, state: State, network: TimmClassifier, train_images: int, device: torch.device
) -> dict[str, Any]:
    images = trained_image_count(run, train_images)
    return {
        "parameters": network.parameter_count,
        "stored_values": network.stored_value_count,
        "train_images": train_images,
        "steps": state.step,
        "selected_epoch": run.network.epochs if run.selection == "last" else state.best_epoch,
        "training_s": round(state.seconds, 3),
        "images_per_second": round(images / state.seconds, 1) if images else None,
        "precision": state.precision if images else None,
        "teacher_precision": state.teacher_precision or None,
        "device": str(device),
    }


def _keep_best(state: State, run: RunSpec, network: nn.Module, epoch: int, accuracy: float) -> None:
    if run.selection != "last" and accuracy > state.best_accuracy:
        state.best_accuracy, state.best_epoch = accuracy, epoch
        state.best_weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _generator_states(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for _ in _cuda_devices(device))]


def _set_generators(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[1])


def _cuda_devices(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
