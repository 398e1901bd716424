"""Folders of runs as they were named on 1 December 2026: what was trained then is found again and not trained anew.

The networks of `run_folders.json` are those of each study with made-up hashes of its data. Where TRAINING_SEMANTICS is raised,
the file is written anew by intention.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_plan import facts

from vicinal.config import load_study
from vicinal.study.plan import plan_study

ROOT = Path(__file__).parents[2]
RECORDED: dict[str, list[str]] = json.loads((Path(__file__).parent / "run_folders.json").read_text(encoding="utf-8"))
SEEDS = {"temperature": "seeds=[0,1,2,3,4]", "examples/cifar10-lite.yaml": "seeds=[0,1,2]"}


@pytest.mark.parametrize("study", list(RECORDED))
def test_earlier_trainings_are_still_the_studys(study: str):
    file = str(ROOT / study) if study.endswith(".yaml") else study
    spec = load_study(file, ["data.source=x", *([SEEDS[study]] if study in SEEDS else [])])
    planned = {run.folder.path.name for run in plan_study(spec, Path("out"), facts(spec)).runs}
    assert len(RECORDED[study]) > 7
    assert set(RECORDED[study]) <= planned
