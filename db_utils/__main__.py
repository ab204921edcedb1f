"""`python -m db_utils`: the command line, with one sentence instead of a traceback for what a user can mend."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

from db_utils import interrupts


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; see `db_utils.cli` for the exit codes."""
    run_to_end(partial(_run, arguments))


def run_to_end(command: Callable[[], None]) -> None:
    """Run a command that may be interrupted, or whose output may end nowhere; exit without a traceback."""
    try:
        try:
            interrupts.raise_again()
            command()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _leave(130)
    except BrokenPipeError:
        _leave(1)  # whoever reads has seen enough, as `head` has
    except OSError as error:
        print(f"error: standard output cannot be written: {error.strerror or error}", file=sys.stderr)
        _leave(1)


def _run(arguments: Sequence[str] | None) -> None:
    # Imported here, so that Ctrl-C while this is read leaves no traceback either.
    from db_utils.cli import app
    from db_utils.errors import DbUtilsError

    try:
        app(args=None if arguments is None else list(arguments), prog_name="db-utils")
    except DbUtilsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _leave(code: int) -> None:
    """Exit, and let Python's own last flush go nowhere: it could only fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
