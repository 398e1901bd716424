"""Errors that end in one line on the terminal: what is wrong and the way out, no traceback."""


class VicinalError(Exception):
    """Something failed while running: a non-finite loss, a full disk, a damaged file. The command line exits with 1."""

    exit_code = 1


class UsageError(VicinalError):
    """The user's input is at fault: a wrong key, a missing file, data that cannot be used. The command line exits with 2."""

    exit_code = 2
