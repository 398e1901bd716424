"""Entrants measured in turn in one process (A B C A B C ...), so that what slows the machine slows all of them alike.

Each turn is a fixed number of steps; ratios are formed within a round, so a drift between rounds cancels.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from benchmarks.proofs import Witness, compiles, forget_graphs, nothing_compiles, runs_compiled, sees
from benchmarks.results import BenchmarkResult, CaseResult, EntrantResult
from vicinal.errors import VicinalError
from vicinal.machine import environment, keep_freed_memory

LONG_TURNS = 5  # a step that fills so many turns and learns nothing is warm after one


@dataclass
class Running:
    """An entrant that stands ready: every `next(steps)` does one step and says how many units it was.

    The lists may be filled as late as the first step, which is not timed.
    """

    steps: Iterator[int]
    units_per_step: int
    learning: list[nn.Module] = field(default_factory=list)  # must have changed after the turns
    frozen: list[nn.Module] = field(default_factory=list)  # must not have
    sees: list[tuple[nn.Module, int]] = field(default_factory=list)  # images that a network is shown in each step
    compiled: int = 0  # compiled networks that a step must pass through
    keeps_memory: bool = (
        False  # freed memory is kept, as the product asks its allocator; the others have their system's way
    )
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Entrant:
    """One way to do the work of a case."""

    name: str
    title: str
    make: Callable[[], Running] | None  # None where it is left out
    note: str = ""
    left_out: str | None = None
    learns: bool = True  # whether its networks must have changed


@dataclass(frozen=True)
class Settings:
    """How long and on what."""

    rounds: int = 7
    turn_s: float = 1.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    quick: bool = False
    compiled: bool = True
    clock: Callable[[], float] = time.perf_counter

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def no_compiler(self) -> str | None:
        """Why compiled entrants are left out, or None."""
        if not self.compiled:
            return "left out with --no-compiled"
        compiler = os.environ.get("CXX", "g++")
        if self.device.type == "cpu" and shutil.which(compiler) is None:
            return f"torch.compile needs a C++ compiler and there is no {compiler} here"
        return None


class Talk:
    """What a person sees: a bar for the turns on a terminal, plain lines elsewhere; on stderr."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars: Progress | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeRemainingColumn(compact=True))
            self._bars = Progress(*columns, console=self._console)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    @contextlib.contextmanager
    def turns(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """A function to be called after each of `total` turns."""
        if self._bars is None:
            yield lambda: None
            return
        bars, task = self._bars, self._bars.add_task(title, total=total)
        try:
            yield lambda: bars.advance(task)
        finally:
            bars.remove_task(task)


def measure(title: str, entrants: Sequence[Entrant], settings: Settings, talk: Talk) -> tuple[EntrantResult, ...]:
    """Warm every entrant up, prove what it does, and time its turns among the others'.

    Raises:
        ProofError: an entrant does not do what it says.
    """
    running: dict[str, Running] = {}
    steps: dict[str, int] = {}
    forget_graphs()
    try:
        for entrant in entrants:
            if entrant.make is None:
                talk.say(f"{title}: {entrant.title} left out: {entrant.left_out}")
                continue
            started = settings.clock()
            ready = running[entrant.name] = entrant.make()
            with compiles(f"{title}: {entrant.title}") if ready.compiled else contextlib.nullcontext():
                steps[entrant.name] = _warm(entrant, ready, settings)
            took, count = settings.clock() - started, steps[entrant.name]
            talk.say(f"{title}: {entrant.title} is warm after {took:.0f} s, {count} step{'s' * (count > 1)} a turn")
        seconds = _take_turns(title, entrants, running, steps, settings, talk)
    finally:
        gc.unfreeze()
        for ready in running.values():
            ready.close()
    return tuple(
        EntrantResult(
            name=e.name,
            title=e.title,
            note=e.note,
            left_out=e.left_out if e.make is None else None,
            steps_per_turn=steps.get(e.name, 0),
            units_per_step=running[e.name].units_per_step if e.name in running else 0,
            seconds=tuple(seconds.get(e.name, ())),
        )
        for e in entrants
    )


def _warm(entrant: Entrant, ready: Running, settings: Settings) -> int:
    """Compile, prove what a step is, and find how many steps fill a turn."""
    first = _seconds(lambda: _step(entrant, ready), settings)  # compiles and allocates
    if first > LONG_TURNS * settings.turn_s and not ready.compiled and not ready.sees:
        return 1
    sees(entrant.name, lambda: _step(entrant, ready), ready.sees)  # meets what the first step left behind
    if ready.compiled:
        runs_compiled(entrant.name, lambda: _step(entrant, ready), ready.compiled)
    steps, seconds = 0, 0.0
    while steps == 0 or seconds < settings.turn_s:
        seconds += _seconds(lambda: _step(entrant, ready), settings)
        steps += 1
    return steps


def _seconds(work: Callable[[], object], settings: Settings) -> float:
    settings.synchronize()
    started = settings.clock()
    work()
    settings.synchronize()
    return settings.clock() - started


def _step(entrant: Entrant, ready: Running) -> None:
    units = next(ready.steps)
    if units != ready.units_per_step:
        raise VicinalError(f"{entrant.name}: a step did {units} units, not {ready.units_per_step}")


def _turn(entrant: Entrant, ready: Running, steps: int) -> None:
    for _ in range(steps):
        _step(entrant, ready)


def _take_turns(
    title: str,
    entrants: Sequence[Entrant],
    running: dict[str, Running],
    steps: dict[str, int],
    settings: Settings,
    talk: Talk,
) -> dict[str, list[float]]:
    timed = [e for e in entrants if e.name in running]
    witnesses = [Witness(e.name, running[e.name].frozen, running[e.name].learning, e.learns) for e in timed]
    seconds: dict[str, list[float]] = {e.name: [] for e in timed}
    gc.collect()
    gc.freeze()  # what stands ready need not be looked through in anybody's turn
    with talk.turns(title, settings.rounds * len(timed)) as done:
        for number in range(settings.rounds):
            for entrant in timed:
                ready = running[entrant.name]
                keep_freed_memory(ready.keeps_memory)
                if steps[entrant.name] > 1:
                    _step(entrant, ready)  # untimed: caches and the heap are somebody else's yet
                with nothing_compiles(f"{title}: {entrant.title}"):
                    turn = _seconds(lambda: _turn(entrant, ready, steps[entrant.name]), settings)  # noqa: B023
                seconds[entrant.name].append(turn)
                done()
            talk.say(f"{title}: round {number + 1} of {settings.rounds} done")
    for witness in witnesses:
        witness.check()
    return seconds


def median_seconds(work: Callable[[], object], settings: Settings) -> float:
    """Median over the rounds of the seconds of a call, each timed over as many calls as fill a tenth of a turn."""
    work()
    taken = []
    for _ in range(settings.rounds):
        started, calls = settings.clock(), 0
        while calls == 0 or settings.clock() - started < settings.turn_s / 10:
            work()
            settings.synchronize()
            calls += 1
        taken.append((settings.clock() - started) / calls)
    return sorted(taken)[len(taken) // 2]


def result_of(benchmark: str, cases: Sequence[CaseResult], settings: Settings, command: str) -> BenchmarkResult:
    """The cases with machine, threads and versions."""
    described: dict[str, Any] = environment(settings.device)
    described["load_average_1min"] = round(os.getloadavg()[0], 2)
    return BenchmarkResult(
        schema=1,
        benchmark=benchmark,
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        quick=settings.quick,
        rounds=settings.rounds,
        turn_s=settings.turn_s,
        environment=described,
        cases=tuple(cases),
    )
