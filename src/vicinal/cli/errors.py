"""`vicinal errors`: the images that a network gets wrong or is least certain of."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vicinal.errors import UsageError
from vicinal.workspace import say


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "errors",
        help="show the images that a finished network gets wrong or is least certain of, and which class it takes for which",
        description="Write errors.html and errors.csv from stored answers; nothing is predicted again.",
    )
    parser.add_argument(
        "target", metavar="DIR", type=Path, help="a study folder, the folder of a run in it, or a measurement"
    )
    parser.add_argument("--run", metavar="NAME", help="of a study (default: the one that its report says to take)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder (default: DIR/errors)")
    parser.add_argument("--count", metavar="N", type=int, default=60, help="images of each sheet (default: 60)")
    parser.set_defaults(call=errors)


def errors(parsed: argparse.Namespace) -> None:
    """Write the page and the table, and print the commonest confusions."""
    if parsed.count < 1:
        raise UsageError(f"--count is at least 1, not {parsed.count}")
    if not parsed.target.is_dir():
        raise UsageError(f"there is no folder {parsed.target}")
    from vicinal.measuring import answers_of, write_errors

    answers = answers_of(parsed.target, parsed.run, lambda line: say(line, sys.stderr))
    out = parsed.out or parsed.target / "errors"
    written = write_errors(answers, out, parsed.count)
    say(f"{answers.title}: {written.mistakes:,} of {written.images:,} images are answered wrongly")
    for one in written.confusions[:10]:
        say(f"  {one['images']:6,}  {one['true_class']} is taken for {one['answer']}")
    say(f"page: {written.page}; every image: {written.table}")
