"""The command line: `vicinal run`, `plan`, `bank`, `report`, `paper`, `toy`, `studies`. Heavy imports wait until they are needed."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from vicinal import __version__
from vicinal.cli.bank import bank
from vicinal.cli.plan import plan
from vicinal.cli.verbs import paper, report, run, studies, toy
from vicinal.errors import VicinalError

INTERRUPTED, TERMINATED = 130, 143  # the shells' numbers for a program ended by Ctrl-C and by kill


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it."""


_EXAMPLES = """\
examples:
  vicinal run quickstart
  vicinal run quickstart --out runs/q seeds=[0,1,2] student.epochs=10
  vicinal run quickstart arms.kd_mixup.temperature=[2,4,sigma]
  vicinal plan my-study.yaml data.source=photos/
  vicinal bank build my-study.yaml --out runs/mine runtime.bank_gb=10
  vicinal report runs/q
  vicinal paper --html paper.html
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"vicinal: {message}; {self.prog} --help shows how\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vicinal",
        description="Train small image classifiers by mixup-based distillation and measure whether their confidence can be trusted.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vicinal {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="{run,plan,bank,report,paper,toy,studies}")
    run = verbs.add_parser("run", help="run a study (or continue it), measure it and write its report")
    plan = verbs.add_parser("plan", help="say what 'run' with the same arguments would do; spends nothing")
    bank = verbs.add_parser("bank", help="store teachers' answers on one machine, to train students on another")
    bank_verbs = bank.add_subparsers(dest="bank_verb", required=True, metavar="{build,info,verify}")
    build = bank_verbs.add_parser(
        "build", help="train the teachers of a study and store all they are asked (or continue)"
    )
    build.add_argument(
        "--slice",
        metavar="R/W",
        default="0/1",
        help="only part R, from 0 on, of W parts of every batch: one for each machine",
    )
    info = bank_verbs.add_parser("info", help="list the banks of a study folder, or the one in a bank's folder")
    info.add_argument("folder", metavar="DIR", type=Path)
    verify = bank_verbs.add_parser("verify", help="check every stored answer, and ask the teacher some of them again")
    verify.add_argument(
        "--batches", metavar="N", type=int, default=8, help="batches of each bank that are asked again (default: 8)"
    )
    for verb in (run, plan, build, verify):
        verb.add_argument("study", metavar="STUDY", help="a packaged study (vicinal studies lists them) or a YAML file")
        verb.add_argument(
            "overrides", nargs="*", metavar="KEY=VALUE", help="for example seeds=[0,1,2] student.epochs=10"
        )
        verb.add_argument("--out", metavar="DIR", type=Path, help="study folder (default: runs/<name of the study>)")
    report = verbs.add_parser("report", help="write the report of a study folder again")
    report.add_argument("folder", metavar="DIR", type=Path)
    paper = verbs.add_parser(
        "paper", help="the paper's own tables: what they can and cannot be, which claims they support"
    )
    paper.add_argument("--json", metavar="FILE", type=Path, help="write all of it as data")
    paper.add_argument("--html", metavar="FILE", type=Path, help="write all of it as a page that opens offline")
    verbs.add_parser("studies", help="list the packaged studies")
    toy = verbs.add_parser(
        "toy", help="draw the decision boundaries of every arm in two dimensions (the paper's figure 2)"
    )
    toy.add_argument("--out", metavar="DIR", type=Path, default=Path("runs/toy"), help="folder (default: runs/toy)")
    toy.add_argument("--seed", metavar="N", type=int, default=0, help="of the points and the networks (default: 0)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 for a failure, 2 for the user's mistake, 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parse(given)
    try:
        with contextlib.suppress(ValueError):  # only a main thread may ask for signals
            signal.signal(signal.SIGTERM, _terminate)
        match parsed.verb:
            case "run":
                run(parsed, given)
            case "plan":
                plan(parsed)
            case "bank":
                bank(parsed)
            case "report":
                report(parsed.folder)
            case "paper":
                paper(parsed.json, parsed.html)
            case "studies":
                studies()
            case "toy":
                toy(parsed.out, parsed.seed)
        sys.stdout.flush()
    except VicinalError as error:
        print(f"vicinal: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        print("vicinal: stopped; the same command continues from the last checkpoint", file=sys.stderr)
        return TERMINATED if isinstance(stop, _Terminated) else INTERRUPTED
    except BrokenPipeError:  # nobody reads on, as with | head
        _discard_output()
    except OSError as error:  # without a file name it is the standard output, for example on a full disk
        if error.errno is None:  # no failure of the system: a library's own error
            raise
        _discard_output()
        print(f"vicinal: {error.filename or 'the standard output'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


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
        parser.error(f"unrecognized arguments: {' '.join(stray)}")
    if rest:
        parsed.overrides = [*parsed.overrides, *rest]
    return parsed


if __name__ == "__main__":
    sys.exit(main())
