"""Text of results made fit for files that others open: no control codes, no home folders, nothing that a reader obeys."""

from __future__ import annotations

import re
from functools import lru_cache
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
        return _inert_text(value, str(Path.home()))
    if isinstance(value, dict):
        return {inert(key): inert(item) for key, item in value.items()}
    if isinstance(value, list):
        return [inert(item) if isinstance(item, str | dict | list) else item for item in value]
    return value


@lru_cache(maxsize=4096)  # the same keys come again with every network
def _inert_text(text: str, home: str) -> str:
    return printable(_without_home(_BLANKS.sub(" ", text), home))


def without_home(text: str) -> str:
    """Text with ~ for this user's home folder, and for those of others in the usual places."""
    return _without_home(text, str(Path.home()))


def _without_home(text: str, home: str) -> str:
    if len(home) > 1:
        text = re.sub(rf"{_NO_PATH_BEFORE}{re.escape(home)}(?![\w.-])", "~", text)
    return _HOME.sub("~", text)


def inert_cell(cell: Any) -> Any:
    """A cell of a CSV file that no spreadsheet takes for a formula; numbers stay."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def inert_markdown(text: str) -> str:
    """Markdown without tags and links, of which a report has none of its own."""
    return _OPENS_A_TAG.sub("&lt;", text).replace("](", "]\\(")
