"""The executor that a study asks for."""

from __future__ import annotations

from pathlib import Path

from vicinal.config import RuntimeSpec
from vicinal.study.crew import Crew
from vicinal.study.driver import Driven, DrivenStudy, Hands
from vicinal.study.executor import Executor, InOrder
from vicinal.study.local import local_workers
from vicinal.study.on_ray import ray_workers
from vicinal.study.on_slurm import slurm_workers


def executor_of(study: DrivenStudy, runtime: RuntimeSpec, crew: Crew) -> Executor:
    """What runs the jobs of a study. Raises UsageError where an optional package is not there."""
    if crew.is_this_process:
        return InOrder()
    hands, spared = hands_of(study.out, runtime, crew), not crew.is_on_cpu
    return Driven(study, hands, crew.workers, crew.described, spared)


def hands_of(out: Path, runtime: RuntimeSpec, crew: Crew) -> Hands:
    """What starts the workers. Raises UsageError where an optional package is not there."""
    if runtime.executor == "slurm":
        return slurm_workers(out, crew.threads, runtime.executor_options)
    if runtime.executor == "ray":
        return ray_workers(out, crew.threads, runtime.executor_options)
    return local_workers(out, crew)
