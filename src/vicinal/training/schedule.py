"""Learning rates over the epochs."""

from __future__ import annotations

import math
from typing import cast

from vicinal.config import NetworkSpec
from vicinal.training.state import Phase, State


def learning_rate(spec: NetworkSpec, phase: str, epoch: float, steps: int) -> float:
    """The learning rate of a step.

    Args:
        epoch: where the step stands, in epochs from the phase's start (fractions for the steps between).
        steps: of the whole phase.
    """
    if phase == "head_warmup":
        return spec.head_warmup_lr
    if spec.lr_changes == "epoch":
        epoch = math.floor(epoch)
    progress = epoch / spec.epochs
    match spec.schedule:
        case "constant" | "plateau":
            return spec.lr
        case "one_cycle":  # Smith and Topin 2018, with cosine flanks and the start and end of PyTorch's OneCycleLR
            start, end = spec.lr / 25, spec.lr / 25e4
            updates = spec.epochs if spec.lr_changes == "epoch" else steps
            progress = min(1.0, progress * updates / max(1, updates - 1))  # the last update has the end value
            if progress < spec.warmup_fraction:
                return _cosine(start, spec.lr, progress / spec.warmup_fraction)
            return _cosine(spec.lr, end, (progress - spec.warmup_fraction) / (1 - spec.warmup_fraction))
        case "cosine":  # Loshchilov and Hutter 2017, behind a linear warm-up
            if progress < spec.warmup_fraction:
                return spec.lr * (progress / spec.warmup_fraction) + 1e-3 * spec.lr * (
                    1 - progress / spec.warmup_fraction
                )
            return _cosine(spec.lr, 0.0, (progress - spec.warmup_fraction) / (1 - spec.warmup_fraction))
        case "piecewise":  # the authors' repository
            segments = cast(tuple[tuple[float, float, float, float, str], ...], spec.lr_segments)
            first, last, lr_first, lr_last, shape = next(s for s in segments if epoch < s[1])
            share = (epoch - first) / (last - first)
            return lr_first + (lr_last - lr_first) * share if shape == "linear" else _cosine(lr_first, lr_last, share)


def lowered(lr: float, spec: NetworkSpec, phase: Phase, state: State) -> float:
    """The learning rate after what schedule: plateau took off it."""
    if spec.plateau is None or phase.name == "head_warmup":
        return lr
    return max(lr * state.lr_factor, min(spec.plateau.min_lr, lr))


def watch_plateau(state: State, spec: NetworkSpec, accuracy: float, loss: float) -> None:
    """After an epoch: lower lr where what is watched has not been better for long (Keras' ReduceLROnPlateau, its cooldown 0).

    Args:
        accuracy, loss: on the selection images, a fraction and nats.
    """
    if spec.plateau is None:
        return
    value = accuracy if spec.plateau.monitor == "accuracy" else -loss
    if value > state.plateau_best + spec.plateau.least_gain:
        state.plateau_best, state.plateau_epochs = value, 0
        return
    state.plateau_epochs += 1
    if state.plateau_epochs >= spec.plateau.patience_epochs:
        state.lr_factor, state.plateau_epochs = state.lr_factor * spec.plateau.factor, 0


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
