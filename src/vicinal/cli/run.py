"""`vicinal run`: train, measure and report a study, or continue it; under torchrun in several processes."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import time
from pathlib import Path
from typing import Any

from vicinal.cli.launch import launch
from vicinal.cli.report import print_report
from vicinal.cli.study_arguments import add_study_arguments, prepare_process, study_and_folder
from vicinal.config import StudySpec
from vicinal.errors import VicinalError
from vicinal.workspace import FORKS, check_not_held, launched, nursery, printable, say

FIRST_TO_SPEAK_S = 5.0  # that the main process has to say what it has met, and torchrun to end the others


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser("run", help="run a study (or continue it), measure it and write its report")
    add_study_arguments(parser)
    parser.set_defaults(call=run)


def run(parsed: argparse.Namespace) -> None:
    """Run a study and write its report; in a process that is not the main one, take part in it and say nothing."""
    own = launched()
    if own.count > 1:  # before torch is there, whose warnings of every process are for its developers
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if not own.is_main:
        _follow(parsed)
        return
    spec, out = study_and_folder(parsed)
    if own.count == 1 and spec.runtime.devices > 1:
        launch(spec.runtime.devices, parsed.given)
        return
    check_not_held(out)
    _run(parsed, spec, out)
    print_report(out / "report.html")
    if isinstance(parsed.out, str):
        say(f"all of it: {parsed.out}")


def _run(parsed: argparse.Namespace, spec: StudySpec, out: Path) -> None:
    if _wants_warm_workers(spec):
        nursery()  # now, so that it imports while this process does
    prepare_process(spec)
    from vicinal import api

    api.run(spec, parsed.out or out, command=printable(shlex.join(["vicinal", *parsed.given])))


def _wants_warm_workers(spec: StudySpec) -> bool:
    """As far as can be told without torch: several workers that train on the cores of this machine."""
    runtime = spec.runtime
    if not FORKS or launched().count > 1 or runtime.executor != "local" or runtime.workers in (0, 1):
        return False
    return runtime.device == "cpu" or (runtime.device == "auto" and not Path("/dev/nvidiactl").exists())


def _follow(parsed: argparse.Namespace) -> None:
    """`_run` without a word. Whatever ends the main process, too, is its to say."""
    for number in (signal.SIGTERM, signal.SIGINT):  # at once, also while it waits for others: it has nothing to keep
        signal.signal(number, signal.SIG_DFL)
    own = launched()
    try:
        with (
            open(os.devnull, "w", encoding="utf-8") as nowhere,  # noqa: PTH123
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            _run(parsed, *study_and_folder(parsed))
    except VicinalError as error:
        from vicinal.training import LostProcessError

        time.sleep(FIRST_TO_SPEAK_S)
        if isinstance(error, LostProcessError):
            raise SystemExit(error.exit_code) from None
        raise type(error)(f"process {own.number} of {own.count}: {error}") from None
