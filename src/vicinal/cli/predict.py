"""`vicinal predict`: what a student says of images, as CSV or JSON lines."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicinal.errors import UsageError
from vicinal.workspace import printable, say, write_file_atomically

if TYPE_CHECKING:
    from vicinal.shipping import Prediction

_EPILOG = """\
columns: path, class, probability (calibrated), set (with --coverage: the classes that cannot be ruled out, divided by " | " in CSV),
answer (with --risk: the class, or don't know), error (why a file cannot be read; then the others are empty).
The exit status is 0 also where files could not be read: their number is said at the end.
examples:
  vicinal predict student/ photos/ --coverage 0.9 --risk 0.05 --out answers.csv
  find photos -name '*.jpg' | vicinal predict student/ - --format jsonl
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "predict",
        help="ask a student about images: class, calibrated probability, prediction set, don't know",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("student", metavar="STUDENT", type=Path, help="a folder that vicinal export or timm wrote")
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="images, folders of images, or - for a list of files on stdin"
    )
    parser.add_argument(
        "--coverage", type=float, help="give sets that hold the true class with this probability, such as 0.9"
    )
    parser.add_argument(
        "--risk", type=float, help="say don't know where answers would be wrong more often, such as 0.05"
    )
    parser.add_argument("--format", choices=("csv", "jsonl"), help="default: by the ending of --out, else csv")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="write there, whole or not at all (default: standard output)"
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="images at once (default: 32)")
    parser.add_argument(
        "--engine", choices=("timm", "onnx", "int8"), help="default: timm where the folder holds its files"
    )
    parser.set_defaults(call=predict)


def predict(parsed: argparse.Namespace) -> None:
    """Ask a student about images."""
    if parsed.batch_size < 1:
        raise UsageError(f"--batch-size {parsed.batch_size}: at least one image at once")
    for name in ("coverage", "risk"):
        value = getattr(parsed, name)
        if value is not None and not 0 < value < 1:
            raise UsageError(f"--{name} {value:g}: a {name} lies between 0 and 1, both excluded")
    from vicinal.shipping import files_of, open_student, predictions, rules_of

    student = open_student(parsed.student, parsed.engine)
    rules = rules_of(student, parsed.coverage, parsed.risk)
    for note in rules.notes:
        say(f"note: {note}", sys.stderr)
    if student.promises is None:
        say(
            "note: this folder has no vicinal.json: probabilities are as its own temperature has them, if any",
            sys.stderr,
        )
    files = list(files_of(parsed.paths, sys.stdin))
    if not files:
        raise UsageError(f"no images in {', '.join(parsed.paths)}: give files or folders of them")
    kind = parsed.format or ("jsonl" if parsed.out is not None and parsed.out.suffix == ".jsonl" else "csv")
    broken = 0
    with _progress(len(files)) as advance:
        found = predictions(student, files, rules, parsed.batch_size, advance)

        def lines() -> Iterator[str]:
            nonlocal broken
            yield from _header(kind, parsed)
            for one in found:
                broken += one.error is not None
                yield _row(kind, parsed, one)

        if parsed.out is not None:

            def write(temporary: Path) -> None:
                with temporary.open("w", encoding="utf-8", newline="") as file:
                    file.writelines(lines())

            write_file_atomically(parsed.out, write)
        else:
            for line in lines():
                sys.stdout.write(line)
    if parsed.out is not None:
        say(f"answers: {parsed.out}")
    if broken:
        say(f"{broken:,} of {len(files):,} files could not be read: see the column error", sys.stderr)


def _columns(parsed: argparse.Namespace) -> list[str]:
    optional = [name for name, given in (("set", parsed.coverage), ("answer", parsed.risk)) if given is not None]
    return ["path", "class", "probability", *optional, "error"]


def _header(kind: str, parsed: argparse.Namespace) -> Iterator[str]:
    if kind == "csv":
        yield _csv(_columns(parsed))


def _row(kind: str, parsed: argparse.Namespace, one: Prediction) -> str:
    value: dict[str, Any] = {
        "path": printable(one.path),
        "class": one.label,
        "probability": None if one.probability is None else round(one.probability, 6),
        "set": None if one.classes is None else list(one.classes),
        "answer": one.answer,
        "error": None if one.error is None else printable(one.error),
    }
    kept = {name: value[name] for name in _columns(parsed)}
    if kind == "jsonl":
        return json.dumps(kept, ensure_ascii=False) + "\n"
    return _csv([" | ".join(v) if isinstance(v, list) else "" if v is None else v for v in kept.values()])


def _csv(values: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


@contextlib.contextmanager
def _progress(count: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task("images", total=count)
        yield lambda done: bars.advance(task, done)
