"""Entry point of the pgAdmin container, run before the image's own.

servers.json registers the database on pgAdmin's first start. This script puts POSTGRES_USER and POSTGRES_DB
into a copy of it, and on every start writes POSTGRES_PASSWORD where pgAdmin looks for it: the server opens
without a typed password, a changed one needs only a restart, and none is kept in the repository.
"""

import json
import os
import signal
import sys
from pathlib import Path

HOST, PORT = "postgres", "5432"
TEMPLATE = Path("/barnameh/servers.json")
SERVERS = Path("/tmp/servers.json")
STORAGE = Path("/var/lib/pgadmin/storage")
LOOPBACK = ("127.", "localhost", "[::1]", "::1")


def pgpass_line(*fields: str) -> str:
    r"""Return a line of a .pgpass file; ``:`` and ``\`` in fields are escaped."""
    return ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields)


def refusal() -> str | None:
    """Return why pgAdmin must not start (a default password exposed to the network), or None if it may."""
    address = os.environ.get("BIND_ADDRESS") or "127.0.0.1"
    password, file = (
        os.environ.get("PGADMIN_DEFAULT_PASSWORD"),
        os.environ.get("PGADMIN_DEFAULT_PASSWORD_FILE"),
    )
    if file:
        password = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    if address.startswith(LOOPBACK) or password not in ("admin", "", None):
        return None
    return (
        f"barnameh: BIND_ADDRESS={address} exposes pgAdmin to the network with the publicly known default password: set "
        "PGADMIN_DEFAULT_PASSWORD in .env (it takes effect on pgAdmin's first start; later, change it in pgAdmin first), or "
        "BIND_ADDRESS=127.0.0.1, then: docker compose up -d --wait"
    )


def main() -> None:
    """Write both files and run the image's entry point."""
    reason = refusal()
    if reason is not None:
        # Keep running without serving: the reason remains the last log entry, and the health check never passes.
        print(reason, file=sys.stderr, flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        while True:
            signal.pause()
    os.umask(0o077)
    user, database = os.environ["POSTGRES_USER"], os.environ["POSTGRES_DB"]
    password = os.environ.pop("POSTGRES_PASSWORD")
    password_file = os.environ.pop("POSTGRES_PASSWORD_FILE")
    if password_file:
        password = Path(password_file).read_text(encoding="utf-8").rstrip("\r\n")

    servers = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    for server in servers["Servers"].values():
        if server["Host"] == HOST:
            server["Username"], server["MaintenanceDB"] = user, database
    SERVERS.write_text(json.dumps(servers), encoding="utf-8")
    os.environ["PGADMIN_SERVER_JSON_FILE"] = str(SERVERS)

    # pgAdmin reads a passfile from the login's storage folder. Unrelated lines are preserved.
    folder = STORAGE / os.environ["PGADMIN_DEFAULT_EMAIL"].replace("@", "_")
    folder.mkdir(parents=True, exist_ok=True)
    passfile = folder / ".pgpass"
    others = passfile.read_text(encoding="utf-8").splitlines() if passfile.exists() else []
    lines = [line for line in others if not line.startswith(f"{HOST}:{PORT}:")]
    lines.append(pgpass_line(HOST, PORT, "*", user, password))
    passfile.write_text("\n".join(lines) + "\n", encoding="utf-8")
    passfile.chmod(0o600)

    os.execv("/entrypoint.sh", ["/entrypoint.sh"])


if __name__ == "__main__":
    main()
