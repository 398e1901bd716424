"""Jobs: their order, the locks of their runs, and the same study run by another executor in other processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from tiny_studies import merged, weights_of
from vicinal.config import StudySpec, load_study
from vicinal.errors import UsageError
from vicinal.study import Job, Study, execute, in_order, run_job
from vicinal.study.executor import held
from vicinal.workspace import StudyProgress, open_study_folder

WORKER = """
import sys
from pathlib import Path
from vicinal.config import load_study
from vicinal.study import run_job
from vicinal.workspace import StudyProgress, open_study_folder
with StudyProgress(1) as progress:
    run_job(load_study(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:], progress)
"""


class InProcesses:
    """A second executor: every job in a fresh process that is given the study, the folder and names alone."""

    def __init__(self, study_file: Path, out: Path) -> None:
        self.study_file, self.out, self.done = study_file, out, list[Job]()

    def run(self, jobs: Sequence[Job], run_job: Any, progress: StudyProgress) -> None:
        for job in in_order(jobs):
            command = [sys.executable, "-c", WORKER, str(self.study_file), str(self.out), *job.runs]
            subprocess.run(command, check=True, capture_output=True)
            self.done.append(job)


@pytest.mark.slow
def test_another_executor_gives_the_same_study(
    smallest: dict[str, Any], study_file: Callable[..., Path], tmp_path: Path
):
    file = study_file(smallest, {"arms": ["baseline", "kd"]})
    here = execute(Study(load_study(str(file)), tmp_path / "here"), "here")
    executor = InProcesses(file, tmp_path / "there")
    there = execute(Study(load_study(str(file)), tmp_path / "there"), "there", executor)
    assert len(executor.done) == 3
    assert weights_of(tmp_path / "here") == weights_of(tmp_path / "there") != {}
    assert [student.nll for student in here.students] == [student.nll for student in there.students]


def test_jobs_come_after_what_they_need():
    teacher, student, other = Job(("t",), frozenset()), Job(("s", "u"), frozenset({"t"})), Job(("o",), frozenset())
    assert list(in_order([student, other, teacher])) == [other, teacher, student]
    assert list(in_order([teacher, student, other])) == [teacher, student, other]  # otherwise as they stand
    with pytest.raises(ValueError, match="s needs t"):
        list(in_order([student, other]))


def test_a_job_holds_the_folders_of_its_runs_alone(smallest: dict[str, Any], tmp_path: Path):
    spec = StudySpec.model_validate(merged(smallest, {"arms": ["baseline", "mixup"]}))
    study = Study(spec, tmp_path / "out")
    _, baseline, mixup = study.plan.unique_runs
    open_study_folder(study.out, spec.name)
    with held([baseline]), StudyProgress(1) as progress:
        with pytest.raises(UsageError, match=f"{baseline.folder.path.name} is held by process"):
            run_job(spec, study.out, [baseline.folder.path.name], progress)
        run_job(spec, study.out, [mixup.folder.path.name], progress)  # beside it
    assert mixup.folder.is_done
    assert not baseline.folder.is_done
    assert load_file(mixup.folder.weights)


def test_a_run_of_another_study_is_named(smallest: dict[str, Any], tmp_path: Path):
    with StudyProgress(1) as progress, pytest.raises(UsageError, match="has no run student-x; it has student-kd"):
        run_job(StudySpec.model_validate(smallest), tmp_path / "out", ["student-x"], progress)
