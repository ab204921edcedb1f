"""Rows as Convex documents: the mapping of types for the sender, the comparison and the generated schema."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from db_utils.outbox import KINDS

TABLES: Mapping[str, str] = {
    "alert": "alerts",
    "anomaly": "anomalies",
    "resource_status": "resourceStatus",
    "forecast": "forecasts",
    "plan": "plans",
    "kpi": "kpis",
}
"""The table of each kind."""

VALIDATORS: Mapping[str, str] = {
    "uuid": "v.string()",
    "text": "v.string()",
    "date": "v.string()",
    "timestamptz": "v.number()",
    "numeric": "v.number()",
    "integer": "v.number()",
}
"""The Convex validator of each PostgreSQL type."""


def value_of(value: Any) -> Any:
    """Convert to JSON: times to milliseconds since 1970 UTC, numbers to float64, dates and ids to text."""
    if isinstance(value, dt.datetime):
        return value.timestamp() * 1000
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    return value


def document_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a current row to a document."""
    return {name: value_of(value) for name, value in row.items()}


def kinds_module() -> str:
    """Return `KINDS` as a TypeScript module: convex/convex/kinds.ts, which a test compares."""
    lines = [
        "// Made from db_utils.outbox.KINDS by: python -m barnameh.sync.documents > convex/convex/kinds.ts",
        'import { v } from "convex/values";',
        "",
        "// Times are milliseconds since 1970 UTC, dates YYYY-MM-DD, numbers float64.",
        "export const kinds = {",
    ]
    for kind in KINDS.values():
        lines += [
            f"  // {kind.question}",
            f"  {kind.name}: {{",
            f'    table: "{TABLES[kind.name]}",',
            "    fields: {",
        ]
        for name, type_name in kind.columns.items():
            validator = VALIDATORS[type_name.removesuffix("?")]
            if type_name.endswith("?"):
                validator = f"v.union(v.null(), {validator})"
            lines.append(f"      {name}: {validator},")
        lines += ["      expires_at: v.union(v.null(), v.number()),", "    },", "  },"]
    lines += ["} as const;", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(kinds_module(), end="")
