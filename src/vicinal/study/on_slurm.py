"""Workers as jobs of a Slurm cluster, by submitit: each is one `vicinal work` on the study's folder, which all nodes have to see.

submitit leaves what it submits pickled in OUT/work/slurm, where its own jobs read it; nothing of it is read here.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vicinal.errors import UsageError, VicinalError, as_ended, one_line
from vicinal.study.driver import Deaths, Hands
from vicinal.study.worker import WorkOn
from vicinal.workspace import StudyProgress

TIMEOUT_MINUTES = 24 * 60  # of a job, unless the study says otherwise; one that ends so is queued again
MOST_TIMEOUTS = 1000
FOLDER = "work/slurm"  # in the study's, of what submitit leaves, and of a file for the end of each job
LOOK_SECONDS = 2.0  # between two looks at the queue, beside those that submitit spares it


def slurm_workers(out: Path, threads: int | None, options: Mapping[str, Any]) -> Hands:
    """Workers on a study's folder as jobs of a cluster.

    Args:
        threads: of each worker.
        options: as submitit's `update_parameters` takes them (timeout_min, mem_gb, slurm_partition, ...); `cluster: local` has the
            same jobs run on this machine.

    Raises UsageError where submitit is not there; so do its workers where the cluster is not, or does not know an option.
    """
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UsageError("runtime.executor: slurm needs an optional package: pip install 'vicinal[slurm]'") from None
    known = {"name": "vicinal", "timeout_min": TIMEOUT_MINUTES, "cpus_per_task": threads or 1, **options}
    return partial(_jobs, known, WorkOn(str(out.absolute()), threads))


def _executor(out: str, options: Mapping[str, Any]) -> Any:
    import submitit

    known = dict(options)
    cluster = known.pop("cluster", "slurm")
    try:
        executor = submitit.AutoExecutor(f"{out}/{FOLDER}", cluster, slurm_max_num_timeout=MOST_TIMEOUTS)
        executor.update_parameters(**known)
    except (RuntimeError, ValueError, TypeError, AssertionError, NameError) as error:
        words = one_line(error, None)
        raise UsageError(f"runtime.executor: slurm: {words}; docs/workers.md has the options") from None
    return executor


class _SlurmWorker:
    """A job that is submitted again when it ends before its work does."""

    def __init__(self, executor: Any, work: WorkOn, progress: StudyProgress) -> None:
        self._executor, self._work, self._progress, self._deaths = executor, work, progress, Deaths(progress)
        self._looked, self._is_there = 0.0, True
        self._submit()

    def _submit(self) -> None:
        self._end = Path(self._work.out) / FOLDER / f"{secrets.token_hex(8)}.json"
        try:
            self.job = self._executor.submit(replace(self._work, end=str(self._end)))
        except Exception as error:  # whatever sbatch says
            raise VicinalError(f"a job could not be submitted: {one_line(error, None)}") from None
        self._progress.say(f"job {self.job.job_id} is submitted; its log: {self.job.paths.stderr}")

    def check(self) -> bool:
        if self._is_there and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._is_there = not self.job.done() or self._comes_again()
        return self._is_there

    def _comes_again(self) -> bool:
        """Whether it died, and was submitted again. Raises what a job ended with that says why it ends."""
        if self._end.exists():
            end = json.loads(self._end.read_text())
            if end["exit_code"]:
                raise as_ended(end["exit_code"], end["error"])
            return False
        self._deaths.count(f"job {self.job.job_id} ended ({self.job.state})")
        self._submit()
        return True


@contextlib.contextmanager
def _jobs(
    options: Mapping[str, Any], work: WorkOn, count: int, progress: StudyProgress
) -> Iterator[Sequence[_SlurmWorker]]:
    executor, workers = _executor(work.out, options), list[_SlurmWorker]()
    try:
        workers.extend(_SlurmWorker(executor, work, progress) for _ in range(count))
        yield workers
    except BaseException:
        for worker in workers:
            if not worker.job.done():
                with contextlib.suppress(Exception):  # the queue may be gone; what stopped us is what counts
                    worker.job.cancel(check=False)
        raise
