"""What the verbs on a study share: its arguments, its folder, and the process that it will have to itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from vicinal.config import StudySpec, load_study
from vicinal.workspace import RemoteFolder, check_out_folder, check_place, folder_or_url, keep_freed_memory


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """STUDY, KEY=VALUE ... and --out."""
    parser.add_argument("study", metavar="STUDY", help="a packaged study (vicinal studies lists them) or a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for example seeds=0,1,2 student.epochs=10")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=folder_or_url,
        help="study folder (default: runs/<name of the study>), or the URL of one on an object store (s3://bucket/path)",
    )


def study_and_folder(parsed: argparse.Namespace, *, writes: bool = True) -> tuple[StudySpec, Path]:
    """The study and the folder that it may have. Raises UsageError, in one line, for what cannot be; imports nothing heavy.

    Args:
        parsed: the command's arguments.
        writes: whether something goes into the folder, now or by the command that is planned.

    Returns:
        The study, and the folder of this machine: that in which a URL's is worked on.
    """
    spec = load_study(parsed.study, parsed.overrides)
    out = parsed.out or Path("runs") / spec.name
    if isinstance(out, str):
        out = RemoteFolder(out).local
    check_place(out, writes=writes)
    check_out_folder(out, spec.name)
    return spec, out


def prepare_process(spec: StudySpec) -> None:
    """Give the process the threads that the study states and, on a CPU, an allocator that keeps freed memory.

    Both are of the whole process, so the command line does this, and no library call.
    """
    import torch  # here, so that a usage error does not wait for it

    if spec.runtime.threads is not None:
        torch.set_num_threads(spec.runtime.threads)
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    if spec.runtime.device == "cpu" or (spec.runtime.device == "auto" and not has_gpu):
        keep_freed_memory()
