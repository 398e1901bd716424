"""Losses on their way from the device: read together and late, so that no step waits for one."""

from __future__ import annotations

import torch
from torch import Tensor

from vicinal.errors import VicinalError
from vicinal.training.group import Group
from vicinal.training.learner import Learner
from vicinal.training.parallel import SINGLE, Parallel
from vicinal.training.phases import epoch_count, images_done
from vicinal.training.state import Phase
from vicinal.workspace import StudyProgress

WINDOW_STEPS = 10  # losses are read, checked and shown this often: reading one makes the device wait


class LossBuffer:
    """Reads losses together and one window late, so that no step waits for one; a run whose loss is not finite is taken out."""

    def __init__(
        self, group: Group, phases: list[Phase], step: int, progress: StudyProgress, parallel: Parallel = SINGLE
    ) -> None:
        self._group, self._parallel, runs = group, parallel, len(group.learners)
        self._steps, self._epochs = sum(phase.steps for phase in phases), epoch_count(phases)
        images = runs * sum(phase.epochs * phase.plan.images for phase in phases)
        lead = group.lead.run
        title = progress.title(lead.name, lead.seed, [learner.run.folder for learner in group.learners])
        self._bar = progress.run(title, images, runs * images_done(phases, step))
        self._images: list[int] = []
        self._last_step = step
        self._lrs: list[float] = []
        self._window: _Window | None = None

    def add(self, images: int, step: int) -> None:
        """Take note of a step on a batch of so many images; the learners hold its losses."""
        self._images.append(images)
        self._lrs.append(self._group.lead.lr)
        self._last_step = step

    @property
    def is_full(self) -> bool:
        """Whether it is time to `read`."""
        return len(self._images) >= WINDOW_STEPS

    def read(self, epoch: int) -> None:
        """Take in the window before, and send for the losses of this one."""
        following = None
        if self._images:
            following = _Window(list(self._group.learners), self._images, self._lrs, self._last_step)
        self._images, self._lrs = [], []
        if self._window is not None:
            self._take(self._window, epoch)
        self._window = following

    def read_all(self, epoch: int) -> None:
        """Take in all that there is."""
        self.read(epoch)
        self.read(epoch)

    def finish(self, text: str) -> None:
        """The progress of these runs is over."""
        self._bar.finish(text)

    def _take(self, window: _Window, epoch: int) -> None:
        # The main process's, so that a run which diverged is taken out of all alike.
        losses, count = window.losses(), sum(window.images)
        losses = torch.tensor(self._parallel.agree(losses.tolist()), dtype=torch.float64).view(losses.shape)
        weights = torch.tensor(window.images, dtype=torch.float64)
        for learner, own in zip(window.learners, losses, strict=True):
            if learner not in self._group.learners:
                continue
            finite = own.isfinite()
            if not bool(finite.all()):
                bad = int((~finite).nonzero()[0])
                step = window.last_step - len(own) + bad + 1
                self._group.fail(
                    learner,
                    VicinalError(
                        f"{learner.run.name}: the loss became {own[bad].item()} at step {step} of {self._steps} (epoch {epoch}), "
                        f"learning rate {window.lrs[bad]:.3g}; try a lower lr, a larger warmup_fraction, or precision: fp32"
                    ),
                )
                continue
            learner.state.epoch_loss += float((own * weights).sum())
            learner.state.epoch_images += count
        shown = losses[losses.isfinite().all(1)].mean(0) @ weights / count
        self._bar.advance(count * len(self._group.started), epoch, self._epochs, float(shown))


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
