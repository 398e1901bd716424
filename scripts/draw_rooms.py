"""Draw the rooms of the package and who uses whom, from the imports: docs/rooms.svg, so that the picture stays true.

    python scripts/draw_rooms.py            # write it
    python scripts/draw_rooms.py --check    # exit with 1 where it is out of date

A room stands one floor above the highest room that it uses. Arrows that follow from others are left out: where a uses b and b
uses c, an arrow from a to c says nothing new about floors.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src" / "vicinal"
PICTURE = REPOSITORY / "docs" / "rooms.svg"
ROOM, GAP, FLOOR = (118, 44), 44, 82  # px: a room's width and height, between rooms, from floor to floor
MARGIN = 24
# Columns, so that arrows pass beside rooms and not behind them; a room without one stands at the right edge.
COLUMNS = {
    "cli": 2, "api": 2, "study": 1, "toy": 3, "measuring": 3, "training": 1, "distillation": 0, "evaluation": 2,
    "networks": 1.5, "inputs": 1.5,
    "data": 1.5, "report": 4, "results": 3, "tracking": 0.2, "paper": 4, "claims": 4, "workspace": 2.2, "metrics": 0.6,
    "functional": 0, "config": 2.2, "errors": 2.2, "shipping": 1, "recipes": 1,
}  # fmt: skip
STYLE = """
  .room { fill: #f4f6f8; stroke: #57606a; stroke-width: 1.2; rx: 6px }
  .name { font: 600 13px system-ui, sans-serif; fill: #1f2328; text-anchor: middle }
  .size { font: 10.5px system-ui, sans-serif; fill: #57606a; text-anchor: middle }
  .arrow { fill: none; stroke: #8c959f; stroke-width: 1.1; marker-end: url(#tip) }
  #tip path { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    .room { fill: #21262d; stroke: #8b949e } .name { fill: #e6edf3 } .size { fill: #9da7b1 }
  }
"""


def room_of(module: str) -> str | None:
    """The room of a dotted module; None for the package itself and its version."""
    parts = module.split(".")
    return None if parts[0] != "vicinal" or len(parts) < 2 or parts[1] == "version" else parts[1]


def uses() -> dict[str, set[str]]:
    """For every room the rooms that it imports, also inside functions, but not for types alone."""
    found: dict[str, set[str]] = {}
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        room = room_of(".".join(("vicinal", *parts)))
        if room is None or parts == ("__init__",):
            continue
        own = found.setdefault(room, set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [f"vicinal.{a.name}" for a in node.names] if node.module == "vicinal" else [node.module]
                own |= {used for module in modules if (used := room_of(module)) not in (None, room)}
    return found


def reachable(room: str, arrows: Mapping[str, set[str]]) -> set[str]:
    """All rooms below a room."""
    below: set[str] = set()
    for used in arrows[room]:
        below |= {used} | reachable(used, arrows)
    return below


def floors(arrows: Mapping[str, set[str]]) -> dict[str, int]:
    """The floor of every room, from 0 at the ground."""
    height: dict[str, int] = {}
    while len(height) < len(arrows):
        ready = [r for r in arrows if r not in height and arrows[r] <= height.keys()]
        if not ready:
            raise SystemExit(f"a circle among {', '.join(sorted(arrows.keys() - height.keys()))}")
        for room in ready:
            height[room] = 1 + max((height[used] for used in arrows[room]), default=-1)
    return height


def placed(arrows: Mapping[str, set[str]], height: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """The middle of every room's upper edge."""
    top, edge = max(height.values()), max(COLUMNS.values()) + 1
    left, step = MARGIN + ROOM[0] / 2, ROOM[0] + GAP
    return {room: (left + step * COLUMNS.get(room, edge), MARGIN + (top - height[room]) * FLOOR) for room in arrows}


def picture() -> str:
    """The SVG."""
    arrows = uses()
    height = floors(arrows)
    place = placed(arrows, height)
    kept = {
        r: {u for u in used if not any(u in reachable(o, arrows) for o in used - {u})} for r, used in arrows.items()
    }
    width = max(x for x, _ in place.values()) + ROOM[0] / 2 + MARGIN
    tall = max(y for _, y in place.values()) + ROOM[1] + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {tall:g}" role="img">',
        "<title>The rooms of vicinal: an arrow points from a room to one that it uses</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
    ]
    for room in sorted(arrows):
        for used in sorted(kept[room]):
            (x1, y1), (x2, y2) = place[room], place[used]
            y1 += ROOM[1]
            lines.append(
                f'<path class="arrow" d="M{x1:.0f},{y1:.0f} C{x1:.0f},{y1 + 40:.0f} {x2:.0f},{y2 - 40:.0f} {x2:.0f},{y2:.0f}"/>'
            )
    for room, (x, y) in sorted(place.items()):
        count = len(list((SOURCE / room).rglob("*.py"))) if (SOURCE / room).is_dir() else 1
        lines += [
            f'<rect class="room" x="{x - ROOM[0] / 2:.0f}" y="{y:.0f}" width="{ROOM[0]}" height="{ROOM[1]}"/>',
            f'<text class="name" x="{x:.0f}" y="{y + 20:.0f}">{escape(room)}</text>',
            f'<text class="size" x="{x:.0f}" y="{y + 36:.0f}">{count} file{"s" * (count > 1)}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the rooms of the package from its imports.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where the picture is out of date"
    )
    drawn = picture()
    if parser.parse_args().check:
        if PICTURE.read_text(encoding="utf-8") != drawn:
            print(f"{PICTURE.name} is out of date: run python scripts/draw_rooms.py")
            return 1
        return 0
    PICTURE.write_text(drawn, encoding="utf-8")
    print(f"{PICTURE}: {len(uses())} rooms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
