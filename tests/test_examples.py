"""The examples in the docstrings of `functional` and `metrics` run, and every public name that is called has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

from vicinal import functional, metrics

ROOMS = (functional, metrics)
MODULES = [f"{room.__name__}.{module.name}" for room in ROOMS for module in pkgutil.iter_modules(room.__path__)]
PUBLIC = [
    (room, name)
    for room in ROOMS
    for name in room.__all__
    if inspect.isroutine(getattr(room, name)) or (inspect.isclass(getattr(room, name)) and room is metrics)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted > 0


@pytest.mark.parametrize(("room", "name"), PUBLIC, ids=[name for _, name in PUBLIC])
def test_every_public_name_has_an_example(room, name: str):
    found = doctest.DocTestFinder(recurse=False).find(getattr(room, name), name)
    assert any(test.examples for test in found), f"{name} has no example"
