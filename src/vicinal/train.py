"""The one training loop, for teachers, baselines and students. Read `_train_together` from top to bottom.

Students who share a teacher and an input stream are stepped together, so that the teacher is asked once. Every random number of a
step depends on the run's seed and the step alone (the plan) or is saved with the checkpoint (dropout), so that a run killed at
any moment, or trained in other company, ends with the weights of one that was not.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import save
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from vicinal.bank import AnswerCodec, TeacherBank
from vicinal.data import ImageSet
from vicinal.errors import VicinalError
from vicinal.folding import FOLDING_IMAGES, Compiled, folded
from vicinal.models import Classifier, build_classifier
from vicinal.objectives import Objective, objective_loss
from vicinal.progress import StudyProgress, format_seconds
from vicinal.specs import ARMS, NetworkSpec, RunSpec
from vicinal.store import RunFolder, write_atomically, write_file_atomically
from vicinal.teachers import FrozenTeacher, Precision, choose_precision
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
    folders: Sequence[RunFolder],
    data: TrainingData,
    teacher: Classifier | None,
    device: torch.device,
    progress: StudyProgress,
    checkpoint_seconds: float = 20.0,
    bank: TeacherBank | None = None,
    compiled: bool = False,
) -> None:
    """Train the networks of runs, or continue where a killed process left them, and leave their weights in the runs' folders.

    Several runs are stepped on each batch in turn: they must share teacher and input stream (`Study.groups`), and end with the
    weights that each would have had alone.

    Args:
        folders: of the runs; each knows its spec.
        teacher: the trained teacher, for objectives that ask one.
        checkpoint_seconds: least time between two checkpoints.
        bank: the teacher's answers along the runs' plan: read where they are stored, and stored where they are not.
        compiled: call networks through torch.compile.

    Raises:
        VicinalError: a loss is not finite (the other runs are trained to their end first), or a file cannot be written.
    """
    learners = [Learner(folder, data, device, compiled, progress.say) for folder in folders]
    for _ in train_steps(learners, data, teacher, progress, checkpoint_seconds, bank):
        pass


def train_steps(
    learners: Sequence[Learner],
    data: TrainingData,
    teacher: Classifier | None,
    progress: StudyProgress,
    checkpoint_seconds: float = 20.0,
    bank: TeacherBank | None = None,
) -> Iterator[int]:
    """`train`, step by step: gives the number of images in the batch that every network has just been stepped on."""
    at: dict[int, list[Learner]] = {}
    for learner in learners:
        at.setdefault(learner.state.step, []).append(learner)
    failures: list[VicinalError] = []
    # Killed between two checkpoints of one step, some are behind: they catch up by themselves.
    for together in at.values():
        yield from _train_together(together, data, teacher, progress, checkpoint_seconds, bank, failures)
    if failures:
        raise failures[0]


def _train_together(
    learners: list[Learner],
    data: TrainingData,
    teacher: Classifier | None,
    progress: StudyProgress,
    checkpoint_seconds: float,
    bank: TeacherBank | None,
    failures: list[VicinalError],
) -> Iterator[int]:
    lead = learners[0]
    run, spec, step = lead.run, lead.run.network, lead.state.step
    phases = _phases(run, len(data.train))
    pipeline = ImagePipeline(data.train.images, data.train.labels, spec.augment, data.image_size, lead.device)
    frozen, codec = None, AnswerCodec.of(run.answers, data.classes)
    if teacher is not None:
        known = (bank.precision if bank is not None else None) or lead.state.ask_precision
        frozen = frozen_teacher(teacher, run, pipeline, known, lead.is_compiled, progress.say)
        if bank is not None:
            bank.precision = frozen.precision
    for learner in learners:
        learner.state.ask_precision = frozen.precision if frozen is not None else ""
    watcher = _Watcher(learners, phases, step, progress, failures)
    checkpoints = _Checkpoints(learners, checkpoint_seconds)

    first_step = 0
    for phase in phases:
        if step >= first_step + phase.steps:
            first_step += phase.steps
            continue
        for learner in learners:
            learner.enter(phase)
        start_epoch, start_batch = divmod(step - first_step, phase.plan.batches)

        for epoch in range(start_epoch, phase.epochs):
            epoch_started, images_before = time.monotonic(), learners[0].state.epoch_images
            for learner in learners:
                _train_mode(learner.network, phase)
            batches = pipeline.batches(phase.plan.epoch(epoch, start_batch))
            for position, (planned, batch) in enumerate(batches, start_batch):
                # The step: ask the teacher once, then let every student answer and learn.
                drawn = phase.plan.drawn_epoch(epoch)
                answers = _ask_teacher(frozen, bank, codec, learners[0].objective, batch, drawn, position)
                for learner in learners:
                    learner.learn(batch, answers, phase, (step - first_step) / phase.plan.batches)
                step += 1
                watcher.add(len(planned), step)

                ends_epoch = (step - first_step) % phase.plan.batches == 0
                if ends_epoch or checkpoints.are_due:
                    watcher.read_all(_epochs_before(phases, phase) + epoch + 1)
                elif watcher.is_full:
                    watcher.read(_epochs_before(phases, phase) + epoch + 1)
                if not learners:
                    return
                if checkpoints.are_due and watcher.is_empty and not ends_epoch:
                    checkpoints.save(phase)
                yield len(planned)
            start_batch = 0

            # The epoch's end: look at the watched images, log, keep the best.
            speed = (learners[0].state.epoch_images - images_before) / (time.monotonic() - epoch_started)
            for learner in learners:
                learner.end_epoch(phase, epoch + 1, data, speed, checkpoints.seconds(learner))
            if checkpoints.are_due:
                checkpoints.save(phase)
        first_step += phase.steps

    # The end: the weights, then the mark that they are whole.
    for learner in list(learners):
        learner.state.seconds = checkpoints.seconds(learner)
        try:
            learner.finish(len(data.train), len(watcher.started))
        except VicinalError as error:
            failures.append(error)
    watcher.finish(f"done in {format_seconds(sum(learner.state.seconds for learner in learners))}")


class Learner:
    """One network in training: its weights, its optimizer, its own random numbers, and where it stands."""

    def __init__(
        self,
        folder: RunFolder,
        data: TrainingData,
        device: torch.device,
        compiled: bool,
        say: Callable[[str], None],
    ) -> None:
        self.folder, self.run, self.device = folder, folder.spec, device
        self.state, self.objective = _State(), folder.spec.objective
        self._image_size, spec = data.image_size, self.run.network
        folder.open()
        with torch.random.fork_rng(devices=_cuda_devices(device)):
            torch.manual_seed(self.run.seed)
            network = build_classifier(spec, data.classes, data.train.images.shape[-1]).to(device)
            self.network = network.to(memory_format=torch.channels_last) if spec.channels_last else network
            self._generators = _generator_states(device)
        # Where it stands: at the start, or at the last checkpoint.
        self._saved = _load_checkpoint(folder, self.run)
        if self._saved is not None:
            self.state = _State(**self._saved["state"])
            self.network.load_state_dict(self._saved["network"])
            self._generators = self._saved["generators"]
        folder.rewind_log(self.state.step)
        self._bf16 = _trains_in_bf16(spec, device)
        self._compiled = Compiled(self.network, spec.batch_size, say) if compiled else None
        self._call: Callable[[Tensor], Tensor] = self.network
        self.optimizer: torch.optim.Optimizer
        self.losses: list[Tensor] = []  # on the device, not yet read
        self.lr = 0.0

    @property
    def is_compiled(self) -> bool:
        return self._compiled is not None

    def enter(self, phase: _Phase) -> None:
        """Begin, or continue, a phase."""
        _train_mode(self.network, phase)  # before the optimizer, which leaves frozen parameters out
        self.objective = self.run.objective if phase.name == "train" else phase.objective
        self.optimizer = _optimizer(self.network, self.run.network, phase, self.device)
        if self._saved is not None and self._saved["phase"] == phase.name:
            self.optimizer.load_state_dict(self._saved["optimizer"])
        self._saved = None
        self._call = self._compiled if self._compiled is not None and phase.name == "train" else self.network

    def learn(
        self, batch: VicinalBatch, answers: tuple[Tensor | None, Tensor | None], phase: _Phase, epoch: float
    ) -> None:
        """One step on a batch, at a point of the phase in epochs."""
        spec = self.run.network
        self.lr = _lowered(learning_rate(spec, phase.name, epoch), spec, phase, self.state)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        with self._own_random_numbers(), torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            logits = self._call(batch.mixed)
        loss = objective_loss(self.objective, logits, batch.labels, batch.partner_labels, batch.lam, *answers)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.state.step += 1
        self.losses.append(loss.detach())

    def end_epoch(self, phase: _Phase, epoch: int, data: TrainingData, speed: float, seconds: float) -> None:
        """Look at the watched images where it is time to, log the epoch, keep the best weights."""
        run, state = self.run, self.state
        entry: dict[str, Any] = {"phase": phase.name, "epoch": epoch, "step": state.step, "lr": self.lr}
        entry |= {"loss": state.epoch_loss / state.epoch_images, "images_per_second": round(speed, 1)}
        if phase.name == "train" and len(data.watched) and _looks(run, epoch):
            logits = predict(self.network, data.watched, run.network, self._image_size, self.device)
            entry["watched_accuracy"] = float((logits.argmax(1) == data.watched.labels).double().mean())
            _watch_plateau(state, run.network, entry["watched_accuracy"])
            _keep_best(state, run, self.network, epoch, entry["watched_accuracy"])
        state.epoch_loss, state.epoch_images = 0.0, 0
        self.folder.append_log({**entry, "seconds": round(seconds, 3)})

    def finish(self, train_images: int, trained_together: int) -> None:
        """Leave the selected weights and the mark that they are whole. Raises VicinalError where they are not finite."""
        if self.state.best_weights:
            self.network.load_state_dict(self.state.best_weights)
        if not all(bool(t.isfinite().all()) for t in self.network.state_dict().values()):
            raise VicinalError(
                f"{self.run.name}: weights are not finite after the last step; try a lower lr or precision: fp32"
            )
        save_weights(self.network, self.folder.weights)
        summary = _summary(self.run, self.state, self.network, train_images, self.device)
        summary |= {"trained_together": trained_together, "compiled": bool(self._compiled and self._compiled.works)}
        self.folder.finish(summary)

    def save(self, phase: _Phase, seconds: float) -> None:
        """A checkpoint, whole or not at all."""
        self.state.seconds = seconds
        value = {
            "fingerprint": self.run.fingerprint(),
            "phase": phase.name,
            "state": vars(self.state),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": self._generators,
        }
        write_file_atomically(self.folder.checkpoint, lambda path: torch.save(value, path))

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
        plan = VicinalPlan(images, spec.batch_size, run.stream_seed, ARMS["baseline"].mixing, "head_warmup")
        phases.append(_Phase("head_warmup", spec.head_warmup_epochs, ARMS["baseline"], plan))
    return [*phases, _Phase("train", spec.epochs, run.objective, training_plan(run, images))]


def training_plan(run: RunSpec, images: int) -> VicinalPlan:
    """The input stream of a run of so many training images, without the head's warm-up."""
    spec = run.network
    return VicinalPlan(images, spec.batch_size, run.stream_seed, run.objective.mixing, stream_epochs=spec.stream_epochs)


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


def frozen_teacher(
    teacher: Classifier,
    run: RunSpec,
    pipeline: ImagePipeline,
    precision: str = "",
    compiled: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> FrozenTeacher:
    """A run's teacher as students ask it: folded, in `precision`, or where that is empty as the run says or as is found best."""
    precision = precision or run.teacher_ask_precision or "auto"
    seen = min(len(pipeline), PRECISION_IMAGES if precision == "auto" else FOLDING_IMAGES)
    # Mixed images whatever the arm, so that all arms of a seed ask their teacher in one precision.
    plan = VicinalPlan(len(pipeline), seen, run.stream_seed, ARMS["mixup"].mixing)
    mixed = pipeline.make(plan.batch(0, 0)).mixed
    network = folded(teacher, mixed[:FOLDING_IMAGES])
    if precision == "auto":
        precision = choose_precision(network, mixed)
    call = Compiled(network, run.network.batch_size, say) if compiled else None
    return FrozenTeacher(network, cast(Precision, precision), call)


def _ask_teacher(
    frozen: FrozenTeacher | None,
    bank: TeacherBank | None,
    codec: AnswerCodec,
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
        asked = frozen(batch.mixed if objective.target == "teacher" else batch.clean)
        if bank is not None:
            bank.write(epoch, position, asked)
        answers = codec.roundtrip(asked)
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
    """Reads losses together and one window late, so that no step waits for one; a run whose loss is not finite is taken out."""

    def __init__(
        self,
        learners: list[Learner],
        phases: list[_Phase],
        step: int,
        progress: StudyProgress,
        failures: list[VicinalError],
    ) -> None:
        self.started, self._learners, self._failures = list(learners), learners, failures
        self._steps, self._epochs = sum(phase.steps for phase in phases), _epoch_count(phases)
        images = len(learners) * sum(phase.epochs * phase.plan.images for phase in phases)
        names = learners[0].run.name + (f" and {len(learners) - 1} more" if len(learners) > 1 else "")
        self._bar = progress.run(names, images, len(learners) * _images_done(phases, step))
        self._images: list[int] = []
        self._last_step = step
        self._lrs: list[float] = []
        self._window: _Window | None = None

    def add(self, images: int, step: int) -> None:
        self._images.append(images)
        self._lrs.append(self._learners[0].lr)
        self._last_step = step

    @property
    def is_full(self) -> bool:
        return len(self._images) >= WATCH_STEPS

    @property
    def is_empty(self) -> bool:
        return not self._images and self._window is None

    def read(self, epoch: int) -> None:
        """Take in the window before, and send for the losses of this one."""
        following = _Window(list(self._learners), self._images, self._lrs, self._last_step) if self._images else None
        self._images, self._lrs = [], []
        if self._window is not None:
            self._take(self._window, epoch)
        self._window = following

    def read_all(self, epoch: int) -> None:
        """Take in all that there is."""
        self.read(epoch)
        self.read(epoch)

    def finish(self, text: str) -> None:
        self._bar.finish(text)

    def _take(self, window: _Window, epoch: int) -> None:
        losses, count = window.losses(), sum(window.images)
        weights = torch.tensor(window.images, dtype=torch.float64)
        for learner, own in zip(window.learners, losses, strict=True):
            if learner not in self._learners:
                continue
            finite = own.isfinite()
            if not bool(finite.all()):
                bad = int((~finite).nonzero()[0])
                step = window.last_step - len(own) + bad + 1
                self._learners.remove(learner)
                self._failures.append(
                    VicinalError(
                        f"{learner.run.name}: the loss became {own[bad].item()} at step {step} of {self._steps} (epoch {epoch}), "
                        f"learning rate {window.lrs[bad]:.3g}; try a lower lr, a longer rise, or precision: fp32"
                    )
                )
                continue
            learner.state.epoch_loss += float((own * weights).sum())
            learner.state.epoch_images += count
        shown = losses[losses.isfinite().all(1)].mean(0) @ weights / count
        self._bar.advance(count * len(self.started), epoch, self._epochs, float(shown))


class _Window:
    """The losses of a few steps on their way from the device."""

    def __init__(self, learners: list[Learner], images: list[int], lrs: list[float], last_step: int) -> None:
        self.learners, self.images, self.lrs, self.last_step = learners, images, lrs, last_step
        losses = torch.stack([torch.stack(learner.losses) for learner in learners]).float()
        for learner in learners:
            learner.losses = []
        self._arrived: torch.cuda.Event | None = None
        self._losses = losses
        if losses.device.type == "cuda":
            self._losses = torch.empty(losses.shape, dtype=losses.dtype, pin_memory=True)
            self._losses.copy_(losses, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def losses(self) -> Tensor:
        """(learners, steps) float64 on the CPU."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._losses.double().cpu()


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
    # TF32 keeps ten bits, too few for a measure, and PyTorch's convolutions use it unasked.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for part in images.images.split(EVALUATION_BATCH):
            answers.append(network(evaluation_pixels(part.to(device), spec.augment, image_size)).float().cpu())
            advance(len(part))
    return torch.cat(answers)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def save_weights(network: Classifier, path: Path) -> None:
    """A classifier's weights as safetensors, whole or not at all."""
    write_atomically(path, save({name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}))


class _Checkpoints:
    """Checkpoints of runs trained together, at least `interval_s` apart, and each run's share of the time that this takes."""

    def __init__(self, learners: list[Learner], interval_s: float) -> None:
        self._learners, self._interval_s, self._runs = learners, interval_s, len(learners)
        self._started = self._last = time.monotonic()
        self._before_s = {learner.folder.path: learner.state.seconds for learner in learners}

    @property
    def are_due(self) -> bool:
        return time.monotonic() - self._last >= self._interval_s

    def seconds(self, learner: Learner) -> float:
        """Seconds that a run has trained, also before it was killed."""
        return self._before_s[learner.folder.path] + (time.monotonic() - self._started) / self._runs

    def save(self, phase: _Phase) -> None:
        for learner in self._learners:
            learner.save(phase, self.seconds(learner))
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


def _generator_states(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for _ in _cuda_devices(device))]


def _set_generators(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[1])


def _cuda_devices(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
