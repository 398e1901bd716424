"""A study's jobs as they are left in its folder for workers: those first that others wait for, or that take longest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vicinal.config import StudySpec
from vicinal.study.executor import Job
from vicinal.study.plan import PlannedRun, StudyPlan
from vicinal.workspace import StoredJob, StoredWork


def stored_work(
    given: StudySpec, plan: StudyPlan, jobs: Sequence[Job], forward_flops: Mapping[str, int], threads: int | None
) -> StoredWork:
    """What jobs.json says.

    Args:
        given: the study as a fresh process is to open it.
        jobs: of the plan.
        forward_flops: of one image, by a network's dotted path.
        threads: that every worker trains with.
    """
    planned = {run.folder.path.name: run for run in plan.unique_runs}
    stored = []
    for job in jobs:
        runs = [planned[name] for name in job.runs]
        images = sum(run.images for run in runs)
        flops = _flops(runs, forward_flops)
        stored.append(StoredJob(job.runs, tuple(sorted(job.needs)), _title(runs), images, flops))
    behind = dict.fromkeys(planned, 0.0)
    for one in stored:
        for run in one.needs:
            behind[run] = max(behind[run], one.flops)
    # Classifiers that are taken as they are come first: one whose classes stand in another order stops the study before it trains.
    stored.sort(key=lambda one: (one.images > 0, -one.flops - max(behind[run] for run in one.runs)))
    order = tuple(name for job in jobs for name in job.runs)
    return StoredWork(given.model_dump(mode="json"), str(Path.cwd()), threads, tuple(stored), order)


def _title(runs: Sequence[PlannedRun]) -> str:
    more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
    return f"seed {runs[0].spec.seed}, {runs[0].spec.name}{more}"


def _flops(runs: Sequence[PlannedRun], forward_flops: Mapping[str, int]) -> float:
    """Of training runs together: three forward passes an image of each, and one of their teacher."""
    flops = sum(3.0 * run.images * forward_flops[run.network_key] for run in runs)
    teacher = runs[0].teacher
    if teacher is not None:
        flops += float(runs[0].images) * sum(forward_flops[one.network_key] for one in teacher.networks)
    return flops
