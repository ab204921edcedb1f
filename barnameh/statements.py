"""SQL of the services: named statements in .sql files next to the code that runs them, as in aiosql."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import aiosql


@cache
def statements(path: Path) -> dict[str, str]:
    """Read the statements of a file, by name; parameters in psycopg's style, %(name)s."""
    queries = aiosql.from_path(path, "psycopg2", mandatory_parameters=False)
    return {
        name: getattr(queries, name).sql for name in queries.available_queries if not name.endswith("_cursor")
    }
