"""`runtime.devices`: this command again, in several processes, by torchrun's own launcher."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Sequence

from vicinal.errors import VicinalError


def launch(count: int, given: Sequence[str]) -> None:
    """Run the command line in `count` processes of this machine, of which the main one speaks, until all are done.

    Args:
        given: its words, without the program's name.

    Raises:
        SystemExit: the command failed, with its status; it has said why.
        VicinalError: one of the processes was killed.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun: not as many threads each as there are processors
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "vicinal", *given)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            raise SystemExit(failure.exitcode) from None
        raise VicinalError(
            f"process {rank} of {count} was ended by signal {-failure.exitcode}; the same command continues from the last checkpoint"
        ) from None
    except SignalException as stop:
        raise SystemExit(128 + stop.sigval) from None
