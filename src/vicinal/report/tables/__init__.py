"""The tables, as CSV, Markdown and for the page."""

from vicinal.report.tables.core import (
    ABSENT,
    COLUMNS,
    against_csv,
    csv_text,
    markdown_line,
    shown_table,
    summary_csv,
    summary_markdown,
    table_notes,
    vicinity_csv,
)
from vicinal.report.tables.optional import further_context, further_csv, further_definitions, further_markdown, measures

__all__ = [
    "ABSENT",
    "COLUMNS",
    "against_csv",
    "csv_text",
    "further_context",
    "further_csv",
    "further_definitions",
    "further_markdown",
    "markdown_line",
    "measures",
    "shown_table",
    "summary_csv",
    "summary_markdown",
    "table_notes",
    "vicinity_csv",
]
