"""Teachers whose parameters lie spread over processes: the numbers of one process, whatever is open at once, and clear refusals."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from small_runs import CPU, a_teacher
from test_processes import environment
from torch import Tensor, nn

from tiny_studies import Answer, merged, weights_of
from vicinal.errors import UsageError
from vicinal.training import own_share, shard

PIXELS = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def numbers(out: Path) -> list[tuple[Any, ...]]:
    results = json.loads((out / "results.json").read_text())
    entries = [*results["teachers"], *results["students"]]
    return [(entry["run"], entry["nll"], entry["vicinity"], entry["corruptions"]) for entry in entries]


def test_several_teachers_spread_at_once_give_the_weights_and_numbers_of_one_process(
    smallest: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path, vicinal: Callable[..., Answer]
) -> None:
    """Two of one architecture and an ensemble of them, asked in turn about each severity of a corruption."""
    one = smallest["teachers"]["one"]
    changes = {
        "teachers": {"one": one, "two": {**one, "epochs": 3}},
        "ensembles": {"both": ["one", "two"]},
        "arms": [{"name": "linear_target", "teachers": ["both"]}],
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
    assert len(alone) == 4
    assert alone[0][1:] != alone[1][1:]


@pytest.mark.usefixtures("group")
def test_a_network_answers_alike_once_it_is_spread_and_leaves_no_memory_behind() -> None:
    network = a_teacher().eval().requires_grad_(False)
    expected = network(PIXELS)
    shard(network, CPU, PIXELS)
    assert own_share(network) == 1
    assert torch.equal(network(PIXELS), expected)
    assert network(PIXELS[:0]).shape == (0, 4)
    first = weakref.ref(next(network.parameters()))
    del network
    gc.disable()
    try:
        shard(a_teacher().eval().requires_grad_(False), CPU, PIXELS)
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
        shard(nn.Flatten(), CPU, PIXELS)
    with pytest.raises(UsageError, match=r"this teacher cannot be shared out .*; leave it out") as caught:
        shard(PastItsBlock().eval().requires_grad_(False), CPU, PIXELS)
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
        shard(Lost().eval().requires_grad_(False), CPU, PIXELS)
