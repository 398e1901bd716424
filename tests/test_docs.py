"""What the docs say of the house is so: every name in docs/architecture.md is where it says, and the picture is of today."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SOURCE = REPOSITORY / "src" / "vicinal"
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")


def defined(file: Path) -> set[str]:
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        names |= {node.name} if isinstance(node, ast.FunctionDef | ast.ClassDef) else set()
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_every_station_of_a_journey_is_where_the_page_says():
    stations = re.findall(r"^(\d)\. `([\w/]+\.py)` `(\w+)`", ARCHITECTURE, re.MULTILINE)
    assert len(stations) == 24
    assert max(int(number) for number, *_ in stations) == 8
    for _, file, name in stations:
        assert name in defined(SOURCE / file), f"{file} has no {name}"


def test_the_tree_names_every_room():
    tree = ARCHITECTURE.split("```")[1]
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^  (\w+)/", tree, re.MULTILINE)) - {"studies"}


def test_seams_are_held_by_tests_that_are_there():
    for file in re.findall(r"`(tests/[\w/]+\.py)`", ARCHITECTURE):
        assert (REPOSITORY / file).is_file(), file


def test_the_picture_is_of_today():
    done = subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "draw_rooms.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
