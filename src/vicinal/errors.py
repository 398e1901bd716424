"""Errors that end in one line on the terminal: what is wrong and the way out, no traceback."""

_CONTROL_CODES = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160))}


class VicinalError(Exception):
    """Something failed while running: a non-finite loss, a full disk, a damaged file. The command line exits with 1."""

    exit_code = 1

    def __str__(self) -> str:
        """One line, also where a name in it holds line ends or control codes: they are shown as \\n, \\x1b and the like."""
        return super().__str__().translate(_CONTROL_CODES)


class UsageError(VicinalError):
    """The user's input is at fault: a wrong key, a missing file, data that cannot be used. The command line exits with 2."""

    exit_code = 2


def as_ended(exit_code: int, said: str) -> VicinalError:
    """The error with which another process ended that exited with this status."""
    return (UsageError if exit_code == UsageError.exit_code else VicinalError)(said)


def one_line(error: BaseException, most: int | None = 200) -> str:
    """What an error says, as one line of at most so many characters; its kind where it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__
