"""Tables and text on the standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vicinal.workspace import printable, say

if TYPE_CHECKING:
    from rich.table import Table


def print_table(table: Table, text: str = "") -> None:
    """Print a table as wide as it needs, and a text below it: a narrow terminal wraps a line, which loses less than cut cells."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, Measurement.get(console, console.options.update(width=1000), table).maximum)
    console.begin_capture()  # rich would end the program by itself where nobody reads on
    if table.row_count:
        console.print(table)
    if text:
        for line in text.split("\n"):
            console.print(Text(printable(line)))
    say(console.end_capture().removesuffix("\n"), is_printable=True)
