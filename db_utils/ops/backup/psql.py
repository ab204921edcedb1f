"""A psql session: the same statements for a database with a URL and for one inside a container."""

from __future__ import annotations

import json
import subprocess
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from db_utils.errors import BackupError
from db_utils.ops.backup.endpoint import Endpoint

# Make our statements independent of the settings of database and role.
_PINNED = """
    SET standard_conforming_strings = on;
    SET quote_all_identifiers = off;
    SET search_path = public, pg_temp;
"""


class PsqlSession:
    """One session of psql. At the end of the block it ends, and an open transaction is rolled back."""

    def __init__(self, endpoint: Endpoint, *, database: str | None = None) -> None:
        self._before = _PINNED
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed with the session
        self._psql = subprocess.Popen(
            endpoint.command(
                "psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password",
                "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse", database=database,
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**endpoint.environment, "PGOPTIONS": "", "PGCLIENTENCODING": "UTF8", "PSQL_WATCH_PAGER": ""},
            encoding="utf-8",
            start_new_session=True,  # we handle Ctrl-C and end it in order
        )  # fmt: skip

    def __enter__(self) -> PsqlSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._psql.kill()
        self._psql.communicate()
        self._said.close()

    def script(self, text: str) -> list[str]:
        """Run this script and return psql's output lines. Raises `BackupError` with the server's message."""
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        end = uuid.uuid4().hex
        try:
            self._psql.stdin.write(f"{self._before}{text}\n\\echo {end}\n")
            self._psql.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None
        self._before = ""
        lines: list[str] = []
        for line in self._psql.stdout:
            if line.rstrip("\n") == end:
                return lines
            if line.strip():
                lines.append(line.rstrip("\n"))
        raise self._failure()

    def file(self, path: Path) -> list[str]:
        """Run a file and return the lines that psql prints."""
        return self.script(path.read_text(encoding="utf-8"))

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a SELECT in JSON types."""
        return [json.loads(line) for line in self.script(f"SELECT row_to_json(q) FROM ({query}) AS q;")]

    def value(self, query: str) -> Any:
        """Return the single value of a SELECT with one row and one column."""
        (row,) = self.rows(query)
        (value,) = row.values()
        return value

    def _failure(self) -> BackupError:
        self._psql.wait()
        self._said.seek(0)
        said = [line.strip() for line in self._said if line.strip()]
        errors = [line.partition("ERROR:")[2].strip() for line in said if "ERROR:" in line]
        reason = (errors or said or ["the connection was lost"])[0 if errors else -1]
        return BackupError(f"the server refused a statement: {reason}")
