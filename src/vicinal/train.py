"""The one training loop, for teachers, baselines and students. Read `train` from top to bottom.

Every random number of a step depends on the run's seed and the step alone (the plan) or is saved with the checkpoint (dropout),
so that a run killed at any moment ends with the weights of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import save
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from vicinal.bank import TeacherBank
from vicinal.data import ImageSet
from vicinal.errors import VicinalError
from vicinal.models import Classifier, build_classifier
from vicinal.objectives import Objective, objective_loss
from vicinal.progress import StudyProgress, format_seconds
from vicinal.specs import ARMS, NetworkSpec, RunSpec
from vicinal.store import RunFolder, write_atomically, write_file_atomically
from vicinal.teachers import FrozenTeacher, choose_precision
from vicinal.vicinity import ImagePipeline, VicinalBatch, VicinalPlan, evaluation_pixels

WATCH_STEPS = 10  # losses are read, checked and shown this often: reading one makes the device wait
EVALUATION_BATCH = 500
PRECISION_IMAGES = 256  # that the effect of a teacher's precision is measured on


@dataclass(frozen=True)
class TrainingData:
    """What a run trains on and selects by."""

    train: ImageSet
    watched: (
        ImageSet  # validation images; the test images only where the study asks for the paper's protocol; may be empty
    )
    classes: int
    image_size: int | None


@dataclass
class _State:
    """Where a run stands. What it holds is what a checkpoint holds, beside weights, optimizer and generators."""

    step: int = 0
    seconds: float = 0.0
    epoch_loss: float = 0.0  # sum over the images of this epoch
    epoch_images: int = 0
    best_accuracy: float = -1.0
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    ask_precision: str = ""
    lr_factor: float = 1.0  # of schedule: plateau
    plateau_accuracy: float = -1.0
    plateau_epochs: int = 0  # since the watched accuracy was last better


@dataclass(frozen=True)
class _Phase:
    """A stretch of training with one objective: the head alone first where asked for, then the whole network."""

    name: Literal["head_warmup", "train"]
    epochs: int
    objective: Objective
    plan: VicinalPlan

    @property
    def steps(self) -> int:
        return self.epochs * self.plan.batches


def train(
    run: RunSpec,
    folder: RunFolder,
    data: TrainingData,
    teacher: Classifier | None,
    device: torch.device,
    progress: StudyProgress,
    checkpoint_seconds: float = 20.0,
    bank: TeacherBank | None = None,
) -> None:
    """Train the network of a run, or continue where a killed process left it, and leave its weights in the run's folder.

    Args:
        teacher: the trained teacher, for an objective that asks one.
        checkpoint_seconds: least time between two checkpoints.
        bank: the teacher's answers along this run's plan: read where they are stored, and stored where they are not.

    Raises:
        VicinalError: the loss is not finite, or a file cannot be written.
    """
    spec = run.network
    folder.open()

    # The network, its training images and its phases.
    with torch.random.fork_rng(devices=_cuda_devices(device)):
        torch.manual_seed(run.seed)
        network = build_classifier(spec, data.classes, data.train.images.shape[-1])
        network = network.to(device)
        if spec.channels_last:
            network = network.to(memory_format=torch.channels_last)
        pipeline = ImagePipeline(data.train.images, data.train.labels, spec.augment, data.image_size, device)
        phases = _phases(run, len(data.train))
        trains_in_bf16 = _trains_in_bf16(spec, device)

        # Where it stands: at the start, or at the last checkpoint.
        state, saved = _State(), _load_checkpoint(folder, run)
        if saved is not None:
            state = _State(**saved["state"])
            network.load_state_dict(saved["network"])
            _set_generators(saved["generators"])
        folder.rewind_log(state.step)
        frozen = _frozen_teacher(teacher, run, pipeline, state) if teacher is not None else None
        watcher = _Watcher(run, phases, state, progress)
        checkpoints = _Checkpoints(folder, run, state, checkpoint_seconds)

        first_step = 0
        for phase in phases:
            if state.step >= first_step + phase.steps:
                first_step += phase.steps
                continue
            _train_mode(network, phase)  # before the optimizer, which leaves frozen parameters out
            optimizer = _optimizer(network, spec, phase, device)
            if saved is not None and saved["phase"] == phase.name:
                optimizer.load_state_dict(saved["optimizer"])
            saved = None
            start_epoch, start_batch = divmod(state.step - first_step, phase.plan.batches)

            for epoch in range(start_epoch, phase.epochs):
                _train_mode(network, phase)
                epoch_started, images_before = time.monotonic(), state.epoch_images
                batches = pipeline.batches(phase.plan.epoch(epoch, start_batch))
                for position, (planned, batch) in enumerate(batches, start_batch):
                    lr = learning_rate(spec, phase.name, (state.step - first_step) / phase.plan.batches)
                    lr = _lowered(lr, spec, phase, state)
                    for group in optimizer.param_groups:
                        group["lr"] = lr

                    # The step: ask the teacher, ask the student, learn.
                    answers, partner_answers = _ask_teacher(
                        frozen, bank, phase.objective, batch, phase.plan.drawn_epoch(epoch), position
                    )
                    with torch.autocast(device.type, torch.bfloat16, enabled=trains_in_bf16):
                        logits = network(batch.mixed)
                    loss = objective_loss(
                        phase.objective,
                        logits,
                        batch.labels,
                        batch.partner_labels,
                        batch.lam,
                        answers,
                        partner_answers,
                    )
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
                    state.step += 1
                    watcher.add(loss.detach(), len(planned), lr)

                    ends_epoch = (state.step - first_step) % phase.plan.batches == 0
                    if ends_epoch or checkpoints.are_due or watcher.is_full:
                        watcher.read(state, _epochs_before(phases, phase) + epoch + 1, _epoch_count(phases))
                    if checkpoints.are_due and watcher.is_empty and not ends_epoch:
                        checkpoints.save(phase, network, optimizer)
                start_batch = 0

                # The epoch's end: look at the watched images, log, keep the best.
                speed = (state.epoch_images - images_before) / (time.monotonic() - epoch_started)
                entry: dict[str, Any] = {"phase": phase.name, "epoch": epoch + 1, "step": state.step, "lr": lr}
                entry |= {"loss": state.epoch_loss / state.epoch_images, "images_per_second": round(speed, 1)}
                if phase.name == "train" and len(data.watched) and _looks(run, epoch + 1):
                    logits = predict(network, data.watched, spec, data.image_size, device)
                    entry["watched_accuracy"] = float((logits.argmax(1) == data.watched.labels).double().mean())
                    _watch_plateau(state, spec, entry["watched_accuracy"])
                    _keep_best(state, run, network, epoch + 1, entry["watched_accuracy"])
                state.epoch_loss, state.epoch_images = 0.0, 0
                folder.append_log({**entry, "seconds": round(checkpoints.seconds(), 3)})
                if checkpoints.are_due:
                    checkpoints.save(phase, network, optimizer)
            first_step += phase.steps

    # The end: the weights, then the mark that they are whole.
    state.seconds = checkpoints.seconds()
    if state.best_weights:
        network.load_state_dict(state.best_weights)
    if not all(bool(t.isfinite().all()) for t in network.state_dict().values()):
        raise VicinalError(f"{run.name}: weights are not finite after the last step; try a lower lr or precision: fp32")
    save_weights(network, folder.weights)
    folder.finish(_summary(run, state, network, len(data.train), device))
    watcher.finish(f"done in {format_seconds(state.seconds)}")


# --- schedules and phases ---------------------------------------------------------------------------------------------


def learning_rate(spec: NetworkSpec, phase: str, epoch: float) -> float:
    """The learning rate at a point of training, in epochs from the phase's start (fractions for the steps between)."""
    if phase == "head_warmup":
        return spec.head_warmup_lr
    progress = epoch / spec.epochs
    match spec.schedule:
        case "constant" | "plateau":
            return spec.lr
        case "one_cycle":  # Smith and Topin 2018, with cosine flanks and the start and end of PyTorch's OneCycleLR
            start, end = spec.lr / 25, spec.lr / 25e4
            if progress < spec.rise:
                return _cosine(start, spec.lr, progress / spec.rise)
            return _cosine(spec.lr, end, (progress - spec.rise) / (1 - spec.rise))
        case "cosine":  # Loshchilov and Hutter 2017, behind a linear rise
            if progress < spec.rise:
                return spec.lr * (progress / spec.rise) + 1e-3 * spec.lr * (1 - progress / spec.rise)
            return _cosine(spec.lr, 0.0, (progress - spec.rise) / (1 - spec.rise))
        case "piecewise":  # the authors' repository
            segments = cast(tuple[tuple[float, float, float, float, str], ...], spec.lr_segments)
            first, last, lr_first, lr_last, shape = next(s for s in segments if epoch < s[1])
            share = (epoch - first) / (last - first)
            return lr_first + (lr_last - lr_first) * share if shape == "linear" else _cosine(lr_first, lr_last, share)


def _lowered(lr: float, spec: NetworkSpec, phase: _Phase, state: _State) -> float:
    """The learning rate after what schedule: plateau took off it."""
    if spec.plateau is None or phase.name == "head_warmup":
        return lr
    return max(lr * state.lr_factor, min(spec.plateau.min_lr, lr))


def _watch_plateau(state: _State, spec: NetworkSpec, accuracy: float) -> None:
    """After an epoch: lower lr where the watched accuracy has not been better for long (Keras' ReduceLROnPlateau)."""
    if spec.plateau is None:
        return
    if accuracy > state.plateau_accuracy:
        state.plateau_accuracy, state.plateau_epochs = accuracy, 0
        return
    state.plateau_epochs += 1
    if state.plateau_epochs >= spec.plateau.patience_epochs:
        state.lr_factor, state.plateau_epochs = state.lr_factor * spec.plateau.factor, 0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _phases(run: RunSpec, images: int) -> list[_Phase]:
    spec, phases = run.network, []
    if spec.head_warmup_epochs and spec.epochs:
        plan = VicinalPlan(images, spec.batch_size, run.seed, ARMS["baseline"].mixing, "head_warmup")
        phases.append(_Phase("head_warmup", spec.head_warmup_epochs, ARMS["baseline"], plan))
    plan = VicinalPlan(images, spec.batch_size, run.seed, run.objective.mixing, "train", spec.stream_epochs)
    return [*phases, _Phase("train", spec.epochs, run.objective, plan)]


def run_images(run: RunSpec, train_images: int) -> int:
    """How many images a run passes through in all."""
    return sum(phase.epochs for phase in _phases(run, train_images)) * train_images


def _images_done(phases: list[_Phase], step: int) -> int:
    done = 0
    for phase in phases:
        epochs, batches = divmod(min(step, phase.steps), phase.plan.batches)
        done += epochs * phase.plan.images + batches * phase.plan.batch_size
        step -= min(step, phase.steps)
    return done


def _epochs_before(phases: list[_Phase], phase: _Phase) -> int:
    return sum(p.epochs for p in phases[: phases.index(phase)])


def _epoch_count(phases: list[_Phase]) -> int:
    return sum(p.epochs for p in phases)


def _train_mode(network: Classifier, phase: _Phase) -> None:
    """In the head's warm-up the backbone is frozen whole: no gradients and no moving batch statistics."""
    network.train()
    head_only = phase.name == "head_warmup"
    network.backbone.requires_grad_(not head_only)
    if head_only:
        network.backbone.eval()


def _optimizer(network: Classifier, spec: NetworkSpec, phase: _Phase, device: torch.device) -> torch.optim.Optimizer:
    fused = device.type in ("cpu", "cuda")
    if phase.name == "head_warmup":
        return torch.optim.Adam(network.head.parameters(), lr=spec.head_warmup_lr, fused=fused)
    groups = param_groups_weight_decay(network, spec.weight_decay)  # none on biases and norms, as timm does
    match spec.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=spec.lr, fused=fused)
        case "adam":
            return torch.optim.Adam(groups, lr=spec.lr, fused=fused)
        case "sgd":
            return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.momentum > 0, fused=fused)


def _trains_in_bf16(spec: NetworkSpec, device: torch.device) -> bool:
    """bf16 training pays on CUDA; on a CPU it slows the backward pass of depthwise networks two to three times."""
    if spec.precision != "auto":
        return spec.precision == "bf16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _frozen_teacher(teacher: Classifier, run: RunSpec, pipeline: ImagePipeline, state: _State) -> FrozenTeacher:
    if not state.ask_precision:
        asked = run.teacher_ask_precision or "auto"
        # Mixed images whatever the arm, so that all arms of a seed ask their teacher in one precision.
        plan = VicinalPlan(len(pipeline), min(len(pipeline), PRECISION_IMAGES), run.seed, ARMS["mixup"].mixing)
        mixed = pipeline.make(plan.batch(0, 0)).mixed
        state.ask_precision = choose_precision(teacher, mixed) if asked == "auto" else asked
    return FrozenTeacher(teacher, cast(Literal["fp32", "bf16"], state.ask_precision))


def _ask_teacher(
    frozen: FrozenTeacher | None,
    bank: TeacherBank | None,
    objective: Objective,
    batch: VicinalBatch,
    epoch: int,
    position: int,
) -> tuple[Tensor | None, Tensor | None]:
    """The teacher's answers that an objective learns from: to the mixed images, or to both clean ones of each."""
    if frozen is None or not objective.asks_teacher:
        return None, None
    answers = bank.read(epoch, position) if bank is not None else None
    if answers is not None:
        answers = answers.to(batch.mixed.device)
    else:
        answers = frozen(batch.mixed if objective.target == "teacher" else batch.clean)
        if bank is not None:
            bank.write(epoch, position, answers)
    # Partners are among the clean images, so they are asked once; the rows' own images come first.
    if objective.target == "linear":
        return answers[: len(batch.mixed)], answers[batch.partner]
    return answers, None


def _looks(run: RunSpec, epoch: int) -> bool:
    return epoch % run.validate_every_epochs == 0 or epoch == run.network.epochs


def _summary(
    run: RunSpec, state: _State, network: Classifier, train_images: int, device: torch.device
) -> dict[str, Any]:
    images = run_images(run, train_images)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "values": network.values,
        "train_images": train_images,
        "steps": state.step,
        "selected_epoch": run.network.epochs if run.selection == "last" else state.best_epoch,
        "training_s": round(state.seconds, 3),
        "images_per_second": round(images / state.seconds, 1) if images else None,
        "teacher_precision": state.ask_precision or None,
        "device": str(device),
    }


# --- watching ---------------------------------------------------------------------------------------------------------


class _Watcher:
    """Collects losses on the device, reads them together, and stops the run at the first that is not finite."""

    def __init__(self, run: RunSpec, phases: list[_Phase], state: _State, progress: StudyProgress) -> None:
        self._run, self._steps = run, sum(phase.steps for phase in phases)
        images = sum(phase.epochs * phase.plan.images for phase in phases)
        self._bar = progress.run(run.name, images, _images_done(phases, state.step))
        self._losses: list[Tensor] = []
        self._images: list[int] = []
        self._lrs: list[float] = []

    def add(self, loss: Tensor, images: int, lr: float) -> None:
        self._losses.append(loss)
        self._images.append(images)
        self._lrs.append(lr)

    @property
    def is_full(self) -> bool:
        return len(self._losses) >= WATCH_STEPS

    @property
    def is_empty(self) -> bool:
        return not self._losses

    def read(self, state: _State, epoch: int, epochs: int) -> None:
        losses = torch.stack(self._losses).double().cpu()
        finite = losses.isfinite()
        if not bool(finite.all()):
            bad = int((~finite).nonzero()[0])
            step = state.step - len(losses) + bad + 1
            raise VicinalError(
                f"{self._run.name}: the loss became {losses[bad].item()} at step {step} of {self._steps} (epoch {epoch}), "
                f"learning rate {self._lrs[bad]:.3g}; try a lower lr, a longer rise, or precision: fp32"
            )
        images = torch.tensor(self._images, dtype=torch.float64)
        total, count = float((losses * images).sum()), sum(self._images)
        state.epoch_loss += total
        state.epoch_images += count
        self._bar.advance(count, epoch, epochs, total / count)
        self._losses, self._images, self._lrs = [], [], []

    def finish(self, text: str) -> None:
        self._bar.finish(text)


def _keep_best(state: _State, run: RunSpec, network: nn.Module, epoch: int, accuracy: float) -> None:
    if run.selection != "last" and accuracy > state.best_accuracy:
        state.best_accuracy, state.best_epoch = accuracy, epoch
        state.best_weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


@torch.inference_mode()
def predict(
    network: nn.Module,
    images: ImageSet,
    spec: NetworkSpec,
    image_size: int | None,
    device: torch.device,
    advance: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """(N, K) float32 logits on a set of images, in eval mode and fp32; the last partial batch included."""
    network.eval()
    answers = []
    for part in images.images.split(EVALUATION_BATCH):
        answers.append(network(evaluation_pixels(part.to(device), spec.augment, image_size)).float().cpu())
        advance(len(part))
    return torch.cat(answers)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def save_weights(network: Classifier, path: Path) -> None:
    """A classifier's weights as safetensors, whole or not at all."""
    write_atomically(path, save({name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}))


class _Checkpoints:
    """The checkpoints of a run, at least `interval_s` apart, and the seconds it has trained, also before it was killed."""

    def __init__(self, folder: RunFolder, run: RunSpec, state: _State, interval_s: float) -> None:
        self._folder, self._run, self._state, self._interval_s = folder, run, state, interval_s
        self._last = time.monotonic()
        self._started = self._last - state.seconds

    @property
    def are_due(self) -> bool:
        return time.monotonic() - self._last >= self._interval_s

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def save(self, phase: _Phase, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._state.seconds = self.seconds()
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        value = {
            "fingerprint": self._run.fingerprint(),
            "phase": phase.name,
            "state": vars(self._state),
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generators": [torch.get_rng_state(), *cuda],
        }
        write_file_atomically(self._folder.checkpoint, lambda path: torch.save(value, path))
        self._last = time.monotonic()


def _load_checkpoint(folder: RunFolder, run: RunSpec) -> dict[str, Any] | None:
    if not folder.checkpoint.exists():
        return None
    try:
        value: dict[str, Any] = torch.load(folder.checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise VicinalError(
            f"the checkpoint {folder.checkpoint} cannot be read ({(str(error) or type(error).__name__).splitlines()[0][:100]}); "
            "delete it and give the command again: the run starts anew"
        ) from None
    if value.get("fingerprint") != run.fingerprint():
        raise VicinalError(f"{folder.checkpoint} belongs to another run; delete it and give the command again")
    return value


def _set_generators(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states[1:])


def _cuda_devices(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
