"""How time and peak memory grow when images, classes, λ values and arms double, each in a process of its own.

`python -m benchmarks.scaling KIND COUNT [--quick]` is that process; it prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, pairwise
from typing import Any

from benchmarks.harness import Settings, Talk
from benchmarks.results import CaseResult
from vicinal.errors import VicinalError

STARTS = {"images": 20_000, "classes": 100, "lam_values": 11, "arms": 1}
TITLES = {
    "images": "images of the training set: one epoch's plan and 20 steps",
    "classes": "classes: 20 steps",
    "lam_values": "λ values: the curves of 100 pairs",
    "arms": "students on one input stream: 20 steps",
}
DOUBLINGS = 3
STEPS = 20


def scaling(settings: Settings, talk: Talk) -> list[CaseResult]:
    """One case with a row for each size."""
    rows: list[dict[str, Any]] = []
    for kind, start in STARTS.items():
        sizes = list(_doubled(kind, start, 2 if settings.quick else DOUBLINGS + 1, settings.quick))
        measured = [_measured(kind, size, settings) for size in sizes]
        for smaller, larger in pairwise(measured):
            larger["seconds_ratio"] = larger["seconds"] / smaller["seconds"]
        rows += measured
        talk.say(f"scaling: {kind} {' '.join(str(size) for size in sizes)} done")
    title = "tiny pair, eager fp32, each size in a process of its own"
    return [CaseResult(name="tiny", title=title, unit="s and MiB", reference="", rows=tuple(rows))]


def _doubled(kind: str, start: int, count: int, quick: bool) -> Iterator[int]:
    """Sizes that double; a grid of λ doubles its intervals, since it holds both ends."""
    size = start // 100 if quick and kind == "images" else start
    for _ in range(count):
        yield size
        size = 2 * size - 1 if kind == "lam_values" else 2 * size


def _measured(kind: str, size: int, settings: Settings) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.scaling", kind, str(size), *(["--quick"] if settings.quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VicinalError(f"scaling {kind} {size}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    value: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {"kind": kind, "title": TITLES[kind], "size": size, **value}


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


def _work(kind: str, size: int, quick: bool) -> Callable[[], None]:
    import torch

    from benchmarks.curve import Task
    from benchmarks.curve import ours as our_curve
    from benchmarks.ours import KD_MIXUP, How, ours, plan
    from benchmarks.pairs import PAIRS
    from vicinal.config import VicinitySpec

    device, pair, steps = torch.device("cpu"), PAIRS["tiny"], 2 if quick else STEPS
    if kind == "lam_values":
        task = Task.of(pair, VicinitySpec(pairs=4 if quick else 100, lam_points=size), device)

        def asked() -> None:
            with torch.inference_mode():
                our_curve(task)

        return asked
    if kind == "images":
        pair = replace(pair, images=size)
    if kind == "classes":
        pair = replace(pair, classes=size)
    running = ours(pair, device, [KD_MIXUP] * (size if kind == "arms" else 1), How())

    stream, epochs = plan(pair, KD_MIXUP), count(1)

    def stepped() -> None:
        stream.batch(next(epochs), 0)  # an epoch is planned as a whole
        for _ in range(steps):
            next(running.steps)

    return stepped


def main(arguments: list[str]) -> None:
    """Do the work once to warm up and once timed; print seconds and the memory that it took beyond what stood before."""
    kind, size = arguments[0], int(arguments[1])
    _work("arms", 1, quick=True)()  # what every size needs: libraries, their buffers, the first allocations
    base = _peak_mib()
    work = _work(kind, size, "--quick" in arguments)
    started = time.perf_counter()
    work()
    first = time.perf_counter() - started
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {"first_seconds": first, "seconds": seconds, "peak_mib": _peak_mib(), "grown_mib": _peak_mib() - base}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
