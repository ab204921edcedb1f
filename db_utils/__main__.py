"""`python -m db_utils`: the command line, with a one-sentence error instead of a traceback where the user can fix the cause."""

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
    """Run a command and exit; an interrupt or a closed output causes no traceback."""
    try:
        try:
            interrupts.raise_again()
            command()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _leave(130)
    except BrokenPipeError:
        _leave(1)  # the reader closed the pipe, as `head` does
    except OSError as error:
        print(f"error: standard output cannot be written: {error.strerror or error}", file=sys.stderr)
        _leave(1)


def _run(arguments: Sequence[str] | None) -> None:
    # Imported here so that Ctrl-C during the import leaves no traceback either.
    from db_utils.cli import app
    from db_utils.errors import DbUtilsError

    try:
        app(args=None if arguments is None else list(arguments), prog_name="db-utils")
    except DbUtilsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _leave(code: int) -> None:
    """Exit, sending Python's final flush to /dev/null: it could only fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
