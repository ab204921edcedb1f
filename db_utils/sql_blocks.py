"""SQL kept next to a module (`events.sql` next to `events.py`), in named blocks that can be pasted into psql.

-- name: overlapping
-- What it is for, in comments.
SELECT …
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources

_NAMES = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\n(?:--.*\n)*", re.MULTILINE)


def sql_beside(module: str) -> Mapping[str, str]:
    """Return the blocks of the `.sql` file next to a module (its `__name__`), by name, each without the comment at its head."""
    package, _, name = module.rpartition(".")
    text = (resources.files(package) / f"{name}.sql").read_text(encoding="utf-8")
    _, *parts = _NAMES.split(text)
    return {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}
