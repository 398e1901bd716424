"""What a person sees while a study runs: rich bars on a terminal and in a notebook, plain lines elsewhere. Writes to stderr."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from vicinal.workspace.format import format_seconds
from vicinal.workspace.terminal import printable, say

PLAIN_LINE_SECONDS = 10.0
SHOWN_AFTER_SECONDS = 2.0
EpochListener = Callable[[str, Mapping[str, Any], Mapping[str, Any]], None]
_shown: list[Progress] = []  # bars on the terminal now, since two such displays would overwrite each other


@dataclass(frozen=True)
class Beat:
    """How far the training of a job, or a prediction, is."""

    title: str
    what: str  # "training", "measuring" or the like
    done: int  # images
    total: int
    epoch: int = 0
    epochs: int = 0  # 0 where nothing is trained
    loss: float | None = None


def _new_bars(console: Console, *, transient: bool = False) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=transient,
    )


class StudyProgress:
    """Bars (or lines) for the study and the run in hand.

    Args:
        total_images: images that all runs to do will pass through in training.
        console: where to; default: stderr.
        name: of the bar of all of it; None: there is none, and no time that all of it takes.
        lines_only: say what stays, and nothing of what is going on: somebody else shows it, from `watched`.
    """

    def __init__(
        self,
        total_images: int,
        console: Console | None = None,
        name: str | None = "study",
        lines_only: bool = False,
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._total, self._done = total_images, 0
        self._started = time.monotonic()
        self._worked = 0
        self._listeners: list[EpochListener] = []
        self._watchers: list[Callable[[Beat], None]] = []
        self._numbers: dict[str, int] = {}
        self._name, self._lines_only = name, lines_only
        self._bars: Progress | None = None
        if (self._console.is_terminal or self._console.is_jupyter) and not lines_only:
            self._bars = _new_bars(self._console)
            self._study_bar = self._bars.add_task(
                name or "", total=max(total_images, 1), detail="", visible=name is not None
            )

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
            _shown.append(self._bars)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            _shown.remove(self._bars)

    def say(self, text: str) -> None:
        """One line that stays."""
        try:
            self._console.print(Text(printable(text)))
        except OSError:  # a full disk behind it: training goes on unseen
            self._console.quiet = True

    def listen(self, listener: EpochListener) -> None:
        """Have someone told of every epoch."""
        self._listeners.append(listener)

    @property
    def is_heard(self) -> bool:
        """Whether someone is told of every epoch."""
        return bool(self._listeners)

    @contextlib.contextmanager
    def watched(self, watcher: Callable[[Beat], None]) -> Iterator[None]:
        """Have someone told how far the work in hand is, each time that something of it is done."""
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    def _tell(self, beat: Beat) -> None:
        for watcher in self._watchers:
            watcher(beat)

    def epoch(self, run: str, config: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
        """An epoch of a run ended.

        Args:
            run: name of its folder; config: what defines it, as plain values; entry: its line of the log.
        """
        for listener in self._listeners:
            listener(run, config, entry)

    def number(self, runs: Sequence[str]) -> None:
        """Take note of a study's runs, in the order of their training, so that titles say which of them is in hand."""
        self._numbers = {run: number for number, run in enumerate(runs, 1)}

    def title(self, name: str, seed: int, runs: Sequence[str]) -> str:
        """What the progress of a run is called, as in "run 7 of 20, seed 0, kd-T2-big"; of runs trained together as in "runs 7 to 9
        of 20, seed 0, kd-T2-big and 2 more".

        Args:
            name: of the first run.
            runs: as `number` got them.
        """
        more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        numbers = sorted(self._numbers[run] for run in runs if run in self._numbers)
        place = ""
        if numbers:
            several = len(numbers) > 1
            ends = f"{numbers[0]} to {numbers[-1]}" if several else f"{numbers[0]}"
            place = f"run{'s' if several else ''} {ends} of {len(self._numbers)}, "
        return f"{place}seed {seed}, {name}{more}"

    def run(self, title: str, total_images: int, done_images: int) -> RunProgress:
        """The progress of one run, of whose images some may be done already (a run that continues)."""
        self._advance(done_images, worked=False)
        return RunProgress(self, title, total_images, done_images)

    def inference(self, title: str, total_images: int, what: str = "measuring") -> InferenceProgress:
        """The progress of a trained network predicting the images that it is measured by, or `what` else."""
        return InferenceProgress(self, title, total_images, what)

    def _advance(self, images: int, worked: bool = True) -> None:
        self._done += images
        self._worked += images if worked else 0
        if self._bars is not None:
            self._bars.update(self._study_bar, completed=self._done)

    def _time_left(self) -> str:
        seconds = time.monotonic() - self._started
        if not self._worked:
            return "?"
        return format_seconds(seconds * (self._total - self._done) / self._worked)

    def _says_lines(self) -> bool:
        """Whether what is going on is told in lines."""
        return self._bars is None and not self._lines_only


class RunProgress:
    """The progress of one run: a bar that goes when the run ends, or a line every ten seconds."""

    def __init__(self, study: StudyProgress, title: str, total_images: int, done_images: int) -> None:
        self._study, self._title, self._total, self._done = study, title, total_images, done_images
        self._started = self._last_line = time.monotonic()
        self._worked = 0
        if study._bars is not None:
            self._bar = study._bars.add_task(
                printable(title), total=max(total_images, 1), completed=done_images, detail=""
            )
        elif study._says_lines():
            study.say(f"{title}: {'continues' if done_images else 'starts'}")
        study._tell(Beat(title, "training", done_images, total_images))

    def advance(self, images: int, epoch: int, epochs: int, loss: float) -> None:
        """`images` more were trained on; the loss is the mean over them."""
        self._done += images
        self._worked += images
        self._study._advance(images)
        now = time.monotonic()
        speed = self._worked / max(now - self._started, 1e-9)
        detail = f"epoch {epoch}/{epochs}  loss {loss:.4f}  {speed:,.0f} images/s"
        if self._study._bars is not None:
            self._study._bars.update(self._bar, completed=self._done, detail=detail)
        elif self._study._says_lines() and now - self._last_line >= PLAIN_LINE_SECONDS:
            self._last_line = now
            left = f"{format_seconds((self._total - self._done) / speed)} left for the run"
            if self._study._name is not None:
                left += f", {self._study._time_left()} for the study"
            self._study.say(f"{self._title}: {detail}  {left}")
        self._study._tell(Beat(self._title, "training", self._done, self._total, epoch, epochs, loss))

    def finish(self, text: str) -> None:
        """The run is done: one line that stays."""
        self.close()
        self._study.say(f"{self._title}: {text}")

    def close(self) -> None:
        """Nothing of it stays."""
        if self._study._bars is not None:
            self._study._bars.remove_task(self._bar)


class InferenceProgress:
    """The progress of one network predicting: a bar that goes when it is done, or a line every ten seconds."""

    def __init__(self, study: StudyProgress, title: str, total_images: int, what: str = "measuring") -> None:
        self._study, self._title, self._total, self._done = study, title, total_images, 0
        self._what = what
        self._started = self._last_line = time.monotonic()
        if study._bars is not None:
            self._bar = study._bars.add_task(printable(f"{title}: {what}"), total=max(total_images, 1), detail="")
        study._tell(Beat(title, what, 0, total_images))

    def advance(self, images: int) -> None:
        """`images` more, clean or mixed, were answered."""
        self._done += images
        now = time.monotonic()
        speed = self._done / max(now - self._started, 1e-9)
        if self._study._bars is not None:
            self._study._bars.update(self._bar, completed=self._done, detail=f"{speed:,.0f} images/s")
        elif self._study._says_lines() and now - self._last_line >= PLAIN_LINE_SECONDS:
            self._last_line = now
            left = format_seconds((self._total - self._done) / speed)
            self._study.say(f"{self._title}: {self._what}  {speed:,.0f} images/s  {left} left for it")
        self._study._tell(Beat(self._title, self._what, self._done, self._total))

    def finish(self, text: str) -> None:
        """All is predicted: one line that stays, ended by the time it took."""
        if self._study._bars is not None:
            self._study._bars.remove_task(self._bar)
        self._study.say(f"{self._title}: {text} in {format_seconds(time.monotonic() - self._started)}")


class SlowWork:
    """The progress of work that is mostly done before anyone wonders: nothing for two seconds, then a bar, or lines, until it ends.

    Args:
        text: what is done, as in "reading 1,900 images".
        total: of the images that it goes through.
    """

    def __init__(self, text: str, total: int) -> None:
        self._text, self._total, self._done = text, total, 0
        self._lock = threading.Lock()
        self._started = self._last_line = time.monotonic()
        self._visible = self._ended = False
        self._bars: Progress | None = None
        self._own: Progress | None = None
        self._timer = threading.Timer(SHOWN_AFTER_SECONDS, self._show)
        self._timer.daemon = True
        self._timer.start()

    def advance(self, images: int) -> None:
        """`images` more are done; may be called by several threads."""
        with self._lock:
            self._done += images
            if not self._visible:
                return
            now = time.monotonic()
            speed = self._done / max(now - self._started, 1e-9)
            if self._bars is not None:
                self._bars.update(self._bar, completed=self._done, detail=self._detail(speed))
            elif now - self._last_line >= PLAIN_LINE_SECONDS:
                self._last_line = now
                left = format_seconds((self._total - self._done) / speed)
                self._say(f"{self._text}: {self._detail(speed)}  {left} left")

    def restart(self) -> None:
        """It turned out that all has to be done anew."""
        with self._lock:
            self._done, self._started = 0, time.monotonic()

    def end(self) -> None:
        """Nothing of it stays on a terminal."""
        self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._own is not None:
                self._own.stop()
            elif self._bars is not None:
                self._bars.remove_task(self._bar)

    def _detail(self, speed: float) -> str:
        return f"{self._done:,}/{self._total:,}  {speed:,.0f} images/s"

    def _show(self) -> None:
        with self._lock:
            if self._ended:
                return
            console = Console(stderr=True, highlight=False, soft_wrap=True)
            if not (_shown or console.is_terminal or console.is_jupyter):
                self._say(f"{self._text} ...")
            else:
                if not _shown:
                    self._own = _new_bars(console, transient=True)
                    self._own.start()
                self._bars = _shown[-1] if self._own is None else self._own
                self._bar = self._bars.add_task(
                    printable(self._text), total=max(self._total, 1), completed=self._done, detail=""
                )
            self._visible = True

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody can read it
            say(text, sys.stderr)


@contextlib.contextmanager
def shown_if_slow(text: str, total: int) -> Iterator[SlowWork]:
    """Show on stderr what is being done if it is not done after two seconds, and how far it is: a bar, or a line every ten seconds.

    Args:
        text: what is done, as in "reading 1,900 images".
        total: of the images that it goes through, for each of which `SlowWork.advance` is called.
    """
    work = SlowWork(text, total)
    try:
        yield work
    finally:
        work.end()
