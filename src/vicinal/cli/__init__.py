"""The command line: one file a verb, each a few lines over `vicinal.api`."""

from vicinal.cli.main import main

__all__ = ["main"]
