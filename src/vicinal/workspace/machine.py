"""What this machine is: its processor, versions and free memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


# Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_PACKAGES = ("torch", "torchvision", "timm", "torchmetrics", "numpy")


def processor() -> str:
    """The processor's name; `platform.processor()` is empty on most Linux systems."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def environment(device: torch.device) -> dict[str, Any]:
    """Machine and versions, as results.json and benchmarks state them."""
    import torch  # here, so that a usage error does not wait for it

    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }


def available_memory() -> int | None:
    """Bytes of memory that a program can still take; all of it where the system does not say, None where it says nothing."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def free_bytes(device: torch.device) -> int:
    """Bytes of a device's memory that nobody uses now; 0 where the system does not say."""
    import torch

    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else available_memory() or 0


def keep_freed_memory(keep: bool = True) -> bool:
    """Have glibc keep freed memory for the next allocation instead of giving it back to the system at once.

    A training step on a CPU allocates and frees the same hundreds of megabytes each time, and fetching them anew from the kernel,
    page by page, takes a tenth to a fifth of it (docs/benchmarks.md). The process stays as large as it once was.

    Args:
        keep: False for glibc's own way, as it settles in a process that frees large blocks.

    Returns:
        Whether this system's allocator takes such wishes; elsewhere nothing changes.
    """
    try:
        libc = ctypes.CDLL(None)
        settings = (
            {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28}
            if keep
            else {_MMAP_MAX: 2**16, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26, _TOP_PAD: 2**17}
        )
        taken = [libc.mallopt(name, value) == 1 for name, value in settings.items()]
        if not keep:
            libc.malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return False
    return all(taken)
