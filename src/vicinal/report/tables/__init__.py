"""The tables, as CSV, Markdown and for the page."""

from vicinal.report.tables.between import between_csv, between_markdown, between_tables
from vicinal.report.tables.budgets import budget_comparisons_csv, budgets_context, budgets_csv, budgets_markdown
from vicinal.report.tables.calibration import calibration_context, calibration_csv, calibration_markdown
from vicinal.report.tables.classes import classes_context, classes_csv, classes_markdown
from vicinal.report.tables.comparisons import comparisons_csv
from vicinal.report.tables.core import (
    ABSENT,
    COLUMNS,
    columns_of,
    csv_text,
    markdown_line,
    shown_table,
    summary_csv,
    summary_markdown,
    table_notes,
    versus_teacher_csv,
    vicinity_csv,
)
from vicinal.report.tables.images import images_context, images_csv, images_markdown
from vicinal.report.tables.optional import (
    measures,
    optional_context,
    optional_csv,
    optional_definitions,
    optional_markdown,
)

__all__ = [
    "ABSENT",
    "COLUMNS",
    "between_csv",
    "between_markdown",
    "between_tables",
    "budget_comparisons_csv",
    "budgets_context",
    "budgets_csv",
    "budgets_markdown",
    "calibration_context",
    "calibration_csv",
    "calibration_markdown",
    "classes_context",
    "classes_csv",
    "classes_markdown",
    "columns_of",
    "comparisons_csv",
    "csv_text",
    "images_context",
    "images_csv",
    "images_markdown",
    "markdown_line",
    "measures",
    "optional_context",
    "optional_csv",
    "optional_definitions",
    "optional_markdown",
    "shown_table",
    "summary_csv",
    "summary_markdown",
    "table_notes",
    "versus_teacher_csv",
    "vicinity_csv",
]
