"""SQL of the services: named blocks in .sql files beside the code that runs them, as aiosql reads them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import aiosql


@cache
def statements(path: Path) -> dict[str, str]:
    """Each statement of a file by its name; parameters in psycopg's style, %(name)s."""
    queries = aiosql.from_path(path, "psycopg2", mandatory_parameters=False)
    return {
        name: getattr(queries, name).sql for name in queries.available_queries if not name.endswith("_cursor")
    }
