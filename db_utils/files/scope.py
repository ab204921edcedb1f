"""Whose rows are imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scope:
    """Whose rows these are; `organization_id` None: the rows say it themselves."""

    connection: Any
    organization_id: str | None
    organization_name: str
