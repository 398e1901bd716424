"""`vicinal studies`: the packaged studies."""

from __future__ import annotations

import argparse
from typing import Any

from vicinal.config import load_study, packaged_studies
from vicinal.workspace import say


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    verbs.add_parser("studies", help="list the packaged studies").set_defaults(call=studies)


def studies(_parsed: argparse.Namespace) -> None:
    """List the packaged studies with their titles."""
    for name in packaged_studies():
        spec = load_study(name)
        say(f"{name:14}  {spec.title}")
        say(f"{'':14}  {spec.description}")
