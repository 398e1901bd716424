"""Text of results made fit for files that others open: no control codes, no home folders, nothing that a reader obeys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vicinal.workspace import printable

_BLANKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
# /home/ada/images as ~/images: a report is passed on, and its reader has another home.
_NO_PATH_BEFORE = r"(?<![\w.-])"
_HOME = re.compile(_NO_PATH_BEFORE + r"(?:(?:/home|/Users|[A-Za-z]:\\Users)[/\\][^/\\\s'\":;,]+|/root(?![\w.-]))")
_OPENS_A_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_FORMULA = re.compile(r"\s*[=+\-@|]")


def inert(value: Any) -> Any:
    """A value of results.json whose every text, keys included, is one line without control codes and without the name of a home."""
    if isinstance(value, str):
        return printable(without_home(_BLANKS.sub(" ", value)))
    if isinstance(value, dict):
        return {inert(key): inert(item) for key, item in value.items()}
    return [inert(item) for item in value] if isinstance(value, list) else value


def without_home(text: str) -> str:
    """Text with ~ for this user's home folder, and for those of others in the usual places."""
    home = str(Path.home())
    if len(home) > 1:
        text = re.sub(rf"{_NO_PATH_BEFORE}{re.escape(home)}(?![\w.-])", "~", text)
    return _HOME.sub("~", text)


def inert_cell(cell: Any) -> Any:
    """A cell of a CSV file that no spreadsheet takes for a formula; numbers stay."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def inert_markdown(text: str) -> str:
    """Markdown without tags and links, of which a report has none of its own."""
    return _OPENS_A_TAG.sub("&lt;", text).replace("](", "]\\(")
