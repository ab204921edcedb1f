"""`python -m barnameh`: the command line, with one sentence instead of a traceback for what a user can mend."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from db_utils.__main__ import run_to_end


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; `barnameh.cli` lists the exit codes."""
    run_to_end(partial(_run, arguments))


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
