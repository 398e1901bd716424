"""Workers as tasks of a Ray cluster: each is one `vicinal work` on the study's folder, which all nodes have to see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vicinal.errors import UsageError, VicinalError
from vicinal.study.driver import Deaths, Hands
from vicinal.study.worker import WorkerDiedError, WorkOn
from vicinal.workspace import MOST_ATTEMPTS, StudyProgress


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError("runtime.executor: ray needs an optional package: pip install 'vicinal[ray]'") from None
    return ray


@contextlib.contextmanager
def ray_cluster(address: str | None = None) -> Iterator[Any]:
    """The package ray, connected: to the cluster of RAY_ADDRESS or of this machine, otherwise to one of this process.

    Raises UsageError where it is not installed or cannot be reached.
    """
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise UsageError(f"runtime.executor: ray: no cluster can be reached ({' '.join(str(error).split())})") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def ray_workers(out: Path, threads: int | None, options: Mapping[str, Any]) -> Hands:
    """Workers on a study's folder as tasks of a cluster, spread over its nodes.

    Args:
        threads: of each worker.
        options: as `ray.remote` takes them for a task (num_cpus, num_gpus, memory, ...), and `address` of the cluster.

    Raises UsageError where Ray is not there; so do its workers where the cluster is not, or does not know an option.
    """
    _ray()
    return partial(_tasks, WorkOn(str(out.absolute()), threads), dict(options))


class _RayWorker:
    """A task that Ray runs again where its worker or node dies, and that is given again when that did not help."""

    def __init__(self, ray: Any, task: Any, progress: StudyProgress) -> None:
        self._ray, self._task, self._deaths = ray, task, Deaths(progress)
        self._is_there, self.reference = True, task()

    def check(self) -> bool:
        if self._is_there:
            self._is_there = not self._has_ended()
        return self._is_there

    def _has_ended(self) -> bool:
        ready, _ = self._ray.wait([self.reference], timeout=0)
        if not ready:
            return False
        try:
            self._ray.get(self.reference)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if not isinstance(cause, WorkerDiedError):
                raise (UsageError if isinstance(cause, UsageError) else VicinalError)(_in_a_line(cause)) from None
            self._again(cause)
            return False
        except self._ray.exceptions.RayError as error:  # its worker or node died, also when it was run again
            self._again(error)
            return False
        return True

    def _again(self, why: BaseException) -> None:
        self._deaths.count(_in_a_line(why))
        self.reference = self._task()


@contextlib.contextmanager
def _tasks(
    work: WorkOn, options: dict[str, Any], count: int, progress: StudyProgress
) -> Iterator[Sequence[_RayWorker]]:
    with ray_cluster(options.pop("address", None)) as ray:
        known = {
            "num_cpus": work.threads or 1,
            "scheduling_strategy": "SPREAD",
            "max_retries": MOST_ATTEMPTS,
            "retry_exceptions": [WorkerDiedError],
            "name": "vicinal work",
            **options,
        }
        try:
            task = ray.remote(**known)(_work)
        except (ValueError, TypeError) as error:
            raise UsageError(f"runtime.executor_options: {_in_a_line(error)}") from None
        workers: list[_RayWorker] = []
        try:
            workers.extend(_RayWorker(ray, partial(task.remote, work), progress) for _ in range(count))
            yield workers
        finally:
            for worker in workers:
                with contextlib.suppress(Exception):  # the cluster may be gone; what stopped us is what counts
                    ray.cancel(worker.reference, force=True)


def _work(work: WorkOn) -> None:
    work()


def _in_a_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
