"""Backups that are known to restore.

from db_utils.admin.backup import UrlPlace, backup, restore, verify

made = backup(UrlPlace(db.settings), Path("/backups"))
verify(UrlPlace(db.settings), made.folder)
"""

from __future__ import annotations

from db_utils.admin.backup.dump import Backup, backup, record_verified
from db_utils.admin.backup.encryption import KEY_VARIABLE, Key, read_key
from db_utils.admin.backup.manifest import Manifest
from db_utils.admin.backup.place import ContainerPlace, Place, UrlPlace
from db_utils.admin.backup.restore import Restored, restore, verify

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
