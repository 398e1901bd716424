"""The files of the toy."""

from __future__ import annotations

import io
import platform
import re
from dataclasses import asdict
from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from vicinal.errors import UsageError
from vicinal.report import FONTS
from vicinal.toy.experiment import AMBIVALENT, Toy
from vicinal.toy.figure import CAPTION, draw_figure
from vicinal.version import __version__
from vicinal.workspace import STUDY_FILE, write_atomically, write_json


def _saved(figure: Figure, form: str) -> bytes:
    """The file's bytes, the same every time."""
    out = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {"Software": None}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "figure2"}):
        figure.savefig(out, format=form, dpi=72 if form == "svg" else 160, metadata=metadata)
    if form == "png":
        return out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<!DOCTYPE.*?>", "", out.getvalue().decode(), flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*", f"font-family: {FONTS}", text)
    text = re.sub(r"(<svg [^>]*)>", rf'\1 role="img"><title>{CAPTION}</title>', text, count=1)
    return text.encode()


def check_toy_folder(folder: Path) -> None:
    """UsageError where the figure cannot go there: a file stands in the way, or a study has the folder. Changes nothing."""
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file; choose a folder with --out")
    if (folder / STUDY_FILE).exists():
        raise UsageError(f"{folder} contains a study; choose another folder with --out")


def write_toy(folder: Path, toy: Toy) -> list[Path]:
    """Write figure2.svg, figure2.png and toy.json into a folder, made where it is missing; their paths in that order.

    Raises UsageError as `check_toy_folder`, VicinalError where the disk is full or the folder cannot be written.
    """
    check_toy_folder(folder)
    figure = draw_figure(toy)
    paths = [folder / name for name in ("figure2.svg", "figure2.png", "toy.json")]
    for path, form in zip(paths, ("svg", "png"), strict=False):
        write_atomically(path, _saved(figure, form))
    write_json(
        paths[2],
        {
            "version": __version__,
            "environment": {"python": platform.python_version(), "torch": torch.__version__},
            "spec": asdict(toy.spec),
            "ambivalent_below": AMBIVALENT,
            "area": dict(zip(("left", "right", "bottom", "top"), toy.extent, strict=True)),
            "networks": {field.name: field.metrics for field in toy.fields},
            "seconds": round(toy.seconds, 2),
        },
    )
    return paths
