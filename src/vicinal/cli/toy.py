"""`vicinal toy`: the decision boundaries of every arm in two dimensions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vicinal.errors import UsageError
from vicinal.workspace import check_place, say


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "toy", help="draw the decision boundaries of every arm in two dimensions (the paper's figure 2)"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("runs/toy"), help="folder (default: runs/toy)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the points and the networks (default: 0)")
    parser.set_defaults(call=toy)


def toy(parsed: argparse.Namespace) -> None:
    """Train the toy's networks, draw them, and print their numbers."""
    if parsed.seed < 0:
        raise UsageError(f"--seed is a number from 0 on, not {parsed.seed}")
    check_place(parsed.out)
    from vicinal.toy import TITLES, ToySpec, check_toy_folder, run_toy, write_toy

    check_toy_folder(parsed.out)
    shown = run_toy(ToySpec(seed=parsed.seed), lambda title: say(f"training: {title}", sys.stderr))
    paths = write_toy(parsed.out, shown)
    say(f"{'':32}{'accuracy':>10}{'ECE':>8}{'NL(0.5)':>9}{'ambivalent':>12}")
    for field in shown.fields:
        f = field.metrics
        say(
            f"{TITLES[field.name]:32}{f['accuracy']:10.3f}{f['ece']:8.3f}{f['nonlinearity_at_half']:9.3f}"
            f"{100 * f['ambivalent_share']:10.1f} %"
        )
    say(f"figure: {paths[0]}, {paths[1].name}; numbers: {paths[2].name}")
