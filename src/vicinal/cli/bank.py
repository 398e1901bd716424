"""`vicinal bank`: build, info, verify."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vicinal.config import load_study
from vicinal.errors import UsageError, VicinalError
from vicinal.workspace import check_not_held, check_out_folder, check_study_folder

if TYPE_CHECKING:
    pass


def bank(parsed: argparse.Namespace) -> None:
    if parsed.bank_verb == "info":
        _bank_info(parsed.folder)
        return
    rank, world = _slice(parsed.slice) if parsed.bank_verb == "build" else (0, 1)
    if parsed.bank_verb == "verify" and parsed.batches < 1:
        raise UsageError(f"--batches is a number from 1 on, not {parsed.batches}")
    spec = load_study(parsed.study, parsed.overrides)
    out = parsed.out or Path("runs") / spec.name
    check_out_folder(out, spec.name)
    if parsed.bank_verb == "verify":
        check_study_folder(out)
    elif world == 1:
        check_not_held(out)
    from vicinal.study import Shard, Study, build, verify

    study = Study(spec, out)
    for line in verify(study, parsed.batches) if parsed.bank_verb == "verify" else build(study, Shard(rank, world)):
        print(line, flush=True)


def _slice(text: str) -> tuple[int, int]:
    rank, _, world = text.partition("/")
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise UsageError(f"--slice is a part, from 0 on, of so many, as 0/4 to 3/4; not {text}")
    return int(rank), int(world)


def _bank_info(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give that of a study or of a bank")
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    from vicinal.distillation import format_bytes
    from vicinal.study import info

    infos, unreadable = info(folder)
    table = Table(box=None)
    for heading in ("bank", "teacher", "shown", "kept as"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seed", "whole epochs", "images", "classes", "B/image", "on disk", "stored"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("asked in", "made", "KL of what is kept, nats"):
        table.add_column(heading, no_wrap=True)
    for bank in infos:
        layout = bank.layout
        table.add_row(
            bank.path.resolve().name,
            layout.teacher,
            str(layout.inputs.get("input_kind")),
            str(layout.codec),
            str(layout.inputs.get("seed")),
            f"{bank.whole_epochs:,} of {layout.epochs:,}",
            f"{layout.images:,}",
            f"{layout.classes:,}",
            f"{layout.record_bytes:,}",
            format_bytes(bank.disk_bytes),
            f"{100 * bank.share:.4g} %" + (f", {bank.damaged:,} damaged" if bank.damaged else ""),
            bank.precision or "-",
            bank.made,
            bank.error,
        )
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, Measurement.get(console, console.options.update(width=1000), table).maximum)
    console.begin_capture()  # as in plan
    if infos:
        console.print(table)
    print(console.end_capture(), end="")
    if unreadable:
        raise VicinalError("; ".join(unreadable))
