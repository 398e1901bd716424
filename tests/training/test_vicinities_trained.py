"""Trainings of every vicinity: killed and continued, together and alone, by several processes, and what each row weighs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_runs import a_teacher, network, run_spec, same_weights

from vicinal.config import AugmentSpec, MixingSpec, Objective, RunSpec
from vicinal.workspace import RunFolder

SPECS: dict[str, dict[str, Any]] = {
    "mixup": {"until": 0.5},
    "cutmix": {"vicinity": "cutmix", "partners": "same_class"},
    "noise": {"vicinity": "gaussian_noise", "noise_std": 0.1},
    "regmixup": {"vicinity": "regmixup", "eta": 2, "until": 0.5},
    "two crops": {"vicinity": "two_crops", "until": 0.5},
}


def a_run(values: dict[str, Any], **changes: Any) -> RunSpec:
    objective = Objective(alpha=0.4, beta=0.6, mixing=MixingSpec(**values))
    return run_spec(
        objective, teacher="t", teacher_precision="fp32", network=network(augment=AugmentSpec(flip=True), **changes)
    )


@pytest.mark.parametrize("values", SPECS.values(), ids=list(SPECS))
def test_a_run_stopped_and_continued_ends_with_the_same_weights(
    go: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]
):
    run, calls, original = a_run(values), 0, torch.Tensor.backward
    whole = go(run, a_teacher(), "whole")

    def stopping(self: torch.Tensor, *arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls in (9, 14):  # of 21: before and after mixing ends
            raise InterruptedError
        original(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", stopping)
        for _ in range(2):
            with pytest.raises(InterruptedError):
                go(run, a_teacher(), "stopped")
        assert same_weights(whole, go(run, a_teacher(), "stopped"))
    other = go(a_run({}), a_teacher(), "other")
    assert not same_weights(whole, other)
