"""Backups that are known to restore.

from db_utils.ops.backup import restore
from db_utils.ops.backup import UrlPlace, backup, verify

made = backup(UrlPlace(db.settings), Path("/backups"))
verify(UrlPlace(db.settings), made.folder)
"""

from __future__ import annotations

from db_utils.ops.backup.dump import Backup, backup, record_verified
from db_utils.ops.backup.encryption import KEY_VARIABLE, Key, read_key
from db_utils.ops.backup.manifest import Manifest
from db_utils.ops.backup.restore import Restored, restore, verify
from db_utils.ops.backup.server import ContainerPlace, Place, UrlPlace

__all__ = [
    "KEY_VARIABLE",
    "Backup",
    "ContainerPlace",
    "Key",
    "Manifest",
    "Place",
    "Restored",
    "UrlPlace",
    "backup",
    "read_key",
    "record_verified",
    "restore",
    "verify",
]
