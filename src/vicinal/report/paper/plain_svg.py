"""A drawing from outside as SVG that a page may hold: read by an XML parser and written anew from what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from xml.parsers import expat

MOST_CHARACTERS, MOST_ELEMENTS, MOST_DEPTH = 20_000_000, 200_000, 50

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_WITH_TEXT = {"text", "tspan", "title", "desc"}
_SHAPES = {"path", "rect", "circle", "ellipse", "line", "polyline", "polygon"}
_ELEMENTS = _WITH_TEXT | _SHAPES | {"svg", "g", "defs", "clipPath", "use", "image"}
_LEFT_OUT = {"style", "metadata"}  # matplotlib's rule for all of a page, and who made the file
_SILENT = {"version", "role", "aria-label", "type", "preserveAspectRatio"}  # which a page says itself

_NUMBERS = re.compile(r"[\w\s.,()+\-%]*")
_ID = re.compile(r"[\w.:-]+")
_REFERENCE = re.compile(r"#([\w.:-]+)")
_PIXELS = re.compile(r"data:image/png;base64,[\w\s+/=]*", re.ASCII)
_PAINT = re.compile(r"(?:[\w\s.,#%'\"+-]|(?:rgb|hsl)a?\([\d\s.,%/]*\)|url\(#[\w.:-]+\))*")
_PLACES = {
    "x", "y", "dx", "dy", "width", "height", "viewBox", "d", "points", "cx", "cy", "r", "rx", "ry", "x1", "y1", "x2", "y2", "transform",
}  # fmt: skip
_PAINTS = {
    "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-dasharray", "stroke-dashoffset", "stroke-linecap",
    "stroke-linejoin", "stroke-miterlimit", "stroke-opacity", "opacity", "clip-path", "clip-rule", "color", "font", "font-family",
    "font-size", "font-style", "font-weight", "text-anchor", "dominant-baseline", "image-rendering",
}  # fmt: skip


class _NotPlainError(Exception):
    """Something that no plain drawing has."""


def plain_svg(text: str, prefix: str) -> str | None:
    """The drawing written anew, its ids behind a prefix; None where it runs, loads or hides something, or is no SVG."""
    if len(text) > MOST_CHARACTERS:
        return None
    writer = _Writer(prefix)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = writer.start, writer.end
    parser.CharacterDataHandler = writer.text
    parser.StartDoctypeDeclHandler = _refuse  # and with it every entity; instructions and comments are left out
    try:
        parser.Parse(text.encode("utf-8", "strict"), True)
        return writer.drawing()
    except (_NotPlainError, expat.ExpatError, UnicodeEncodeError):
        return None


def _refuse(*_: object) -> None:
    raise _NotPlainError


class _Writer:
    """What the parser tells, as SVG text."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._parts: list[str] = []
        self._open: list[tuple[str, str]] = []  # elements with their ids
        self._elements = self._left_out = 0
        self._used: set[str] = set()
        self._users: set[str] = set()  # ids of what uses others: uses of uses grow without end

    def drawing(self) -> str:
        """All of it. Raises _NotPlainError where a use leads to another."""
        if self._used & self._users:
            raise _NotPlainError
        return "".join(self._parts)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        space, _, kind = name.rpartition(" ")
        self._elements += 1
        if self._left_out or (space == _SVG and kind in _LEFT_OUT):
            self._left_out += 1
            return
        within = self._open[-1][0] if self._open else ""
        if space != _SVG or kind not in _ELEMENTS or (kind == "svg") != (not self._open) or within in ("title", "desc"):
            raise _NotPlainError
        if self._elements > MOST_ELEMENTS or len(self._open) > MOST_DEPTH:
            raise _NotPlainError
        if kind == "use":
            self._users.update(identity for _, identity in self._open if identity)
        self._open.append((kind, attributes.get("id", "")))
        if kind == "use" and attributes.get("id"):
            self._users.add(attributes["id"])
        self._parts.append(f"<{kind}{''.join(self._attribute(kind, *item) for item in attributes.items())}>")

    def end(self, _name: str) -> None:
        """An element ends."""
        if self._left_out:
            self._left_out -= 1
        else:
            self._parts.append(f"</{self._open.pop()[0]}>")

    def text(self, text: str) -> None:
        """Text, shown in some elements only."""
        if not self._left_out and self._open and self._open[-1][0] in _WITH_TEXT:
            self._parts.append(escape(text))

    def _attribute(self, kind: str, name: str, value: str) -> str:
        if name in _SILENT:
            return ""
        if name in ("href", f"{_XLINK} href"):
            return f' href="{self._target(kind, value)}"'
        if name == "id":
            return f' id="{self._own(_matched(_ID, value))}"'
        if name in _PLACES:
            return f' {name}="{escape(_matched(_NUMBERS, value))}"'
        if name in _PAINTS:
            return f' {name}="{escape(self._painted(value))}"'
        if name == "style":
            rules = [part.partition(":") for part in value.split(";") if part.strip()]
            if any(key.strip() not in _PAINTS for key, _, _ in rules):
                raise _NotPlainError
            shown = ";".join(f"{key.strip()}:{self._painted(paint).strip()}" for key, _, paint in rules)
            return f' style="{escape(shown)}"'
        raise _NotPlainError

    def _target(self, kind: str, value: str) -> str:
        if kind == "image":
            return _matched(_PIXELS, value)
        if kind != "use":
            raise _NotPlainError
        name = _matched(_REFERENCE, value)[1:]
        self._used.add(name)
        return f"#{self._own(name)}"

    def _painted(self, value: str) -> str:
        own: Callable[[re.Match[str]], str] = lambda match: f"url(#{self._own(match[1])})"  # noqa: E731
        return re.sub(r"url\(#([^)]+)\)", own, _matched(_PAINT, value))

    def _own(self, name: str) -> str:
        return f"{self._prefix}-{name}"


def _matched(form: re.Pattern[str], value: str) -> str:
    if not form.fullmatch(value):
        raise _NotPlainError
    return value
