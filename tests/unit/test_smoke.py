"""The smoke test's tables, in a narrow terminal or a pipe."""

from __future__ import annotations

import inspect
import io
import re
from datetime import UTC, datetime

from rich.console import Console

from db_utils import OperationalDataQueries, smoke
from db_utils.smoke import Outcome
from db_utils.sql_blocks import sql_beside


def test_eighty_columns_show_query_rows_and_time() -> None:
    screen = Console(file=io.StringIO(), width=80)
    names = smoke.read_methods(OperationalDataQueries)
    assert len(names) > 40
    screen.print(
        smoke._outcome_table(
            [Outcome(name, rows=12345, milliseconds=678.9, sample="x" * 90) for name in names]
        )
    )
    assert isinstance(screen.file, io.StringIO)
    lines = screen.file.getvalue().splitlines()
    for name in names:
        (line,) = [line for line in lines if f" {name} " in line]
        assert "12345" in line
        assert "678.9" in line
        assert "xxx" in line


def test_there_is_an_example_of_every_required_parameter() -> None:
    """Arguments found in the database are the columns of its only statement."""
    found = set(re.findall(r"\b\w\.(\w+_id)\b", sql_beside("db_utils.smoke")["sample_arguments"]))
    known = found | set(smoke.fixed_arguments(datetime(2026, 1, 1, tzinfo=UTC)))
    for name in smoke.read_methods(OperationalDataQueries):
        parameters = inspect.signature(getattr(OperationalDataQueries, name)).parameters.values()
        required = {p.name for p in parameters if p.default is p.empty} - {"self"}
        assert required <= known, name
