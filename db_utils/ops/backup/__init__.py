"""Backups with verified restores.

from db_utils.ops.backup import restore
from db_utils.ops.backup import UrlEndpoint, backup, verify

made = backup(UrlEndpoint(db.settings), Path("/backups"))
verify(UrlEndpoint(db.settings), made.folder)
"""

from __future__ import annotations

from db_utils.ops.backup.dump import Backup, backup, record_verified
from db_utils.ops.backup.encryption import KEY_VARIABLE, Key, read_key
from db_utils.ops.backup.endpoint import ContainerEndpoint, Endpoint, UrlEndpoint
from db_utils.ops.backup.manifest import Manifest
from db_utils.ops.backup.restore import Restored, restore, verify

__all__ = [
    "KEY_VARIABLE",
    "Backup",
    "ContainerEndpoint",
    "Endpoint",
    "Key",
    "Manifest",
    "Restored",
    "UrlEndpoint",
    "backup",
    "read_key",
    "record_verified",
    "restore",
    "verify",
]
