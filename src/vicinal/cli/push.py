"""`vicinal push`: a student's folder to the Hugging Face hub."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vicinal.workspace import say


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser("push", help="put a student's folder on the Hugging Face hub")
    parser.add_argument("student", metavar="STUDENT", type=Path, help="a folder that vicinal export wrote")
    parser.add_argument("repository", metavar="OWNER/NAME", help="made where there is none")
    parser.add_argument("--private", action="store_true", help="make it private")
    parser.set_defaults(call=push)


def push(parsed: argparse.Namespace) -> None:
    """Put a student's folder on the hub."""
    from vicinal import api

    say(f"pushed: {api.push(parsed.student, parsed.repository, private=parsed.private)}")
