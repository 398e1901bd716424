"""Phases: the head alone first, then the whole network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_runs import network, run_spec

from vicinal.networks import build_classifier
from vicinal.training.phases import images_done, phases_left, phases_of
from vicinal.workspace import RunFolder


def test_warm_up_trains_the_head_alone_and_then_everything_trains(
    go: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = network(head="bottleneck", head_warmup_epochs=1, epochs=1)
    torch.manual_seed(0)
    start = build_classifier(spec, 4, 1).state_dict()
    saved: dict[str, dict[str, torch.Tensor]] = {}
    import vicinal.training.learner as module

    def keep(self: Any, phase: Any) -> None:
        saved[phase.name] = {name: value.clone() for name, value in self.network.state_dict().items()}

    monkeypatch.setattr(module.Learner, "save", keep)
    end = load_file(go(run_spec(network=spec)).weights)
    for name, value in start.items():
        if name.startswith("backbone."):  # batch statistics included
            assert torch.equal(saved["head_warmup"][name], value), name
    assert not torch.equal(saved["head_warmup"]["head.0.weight"], start["head.0.weight"])
    backbone = [name for name in start if name.startswith("backbone.") and name.endswith("conv.weight")]
    assert backbone
    for name in backbone:
        assert not torch.equal(end[name], start[name]), name


def test_a_phase_is_left_when_its_steps_are_done() -> None:
    """100 images in batches of 16 are 7 steps an epoch: 14 of warm-up, then 21."""
    phases = phases_of(run_spec(network=network(head="bottleneck", head_warmup_epochs=2)), 100)
    assert [(phase.name, phase.steps) for phase in phases] == [("head_warmup", 14), ("train", 21)]
    for step, left in ((0, [0, 14]), (13, [0, 14]), (14, [14]), (34, [14]), (35, [])):
        assert [first for _, first in phases_left(phases, step)] == left, step
    assert [images_done(phases, step) for step in (0, 1, 7, 15, 35)] == [0, 16, 100, 216, 500]
    assert [phases[0].batch_images(position) for position in (0, 5, 6)] == [16, 16, 4]
