"""The command line: its parser, exit codes and signals. Heavy imports wait until a verb needs them."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from vicinal.cli import (
    bank,
    check,
    compare,
    completion,
    distill,
    errors,
    export,
    init,
    measure,
    paper,
    plan,
    predict,
    push,
    rank,
    report,
    run,
    schema,
    status,
    studies,
    toy,
    work,
)
from vicinal.errors import VicinalError
from vicinal.version import __version__
from vicinal.workspace import printable, say

INTERRUPTED, TERMINATED = 130, 143  # the shells' numbers for a program ended by Ctrl-C and by kill


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it."""


_EXAMPLES = """\
examples:
  vicinal run quickstart
  vicinal run quickstart --out runs/q seeds=0,1,2 student.epochs=10
  vicinal run quickstart arms.kd_mixup.temperature=2,4,sigma
  vicinal check photos/
  vicinal plan my-study.yaml data.source=photos/
  vicinal bank build my-study.yaml --out runs/mine runtime.bank_gb=10
  vicinal report runs/q
  vicinal measure tf_efficientnet_lite0=weights.pth photos/test
  vicinal paper --html paper.html
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        message = message.replace(", KEY=VALUE", "")  # argparse counts what may be left out among what is required
        self.exit(2, f"vicinal: {printable(message)}; {self.prog} --help shows how\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vicinal",
        description="Train small image classifiers by mixup-based distillation and measure whether their confidence can be trusted.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vicinal {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in (
        run,
        plan,
        work,
        status,
        measure,
        compare,
        errors,
        init,
        distill,
        rank,
        check,
        bank,
        report,
        export,
        predict,
        push,
        paper,
        toy,
        studies,
        schema,
        completion,
    ):
        verb.add_parser(verbs)
    verbs.metavar = f"{{{','.join(verbs.choices)}}}"
    return parser


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM stops the command as Ctrl-C does; the caller's own handler comes back behind it."""
    try:
        before = signal.signal(signal.SIGTERM, _terminate)
    except ValueError:  # only a main thread may ask for signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 for a failure, 2 for the user's mistake, 130 for Ctrl-C, 143 for SIGTERM."""
    _replace_closed_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parse(given)
    parsed.given = given
    try:
        with _terminable():
            parsed.call(parsed)
            sys.stdout.flush()
    except VicinalError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt as stop:
        _complain("stopped; the same command continues from the last checkpoint")
        return TERMINATED if isinstance(stop, _Terminated) else INTERRUPTED
    except BrokenPipeError:  # nobody reads on, as with | head
        _discard_output()
    except OSError as error:  # without a file name it is the standard output, for example on a full disk
        if error.errno is None:  # no failure of the system: a library's own error
            raise
        _discard_output()
        _complain(f"{_text(error.filename) if error.filename else 'the standard output'}: {error.strerror}")
        return 1
    return 0


def _replace_closed_streams() -> None:
    """Empty streams for a process that was started without (as by >&-), so that no file it opens takes their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _complain(message: str) -> None:
    """The one line of a mistake or failure; lost where nobody can read it."""
    with contextlib.suppress(OSError):
        say(f"vicinal: {message}", sys.stderr)
        sys.stderr.flush()


def _text(path: object) -> str:
    """A file's name as an OSError holds it: text, bytes, a path or a number."""
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)


def _discard_output() -> None:
    """Let Python's own flush at the end succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(*_: object) -> None:
    raise _Terminated


def _parse(given: list[str]) -> argparse.Namespace:
    parser = _parser()
    parsed, rest = parser.parse_known_args(given)
    # argparse gives up on KEY=VALUE words that stand behind an option; they are overrides like those before it.
    stray = [word for word in rest if word.startswith("-") or not hasattr(parsed, "overrides")]
    if stray:
        parser.prog = " ".join(["vicinal", parsed.verb, *([parsed.bank_verb] if parsed.verb == "bank" else [])])
        parser.error(f"unrecognized arguments: {' '.join(stray)}")
    if rest:
        parsed.overrides = [*parsed.overrides, *rest]
    parsed.parser = parser
    return parsed
