"""YAML to plain values, numbers as people write them, within limits that no study file comes near."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from vicinal.errors import UsageError

MAX_CHARACTERS = 500_000
MAX_VALUES = 20_000  # with every alias written out
MAX_DEPTH = 20
MAX_DIGITS = 400  # of a whole number: more than any double has

_STR, _INT, _FLOAT, _BOOL, _NULL, _SEQ, _MAP, _MERGE = (
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map", "merge")
)
# YAML 1.1 reads 0224 as 148, 1:30 as 90, 1e-3 as text and `no` as false. Here 0224 is 224 and 1e-3 a number; 1:30, dates, yes, no,
# on and off are text, and keys that are switches take the latter four as true and false.
_FORMS = {
    _INT: re.compile(r"[-+]?(?:\d+(?:_\d+)*|0x[\da-fA-F]+|0o[0-7]+|0b[01]+)", re.ASCII),
    _FLOAT: re.compile(
        r"[-+]?(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII
    ),
    _BOOL: re.compile("true|True|TRUE|false|False|FALSE"),
    _NULL: re.compile("~|null|Null|NULL|"),
    _MERGE: re.compile("<<"),
}


def read_yaml(text: str, origin: str) -> Any:
    """The plain values of a YAML text: mappings with words as keys, lists, text, numbers, switches and null; no two places share one.

    Args:
        text: of one document.
        origin: how errors call it.

    Raises UsageError, in one line, for what is no YAML, goes beyond the limits, gives a key twice or asks for other types.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"{origin} has {len(text):,} characters; a study has at most {MAX_CHARACTERS:,}")
    try:
        node = _Nodes(text).get_single_node()
        return None if node is None else _value(node, 0)
    except yaml.YAMLError as error:
        raise UsageError(f"{origin}: {_reason(error)}") from None


def _reason(error: yaml.YAMLError) -> str:
    """What is wrong and where."""
    if isinstance(error, yaml.reader.ReaderError):
        code = error.character if isinstance(error.character, int) else ord(error.character)
        return f"the character U+{code:04X} may not stand in YAML; leave it out"
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"not valid YAML: {' '.join(str(error).split())}"
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    told = "" if isinstance(error, _Refused) else "not valid YAML: "
    return place + told + ", ".join(part for part in (error.context, error.problem) if part)


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that no study may hold."""

    def __init__(self, problem: str, node: Any) -> None:
        super().__init__(None, None, problem, node.start_mark)


class _Nodes(
    yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer, yaml.resolver.BaseResolver
):
    """The nodes of a YAML text by PyYAML's own parts, no deeper and no more than allowed."""

    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)
        yaml.resolver.BaseResolver.__init__(self)
        self._depth = self._values = 0
        self._held: dict[str, int] = {}  # values by anchor

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """The tag of a node without one."""
        if kind is yaml.ScalarNode and implicit[0]:
            return next((tag for tag, form in _FORMS.items() if form.fullmatch(value)), _STR)
        return {yaml.ScalarNode: _STR, yaml.SequenceNode: _SEQ, yaml.MappingNode: _MAP}[kind]

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """One node with all below it, no deeper and no more than allowed."""
        event, before = self.peek_event(), self._values  # type: ignore[no-untyped-call]
        is_alias = isinstance(event, yaml.AliasEvent)
        if is_alias and event.anchor in self.anchors and event.anchor not in self._held:
            raise _Refused(f"*{event.anchor} stands in what it names", event)
        self._values += self._held.get(event.anchor, 0) if is_alias else 1
        if self._values > MAX_VALUES:
            raise _Refused(f"a study has at most {MAX_VALUES:,} values, aliases written out", event)
        if self._depth > MAX_DEPTH:
            raise _too_deep(event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor is not None and not is_alias:
            self._held[event.anchor] = self._values - before
        return node


def _too_deep(where: Any) -> _Refused:
    return _Refused(f"a study is at most {MAX_DEPTH} levels deep, aliases written out", where)


def _value(node: yaml.Node, depth: int) -> Any:
    """The plain value of a node."""
    if depth > MAX_DEPTH:
        raise _too_deep(node)
    if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
        return dict(_items(node, depth))
    if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
        return [_value(item, depth + 1) for item in node.value]
    if isinstance(node, yaml.ScalarNode) and node.tag in (_STR, _INT, _FLOAT, _BOOL, _NULL, _MERGE):
        return _scalar(node)
    kind = node.tag.replace("tag:yaml.org,2002:", "!!")
    raise _Refused(f"the type {kind} is nothing that a study holds here; leave {kind} out", node)


def _items(node: yaml.MappingNode, depth: int) -> Iterator[tuple[str, Any]]:
    """The keys of a mapping: first those merged by <<, which its own replace. The first of several merged ones counts."""
    own: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key, below in node.value:
        if key.tag == _MERGE:
            value = _value(below, depth + 1)
            parts = value if isinstance(value, list) else [value]
            if not all(isinstance(part, dict) for part in parts):
                raise _Refused("<< takes a mapping or a list of mappings", below)
            for part in parts:
                merged = {**part, **merged}
            continue
        if key.tag != _STR or not isinstance(key, yaml.ScalarNode):
            shown = f"{key.value[:40]!r}" if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            raise _Refused(f"keys are words, and {shown} is none; a name goes in quotes", key)
        if key.value in own:
            raise _Refused(f"the key {key.value!r} stands twice", key)
        own[str(_scalar(key))] = _value(below, depth + 1)
    yield from {**merged, **own}.items()


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text: str = node.value
    form = _FORMS.get(node.tag)
    if form is not None and not form.fullmatch(text):
        raise _Refused(f"{text[:40]!r} is no {node.tag.rpartition(':')[2]}", node)
    if node.tag == _INT:
        return _whole(node, text.replace("_", "").lower())
    if node.tag == _FLOAT:
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    if node.tag in (_BOOL, _NULL):
        return text.lower() == "true" if node.tag == _BOOL else None
    # A byte of an argument that is no UTF-8, or "\ud800": no file could hold it.
    if bad := next((character for character in text if "\ud800" <= character <= "\udfff" or character == "\0"), None):
        raise _Refused(f"the character U+{ord(bad):04X} may not stand in text; leave it out", node)
    return text


def _whole(node: yaml.ScalarNode, text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _Refused(f"a number of {len(text):,} digits is out of every range", node)
    base = {"0x": 16, "0o": 8, "0b": 2}.get(text.lstrip("+-")[:2], 10)
    return int(text, base)
