"""Fixes that change a server setting permanently."""

from __future__ import annotations

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Fix

# The variables of .env from which docker-compose.yml writes the server's command line.
VARIABLES = {
    "max_connections": "POSTGRES_MAX_CONNECTIONS",
    "shared_buffers": "POSTGRES_SHARED_BUFFERS",
    "effective_cache_size": "POSTGRES_EFFECTIVE_CACHE_SIZE",
    "work_mem": "POSTGRES_WORK_MEM",
    "max_locks_per_transaction": "POSTGRES_MAX_LOCKS_PER_TRANSACTION",
    "log_min_duration_statement": "POSTGRES_LOG_SLOW_MS",
}
_RESTART = {"max_connections", "shared_buffers", "max_locks_per_transaction"}


def change(context: CheckContext, name: str, wanted: str, *, then: str = "") -> Fix:
    """Return the fix that sets this permanently; `then` is SQL to run afterwards.

    The command line overrides ALTER SYSTEM, so such a setting is changed there: in the compose stack by a
    variable of .env, which the next `up` applies.
    """
    if not is_of_command_line(context, name):
        follow = "-- then restart the server" if name in _RESTART else "SELECT pg_reload_conf();"
        return Fix("\n".join(filter(None, [f"ALTER SYSTEM SET {name} = '{wanted}';", then, follow])))
    follow = f"\n# then in psql: {then}" if then else ""
    if name in VARIABLES:
        return Fix(f"{VARIABLES[name]}={wanted}\n# then: docker compose up -d --wait{follow}", ".env")
    return Fix(f"-c {name}={wanted}{follow}", "the server's command line")


def is_of_command_line(context: CheckContext, name: str) -> bool:
    """Whether the server was started with this setting as an argument."""
    return bool(context.settings[name]["source"] == "command line")


def told(context: CheckContext, name: str) -> str:
    """Return a sentence on where to change a setting from the command line; else an empty text."""
    if not is_of_command_line(context, name):
        return ""
    variable = f" (in the compose stack: {VARIABLES[name]} in .env)" if name in VARIABLES else ""
    return (
        f" It is set on the server's command line, which overrides ALTER SYSTEM: change it there{variable}."
    )
