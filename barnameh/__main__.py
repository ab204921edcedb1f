"""`python -m barnameh`: the command line, with one-sentence messages, not tracebacks, for user errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial

from db_utils.__main__ import run_to_end


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; `barnameh.cli` lists the exit codes."""
    try:
        run_to_end(partial(_run, arguments))
    except SystemExit as end:
        if os.getpid() != 1:
            raise
        # As a container's first process: interpreter shutdown may outlast Docker's kill timeout.
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))


def _run(arguments: Sequence[str] | None) -> None:
    from barnameh.cli import app
    from barnameh.errors import ServiceError
    from db_utils import DbUtilsError

    try:
        app(args=None if arguments is None else list(arguments), prog_name="barnameh")
    except (DbUtilsError, ServiceError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
