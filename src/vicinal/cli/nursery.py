"""The process behind `vicinal.workspace.nursery`: imports what a worker needs, then forks one for each order that it is given."""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module

from vicinal.cli.main import main
from vicinal.workspace import MOST_BYTES


def serve(orders: socket.socket) -> None:
    """Fork workers until nobody is left who orders them."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # so that the wake-up pipe is written to
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    statuses: dict[int, int] = {}
    with selectors.DefaultSelector() as waiting:
        waiting.register(orders, selectors.EVENT_READ)
        waiting.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is orders:
                    if not _order(orders, statuses):
                        return
                else:
                    os.read(woken, 4096)
            _tell_ends(statuses)


def _order(orders: socket.socket, statuses: dict[int, int]) -> bool:
    """Take an order; False where no more will come."""
    said, given, _, _ = socket.recv_fds(orders, MOST_BYTES, 3)
    while said and not said.endswith(b"\n"):
        said += orders.recv(MOST_BYTES)
    if not said:
        return False
    order = json.loads(said)
    inputs, lines, status = given
    child = os.fork()
    if not child:
        orders.close()
        os.close(status)
        for other in statuses.values():
            os.close(other)
        _become(order["arguments"], order["environment"], inputs, lines)
    os.close(inputs)
    os.close(lines)
    statuses[child] = status
    with suppress(BrokenPipeError):
        os.write(status, f"{child}\n".encode())
    return True


def _become(arguments: list[str], environment: Mapping[str, str], inputs: int, lines: int) -> None:
    """Be the command, as a process that was started with it; never returns."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(inputs, 0)
        os.dup2(lines, 2)
        os.close(inputs)
        os.close(lines)
        os.environ.clear()
        os.environ.update(environment)
        code = main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # as Python does with what nobody catches
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def _tell_ends(statuses: dict[int, int]) -> None:
    while statuses:
        child, how = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        status = statuses.pop(child)
        with suppress(BrokenPipeError):
            os.write(status, str(os.waitstatus_to_exitcode(how)).encode())
        os.close(status)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    import_module("vicinal.study")  # what takes seconds
    gc.freeze()  # children share it
    with socket.socket(fileno=int(sys.argv[1])) as given:
        serve(given)
