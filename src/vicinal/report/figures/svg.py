"""SVG text: matplotlib's output made fit for one page in light and dark, and panels put together into one figure file."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

FONTS = "-apple-system, BlinkMacSystemFont, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'Liberation Sans', Arial, sans-serif"
SUBSCRIPT = r"\b(Δ|I|σ)_(lin|t)\b"  # written with an underscore in plain text

# Colours that matplotlib draws with (left) and the CSS variable with its light value that takes their place: a page sets the
# variables for light and dark, and a file opened by itself falls back to the light value. The arms' colours were searched for: the
# least difference of any two as seen with normal, deuteranopic and protanopic eyes (CIEDE2000) is as large as such hues allow.
COLOURS = {
    "ink": ("#0a0b01", "--figure-ink", "#1f2430"),
    "muted": ("#0a0b02", "--figure-muted", "#626a78"),
    "grid": ("#0a0b03", "--figure-grid", "#e3e6eb"),
    "surface": ("#0a0b04", "--figure-surface", "#ffffff"),
    "arm-1": ("#0a0b11", "--arm-1", "#884466"),
    "arm-2": ("#0a0b12", "--arm-2", "#008cee"),
    "arm-3": ("#0a0b13", "--arm-3", "#00551a"),
    "arm-4": ("#0a0b14", "--arm-4", "#d97000"),
    "arm-5": ("#0a0b15", "--arm-5", "#cc7788"),
    "arm-6": ("#0a0b16", "--arm-6", "#3311ff"),
}
ARM_SLOTS = 6


def sentinel(colour: str) -> str:
    """The colour to give to matplotlib, replaced by a CSS variable in the SVG."""
    return COLOURS[colour][0]


def css(colour: str) -> str:
    """The CSS value of a colour, for marks drawn by hand."""
    _, variable, light = COLOURS[colour]
    return f"var({variable}, {light})"


@dataclass(frozen=True)
class Panel:
    """One drawing: the inside of an SVG element, its size in px and what it shows in words."""

    body: str
    width: float
    height: float
    title: str

    def inline(self) -> str:
        """The panel for an HTML page, scaled to the width it is given."""
        return (
            f'<svg class="panel" role="img" aria-label="{escape(self.title)}" viewBox="0 0 {self.width:g} {self.height:g}">'
            f"<title>{escape(self.title)}</title>{self.body}</svg>"
        )


@dataclass(frozen=True)
class Key:
    """One entry of a legend: a line, a marker or both."""

    label: str
    colour: str
    dash: str = ""  # an SVG stroke-dasharray, empty for a solid line
    marker: str = ""  # of matplotlib: a teacher's o, s, ^ or D, an arm's v, X, P, *, < or >; empty for none
    line: bool = True
    hollow: bool = False
    width: float = 1.8

    def swatch(self) -> str:
        """The sample of 26 x 10 px, as SVG elements."""
        paint = css(self.colour)
        parts = []
        if self.line:
            dash = f";stroke-dasharray:{self.dash}" if self.dash else ""
            parts.append(f'<path d="M1 5H25" style="fill:none;stroke:{paint};stroke-width:{self.width:g}{dash}"/>')
        shape = {
            "o": '<circle cx="13" cy="5" r="3.4"',
            "s": '<rect x="9.9" y="1.9" width="6.2" height="6.2"',
            "^": '<path d="M13 1L17 8.4H9Z"',
            "D": '<path d="M13 0.8L17.2 5L13 9.2L8.8 5Z"',
            "v": '<path d="M13 9L9 1.6H17Z"',
            "<": '<path d="M9 5L16.4 1V9Z"',
            ">": '<path d="M17 5L9.6 1V9Z"',
            "X": '<path d="M9.2 2.9L11 1.1L13 3.1L15 1.1L16.8 2.9L14.8 5L16.8 7.1L15 8.9L13 6.9L11 8.9L9.2 7.1L11.2 5Z"',
            "P": '<path d="M11.7 1H14.3V3.7H17V6.3H14.3V9H11.7V6.3H9V3.7H11.7Z"',
            "*": '<path d="M13 0.4L14.2 3.6L17.6 3.7L14.9 5.8L15.9 9.1L13 7.2L10.1 9.1L11.1 5.8L8.4 3.7L11.8 3.6Z"',
        }.get(self.marker)
        if shape:
            fill = css("surface") if self.hollow else paint
            parts.append(f'{shape} style="fill:{fill};stroke:{paint};stroke-width:1.2"/>')
        return "".join(parts)


def subscripts(text: str) -> str:
    """Indices set as subscripts; the empty span brings the baseline back."""
    return re.sub(
        SUBSCRIPT, r'\1<tspan dy="1.8" style="font-size:75%">\2</tspan><tspan dy="-1.8">&#8203;</tspan>', text
    )


def render(figure: Figure, name: str, title: str) -> Panel:
    """Draw a figure, the same bytes every time, with ids that no other panel of the page has."""
    out = io.StringIO()
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a $ in a name is a dollar
    settings = rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False})
    with settings, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's fonts show them; only their widths are guessed
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    body = out.getvalue()
    body = body[body.index(">", body.index("<svg")) + 1 : body.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # The rule of matplotlib's style sheet would reach the whole page: it moves to the panel's own group.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;\"]*", "font-family: inherit", body)
    body = re.sub(r' id="([^"]+)"', rf' id="{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', body)
    for drawn, variable, light in COLOURS.values():
        body = body.replace(drawn, f"var({variable}, {light})")
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = subscripts(re.sub(r"\s*\n\s*", "\n", body).strip())
    width, height = (72 * float(inches) for inches in figure.get_size_inches())
    return Panel(f'<g style="stroke-linejoin:round;stroke-linecap:butt">{body}</g>', width, height, title)


def compose(panels: Sequence[Panel], columns: int, keys: Sequence[Key], title: str) -> str:
    """One SVG file of panels in a grid with the legend above them."""
    gap, margin, size, row_height = 12.0, 10.0, 9.0, 17.0
    columns = max(1, min(columns, len(panels)))
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    width = 2 * margin + max(sum(p.width for p in row) + gap * (len(row) - 1) for row in rows)
    parts: list[str] = []
    x, y = margin, margin
    for key in keys:
        # Text is measured generously, since the font is the reader's.
        needed = 32 + 0.62 * size * len(key.label) + 14
        if x > margin and x + needed > width - margin:
            x, y = margin, y + row_height
        parts.append(
            f'<g transform="translate({x:g} {y:g})">{key.swatch()}<text x="32" y="8.2" '
            f'style="font-size:{size:g}px;fill:{css("ink")}">{subscripts(escape(key.label))}</text></g>'
        )
        x += needed
    if keys:
        y += row_height + 4
    for row in rows:
        x = margin
        for panel in row:
            parts.append(
                f'<svg x="{x:g}" y="{y:g}" width="{panel.width:g}" height="{panel.height:g}" '
                f'viewBox="0 0 {panel.width:g} {panel.height:g}"><title>{escape(panel.title)}</title>{panel.body}</svg>'
            )
            x += panel.width + gap
        y += max(panel.height for panel in row) + gap
    height = y - gap + margin
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" '
        f'role="img" style="font-family:{FONTS}"><title>{escape(title)}</title>\n' + "\n".join(parts) + "\n</svg>\n"
    )
