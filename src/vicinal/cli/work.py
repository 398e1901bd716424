"""`vicinal work`: one worker more on a study's folder."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import Any

from vicinal.cli.study_arguments import prepare_process
from vicinal.errors import UsageError
from vicinal.workspace import RemoteFolder, RemoteJobs, StudyProgress, folder_or_url, read_work, say


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "work",
        help="train runs of a study's folder beside others that do, until nothing is left to take",
        description="Take runs that nobody has from a study's folder, train them and predict with them, until nothing is left. "
        "vicinal run writes the folder, and measures and reports when all is done; any number of workers may help it, on "
        "this machine or wherever else the folder is seen.",
    )
    parser.add_argument(
        "folder",
        metavar="DIR",
        type=folder_or_url,
        help="a study's folder, or its URL, where nothing else is shared: what is done here is brought there",
    )
    parser.add_argument("--retry", action="store_true", help="try again what failed")
    parser.add_argument("--driven", action="store_true", help=argparse.SUPPRESS)  # by a driver that shows what is done
    parser.set_defaults(call=work)


def work(parsed: argparse.Namespace) -> None:
    """Work until nothing is left, then say so; what failed is raised, unless a driver looks after it."""
    remote, folder = None, parsed.folder
    if isinstance(folder, str):
        remote = RemoteJobs(RemoteFolder(folder))
        remote.fetch_jobs()
        folder = remote.local
    known, out = read_work(folder), folder.absolute()
    if not os.access(out, os.W_OK | os.X_OK):
        raise UsageError(f"nothing may be written into {out}; a worker leaves weights there")
    if parsed.driven:
        _end_with_input()
    if Path(known.folder).is_dir():
        os.chdir(known.folder)  # that the study's relative paths start from
    from vicinal.study import study_of_work
    from vicinal.study import work as work_on

    prepare_process(study_of_work(out, known))
    with StudyProgress(0, name=None, lines_only=parsed.driven) as progress:
        found = work_on(out, progress, parsed.retry, remote)
    if not parsed.driven:
        found.raise_failure()
        say(f"nothing is left to do in {parsed.folder}; vicinal run with the study measures it and writes its report")


def _end_with_input() -> None:
    """Stop as by SIGTERM when the standard input ends, as it does with the driver, however that ends."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):  # not by sys.stdin, whose lock a thread must not hold when Python ends
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
