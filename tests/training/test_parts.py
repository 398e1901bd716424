"""Gradient accumulation: the numbers of the whole batch, and no batch norms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from small_runs import CPU, a_teacher, network, run_spec, training_data, without_batch_norms

from tiny_studies import Answer
from vicinal.config import ARMS, MixingSpec, Objective, RunSpec
from vicinal.data import ImageSet
from vicinal.distillation import answers
from vicinal.errors import UsageError
from vicinal.training import SINGLE, learner, train
from vicinal.training.parts import check_parts
from vicinal.workspace import RunFolder, StudyProgress

BOTH = Objective(alpha=0.4, beta=0.6, temperature=3.0, mixing=ARMS["mixup"].mixing)


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, torch.Tensor]]:
    """weights(spec, micro_batch_size): those of a training in float64 on 41 images, and the rows that its network was given."""
    build = learner.build_classifier
    monkeypatch.setattr(learner, "build_classifier", lambda *a: without_batch_norms(build(*a)).double())
    monkeypatch.setattr(answers, "fused", lambda network, _: network)
    labels = torch.arange(41) % 4
    pixels = torch.randint(0, 120, (41, 12, 12, 1), generator=torch.Generator().manual_seed(3))
    images = ImageSet((pixels + 30 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels)

    def trained(spec: RunSpec, size: int | None) -> dict[str, torch.Tensor]:
        folder, seen = RunFolder(tmp_path / f"{spec.name}-{size}", spec), []
        kept: dict[str, torch.Tensor] = {}
        finish, outputs = learner.Learner.finish, learner.Learner._outputs

        def keep(self: Any, *arguments: Any) -> None:
            kept.update(self.network.state_dict())
            finish(self, *arguments)

        def counted(self: Any, pixels: torch.Tensor) -> Any:
            seen.append(len(pixels))
            return outputs(self, pixels)

        monkeypatch.setattr(learner.Learner, "finish", keep)
        monkeypatch.setattr(learner.Learner, "_outputs", counted)
        teacher = a_teacher().double() if spec.objective.uses_teacher else None
        data, progress = training_data(images, images, spec), StudyProgress(1, Console(quiet=True))
        train([folder], data, teacher, CPU, progress, 1e9, None, False, SINGLE, size)
        monkeypatch.setattr(learner.Learner, "finish", finish)
        monkeypatch.setattr(learner.Learner, "_outputs", outputs)
        of_each = 2 if spec.objective.mixing.vicinity == "regmixup" else 1
        assert max(seen) == min(size or 16 * of_each, 16 * of_each)
        assert sum(seen) == 2 * 41 * of_each
        assert folder.summary().get("micro_batch_size") == size
        return {**kept, "seen": torch.tensor(len(seen))}

    return trained


def test_parts_of_a_batch_with_two_rows_an_image_give_the_weights_of_the_whole(
    weights: Callable[..., dict[str, torch.Tensor]],
) -> None:
    views = BOTH.model_copy(update={"mixing": MixingSpec(vicinity="regmixup", eta=3)})
    spec = run_spec(views, network=network(epochs=2), teacher="t", teacher_precision="fp32")
    whole, parts = weights(spec, None), weights(spec, 5)
    assert (int(whole.pop("seen")), int(parts.pop("seen"))) == (6, 2 * (7 + 7 + 4))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("objective", "optimizer"), [(BOTH, "adamw"), (ARMS["linear_target"], "sgd"), (ARMS["baseline"], "adamw")]
)
def test_parts_of_a_batch_give_the_weights_of_the_whole(
    objective: Objective, optimizer: str, weights: Callable[..., dict[str, torch.Tensor]]
) -> None:
    teacher = {"teacher": "t", "teacher_precision": "fp32"} if objective.uses_teacher else {}
    spec = run_spec(objective, network=network(epochs=2, optimizer=optimizer, head_warmup_epochs=0), **teacher)
    whole = weights(spec, None)
    for size, steps in ((5, 2 * (4 + 4 + 2)), (16, 6)):
        parts = weights(spec, size)
        assert parts.pop("seen") == steps
        for key, value in parts.items():
            torch.testing.assert_close(value, whole[key], rtol=1e-10, atol=1e-10)


def test_batch_norms_are_refused_before_anything_is_spent(
    smallest: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Answer]
) -> None:
    answer = vicinal("run", study_file(smallest), "--out", tmp_path / "out", "runtime.micro_batch_size=4")
    assert answer.code == 2
    assert answer.last.startswith("vicinal: runtime.micro_batch_size: teachers.one (vicinal_resnet8) has batch norms")
    assert not (tmp_path / "out").exists()
    norms = torch.nn.Sequential(torch.nn.InstanceNorm2d(3, track_running_stats=True))
    with pytest.raises(UsageError, match="mine has batch norms"):
        check_parts(norms, 8, 4, "mine")
    check_parts(norms, 8, 8, "mine")
    check_parts(torch.nn.Sequential(torch.nn.InstanceNorm2d(3), torch.nn.LayerNorm(3)), 8, 4, "mine")
