"""`python -m benchmarks [page] [--only ...]`: measure, write JSON, write the page."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from vicinal.errors import UsageError, VicinalError

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ("throughput", "sweep", "curve", "loaders", "banks", "scaling", "quickstart", "gpu")
DEFAULT = BENCHMARKS[:-1]
PAIR_NAMES = ("tiny", "lite", "convnext")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument(
        "verb", nargs="?", choices=("run", "page"), default="run", help="page: write the page from the JSON alone"
    )
    made.add_argument(
        "--only", type=_names(BENCHMARKS), default=DEFAULT, help=f"of {','.join(BENCHMARKS)}; default: all but gpu"
    )
    made.add_argument("--pairs", type=_names(PAIR_NAMES), default=PAIR_NAMES, help=f"of {','.join(PAIR_NAMES)}")
    made.add_argument(
        "--rounds", type=_positive, help="default: 7; 9 for the loaders, 5 for the sweep, 3 for the curve"
    )
    made.add_argument("--device", help="cpu or cuda; default: cuda for gpu, else cpu")
    made.add_argument("--threads", type=_positive, help="CPU threads; default: torch's choice")
    made.add_argument("--quick", action="store_true", help="try the code in seconds; its figures mean nothing")
    made.add_argument("--no-compiled", action="store_true", help="leave the compiled entrants out")
    made.add_argument("--results", type=Path, default=ROOT / "benchmarks/results", help="folder of the JSON files")
    made.add_argument(
        "--page", type=Path, default=ROOT / "docs/benchmarks.md", help="the page; its figures lie beside it"
    )
    return made


def _names(known: Sequence[str]):  # type: ignore[no-untyped-def]
    def names(text: str) -> tuple[str, ...]:
        given = tuple(name.strip() for name in text.split(","))
        unknown = [name for name in given if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return tuple(name for name in known if name in given)

    return names


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 where something failed (a proof, too), 2 where the arguments are at fault."""
    options = parser().parse_args(arguments)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if options.verb == "run":
            from benchmarks.run import run

            run(options, shlex.join(["python", "-m", "benchmarks", *given]))
        if options.quick and options.page == parser().get_default("page"):
            return 0  # a try must not become the published page
        from benchmarks.page import write_page

        print(write_page(options.results, options.page))
    except VicinalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
