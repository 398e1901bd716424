"""Figure 2: the drawing of `vicinal toy`, shown where it lies in the study folder."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from vicinal.report.paper.paper_figure import PaperFigure


def boundaries(path: Path) -> PaperFigure:
    """Figure 2, decision boundaries on a toy: only where `vicinal toy` has drawn it."""
    title = "Decision boundaries on two-dimensional toy data"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return PaperFigure(
            2,
            title,
            missing=("paper/figure2.svg, which vicinal toy --out DIR/paper draws, DIR being the folder of the study",),
        )
    svg = _safe_svg(text)
    if svg is None:
        return PaperFigure(2, title, missing=("a paper/figure2.svg that is a plain drawing",))
    return PaperFigure(2, title, foreign=svg)


_ACTIVE = re.compile(
    r"<\s*(script|foreignObject|iframe|object|embed|link)\b|\son\w+\s*=|javascript:|@import|<!ENTITY", re.I
)


def _safe_svg(text: str) -> str | None:
    """The SVG element of a file fit to stand in the page: a drawing that runs nothing, loads nothing and has ids of its own."""
    if _ACTIVE.search(text) or re.search(r"(?:href|src)\s*=\s*[\"'](?!#|data:image/)", text):
        return None
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - entities are refused above
    except ElementTree.ParseError:
        return None
    if not root.tag.endswith("svg"):
        return None
    svg = text[text.index("<svg") : text.rindex("</svg>") + len("</svg>")]
    svg = re.sub(r'\bid="([^"]+)"', r'id="toy-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", r"url(#toy-\1)", svg)
    return re.sub(r'href="#([^"]+)"', r'href="#toy-\1"', svg)
