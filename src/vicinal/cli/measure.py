"""`vicinal measure`: a classifier as it is, on every image of a folder."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from vicinal.cli.table import print_table
from vicinal.errors import UsageError
from vicinal.workspace import keep_freed_memory, printable, say

OUT = Path("measurements")


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "measure",
        help="measure a classifier as it is on images: accuracy, calibration, where to refuse, its mistakes",
        description="Measure a classifier as it is on every image of a folder, without a study and without training. Writes one page, "
        "measurement.json and tables.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a timm name, NAME=FILE, a weights file, a folder, a run (see docs/measure.md)"
    )
    parser.add_argument("data", metavar="DATA", help="a folder of class folders, or what data.source of a study takes")
    add_measuring_arguments(parser)
    parser.add_argument("--weights", metavar="FILE", help="weights of MODEL, where it is a name")
    parser.set_defaults(call=measure)


def add_measuring_arguments(parser: Any) -> None:
    """What `measure` and `compare` share."""
    parser.add_argument("--out", metavar="DIR", type=Path, help=f"folder (default: {OUT}/MODEL-on-DATA)")
    parser.add_argument(
        "--validation",
        metavar="DATA",
        help="to fit the temperature on (default: val/ of DATA, else halves)",
    )
    parser.add_argument("--pairs", metavar="N", type=int, help="pairs of images to ask between; 0: none (default: 200)")
    parser.add_argument(
        "--classes", choices=["data"], help="data: choose among the data's classes only, where MODEL has more"
    )
    parser.add_argument(
        "--class-names",
        metavar="FILE",
        type=Path,
        help="MODEL's classes, a line each, in the order of its logits",
    )
    parser.add_argument(
        "--image-size", metavar="PX", type=int, help="side that images are brought to (default: as MODEL says)"
    )
    parser.add_argument(
        "--on-error", choices=["raise", "skip"], default="raise", help="images that cannot be read (default: raise)"
    )
    parser.add_argument(
        "--lazy", action="store_true", help="read images as they are needed, where memory cannot hold them"
    )
    parser.add_argument("--batch-size", metavar="N", type=int, help="images at once")
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps or auto (default)")
    parser.add_argument("--threads", metavar="N", type=int, help="of torch on the CPU (default: its own choice)")


def measure(parsed: argparse.Namespace) -> None:
    """Measure one classifier, write its page, and say what it is worth."""
    run_measuring(parsed, [parsed.model], parsed.data, parsed.weights)


def run_measuring(parsed: argparse.Namespace, models: list[str], data: str, weights: str | None = None) -> None:
    """Measure classifiers on images, and print the table, the answer and the paths."""
    if parsed.threads is not None and parsed.threads < 1:
        raise UsageError(f"--threads is at least 1, not {parsed.threads}")
    from vicinal.measuring import (
        DEFAULT_PAIRS,
        MeasuringOptions,
        check_measurement_folder,
        default_folder,
        measure_named,
        summary_table,
        summary_text,
    )

    out = parsed.out or default_folder(models, data)
    check_measurement_folder(out)
    _prepare_process(parsed.threads, parsed.device)
    options = MeasuringOptions(
        weights=weights,
        validation=parsed.validation,
        pairs=DEFAULT_PAIRS if parsed.pairs is None else parsed.pairs,
        classes=parsed.classes,
        class_names=parsed.class_names,
        image_size=parsed.image_size,
        on_error=parsed.on_error,
        lazy=parsed.lazy,
        batch_size=parsed.batch_size,
        device=parsed.device,
    )
    command = printable(shlex.join(["vicinal", *parsed.given]))
    try:
        results = measure_named(models, data, options, out, command).results
    except UsageError as error:  # a study's way out is another one
        raise UsageError(str(error).replace("data.on_error=skip", "--on-error skip")) from None
    print_table(summary_table(results), summary_text(results))
    say(f"page: {out / 'measurement.html'}; numbers: {out / 'measurement.json'}; tables: {out / 'tables'}")


def _prepare_process(threads: int | None, device: str) -> None:
    """The threads asked for and, on a CPU, an allocator that keeps freed memory: of the whole process, so no library call does it."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if device == "cpu" or (device == "auto" and not (torch.cuda.is_available() or torch.backends.mps.is_available())):
        keep_freed_memory()
