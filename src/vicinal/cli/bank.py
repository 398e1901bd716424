"""`vicinal bank`: build, info, verify."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vicinal.cli.study_arguments import add_study_arguments, prepare_process, study_and_folder
from vicinal.cli.table import print_table
from vicinal.errors import UsageError, VicinalError
from vicinal.workspace import check_not_held, check_study_folder, format_bytes, printable, say


def add_parser(verbs: Any) -> None:
    """Add the verb with its own three."""
    parser = verbs.add_parser("bank", help="store teachers' answers on one machine, to train students on another")
    own = parser.add_subparsers(dest="bank_verb", required=True, metavar="{build,info,verify}")
    build = own.add_parser("build", help="train the teachers of a study and store all they are asked (or continue)")
    build.add_argument(
        "--slice",
        metavar="R/W",
        default="0/1",
        help="only part R, from 0 on, of W parts of every batch: one for each machine",
    )
    build.set_defaults(call=bank_build)
    info = own.add_parser("info", help="list the banks of a study folder, or the one in a bank's folder")
    info.add_argument("folder", metavar="DIR", type=Path)
    info.set_defaults(call=bank_info)
    verify = own.add_parser("verify", help="check every stored answer, and have the teacher predict some of them again")
    verify.add_argument(
        "--batches", metavar="N", type=int, default=8, help="batches of each bank that are predicted again (default: 8)"
    )
    verify.set_defaults(call=bank_verify)
    for verb in (build, verify):
        add_study_arguments(verb)


def bank_build(parsed: argparse.Namespace) -> None:
    """Fill the banks of a study, a line for each."""
    rank, world = _slice(parsed.slice)
    spec, out = study_and_folder(parsed)
    if world == 1:
        check_not_held(out)
    prepare_process(spec)
    from vicinal.study import Shard, Study, build_banks

    for line in build_banks(Study(spec, out), Shard(rank, world)):
        say(line)
        sys.stdout.flush()


def bank_verify(parsed: argparse.Namespace) -> None:
    """Prove the banks of a study, a line for each."""
    if parsed.batches < 1:
        raise UsageError(f"--batches is a number from 1 on, not {parsed.batches}")
    spec, out = study_and_folder(parsed, writes=False)
    check_study_folder(out)
    prepare_process(spec)
    from vicinal.study import Study, verify_banks

    for line in verify_banks(Study(spec, out), parsed.batches):
        say(line)
        sys.stdout.flush()


def _slice(text: str) -> tuple[int, int]:
    rank, _, world = text.partition("/")
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise UsageError(f"--slice is a part, from 0 on, of so many, as 0/4 to 3/4; not {text}")
    return int(rank), int(world)


def bank_info(parsed: argparse.Namespace) -> None:
    """List banks; VicinalError, behind the list, for those that cannot be read."""
    if not parsed.folder.is_dir():
        raise UsageError(f"{parsed.folder} is not a folder; give that of a study or of a bank")
    from rich.table import Table
    from rich.text import Text

    from vicinal.study import list_banks

    infos, unreadable = list_banks(parsed.folder)
    table = Table(box=None)
    for heading in ("bank", "teacher", "inputs", "kept as"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seed", "whole epochs", "images", "classes", "B/image", "on disk", "stored"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("precision", "made", "KL of what is kept, nats"):
        table.add_column(heading, no_wrap=True)
    for bank in infos:
        layout = bank.layout
        table.add_row(
            Text(printable(bank.path.resolve().name)),
            Text(printable(layout.teacher)),
            *(Text(printable(str(part))) for part in (layout.input_kind, layout.codec, layout.inputs.get("seed"))),
            f"{bank.whole_epochs:,} of {layout.epochs:,}",
            f"{layout.images:,}",
            f"{layout.classes:,}",
            f"{layout.record_bytes:,}",
            format_bytes(bank.disk_bytes),
            f"{100 * bank.share:.4g} %" + (f", {bank.damaged:,} damaged" if bank.damaged else ""),
            *(Text(printable(part)) for part in (bank.precision or "-", bank.made, bank.error)),
        )
    print_table(table)
    if unreadable:
        raise VicinalError("; ".join(unreadable))
