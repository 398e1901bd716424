"""Several processes on one training: a toy of threads ends with the weights of one process, and one of them writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from small_runs import CPU, a_teacher, network, run_spec, training_data
from torch import Tensor, nn

from vicinal.config import ARMS, MixingSpec, Objective, RunSpec
from vicinal.data import ImageSet
from vicinal.distillation import BankLayout, FrozenTeacher, TeacherBank
from vicinal.networks import TimmClassifier
from vicinal.training import SINGLE, Learner, Parallel, train_steps
from vicinal.training import learner as learner_module
from vicinal.workspace import RunFolder, StudyProgress


class Threads:
    """What the ranks of `Thread` tell one another."""

    def __init__(self, world_size: int) -> None:
        self.world_size, self._told = world_size, [None] * world_size
        self.have_begun = False  # before that a rank is alone with what it finds
        self._barrier = threading.Barrier(world_size, timeout=60)

    def gather(self, rank: int, value: Any) -> list[Any]:
        """What every rank has said, in their order."""
        self._told[rank] = value
        self._barrier.wait()
        told = list(self._told)
        self._barrier.wait()
        return told


class SharedMean(torch.autograd.Function):
    """The value of the whole batch, with the gradient of a share of it."""

    @staticmethod
    def forward(_: Any, share: Tensor, total: Tensor) -> Tensor:
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class Thread:
    """One of several ranks, each a thread of this process."""

    def __init__(self, threads: Threads, rank: int) -> None:
        self.rank, self.world_size, self._threads = rank, threads.world_size, threads
        self.is_main, self.number, self.batches_at_once = rank == 0, rank, 1
        self.shards_teacher = False
        self.described = {"processes": threads.world_size}

    def wrap(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        def summed(gradient: Tensor) -> Tensor:
            return torch.stack(self._threads.gather(self.rank, gradient)).sum(0)

        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.register_hook(summed)
        return network

    def mean(self, loss_sum: Tensor, rows: int) -> Tensor:
        total = torch.stack(self._threads.gather(self.rank, loss_sum.detach())).sum() / rows
        return SharedMean.apply(loss_sum / rows, total)

    def summing(self, _: Any) -> Any:
        raise AssertionError("each takes its rows at once")

    def agree(self, value: Any) -> Any:
        return self._threads.gather(self.rank, value)[0] if self._threads.have_begun else value

    def exchange(self, own: Tensor | None, shapes: Any, device: torch.device) -> list[Tensor]:
        raise AssertionError("each asks about its own rows")


@pytest.fixture
def without_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """A student without batch norm, whose statistics are those of a process's own rows."""

    def build(*_: Any) -> TimmClassifier:
        body = nn.Sequential(nn.Conv2d(1, 8, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(128, 12), nn.ReLU())
        return TimmClassifier(body, nn.Linear(12, 4), (0.5,), (0.25,))

    monkeypatch.setattr("vicinal.training.learner.build_classifier", build)


@pytest.fixture
def share(tmp_path: Path, images: ImageSet, without_norms: None) -> Callable[..., list[Learner]]:
    """Train a run by so many ranks in a folder of their own; gives each rank's learner."""

    def trained(run: RunSpec, world_size: int, bank: TeacherBank | None = None) -> list[Learner]:
        data = training_data(images.subset(torch.arange(41)), images, run)
        threads = Threads(world_size)
        ranks: list[Parallel] = [SINGLE] if world_size == 1 else [Thread(threads, r) for r in range(world_size)]
        learners = [
            Learner(RunFolder(tmp_path / f"world{world_size}", run), data, CPU, False, print, rank) for rank in ranks
        ]
        threads.have_begun = True
        teachers = [a_teacher() if run.objective.uses_teacher else None for _ in ranks]

        def steps(rank: int) -> None:
            progress = StudyProgress(1, Console(quiet=True))
            for _ in train_steps([learners[rank]], data, teachers[rank], progress, 0.0, bank, ranks[rank]):
                pass

        with ThreadPoolExecutor(world_size) as pool:
            list(pool.map(steps, range(world_size)))
        return learners

    return trained


def a_run(objective: Objective, **changes: Any) -> RunSpec:
    """41 images in batches of 15: 15, 15 and 11, none of which two or four ranks share equally."""
    spec = network(epochs=2, batch_size=15, optimizer="sgd", lr=0.05, **changes)
    teacher = {"teacher": "t", "teacher_precision": "fp32"} if objective.uses_teacher else {}
    return run_spec(objective, network=spec, **teacher)


BOTH = Objective(alpha=0.4, beta=0.6, temperature=3.0, mixing=ARMS["mixup"].mixing)


# Two rows of each image in a step, until mixing ends in the middle of the first epoch or of the second.
VIEWS = Objective(alpha=0.4, beta=0.6, mixing=MixingSpec(vicinity="regmixup", eta=3, until=0.3))
CROPS = Objective(beta=1, mixing=MixingSpec(vicinity="two_crops", until=0.7))
OBJECTIVES = {"mixup": ARMS["mixup"], "both": BOTH, "linear": ARMS["linear_target"], "views": VIEWS, "crops": CROPS}


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=list(OBJECTIVES))
@pytest.mark.parametrize("world_size", [2, 4])
def test_shares_of_unequal_size_add_up_to_one_process(
    share: Callable[..., list[Learner]], objective: Objective, world_size: int
) -> None:
    run = a_run(objective)
    (alone,), ranks = share(run, 1), share(run, world_size)
    expected = load_file(alone.folder.weights)
    for learner in ranks:
        for name, value in learner.network.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    logs = [learner.folder.read_log() for learner in (alone, ranks[0])]
    assert [entry["loss"] for entry in logs[1]] == pytest.approx([entry["loss"] for entry in logs[0]], rel=1e-5)
    assert [entry["step"] for entry in logs[1]] == [3, 6]


def test_one_step_has_the_gradients_of_one_process(
    share: Callable[..., list[Learner]], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: dict[int, list[list[Tensor]]] = {}
    original = torch.optim.SGD.step

    def noting(self: torch.optim.SGD, *arguments: Any) -> Any:
        gradients = [p.grad.clone() for group in self.param_groups for p in group["params"]]
        steps.setdefault(id(self), []).append(gradients)
        return original(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", noting)
    learners = [*share(a_run(BOTH), 1), *share(a_run(BOTH), 2)]
    alone, one, other = (steps[id(learner.optimizer)][0] for learner in learners)
    for a, b, c in zip(alone, one, other, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-7)
        assert torch.equal(b, c)
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in alone)


def test_only_the_main_process_writes(share: Callable[..., list[Learner]], monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, str]] = []
    for name in ("open", "write_log", "append_log", "finish"):
        original = getattr(RunFolder, name)

        def noting(self: RunFolder, *arguments: Any, name: str = name, original: Any = original) -> Any:
            written.append((name, threading.current_thread().name))
            return original(self, *arguments)

        monkeypatch.setattr(RunFolder, name, noting)
    saved: list[str] = []
    for name in ("save_weights", "write_checkpoint"):
        original = getattr(learner_module, name)
        monkeypatch.setattr(
            learner_module,
            name,
            lambda *arguments, name=name, original=original: saved.append(name) or original(*arguments),
        )
    main, _ = share(a_run(ARMS["mixup"]), 2)
    assert [name for name, _ in written] == ["open", "write_log", "append_log", "append_log", "finish"]
    assert saved.count("save_weights") == 1
    assert saved.count("write_checkpoint") == 6  # a checkpoint at every step of two epochs
    assert main.folder.is_done


@pytest.mark.parametrize("arm", ["kd_mixup", "linear_target", "views", "crops"])
def test_every_rank_stores_and_reads_its_rows_of_a_bank(
    share: Callable[..., list[Learner]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arm: str
) -> None:
    """What two ranks stored is a whole bank, from which they learn the same as one process."""
    run = a_run(ARMS[arm] if arm in ARMS else OBJECTIVES[arm])
    (alone,) = share(run, 1)
    kind = "mixed" if arm in ("kd_mixup", "views") else "clean"
    rows = {} if arm in ARMS else {"rows_per_image": 2, "mixed_images": {"views": 30, "crops": 41 + 15}[arm]}
    bank = TeacherBank(tmp_path / "banks", BankLayout({"input_kind": kind}, 2, 41, 15, 4, **rows))
    share(run, 2, bank)
    assert bank.content().share == 1
    (tmp_path / "world2").rename(tmp_path / "first")
    asked: list[int] = []
    forward = FrozenTeacher.forward
    monkeypatch.setattr(FrozenTeacher, "forward", lambda self, x: asked.append(len(x)) or forward(self, x))
    ranks = share(run, 2, bank)
    # A bank knows no partner beyond a rank's rows by its place: those are predicted now.
    assert bool(asked) == (arm == "linear_target")
    expected = load_file(alone.folder.weights)
    for learner in ranks:
        for name, value in learner.network.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    bank.close()
