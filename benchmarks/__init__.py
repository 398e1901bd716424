"""Benchmarks that anyone can run: `python -m benchmarks` (or `make bench`). Not part of the installed package."""

import os

os.environ.setdefault(
    "KINETO_LOG_LEVEL", "99"
)  # torch's profiler, used by a proof, writes to stderr; read when torch loads
