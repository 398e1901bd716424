"""`vicinal run`, `report`, `paper`, `studies` and `toy`."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vicinal.config import load_study, packaged_studies
from vicinal.errors import UsageError
from vicinal.workspace import check_not_held, check_out_folder, check_study_folder, write_atomically

if TYPE_CHECKING:
    pass


def run(parsed: argparse.Namespace, given: list[str]) -> None:
    spec = load_study(parsed.study, parsed.overrides)
    out = parsed.out or Path("runs") / spec.name
    check_out_folder(out, spec.name)
    check_not_held(out)
    from vicinal.study import Study

    Study(spec, out).execute(shlex.join(["vicinal", *given]))
    report(out)


def report(folder: Path) -> None:
    check_study_folder(folder)
    from vicinal.report import write_report

    print(f"report: {write_report(folder)}")


def paper(json_file: Path | None, html_file: Path | None) -> None:
    for option, path in (("--json", json_file), ("--html", html_file)):
        if path is not None and path.is_dir():
            raise UsageError(f"{option} {path} is a folder; give the name of a file")
    if json_file is not None and html_file is not None and json_file.absolute() == html_file.absolute():
        raise UsageError(f"--json and --html both name {json_file}; give them different files")
    from rich.console import Console

    from vicinal.paper import as_json, everything, print_everything

    shown, written = everything(), []
    # Files first, so that they are there also for a reader who stops early, as with | head.
    if json_file is not None:
        write_atomically(json_file, as_json(shown))
        written.append(f"data: {json_file}")
    if html_file is not None:
        from vicinal.paper import html_page

        write_atomically(html_file, html_page(shown))
        written.append(f"page: {html_file}")
    console = Console(highlight=False)
    console.width = max(console.width, 120)
    console.begin_capture()  # as in plan
    print_everything(shown, console)
    print("\n".join([*(line.rstrip() for line in console.end_capture().splitlines()), *written]))


def studies() -> None:
    for name in packaged_studies():
        spec = load_study(name)
        print(f"{name:14}  {spec.title}\n{'':14}  {spec.description}")


def toy(out: Path, seed: int) -> None:
    if seed < 0:
        raise UsageError(f"--seed is a number from 0 on, not {seed}")
    from vicinal.toy import TITLES, ToySpec, check_toy_folder, run_toy, write_toy

    check_toy_folder(out)
    toy = run_toy(ToySpec(seed=seed), lambda title: print(f"training: {title}", file=sys.stderr))
    paths = write_toy(out, toy)
    print(f"{'':32}{'accuracy':>10}{'ECE':>8}{'NL(0.5)':>9}{'ambivalent':>12}")
    for field in toy.fields:
        f = field.metrics
        print(
            f"{TITLES[field.name]:32}{f['accuracy']:10.3f}{f['ece']:8.3f}{f['nonlinearity_at_half']:9.3f}"
            f"{100 * f['ambivalent_share']:10.1f} %"
        )
    print(f"figure: {paths[0]}, {paths[1].name}; numbers: {paths[2].name}")
