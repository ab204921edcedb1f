"""`python -m db_utils`: the command line, with one sentence instead of a traceback for what a user can mend."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from db_utils.cli import app
from db_utils.errors import DbUtilsError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; see `db_utils.cli` for the exit codes."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="db-utils")
    except DbUtilsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
