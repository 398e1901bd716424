"""Study files gone wrong: the packaged ones with hostile values, odd YAML, lines lost, doubled and moved, and bombs."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

from vicinal.config import packaged_studies

_DEEP = 3000
FRAGMENTS = [
    "null", "~", "true", "no", "on", "''", "' '", "x", "[]", "{}", "[[]]", "[{}]", "{x: y}", "{1: 2}", "[1, 1]", "[a, a]", "[null]",
    "[true]", "0", "-1", "1e-3", "1e5", "0224", "010", "08", "1_000", "1__0", "_1", "0x_", "0x10", "0o17", "0b11", "0o9", "1:30",
    "12:30:45.5", "190:20:30", "2024-01-01", "2024-13-45", "2024-02-30T25:61:61Z", "1.", ".5", "+.5", "1e400", "-1e400", "1e-400",
    ".inf", "-.INF", ".nan", "1e300", "1e-300", "99999999999999999999", "18446744073709551616", "-18446744073709551616", "9" * 399,
    "9" * 4300, "9" * 5000, "0x" + "f" * 5000, "1" * 4299 + "e5", "0." + "0" * 5000 + "1", "1e999999999999999999999", "100000",
    "1000000000", "0.1", "1.5", "!!float x", "!!int x", "!!int '0x_'", "!!bool maybe", "!!null x", "!!str 5",
    "!!timestamp 2024-99-99", "!!binary '###'", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]",
    "!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!x y", "! 5", "!<tag:x> y", "!!seq {a: b}", "!!map [a]",
    "!!map x", "!!seq x", "!!float [1]", "!!str {a: b}", "*nowhere", "&a [*a]", "&a {b: *a}", "[&b 1, *b, *b]", "{<<: 3}",
    "{<<: [1]}", "{<<: {a: 1}}", "{<<: [{a: 1}, {a: 2}]}", "{? [a] : b}", "{? {a: b} : c}", "{null: 1}", "{true: 1}", "{1.5: 1}",
    "\"\\0\"", "\"\\x1b[31m\"", "\"\\ud800\"", "\"\\U0010FFFF\"", "\"\\uFFFE\"", "\"\\u202Egnp\"", "\"a\\nb\"", "猫", "\u0661\u0662",
    "\uff11", "Σ", "🙂", "e\u0301", "\ufeff", "\u2028", "[bold]x[/]", "[/]", "$x$", "$\\frac{$", "<script>alert(1)</script>", "=1+1",
    "../../etc/passwd", "/dev/zero", "sigma", "teacher_sigma", "[sigma, sigma]", "[2, 2.0]", "[2, sigma, 1e300]", "[[2]]",
    "{name: x}", "{name: kd, like: mixup}", "{like: kd}", "{name: x, like: x}", "[{name: [kd]}]", "[kd, kd]", "[{}]",
    "[kd, 5, null]", "'" + "x" * 5000 + "'", "[" * _DEEP, "[" * _DEEP + "]" * _DEEP, "{a: " * _DEEP, "[" * 19 + "]" * 19,
    "|\n  a\n  b", ">-\n  a", "- - - x", "? x", ": ", "%", "@x", "`x`", "#", "a: b: c", "[a", "{a", "'a", "\"a", "&", "*", "!",
    "---\na: 1", "...", "\t", "\x00", "\x1b[2J", "\x85", "cuda:99999999999999999999", "cuda:-1", "tpu", "a/b", "a" * 65, ".", "..",
    "-", "_", "[0, 1, piece, 2]", "[[0, 1, 1, 1, linear]]", "[[0, 1e308, 1, 1, linear]]", "[0.5, 0.5, 0.5]", "[0]", "[-1, 1]",
    "[.nan]", "[1e39]",
]  # fmt: skip


def alias_bomb(depth: int, width: int) -> str:
    """width ** depth values in a few lines."""
    lines = ["name: bomb", "a0: &a0 [x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * width)}]" for k in range(1, depth)]
    return "\n".join(lines)


_STUDY = "name: x\ndata: {source: x}\nteachers: {t: {model: m, epochs: 1}}\nstudent: {model: m, epochs: 1}\n"
BOMBS = {
    "aliases": alias_bomb(9, 9),
    "aliases in data": alias_bomb(30, 2) + "\ndata: {source: *a29}\nteachers: *a20\n",
    "merges": "a0: &a0 {k0: 1}\n" + "\n".join(f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}], k{k}: 1}}" for k in range(1, 40)),
    "keys": "name: x\n" + "\n".join(f"k{k}: {k}" for k in range(20_000)),
    "keys below": "name: x\ndata:\n" + "\n".join(f"  k{k}: {k}" for k in range(19_000)),
    "teachers": "name: x\ndata: {source: x}\nteachers:\n" + "\n".join(f"  t{k}: {{model: 5}}" for k in range(5_000)),
    "arms": f"{_STUDY}arms: [" + ", ".join(["kd"] * 15_000) + "]",
    "runs": f"{_STUDY}arms:\n- {{name: kd, temperature: [" + ", ".join(str(1 + k) for k in range(900)) + "]}\n"
    "seeds: [" + ", ".join(map(str, range(9_000))) + "]",
    "list": "name: x\nseeds: [" + ", ".join(["1"] * 100_000) + "]",
    "text": "name: " + "x" * 490_000,
    "folded text": "name: x\ntitle: " + "\n  ".join(["x"] * 100_000),
    "long": "# " + "x" * 600_000,
    "key": "x" * 400_000 + ": 1",
    "quoted key": "? '" + "x" * 400_000 + "'\n: 1",
    "deep": "a: " + "[" * 200_000,
    "deep block": "\n".join(" " * k + "a:" for k in range(600)),
    "brackets": "]" * 300_000,
    "anchors": "name: x\n" + "\n".join(f"a{k}: &a{k} x" for k in range(9_000)),
    "comments": "#\n" * 200_000,
    "numbers": "seeds: [" + ", ".join(["9" * 399] * 1_000) + "]",
}  # fmt: skip


def mutated_studies(count: int, seed: int) -> Iterator[str]:
    """`count` texts; the same for a seed."""
    draw = random.Random(seed)
    texts = [file.read_text(encoding="utf-8") for file in packaged_studies().values()]
    for _ in range(count):
        lines = draw.choice(texts).splitlines()
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            lines = draw.choice(_MUTATIONS)(lines, draw)
        yield "\n".join(lines) + "\n"


def _other_value(lines: list[str], draw: random.Random) -> list[str]:
    """A value, in a block or between brackets, becomes a fragment."""
    places = [
        (k, m)
        for k, line in enumerate(lines)
        for m in re.finditer(r"(?<=: )[^\s,\[\]{}#][^,\[\]{}#]*|(?<=\[)[^\]]*", line)
    ]
    if not places:
        return lines
    k, match = draw.choice(places)
    line = lines[k]
    return [*lines[:k], line[: match.start()] + draw.choice(FRAGMENTS) + line[match.end() :], *lines[k + 1 :]]


def _other_key(lines: list[str], draw: random.Random) -> list[str]:
    places = [(k, m) for k, line in enumerate(lines) for m in re.finditer(r"[\w.]+(?=: )", line)]
    if not places:
        return lines
    k, match = draw.choice(places)
    line = lines[k]
    return [*lines[:k], line[: match.start()] + draw.choice(FRAGMENTS) + line[match.end() :], *lines[k + 1 :]]


def _without_a_line(lines: list[str], draw: random.Random) -> list[str]:
    k = draw.randrange(len(lines))
    return lines[:k] + lines[k + 1 :] or [""]


def _with_a_line_twice(lines: list[str], draw: random.Random) -> list[str]:
    k, to = draw.randrange(len(lines)), draw.randrange(len(lines))
    return [*lines[:to], lines[k], *lines[to:]]


def _indented(lines: list[str], draw: random.Random) -> list[str]:
    k = draw.randrange(len(lines))
    return [*lines[:k], draw.choice((" ", "  ", "\t", "- ")) + lines[k], *lines[k + 1 :]]


def _other_character(lines: list[str], draw: random.Random) -> list[str]:
    text = "\n".join(lines) or " "
    k = draw.randrange(len(text))
    new = draw.choice(
        [
            "",
            "\x00",
            "\x1b",
            "\x7f",
            "\ufffe",
            "\r",
            ":",
            "-",
            "[",
            "}",
            "'",
            '"',
            "&",
            "*",
            "!",
            "%",
            "|",
            "猫",
            "\u202e",
        ]
    )
    return (text[:k] + new + text[k + draw.randrange(2) :]).split("\n")


def _cut(lines: list[str], draw: random.Random) -> list[str]:
    text = "\n".join(lines) or " "
    return text[: draw.randrange(len(text))].split("\n")


def _further_key(lines: list[str], draw: random.Random) -> list[str]:
    keys = [
        "title",
        "description",
        "seeds",
        "teacher_seed",
        "selection",
        "validate_every_epochs",
        "answers",
        "measures",
        "runtime",
        "arms",
        "student",
        "extends",
    ]
    return [*lines, f"{draw.choice(keys)}: {draw.choice(FRAGMENTS)}"]


_MUTATIONS: list[Callable[[list[str], random.Random], list[str]]] = [
    _other_value,
    _other_value,
    _other_value,
    _other_value,
    _other_key,
    _without_a_line,
    _with_a_line_twice,
    _indented,
    _other_character,
    _cut,
    _further_key,
]
