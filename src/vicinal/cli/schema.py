"""`vicinal schema`: the JSON Schema of a study file or of results.json."""

from __future__ import annotations

import argparse
import json
from typing import Any

from vicinal.config import study_file_schema
from vicinal.workspace import say


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "schema", help="print the JSON Schema of a study file, by which editors complete and check it"
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=("study", "results"),
        default="study",
        help="of a study file (default) or of results.json",
    )
    parser.set_defaults(call=schema)


def schema(parsed: argparse.Namespace) -> None:
    """Print a JSON Schema."""
    if parsed.what == "results":
        from vicinal.results import results_schema

        value = results_schema()
    else:
        value = study_file_schema()
    say(json.dumps(value, indent=1, ensure_ascii=False), is_printable=True)
