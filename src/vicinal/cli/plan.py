"""`vicinal plan`: what a run would do and take; spends nothing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from vicinal.cli.study_arguments import add_study_arguments, prepare_process, study_and_folder
from vicinal.cli.table import print_table
from vicinal.workspace import format_bytes, format_seconds

if TYPE_CHECKING:
    from rich.table import Table

    from vicinal.study import Study


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser("plan", help="say what 'run' with the same arguments would do; spends nothing")
    add_study_arguments(parser)
    parser.set_defaults(call=plan)


def plan(parsed: argparse.Namespace) -> None:
    """Print every run with its cost, and what all of them take."""
    spec, out = study_and_folder(parsed)
    prepare_process(spec)
    from vicinal.study import Study

    study = Study(spec, out)
    print_table(_table(study), _text(study))


def _table(study: Study) -> Table:
    """A row for each run."""
    from rich.table import Table

    spec, runs = study.spec, study.plan.unique_runs
    table = Table(title=f"{spec.title or spec.name}: {len(runs)} runs in {study.out}", title_justify="left", box=None)
    for heading in ("run", "learns from", "model", "status"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seed", "parameters", "GFLOPs/image", "epochs", "images", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        network = run.spec.network
        table.add_row(
            run.spec.name,
            "labels" if run.teacher is None else run.teacher.spec.name,
            network.model,
            run.status,
            str(run.spec.seed),
            f"{study.networks[run.network_key].parameters:,}",
            f"{study.networks[run.network_key].forward_flops / 1e9:.3g}",
            str(network.epochs),
            f"{run.images:,}",
            format_seconds(study.estimate.run_s(run)),
        )
    return table


def _text(study: Study) -> str:
    """What stands below the table."""
    data, runs = study.context.data, study.plan.unique_runs
    estimate, predictions = study.estimate, study.predictions
    left = [run for run in runs if run.status != "done"]
    return (
        f"{study.spec.data.name or data.name}: {len(data.train):,} training, {len(data.validation):,} validation, "
        f"{len(data.test):,} test images, {study.context.classes} classes.\n"
        f"{len(left)} of {len(runs)} runs to do, {sum(run.images for run in left):,} images in training; then every network is asked "
        f"{estimate.images_predicted:,} images"
        f"{'' if predictions.pairs_are_chosen else f' (at most {predictions.vicinity.pairs:,} pairs: a pilot chooses how many)'}.\n"
        f"{_together(study)}{_banks(study)}{_compiled(study)}Estimated on {study.context.device}, from a few steps of each network: "
        f"{format_seconds(sum(map(estimate.run_s, runs)))} and "
        f"{sum(map(estimate.storage_bytes, runs)) / 1e9:.2g} GB in {study.out}."
    )


def _together(study: Study) -> str:
    """The line of a plan on students who are stepped together; empty where there are none."""
    shared = [group for group in study.groups if len(group) > 1]
    if not shared:
        return ""
    from vicinal.study import bank_layout

    passes = "one pass" if len(shared) == 1 else f"{len(shared)} passes"
    runs = sum(len(group) for group in shared)
    unbanked = [group[0] for group in shared if group[0].folder.path not in study.banks]
    sizes = {layout.fingerprint: layout.bytes for layout in (bank_layout(run, study.plan) for run in unbanked)}
    stored = f" (vicinal bank build would store them in {format_bytes(sum(sizes.values()))})" if sizes else ""
    return f"{runs} runs are stepped together on {passes} of their teachers: each answer is asked for once{stored}.\n"


def _compiled(study: Study) -> str:
    """The line of a plan on networks that are called through torch.compile; empty where there are none."""
    models = {run.spec.network.model: None for run in study.plan.unique_runs if study.compiles(run)}
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
    total = f"; {format_bytes(sum(layout.bytes for layout in banks.values()))} in all" if many else ""
    each = "each " * (many and len(sizes) == 1)
    return f"{sharing}, {each}{'; '.join(sizes)}{total}: each answer is asked for once.\n"
