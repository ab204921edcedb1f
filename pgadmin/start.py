"""What the pgAdmin container runs, in front of the image's own entry point.

servers.json registers the database on pgAdmin's first start. This script puts POSTGRES_USER and POSTGRES_DB
into a copy of it, and on every start writes POSTGRES_PASSWORD where pgAdmin looks for it: the server opens
without a typed password, a changed one needs only a restart, and none is kept in the repository.
"""

import json
import os
from pathlib import Path

HOST, PORT = "postgres", "5432"
TEMPLATE = Path("/barnameh/servers.json")
SERVERS = Path("/tmp/servers.json")
STORAGE = Path("/var/lib/pgadmin/storage")


def pgpass_line(*fields: str) -> str:
    r"""One line of a .pgpass file; ``:`` and ``\`` inside a field are escaped."""
    return ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields)


def main() -> None:
    """Write both files and hand over to the image."""
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

    # pgAdmin reads a passfile from the login's own storage folder. Other lines that someone put there stay.
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
