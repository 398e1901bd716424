"""Teachers whose parameters lie spread over processes: the numbers of one process, whatever is open at once, and clear refusals."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from small_runs import CPU, a_teacher, own_share
from test_processes import environment
from torch import Tensor, nn

from teacher_on_disk import new_teacher, save_teacher
from tiny_studies import Answer, merged, weights_of
from vicinal.config import StudySpec
from vicinal.errors import UsageError
from vicinal.networks import networks_given
from vicinal.study import Study
from vicinal.training import SINGLE, shard
from vicinal.workspace import StudyProgress

PIXELS = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A teacher that is taken as its weights have it."""
    path = save_teacher(tmp_path_factory.mktemp("weights") / "model_best.pth.tar", new_teacher(3), 3, 12)
    return {"model": "test_resnet", "weights": str(path), "head": "keep", "epochs": 0, "check_classes": False}


def numbers(out: Path) -> list[tuple[Any, ...]]:
    results = json.loads((out / "results.json").read_text())
    entries = [*results["teachers"], *results["students"]]
    return [(entry["run"], entry["nll"], entry["vicinity"], entry["corruptions"]) for entry in entries]


def test_several_teachers_spread_at_once_give_the_weights_and_numbers_of_one_process(
    smallest: dict[str, Any],
    untrained: dict[str, Any],
    study_file: Callable[..., Path],
    tmp_path: Path,
    vicinal: Callable[..., Answer],
) -> None:
    """Two of one architecture, another and an ensemble, asked in turn about each severity of a corruption."""
    one = smallest["teachers"]["one"]
    changes = {
        "teachers": {"one": one, "two": {**one, "epochs": 3}, "three": untrained},
        "ensembles": {"all": ["one", "two", "three"]},
        "arms": [{"name": "linear_target", "teachers": ["all"]}],
        "student.batch_size": 11,
        "measures.corruptions": {"names": ["gaussian_noise"]},
        "runtime.workers": 1,
    }
    file = study_file(merged(smallest, changes))
    spread = ["runtime.devices=2", "runtime.shard_teacher=true"]
    command = [sys.executable, "-m", "vicinal", "run", str(file), "--out", str(tmp_path / "spread"), *spread]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert vicinal("run", file, "--out", tmp_path / "alone").code == 0
    assert weights_of(tmp_path / "spread") == weights_of(tmp_path / "alone") != {}
    alone = numbers(tmp_path / "alone")
    assert numbers(tmp_path / "spread") == alone
    assert len(alone) == 5
    assert alone[0][1:] != alone[1][1:]


@pytest.mark.usefixtures("group")
def test_a_network_answers_alike_once_it_is_spread_and_leaves_no_memory_behind() -> None:
    network = a_teacher().eval().requires_grad_(False)
    expected = network(PIXELS)
    shard(network, PIXELS, CPU)
    assert own_share(network) == 1
    assert torch.equal(network(PIXELS), expected)
    assert network(PIXELS[:0]).shape == (0, 4)
    first = weakref.ref(next(network.parameters()))
    del network
    gc.disable()
    try:
        shard(a_teacher().eval().requires_grad_(False), PIXELS, CPU)
        assert first() is None
    finally:
        gc.enable()


class PastItsBlock(nn.Module):
    """Uses a weight of a block that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(Block() for _ in range(12))

    def forward(self, pixels: Tensor) -> Tensor:
        weight = self.parts[3].linear.weight
        return self.parts[0](pixels.flatten(1)) @ weight


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(400, 400)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@pytest.mark.usefixtures("group")
def test_what_cannot_be_spread_is_said_in_a_line() -> None:
    with pytest.raises(UsageError, match="no parameters that could be shared out"):
        shard(nn.Flatten(), PIXELS, CPU)
    with pytest.raises(UsageError, match=r"this teacher cannot be shared out .*; leave it out") as caught:
        shard(PastItsBlock().eval().requires_grad_(False), PIXELS, CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize(
    "error", [dist.DistError("lost"), RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed")]
)
def test_a_process_that_ends_meanwhile_is_not_taken_for_the_networks_fault(error: Exception) -> None:
    class Lost(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(400, 4)

        def forward(self, pixels: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 1:
                raise error
            return self.linear(pixels.flatten(1))

    with pytest.raises(type(error), match=r"lost|Connection closed"):
        shard(Lost().eval().requires_grad_(False), PIXELS, CPU)


class Flat(nn.Module):
    """Logits without parameters."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1)[:, :3]


class Several:
    """Several processes, as far as a study can tell."""

    shards_teacher = False

    def agree(self, value: Any) -> Any:
        return value


def opened(values: dict[str, Any], out: Path, changes: dict[str, Any]) -> Study:
    return Study(StudySpec.model_validate(merged(values, {"runtime.shard_teacher": True, **changes})), out)


def test_a_teacher_without_parameters_and_features_of_one_are_refused_before_anything_is_spent(
    smallest: dict[str, Any], tmp_path: Path
) -> None:
    flat = {"model": "given/flat", "head": "keep", "epochs": 0, "class_names": ["east", "north", "south"]}
    normalisation = {"mean": [0.0], "std": [1.0], "input_size": [1, 12, 12]}
    network = Flat()
    network.pretrained_cfg = normalisation
    with networks_given({"flat": network}):
        study = opened(smallest, tmp_path, {"teachers": {"flat": flat}})
        with pytest.raises(UsageError, match=r"runtime.shard_teacher: teachers.flat has no parameters"):
            study.share(Several())
        study.share(SINGLE)
    study = opened(smallest, tmp_path, {"measures.representation": {}})
    with pytest.raises(UsageError, match=r"runtime.shard_teacher: measures.representation reads features"):
        study.share(Several())


@pytest.mark.parametrize(("epochs", "place"), [(0, "cpu"), (1, "meta")])
def test_a_teacher_that_is_not_trained_is_never_whole_on_a_device(
    smallest: dict[str, Any],
    untrained: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epochs: int,
    place: str,
) -> None:
    seen: list[torch.device] = []
    monkeypatch.setattr("vicinal.study.run.train", lambda *arguments: seen.append(arguments[3]))
    study = opened(smallest, tmp_path, {"teachers.one": {**untrained, "epochs": epochs}})
    study.context = replace(study.context, device=torch.device("meta"))
    study.share(Several())
    with StudyProgress(1) as progress:
        study._train(study.plan.teachers, progress)
    assert seen == [torch.device(place)]


def test_what_a_spread_teacher_takes_is_reckoned_by_the_students_time(smallest: dict[str, Any], tmp_path: Path) -> None:
    costs = opened(smallest, tmp_path, {"runtime.devices": 2}).estimate.network_costs
    teacher, student = costs["teachers.one"], costs["student"]
    assert list(costs) == ["teachers.one", "student"]
    assert teacher.inference_s / student.inference_s == pytest.approx(teacher.forward_flops / student.forward_flops)
    assert teacher.step_s / student.step_s == pytest.approx(teacher.forward_flops / student.forward_flops)
    timed = opened(smallest, tmp_path, {}).estimate.network_costs["teachers.one"]
    assert timed.forward_flops == teacher.forward_flops
    assert timed.inference_s != teacher.inference_s
