"""How many workers train a study, and with what: as it asks for, or as this machine has room for."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

import torch
from joblib import cpu_count

from vicinal.config import RuntimeSpec
from vicinal.errors import UsageError
from vicinal.study.on_ray import ray_cluster
from vicinal.workspace import available_memory, launched


@dataclass(frozen=True)
class Crew:
    """How many workers share this machine, and with what."""

    workers: int
    threads: int | None  # of each on a CPU; None: torch's choice
    gpus: tuple[str, ...] = ()  # names for CUDA_VISIBLE_DEVICES that they take in turn; none: all see all
    is_elsewhere: bool = False  # on a cluster, one machine or part of one each
    is_on_cpu: bool = False  # they train on this machine's cores

    @property
    def is_this_process(self) -> bool:
        """Whether no other process trains."""
        return self.workers == 1 and not self.is_elsewhere

    @property
    def described(self) -> str:
        """What each of them has, for people."""
        if self.threads is None:
            return ""
        each = f" of {self.threads} thread{'s' * (self.threads > 1)} each"
        many = not self.is_elsewhere and self.workers * self.threads > cpu_count()
        return each + f", more than {cpu_count()} cores have room for" * many

    @property
    def sharing(self) -> int:
        """Workers that share the memory of one device."""
        return 1 if self.is_elsewhere else max(-(-self.workers // max(len(self.gpus), 1)), 1)


def crew_of(runtime: RuntimeSpec, device: torch.device, recorded: int | None = None) -> Crew:
    """The workers that a study asks for, or with `auto` as many as this machine has cores, memory or GPUs for.

    How many threads a process has decides the last digits of its weights. So `auto` never chooses threads, only how many workers
    have them; and a study that was begun goes on with the threads that it was begun on.

    Args:
        recorded: threads that runs of the study were begun on.
    """
    threads = runtime.threads or recorded
    if runtime.executor != "local":
        return _elsewhere(runtime, threads or torch.get_num_threads())
    if runtime.workers == 1 or launched().count > 1:  # the processes of torchrun share each training
        return Crew(1, runtime.threads)
    gpus = _visible_gpus() if device.type == "cuda" and device.index is None else ()
    cores = cpu_count()
    if runtime.workers != "auto":
        each_threads = threads or max(cores // max(runtime.workers, 1), 1)
        return Crew(runtime.workers, each_threads, gpus, is_on_cpu=device.type == "cpu" and runtime.workers > 0)
    if device.type != "cpu":
        workers = max(len(gpus), 1)
        return Crew(workers, threads or max(cores // workers, 1), gpus)
    threads = threads or torch.get_num_threads()
    each = 1.5 * 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a worker holds what this process does
    free = available_memory()
    room = cores if free is None else int(free / each)
    return Crew(max(min(cores // threads, room), 1), threads, is_on_cpu=True)


def _elsewhere(runtime: RuntimeSpec, threads: int) -> Crew:
    if runtime.workers != "auto":
        return Crew(runtime.workers, threads, is_elsewhere=True)
    if runtime.executor != "ray":
        raise UsageError(f"runtime.workers: auto: {runtime.executor} has no number of its own; give one")
    address, each = runtime.executor_options.get("address"), runtime.executor_options.get("num_cpus", threads)
    if not isinstance(each, int | float) or each <= 0:
        raise UsageError(f"runtime.executor_options.num_cpus: {each!r} is no number of cores")
    with ray_cluster(None if address is None else str(address)) as ray:
        cores = ray.cluster_resources().get("CPU", 0)
    return Crew(max(int(cores // each), 1), threads, is_elsewhere=True)


def _visible_gpus() -> tuple[str, ...]:
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is not None:
        return tuple(name for name in stated.split(",") if name)
    return tuple(str(number) for number in range(torch.cuda.device_count()))
