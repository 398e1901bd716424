"""The command line: `vicinal run`, `plan`, `bank`, `report`, `paper`, `toy`, `studies`. Heavy imports wait until they are needed."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from vicinal import __version__
from vicinal.errors import UsageError, VicinalError
from vicinal.store import check_not_held, check_out_folder, check_study_folder, write_atomically
from vicinal.study_file import load_study, packaged_studies

if TYPE_CHECKING:
    from vicinal.study import Study

INTERRUPTED, TERMINATED = 130, 143  # the shells' numbers for a program ended by Ctrl-C and by kill


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it."""


_EXAMPLES = """\
examples:
  vicinal run quickstart
  vicinal run quickstart --out runs/q seeds=[0,1,2] student.epochs=10
  vicinal run quickstart arms.kd_mixup.temperature=[2,4,sigma]
  vicinal plan my-study.yaml data.source=photos/
  vicinal bank build my-study.yaml --out runs/mine runtime.bank_gb=10
  vicinal report runs/q
  vicinal paper --html paper.html
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"vicinal: {message}; {self.prog} --help shows how\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vicinal",
        description="Train small image classifiers by mixup-based distillation and measure whether their confidence can be trusted.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vicinal {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="{run,plan,bank,report,paper,toy,studies}")
    run = verbs.add_parser("run", help="run a study (or continue it), measure it and write its report")
    plan = verbs.add_parser("plan", help="say what 'run' with the same arguments would do; spends nothing")
    bank = verbs.add_parser("bank", help="store teachers' answers on one machine, to train students on another")
    bank_verbs = bank.add_subparsers(dest="bank_verb", required=True, metavar="{build,info,verify}")
    build = bank_verbs.add_parser(
        "build", help="train the teachers of a study and store all they are asked (or continue)"
    )
    build.add_argument(
        "--slice",
        metavar="R/W",
        default="0/1",
        help="only part R, from 0 on, of W parts of every batch: one for each machine",
    )
    info = bank_verbs.add_parser("info", help="list the banks of a study folder, or the one in a bank's folder")
    info.add_argument("folder", metavar="DIR", type=Path)
    verify = bank_verbs.add_parser("verify", help="check every stored answer, and ask the teacher some of them again")
    verify.add_argument(
        "--batches", metavar="N", type=int, default=8, help="batches of each bank that are asked again (default: 8)"
    )
    for verb in (run, plan, build, verify):
        verb.add_argument("study", metavar="STUDY", help="a packaged study (vicinal studies lists them) or a YAML file")
        verb.add_argument(
            "overrides", nargs="*", metavar="KEY=VALUE", help="for example seeds=[0,1,2] student.epochs=10"
        )
        verb.add_argument("--out", metavar="DIR", type=Path, help="study folder (default: runs/<name of the study>)")
    report = verbs.add_parser("report", help="write the report of a study folder again")
    report.add_argument("folder", metavar="DIR", type=Path)
    paper = verbs.add_parser(
        "paper", help="the paper's own tables: what they can and cannot be, which claims they support"
    )
    paper.add_argument("--json", metavar="FILE", type=Path, help="write all of it as data")
    paper.add_argument("--html", metavar="FILE", type=Path, help="write all of it as a page that opens offline")
    verbs.add_parser("studies", help="list the packaged studies")
    toy = verbs.add_parser(
        "toy", help="draw the decision boundaries of every arm in two dimensions (the paper's figure 2)"
    )
    toy.add_argument("--out", metavar="DIR", type=Path, default=Path("runs/toy"), help="folder (default: runs/toy)")
    toy.add_argument("--seed", metavar="N", type=int, default=0, help="of the points and the networks (default: 0)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 for a failure, 2 for the user's mistake, 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parse(given)
    try:
        with contextlib.suppress(ValueError):  # only a main thread may ask for signals
            signal.signal(signal.SIGTERM, _terminate)
        match parsed.verb:
            case "run":
                _run(parsed, given)
            case "plan":
                _plan(parsed)
            case "bank":
                _bank(parsed)
            case "report":
                _report(parsed.folder)
            case "paper":
                _paper(parsed.json, parsed.html)
            case "studies":
                _studies()
            case "toy":
                _toy(parsed.out, parsed.seed)
        sys.stdout.flush()
    except VicinalError as error:
        print(f"vicinal: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        print("vicinal: stopped; the same command continues from the last checkpoint", file=sys.stderr)
        return TERMINATED if isinstance(stop, _Terminated) else INTERRUPTED
    except BrokenPipeError:  # nobody reads on, as with | head
        _discard_output()
    except OSError as error:  # without a file name it is the standard output, for example on a full disk
        if error.errno is None:  # no failure of the system: a library's own error
            raise
        _discard_output()
        print(f"vicinal: {error.filename or 'the standard output'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _discard_output() -> None:
    """Let Python's own flush at the end succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(*_: object) -> None:
    raise _Terminated


def _parse(given: list[str]) -> argparse.Namespace:
    parser = _parser()
    parsed, rest = parser.parse_known_args(given)
    # argparse gives up on KEY=VALUE words that stand behind an option; they are overrides like those before it.
    stray = [word for word in rest if word.startswith("-") or not hasattr(parsed, "overrides")]
    if stray:
        parser.error(f"unrecognized arguments: {' '.join(stray)}")
    if rest:
        parsed.overrides = [*parsed.overrides, *rest]
    return parsed


def _run(parsed: argparse.Namespace, given: list[str]) -> None:
    spec = load_study(parsed.study, parsed.overrides)
    out = parsed.out or Path("runs") / spec.name
    check_out_folder(out, spec.name)
    check_not_held(out)
    from vicinal.study import Study

    Study(spec, out).execute(shlex.join(["vicinal", *given]))
    _report(out)


def _plan(parsed: argparse.Namespace) -> None:
    spec = load_study(parsed.study, parsed.overrides)
    out = parsed.out or Path("runs") / spec.name
    check_out_folder(out, spec.name)
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    from vicinal.progress import format_seconds
    from vicinal.study import Study

    study = Study(spec, out)
    runs = study.unique_runs()
    table = Table(title=f"{spec.title or spec.name}: {len(runs)} runs in {out}", title_justify="left", box=None)
    for heading in ("run", "learns from", "model", "status"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seed", "parameters", "GFLOPs/image", "epochs", "images", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        network = run.spec.network
        source = "labels" if run.teacher is None else run.teacher.spec.name
        table.add_row(
            run.spec.name,
            source,
            network.model,
            run.status,
            str(run.spec.seed),
            f"{study.parameters[run.path]:,}",
            f"{study.costs[run.path].forward_flops / 1e9:.3g}",
            str(network.epochs),
            f"{run.images:,}",
            format_seconds(study.estimated_s(run)),
        )
    console = Console(highlight=False, soft_wrap=True)
    # A narrow terminal wraps a line, which loses less than cut cells.
    console.width = max(console.width, Measurement.get(console, console.options.update(width=1000), table).maximum)
    console.begin_capture()  # rich would end the program by itself where nobody reads on
    console.print(table)
    data, left = study.data, [run for run in runs if run.status != "done"]
    console.print(
        f"{spec.data.name or data.name}: {len(data.train):,} training, {len(data.validation):,} validation, "
        f"{len(data.test):,} test images, {study.classes} classes.\n"
        f"{len(left)} of {len(runs)} runs to do, {sum(run.images for run in left):,} images in training; then every network is asked "
        f"{study.images_measured:,} images"
        f"{'' if study.pairs_are_chosen else f' (at most {study.vicinity.pairs:,} pairs: a pilot chooses how many)'}.\n"
        f"{_together(study)}{_banks(study)}{_compiled(study)}Estimated on {study.device}, from a few steps of each network: "
        f"{format_seconds(sum(map(study.estimated_s, runs)))} and "
        f"{sum(map(study.storage_bytes, runs)) / 1e9:.2g} GB in {out}.",
        markup=False,
    )
    print(console.end_capture(), end="")


def _together(study: Study) -> str:
    """The line of a plan on students who are stepped together; empty where there are none."""
    shared = [group for group in study.groups() if len(group) > 1]
    if not shared:
        return ""
    from vicinal.bank import format_bytes

    passes = "one pass" if len(shared) == 1 else f"{len(shared)} passes"
    runs = sum(len(group) for group in shared)
    unbanked = [group[0] for group in shared if group[0].folder.path not in study.banks]
    sizes = {layout.fingerprint: layout.bytes for layout in map(study.bank_layout, unbanked)}
    stored = f" (vicinal bank build would store them in {format_bytes(sum(sizes.values()))})" if sizes else ""
    return f"{runs} runs are stepped together on {passes} of their teachers: each answer is asked for once{stored}.\n"


def _compiled(study: Study) -> str:
    """The line of a plan on networks that are called through torch.compile; empty where there are none."""
    models = {run.spec.network.model: None for run in study.unique_runs() if study.compiles(run)}
    return f"Called through torch.compile: {', '.join(models)}.\n" if models else ""


def _banks(study: Study) -> str:
    """The lines of a plan on teachers' answers that are stored; empty where there are none."""
    banks = {layout.fingerprint: layout for layout in study.banks.values()}
    if not banks:
        return ""
    runs, many = len(study.banks), len(banks) > 1
    sharing = (
        f"{runs} run{'s' * (runs > 1)} share{'s' * (runs == 1)} {len(banks)} bank{'s' * many} of teachers' answers"
    )
    sizes = dict.fromkeys(layout.size for layout in banks.values())
    from vicinal.bank import format_bytes

    total = f"; {format_bytes(sum(layout.bytes for layout in banks.values()))} in all" if many else ""
    each = "each " * (many and len(sizes) == 1)
    return f"{sharing}, {each}{'; '.join(sizes)}{total}: each answer is asked for once.\n"


def _bank(parsed: argparse.Namespace) -> None:
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
    from vicinal.banking import Slice, build, verify
    from vicinal.study import Study

    study = Study(spec, out)
    for line in verify(study, parsed.batches) if parsed.bank_verb == "verify" else build(study, Slice(rank, world)):
        print(line, flush=True)


def _slice(text: str) -> tuple[int, int]:
    rank, _, world = text.partition("/")
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise UsageError(f"--slice is a part, from 0 on, of so many, as 0/4 to 3/4; not {text}")
    return int(rank), int(world)


def _bank_info(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give that of a study or of a bank")
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    from vicinal.bank import format_bytes
    from vicinal.banking import info

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
            str(layout.inputs.get("shown")),
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
    console.begin_capture()  # as in _plan
    if infos:
        console.print(table)
    print(console.end_capture(), end="")
    if unreadable:
        raise VicinalError("; ".join(unreadable))


def _report(folder: Path) -> None:
    check_study_folder(folder)
    from vicinal.report import write_report

    print(f"report: {write_report(folder)}")


def _paper(json_file: Path | None, html_file: Path | None) -> None:
    for option, path in (("--json", json_file), ("--html", html_file)):
        if path is not None and path.is_dir():
            raise UsageError(f"{option} {path} is a folder; give the name of a file")
    if json_file is not None and html_file is not None and json_file.absolute() == html_file.absolute():
        raise UsageError(f"--json and --html both name {json_file}; give them different files")
    from rich.console import Console

    from vicinal.paper.show import as_json, everything, print_everything

    shown, written = everything(), []
    # Files first, so that they are there also for a reader who stops early, as with | head.
    if json_file is not None:
        write_atomically(json_file, as_json(shown))
        written.append(f"data: {json_file}")
    if html_file is not None:
        from vicinal.paper.page import html_page

        write_atomically(html_file, html_page(shown))
        written.append(f"page: {html_file}")
    console = Console(highlight=False)
    console.width = max(console.width, 120)
    console.begin_capture()  # as in _plan
    print_everything(shown, console)
    print("\n".join([*(line.rstrip() for line in console.end_capture().splitlines()), *written]))


def _studies() -> None:
    for name in packaged_studies():
        spec = load_study(name)
        print(f"{name:14}  {spec.title}\n{'':14}  {spec.description}")


def _toy(out: Path, seed: int) -> None:
    if seed < 0:
        raise UsageError(f"--seed is a number from 0 on, not {seed}")
    from vicinal.toy import TITLES, ToySpec, check_toy_folder, run_toy, write_toy

    check_toy_folder(out)
    toy = run_toy(ToySpec(seed=seed), lambda title: print(f"training: {title}", file=sys.stderr))
    paths = write_toy(out, toy)
    print(f"{'':32}{'accuracy':>10}{'ECE':>8}{'NL(0.5)':>9}{'ambivalent':>12}")
    for field in toy.fields:
        f = field.figures
        print(
            f"{TITLES[field.name]:32}{f['accuracy']:10.3f}{f['ece']:8.3f}{f['nonlinearity_at_half']:9.3f}"
            f"{100 * f['ambivalent_share']:10.1f} %"
        )
    print(f"figure: {paths[0]}, {paths[1].name}; numbers: {paths[2].name}")


if __name__ == "__main__":
    sys.exit(main())
