"""A study to runs, runs to `results.json`: what is done is skipped, what was killed continues."""

from vicinal.study.banks import Shard, build, info, verify
from vicinal.study.study import Study

__all__ = ["Shard", "Study", "build", "info", "verify"]
