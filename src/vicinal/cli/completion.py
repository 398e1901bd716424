"""`vicinal completion`: a script by which a shell completes the verbs, options and files of the command line."""

from __future__ import annotations

import argparse
from typing import Any

_HOW = """\
to install:
  bash:  vicinal completion bash > ~/.local/share/bash-completion/completions/vicinal
  zsh:   vicinal completion zsh > ~/.zfunc/_vicinal      (with fpath+=~/.zfunc before compinit in ~/.zshrc)
  tcsh:  vicinal completion tcsh > ~/.vicinal.tcsh       (with source ~/.vicinal.tcsh in ~/.tcshrc)
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "completion",
        help="print a script that completes this command line in a shell",
        epilog=_HOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.set_defaults(call=completion)


def completion(parsed: argparse.Namespace) -> None:
    """Print the script."""
    import shtab

    _complete_files(parsed.parser)
    print(shtab.complete(parsed.parser, parsed.shell))


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Whatever takes free text in a parser, or in one below it, is completed as a file: a path, or the start of one."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _complete_files(below)
        elif action.choices is None and action.nargs != 0:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
