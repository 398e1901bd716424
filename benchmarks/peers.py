"""The others: what a step cannot be cheaper than in plain PyTorch, timm's distillation task, and the loop of public code.

All three have contiguous tensors, unfused AdamW and the whole arithmetic in fp32, as their users have them. Public loops decode, crop
and flip sample by sample; here they are given the batch cropped and flipped at once, so that no ratio rests on a slow loader.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.task import DistillationTeacher, LogitDistillationTask
from timm.utils import AverageMeter
from torch import Tensor, nn

from benchmarks.harness import Running
from benchmarks.pairs import TEMPERATURE, Pair, channels_last
from vicinal.config import Objective
from vicinal.distillation import objective_loss

Temperature = float | str


@dataclass(frozen=True)
class FloorHow:
    """How the floor is computed: the CPU's is plain; a GPU's has all that a library can be asked for."""

    fast: bool = False  # bf16 autocast, channels_last, fused AdamW
    compiled: bool = False


def floor(pair: Pair, device: torch.device, how: FloorHow = FloorHow()) -> Running:
    """The same teacher's forward, the same student's forward, backward and update on a ready batch: no data, no mixing."""
    teacher, student = _plain_pair(pair, device)
    pixels = torch.rand(pair.batch, pair.channels, pair.side_px, pair.side_px, device=device)
    if how.fast:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        for network in (teacher, student):
            channels_last(network)
    ask, forward = (torch.compile(x, dynamic=False) if how.compiled else x for x in (teacher, student))
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3, fused=how.fast or None)

    def steps() -> Iterator[int]:
        while True:
            with torch.autocast(device.type, torch.bfloat16, enabled=how.fast):
                with torch.no_grad():
                    answers = ask(pixels)
                logits = forward(pixels)
            loss = _kd(logits.float(), answers.float(), TEMPERATURE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield len(pixels)

    seen = [] if how.compiled else [(teacher, pair.batch), (student, pair.batch)]
    return Running(steps(), pair.batch, [student], [teacher], seen)


def timm_task(pair: Pair, device: torch.device) -> Running:
    """`timm.task.LogitDistillationTask` and `timm.data.Mixup(mode="elem")`, stepped as timm's train.py steps them."""
    teacher, student = _plain_pair(pair, device)
    task = LogitDistillationTask(
        student_model=student,
        teacher_model=DistillationTeacher(teacher, device=device),
        criterion=SoftTargetCrossEntropy(),
        distill_loss_weight=1.0,
        task_loss_weight=0.0,
        temperature=TEMPERATURE,
        device=device,
        verbose=False,
    )
    mixup = Mixup(mixup_alpha=1.0, mode="elem", label_smoothing=0.0, num_classes=pair.classes)
    optimizer = create_optimizer_v2(student, opt="adamw", lr=1e-3, weight_decay=1e-4)
    losses = AverageMeter()

    def steps() -> Iterator[int]:
        for pixels, labels in _ready_batches(pair, device):
            task.train()
            mixed, targets = mixup(pixels, labels)
            loss = task(mixed, targets)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.update(loss.item(), len(mixed))
            yield len(mixed)

    return Running(steps(), pair.batch, [student], [teacher], [(teacher, pair.batch), (student, pair.batch)])


def plain_loop(pair: Pair, device: torch.device, temperature: Temperature = TEMPERATURE, mixes: bool = True) -> Running:
    """The loop of public distillation code: λ ~ Beta(1, 1) for a batch, `F.kl_div` times T², `loss.item()` in each step."""
    teacher, student = _plain_pair(pair, device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=1e-4)

    def steps() -> Iterator[int]:
        total = 0.0
        for pixels, _ in _ready_batches(pair, device):
            student.train()
            if mixes:
                lam = float(np.random.default_rng().beta(1.0, 1.0))
                pixels = lam * pixels + (1 - lam) * pixels[torch.randperm(len(pixels), device=device)]
            with torch.no_grad():
                answers = teacher(pixels)
            loss = _kd(student(pixels), answers, temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
            yield len(pixels)

    return Running(steps(), pair.batch, [student], [teacher], [(teacher, pair.batch), (student, pair.batch)])


def separate_runs(pair: Pair, device: torch.device, arms: Sequence[Objective]) -> Running:
    """One plain run for each arm, each with a teacher pass of its own; one step is a step of each run."""
    runs = [plain_loop(pair, device, arm.temperature, arm.mixing.mixes) for arm in arms]

    def steps() -> Iterator[int]:
        while True:
            yield sum(next(run.steps) for run in runs)

    return Running(
        steps(),
        sum(run.units_per_step for run in runs),
        [module for run in runs for module in run.learning],
        [module for run in runs for module in run.frozen],
        [seen for run in runs for seen in run.sees],
    )


def students_alone(pair: Pair, device: torch.device, arms: Sequence[Objective]) -> Running:
    """The product's students on a ready batch with ready answers: what no bank can be cheaper than."""
    students = [channels_last(pair.student_network(1 + k).to(device)).train() for k in range(len(arms))]
    optimizers = [torch.optim.AdamW(student.parameters(), lr=1e-3, fused=True) for student in students]
    pixels = torch.rand(pair.batch, pair.channels, pair.side_px, pair.side_px, device=device)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    answers = torch.randn(pair.batch, pair.classes, device=device)
    labels, lam = torch.zeros(pair.batch, dtype=torch.int64, device=device), torch.ones(pair.batch, device=device)
    autocast = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()

    def steps() -> Iterator[int]:
        while True:
            for arm, student, optimizer in zip(arms, students, optimizers, strict=True):
                with autocast:
                    logits = student(pixels)
                loss = objective_loss(arm, logits, labels, labels, lam, answers)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            yield len(pixels) * len(arms)

    seen: list[tuple[nn.Module, int]] = [(student, pair.batch) for student in students]
    return Running(steps(), pair.batch * len(arms), list(students), [], seen, keeps_memory=device.type == "cpu")


def _plain_pair(pair: Pair, device: torch.device) -> tuple[nn.Module, nn.Module]:
    return pair.plain_teacher().to(device), pair.plain_student().to(device)


def _ready_batches(pair: Pair, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of uint8 images in memory, cropped and flipped together and normalised, (B, C, H, W) float32 and contiguous."""
    data = pair.data()
    assert isinstance(data.images, Tensor)
    pad, side = 4, pair.side_px
    images = F.pad(data.images.permute(0, 3, 1, 2), (pad, pad, pad, pad)).contiguous().to(device)
    labels = data.labels.to(device)
    mean, std = ((255 * torch.tensor(v, device=device)).view(1, -1, 1, 1) for v in pair.normalisation(pair.student))
    while True:
        for index in torch.randperm(pair.images, device=device).split(pair.batch):
            top, left = torch.randint(2 * pad + 1, (2,)).tolist()  # one place for the batch: cheaper than one for each
            picked = images[index][:, :, top : top + side, left : left + side]
            flip = torch.rand(len(index), device=device) < 0.5
            picked = torch.where(flip[:, None, None, None], picked.flip(3), picked)
            # With one channel, strides can be read as channels-last too, which no loader's are, and convolutions take them so.
            yield picked.float().sub_(mean).div_(std).clone(memory_format=torch.contiguous_format), labels[index]


def _kd(logits: Tensor, answers: Tensor, temperature: Any) -> Tensor:
    if isinstance(temperature, str):  # the authors' code: each network's logits over their own deviation, no factor
        logits = logits / logits.std(-1, correction=0, keepdim=True).clamp_min(1e-6)
        answers = answers / answers.std(-1, correction=0, keepdim=True)
        return F.kl_div(F.log_softmax(logits, 1), F.softmax(answers, 1), reduction="batchmean")
    scaled, targets = F.log_softmax(logits / temperature, 1), F.softmax(answers / temperature, 1)
    return F.kl_div(scaled, targets, reduction="batchmean").mul(temperature**2)
