"""`vicinal paper`: the paper's own tables, what they can be and which claims they support."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vicinal.errors import UsageError
from vicinal.workspace import say, write_atomically


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "paper", help="the paper's own tables: what they can and cannot be, which claims they support"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all of it as data")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write all of it as a page that opens offline")
    parser.set_defaults(call=paper)


def paper(parsed: argparse.Namespace) -> None:
    """Print the paper's tables with what is found about them, and write them where asked."""
    json_file, html_file = parsed.json, parsed.html
    for option, path in (("--json", json_file), ("--html", html_file)):
        if path is not None and path.is_dir():
            raise UsageError(f"{option} {path} is a folder; give the name of a file")
    if json_file is not None and html_file is not None and json_file.absolute() == html_file.absolute():
        raise UsageError(f"--json and --html both name {json_file}; give them different files")
    from rich.console import Console

    from vicinal.paper import everything, html_page, paper_as_json, print_everything

    shown, written = everything(), []
    # Files first, so that they are there also for a reader who stops early, as with | head.
    if json_file is not None:
        write_atomically(json_file, paper_as_json(shown))
        written.append(f"data: {json_file}")
    if html_file is not None:
        write_atomically(html_file, html_page(shown))
        written.append(f"page: {html_file}")
    console = Console(highlight=False)
    console.width = max(console.width, 120)
    console.begin_capture()  # rich would end the program by itself where nobody reads on
    print_everything(shown, console)
    say("\n".join(line.rstrip() for line in console.end_capture().splitlines()), is_printable=True)
    for line in written:
        say(line)
