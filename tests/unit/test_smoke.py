"""The smoke test's tables, as a narrow terminal or a pipe shows them."""

from __future__ import annotations

import io

from rich.console import Console

from db_utils import smoke
from db_utils.queries import OperationalDataQueries
from db_utils.smoke import Outcome


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
