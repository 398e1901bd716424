"""`vicinal export`: the folder of a student that runs without vicinal."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from vicinal.workspace import printable, say


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser("export", help="write a student's folder: timm, ONNX, model card")
    parser.add_argument("source", metavar="DIR", type=Path, help="a study folder, or a run's folder in its runs/")
    parser.add_argument(
        "--run",
        metavar="NAME",
        help="a run's folder, or a part of its name (default: the recommended student)",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to write (default: DIR/student)")
    parser.add_argument("--no-onnx", dest="onnx", action="store_false", help="leave model.onnx out")
    parser.add_argument(
        "--int8",
        action="store_true",
        help="write int8.onnx as well, measured; refused where it answers too differently",
    )
    parser.add_argument("--torch-export", action="store_true", help="write model.pt2 also where timm has the network")
    parser.add_argument("--force", action="store_true", help="replace a student's folder that lies there")
    parser.set_defaults(call=export)


def export(parsed: argparse.Namespace) -> None:
    """Write the folder of a student."""
    from vicinal import api

    options = {name: getattr(parsed, name) for name in ("run", "onnx", "int8", "torch_export", "force")}
    command = printable(shlex.join(["vicinal", *parsed.given]))
    folder = api.export(parsed.source, parsed.out, command=command, say=lambda line: say(line, sys.stderr), **options)
    say(f"student: {folder}")
