"""The house: nobody imports past a face, every room says what it is for, and files, functions and classes keep to their size."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "vicinal"
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted(face.parent for face in SOURCE.rglob("__init__.py") if face.parent != SOURCE)
MOST_LINES = {"file": 500, "class": 250, "function": 60}
# Longer for a reason.
LONGER = {
    "training/loop.py:_train_together": "the whole of a training run, read from top to bottom",
}


def room_of(module: str) -> str:
    """The outermost room of a dotted module."""
    return ".".join(module.split(".")[:2])


def imports(file: Path) -> list[tuple[int, str, str]]:
    """(line, module, name) of every import of the package's own names, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vicinal":
            found += [(node.lineno, str(node.module), alias.name) for alias in node.names]
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name, "") for a in node.names if a.name.split(".")[0] == "vicinal"]
    return found


def module_of(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_nobody_imports_past_a_face(file: Path):
    here = module_of(file)
    for line, module, _ in imports(file):
        inside = room_of(module) == room_of(here)
        assert inside or module.count(".") <= 1, (
            f"{file.name}:{line} imports {module} past the face of {room_of(module)}"
        )
        if inside:  # rooms in rooms have faces, too
            inner = next(
                (r for r in map(module_of_room, ROOMS) if r.count(".") == 2 and module.startswith(f"{r}.")), None
            )
            assert inner is None or here.startswith(inner), (
                f"{file.name}:{line} imports {module} past the face of {inner}"
            )


def module_of_room(room: Path) -> str:
    return module_of(room / "__init__.py")


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(SOURCE)))
def test_every_room_says_what_it_is_for_and_exports_what_is_there(room: Path):
    tree = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
    words = ast.get_docstring(tree)
    assert words
    assert words.splitlines()[0].endswith((".", ":"))
    exported = [
        name.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        for name in ast.walk(node.value)
        if isinstance(name, ast.Constant)
    ]
    assert not [name for name in exported if name.startswith("_")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_files_classes_and_functions_keep_to_their_size(file: Path):
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES["file"]
    for node in ast.walk(ast.parse(text)):
        kind = {ast.ClassDef: "class", ast.FunctionDef: "function"}.get(type(node))
        name = f"{file.relative_to(SOURCE)}:{getattr(node, 'name', '')}"
        if kind and name not in LONGER:
            lines = (node.end_lineno or 0) - node.lineno + 1 - words_of(node)  # type: ignore[attr-defined]
            assert lines <= MOST_LINES[kind], f"{name} has {lines} lines"


def words_of(node: ast.AST) -> int:
    """The lines of a docstring: what is said does not count as what is done."""
    first = node.body[0]  # type: ignore[attr-defined]
    said = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return first.end_lineno - first.lineno + 1 if said else 0


def test_every_module_says_what_it_is():
    for file in FILES:
        assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), file
