"""Text from outside on a terminal: names, titles, paths and messages of errors, without the control codes that they may hold."""

from __future__ import annotations

import contextlib
import sys
import threading
import unicodedata
from collections.abc import Iterator
from typing import TextIO

# Letters of Persian, Hindi and others are joined by these two; they move nothing.
_JOINERS = "\u200c\u200d"
_BY_NAME = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """Text as one line that a terminal shows and does not obey.

    Control codes, line ends, overrides of the writing direction, invisible marks and the bytes of a path that are no UTF-8 are shown
    as \\n, \\x1b, \\u202e and the like. Letters of every script stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    code = ord(character)
    no_character = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    if (kind not in ("Cc", "Cf", "Cs", "Zl", "Zp") and not no_character) or character in _JOINERS:
        return character
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    escaped = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _BY_NAME.get(character, escaped)


@contextlib.contextmanager
def told_if_slow(text: str, after_s: float = 2.0) -> Iterator[None]:
    """Say on stderr what is being done, in a line, if it is not done after so many seconds; lost where nobody can read it."""

    def tell() -> None:
        with contextlib.suppress(OSError, ValueError):
            say(f"{text} ...", sys.stderr)

    timer = threading.Timer(after_s, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def say(text: str, to: TextIO | None = None, *, is_printable: bool = False) -> None:
    """Print a line that is made `printable`, also where the stream's encoding lacks a letter.

    Args:
        text: what to say.
        to: the stream; default: the standard output.
        is_printable: every part of it from outside went through `printable`, so that its own lines and colours stay.
    """
    stream = sys.stdout if to is None else to
    line = f"{text if is_printable else printable(text)}\n"
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
