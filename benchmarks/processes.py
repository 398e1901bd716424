"""How many images a second a training takes in as many processes as torchrun started: `scripts/gpu_scale.sh` starts them.

`torchrun --nproc-per-node N -m benchmarks.processes OUT [--pair NAME] [--repeats R]` adds one line of JSON for each way of sharing and
repeat to OUT, with `--shard-teacher` also for each with the teacher's parameters spread over the processes;
`python -m benchmarks.processes OUT --table` makes a table of them.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.ours import KD_MIXUP, How, ours
from benchmarks.pairs import GPU_PAIRS, PAIRS
from vicinal.training import Parallel, processes, sharing
from vicinal.workspace import launched

WAYS: tuple[Literal["teacher", "data"], ...] = ("teacher", "data")
WARM_STEPS, TIMED_STEPS = 5, 40


def timed(pair_name: str, batch: int | None, repeats: int, gpu: bool, shards: bool = False) -> Iterator[dict[str, Any]]:
    """Images a second of every way of sharing, by the main process's clock, in each repeat; empty in the others."""
    own = launched()
    device = torch.device("cuda", own.on_machine) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    pair = (PAIRS | GPU_PAIRS)[pair_name]
    pair = replace(pair, batch=batch, images=batch * (pair.images // batch or 1)) if batch else pair
    how = How("bf16" if gpu else "fp32")
    with processes(device) as team:
        spread = (False, True) if shards else (False,)
        for way, is_spread in product(WAYS, spread) if own.count > 1 else [(WAYS[0], False)]:
            running = ours(pair, device, [KD_MIXUP], how, sharing(team, way, is_spread))
            named = f"{way}, spread" if is_spread else way
            try:
                for repeat in range(repeats):
                    for _ in range(WARM_STEPS):
                        next(running.steps)
                    _settle(team, device)
                    started = time.perf_counter()
                    images = sum(next(running.steps) for _ in range(TIMED_STEPS))
                    _settle(team, device)
                    seconds = time.perf_counter() - started
                    if team.is_main:
                        rate = images / seconds
                        yield {
                            "processes": own.count,
                            "way": named if own.count > 1 else "alone",
                            "repeat": repeat,
                            "images_per_second": round(rate, 2),
                            "pair": pair.title,
                            "device": torch.cuda.get_device_name(device) if gpu else platform.processor() or "CPU",
                            "torch": torch.__version__,
                        }
            finally:
                running.close()


def _settle(team: Parallel, device: torch.device) -> None:
    """Wait for this device, and for the main process."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    team.agree(None)


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Medians over repeats with their range, and how many times as fast as one process."""
    groups: dict[tuple[int, str], list[float]] = {}
    for line in lines:
        groups.setdefault((line["processes"], line["way"]), []).append(line["images_per_second"])
    alone = statistics.median(groups[1, "alone"]) if (1, "alone") in groups else None
    first = lines[0]
    rows = [
        f"{first['pair']}; {first['device']}; torch {first['torch']}; {TIMED_STEPS} steps a repeat",
        "",
        "| processes | shared | images/s (median) | lowest to highest | repeats | times one process | of the ideal |",
        "|---|---|---|---|---|---|---|",
    ]
    for (count, way), rates in sorted(groups.items()):
        middle = statistics.median(rates)
        times = "–" if alone is None else f"{middle / alone:.2f}"
        ideal = "–" if alone is None else f"{100 * middle / alone / count:.0f} %"
        spread = f"{min(rates):,.1f} to {max(rates):,.1f}"
        rows.append(f"| {count} | {way} | {middle:,.1f} | {spread} | {len(rates)} | {times} | {ideal} |")
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pair", default="tiny", choices=[*PAIRS, *GPU_PAIRS])
    parser.add_argument("--batch", type=int, help="rows of a batch over all processes; default: the pair's")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--shard-teacher", action="store_true", help="also with the teacher's parameters spread")
    parser.add_argument("--table", action="store_true", help="show what is in OUT")
    parsed = parser.parse_args(arguments)
    if parsed.table:
        print(table([json.loads(line) for line in parsed.out.read_text(encoding="utf-8").splitlines()]), end="")
        return
    for line in timed(parsed.pair, parsed.batch, parsed.repeats, parsed.gpu, parsed.shard_teacher):
        with parsed.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
