"""The schema: applied, seeded, verified, planned and reset with the same files as at the container's first start.

from db_utils import schema

schema.apply(db); schema.seed(db); schema.verify(db)
"""

from __future__ import annotations

from db_utils.schema.applying import apply, refresh_newest_rollups, refresh_rollups
from db_utils.schema.ensuring import ensure
from db_utils.schema.planning import Plan, PlannedFile, plan
from db_utils.schema.resetting import Removed, reset, to_be_removed
from db_utils.schema.seeding import seed
from db_utils.schema.source import SchemaFile, checksum, checksums, files, folder, latest_version
from db_utils.schema.state import applied_files, edition, is_seeded, version
from db_utils.schema.verifying import problems, row_problems, verify

__all__ = [
    "Plan",
    "PlannedFile",
    "Removed",
    "SchemaFile",
    "applied_files",
    "apply",
    "checksum",
    "checksums",
    "edition",
    "ensure",
    "files",
    "folder",
    "is_seeded",
    "latest_version",
    "plan",
    "problems",
    "refresh_newest_rollups",
    "refresh_rollups",
    "reset",
    "row_problems",
    "seed",
    "to_be_removed",
    "verify",
    "version",
]
