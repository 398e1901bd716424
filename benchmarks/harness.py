"""Entrants take turns (A B C A B C ...), each in a process of its own that sleeps meanwhile: what slows one slows all.

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
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from benchmarks.proofs import Witness, compiles, forget_graphs, nothing_compiles, runs_compiled, sees
from benchmarks.results import BenchmarkResult, CaseResult, EntrantResult
from vicinal.errors import VicinalError
from vicinal.workspace import environment, keep_freed_memory

Value = TypeVar("Value")
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
    keeps_memory: bool = False  # freed memory is kept, as the product asks for; the others have their system's way
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
    forked: bool = False  # every entrant in a process of its own
    clock: Callable[[], float] = time.perf_counter

    def apart(self, work: Callable[[], Value]) -> Value:
        """The value of a computation that leaves no trace in a process that is still to be forked. Raises what it raises."""
        return apart(work) if self.forked else work()

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
    places: dict[str, _Place] = {}
    steps: dict[str, int] = {}
    units: dict[str, int] = {}
    forget_graphs()
    try:
        for entrant in entrants:
            if entrant.make is None:
                talk.say(f"{title}: {entrant.title} left out: {entrant.left_out}")
                continue
            place = places[entrant.name] = (_OwnProcess if settings.forked else _Place)(title, entrant, settings)
            started = settings.clock()
            steps[entrant.name], units[entrant.name] = place.do("warm")
            took, count = settings.clock() - started, steps[entrant.name]
            talk.say(f"{title}: {entrant.title} is warm after {took:.0f} s, {count} step{'s' * (count > 1)} a turn")
        seconds = _take_turns(title, places, settings, talk)
    finally:
        for place in places.values():
            place.do("close")
    return tuple(
        EntrantResult(
            name=e.name,
            title=e.title,
            note=e.note,
            left_out=e.left_out if e.make is None else None,
            steps_per_turn=steps.get(e.name, 0),
            units_per_step=units.get(e.name, 0),
            seconds=tuple(seconds.get(e.name, ())),
        )
        for e in entrants
    )


class _Place:
    """Where an entrant stands between its turns: here, in this process."""

    def __init__(self, title: str, entrant: Entrant, settings: Settings) -> None:
        self._title, self._entrant, self._settings = f"{title}: {entrant.title}", entrant, settings
        self._ready: Running | None = None
        self._witness: Witness | None = None
        self._steps = 0

    def do(self, what: str) -> Any:
        """warm: (steps a turn, units a step); watch; turn: its seconds; check; close."""
        match what:
            case "warm":
                return self._warm()
            case "watch":
                ready = self._running
                self._witness = Witness(self._entrant.name, ready.frozen, ready.learning, self._entrant.learns)
                gc.collect()
                gc.freeze()  # what stands ready need not be looked through in anybody's turn
            case "turn":
                return self._turn()
            case "check":
                assert self._witness is not None
                self._witness.check()
            case "close":
                gc.unfreeze()
                if self._ready is not None:
                    self._ready.close()
        return None

    @property
    def _running(self) -> Running:
        assert self._ready is not None
        return self._ready

    def _warm(self) -> tuple[int, int]:
        assert self._entrant.make is not None
        ready = self._ready = self._entrant.make()
        if ready.keeps_memory and self._settings.forked:
            keep_freed_memory()
        with compiles(self._title) if ready.compiled else contextlib.nullcontext():
            self._steps = _warm(self._entrant, ready, self._settings)
        return self._steps, ready.units_per_step

    def _turn(self) -> float:
        _step(
            self._entrant, self._running
        )  # untimed: memory that slept must wake, and the caches are somebody else's yet
        with nothing_compiles(self._title):
            return _seconds(lambda: _turn(self._entrant, self._running, self._steps), self._settings)


class _OwnProcess(_Place):
    """A process of its own, so that no entrant has another's heap, threads or graphs; it sleeps while it is not its turn.

    Forked, which this process may be as long as it has not computed anything itself (see `apart`).
    """

    def __init__(self, title: str, entrant: Entrant, settings: Settings) -> None:
        super().__init__(title, entrant, settings)
        self._here, there = Pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._here.close()
            _obey(super().do, there)
        there.close()

    def do(self, what: str) -> Any:
        try:
            self._here.send(what)
            failed, value = self._here.recv()
        except (EOFError, OSError):
            if what == "close":
                return None
            raise VicinalError(f"{self._title}: its process ended; is there enough memory?") from None
        if what == "close":
            os.waitpid(self._pid, 0)
        if failed:
            raise value
        return value


def _obey(do: Callable[[str], Any], orders: Connection) -> NoReturn:
    """Do what is told until the end, and leave without the parent's clean-up."""
    what = ""
    while what != "close":
        try:
            what = orders.recv()
            orders.send((False, do(what)))
        except EOFError:
            break
        except BaseException as error:
            orders.send((True, error if isinstance(error, VicinalError) else VicinalError(f"{what}: {error!r}")))
    os._exit(0)


def apart(work: Callable[[], Value]) -> Value:
    """The value of a computation in a forked process, so that this one may go on being forked. Raises what it raises."""
    here, there = Pipe()
    pid = os.fork()
    if pid == 0:
        here.close()
        _obey(lambda what: work() if what == "work" else None, there)
    there.close()
    here.send("work")
    failed, value = here.recv()
    here.send("close")
    os.waitpid(pid, 0)
    if failed:
        raise value
    return cast(Value, value)


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


def _take_turns(title: str, places: dict[str, _Place], settings: Settings, talk: Talk) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in places}
    for place in places.values():
        place.do("watch")
    with talk.turns(title, settings.rounds * len(places)) as done:
        for number in range(settings.rounds):
            for name, place in places.items():
                seconds[name].append(place.do("turn"))
                done()
            talk.say(f"{title}: round {number + 1} of {settings.rounds} done")
    for place in places.values():
        place.do("check")
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
