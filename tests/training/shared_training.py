"""What torchrun starts in the tests of several processes: `python shared_training.py STUDY OUT [WHAT ...]`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import save_file
from small_runs import CPU, a_teacher, network, own_share, run_spec, training_data, without_batch_norms
from torch import nn

from tiny_studies import undrawn
from vicinal.cli import main, run
from vicinal.config import ARMS, NetworkSpec, Objective, RunSpec
from vicinal.data import ImageSet
from vicinal.distillation import answers
from vicinal.training import SINGLE, Learner, Parallel, learner, processes, shard, sharing, train_steps
from vicinal.workspace import RunFolder, StudyProgress

build, fused = learner.build_classifier, answers.fused


def a_run(objective: Objective, **changes: Any) -> RunSpec:
    """41 images in batches of 8: the last has one row, of which one process has none."""
    spec = network(epochs=2, batch_size=8, **changes)
    teacher = {"teacher": "t", "teacher_precision": "fp32"} if objective.uses_teacher else {}
    return run_spec(objective, network=spec, **teacher)


RUNS = {
    "parts": a_run(ARMS["mixup"]),  # in data mode given to a network without batch norms two rows at once
    "both": a_run(
        Objective(alpha=0.4, beta=0.6, temperature=3.0, mixing=ARMS["mixup"].mixing),
        model="vicinal_resnet8",
        head_warmup_epochs=1,
    ),
    "linear": a_run(ARMS["linear_target"], optimizer="sgd"),
    "features": a_run(
        Objective(alpha=0.4, beta=0.6, mixing=ARMS["mixup"].mixing, terms={"feature_regression": 0.5}),
        head_warmup_epochs=1,
    ),
}


def made_up() -> ImageSet:
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(41) % 4
    pixels = torch.randint(0, 120, (41, 20, 20, 1), generator=generator)
    return ImageSet((pixels + 30 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels)


def refuse_no_rows(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """As windowed attention does."""
    assert len(inputs[0])


def in_float64(out: Path) -> None:
    """Train every run in one process alone, and by rows in all of them."""

    def double(spec: NetworkSpec, *arguments: Any) -> Any:
        network = build(spec, *arguments)
        if spec == RUNS["parts"].network:
            without_batch_norms(network).register_forward_pre_hook(refuse_no_rows)
        return network.double()

    learner.build_classifier = double
    answers.fused = lambda network, _: network  # into float32
    with processes(CPU) as team:
        rows = sharing(team, "data")
        for position, (name, spec) in enumerate(RUNS.items()):
            if position % 2 == team.number:
                trained(spec, out / f"float64-alone-{name}", SINGLE)
        for name, spec in RUNS.items():
            trained(spec, out / f"float64-shared-{name}", rows)
            if spec.objective.uses_teacher:
                trained(spec, out / f"float64-spread-{name}", sharing(team, "data", shards_teacher=True))
    learner.build_classifier, answers.fused = build, fused


def trained(spec: RunSpec, path: Path, parallel: Parallel) -> None:
    """Leave the weights as PATH-RANK.safetensors."""
    images = made_up()
    data = training_data(images, images, spec)
    size = 2 if spec == RUNS["parts"] and parallel is not SINGLE else None
    one = Learner(RunFolder(path, spec), data, CPU, False, print, parallel, size)
    teacher = a_teacher().double() if spec.objective.uses_teacher else None
    for _ in train_steps([one], data, teacher, StudyProgress(1, Console(quiet=True)), 1e9, None, parallel):
        pass
    weights = {key: value.contiguous() for key, value in one.network.state_dict().items()}
    save_file(weights, f"{path}-{parallel.number}.safetensors")


def stopped(step: int) -> None:
    """Have all processes killed, as far as their training can tell, before a step of a training that they share."""
    learn = Learner.learn

    def until(self: Learner, *arguments: Any) -> None:
        if self.run.objective.uses_teacher and self.state.step == step:
            raise KeyboardInterrupt
        learn(self, *arguments)

    Learner.learn = until  # type: ignore[method-assign]


OWN_SHARES: list[float] = []


def noted_shares() -> None:
    """Have every network that is spread leave in OWN_SHARES how much of it lies in this process."""
    from vicinal.study import spread
    from vicinal.training import loop

    def noted(network: nn.Module, pixels: torch.Tensor, device: torch.device) -> None:
        shard(network, pixels, device)
        OWN_SHARES.append(round(own_share(network), 2))

    spread.shard = loop.shard = noted  # type: ignore[attr-defined]


if __name__ == "__main__":
    noted_shares()
    study, out, what = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    run.FIRST_TO_SPEAK_S = 0
    if "float64" in what:
        in_float64(out)
    with undrawn():
        seldom = "runtime.checkpoint_seconds=20"
        codes = [main(["run", study, "--out", str(out / n), seldom]) for n in ("fresh", "begun_by_one") if n in what]
        if "rows" in what:
            rows = ["runtime.parallel=data", "arms=[linear_target]", seldom]
            codes.append(main(["run", study, "--out", str(out / "rows"), *rows]))
        if "spread" in what:
            spread = ["runtime.shard_teacher=true", seldom]
            codes.append(main(["run", study, "--out", str(out / "spread"), *spread]))
            rows = ["runtime.parallel=data", "arms=[linear_target]", "measures.vicinity.precision_nats=0.5"]
            codes.append(main(["run", study, "--out", str(out / "spread_rows"), *spread, *rows]))
            print(f"own share {OWN_SHARES}", file=sys.stderr)
        if "begun_by_two" in what:
            stopped(7)
            with contextlib.suppress(SystemExit):  # of a process that is not the main one and has lost that
                codes.append(130 - main(["run", study, "--out", str(out / "begun_by_two")]))
    sys.exit(max(codes, default=0))
