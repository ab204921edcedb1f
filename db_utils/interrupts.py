"""End without a traceback when Ctrl-C arrives while a command's modules are being imported.

Only when run as the command; a program that imports the library keeps its own handling. Imports only modules
that Python has already loaded.
"""

import os
import sys
from contextlib import suppress
from signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal

_COMMANDS = ("db_utils", "db_utils.py", "db-utils", "barnameh")


def _is_command() -> bool:
    name = sys.argv[0] if sys.argv else ""
    if name == "-m":  # Python imports the package before it sets the path
        name = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv[:-1] else ""
    return name.removesuffix(os.sep + "__main__.py").rpartition(os.sep)[2] in _COMMANDS


def raise_again() -> None:
    """Restore Python's default: Ctrl-C raises KeyboardInterrupt."""
    _replace(SIG_DFL, default_int_handler)


def _replace(old: object, new: object) -> None:
    with suppress(ValueError):  # not the main thread
        if getsignal(SIGINT) is old:
            signal(SIGINT, new)  # type: ignore[arg-type]


if _is_command():
    _replace(default_int_handler, SIG_DFL)
