"""`backup` and `restore`: backups with verified restores."""

from __future__ import annotations

import contextlib
import datetime as dt
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from db_utils.cli.common import AsJson, Exit, Url, aside, print_json, settings_for
from db_utils.errors import ConfigurationError, DbUtilsError
from db_utils.ops import backup as backups
from db_utils.ops.backup import schedule as schedules
from db_utils.ops.backup.dump import Say
from db_utils.ops.backup.schedule import Schedule
from db_utils.ops.sizes import size

app = typer.Typer()

Container = Annotated[
    str | None,
    typer.Option(
        "--container",
        help="Use the programs inside this container (barnameh_postgres): only Docker is needed here.",
        show_default=False,
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        help="File with the key: an age identity (age-keygen), or 32 random bytes in base64 (openssl rand -base64 32). "
        "Default: BACKUP_KEY from the environment.",
        show_default=False,
    ),
]


@app.command()
def backup(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="An existing folder, in which the backup creates its own folder; or the name of the folder to create.",
        ),
    ],
    url: Url = None,
    container: Container = None,
    key_file: KeyFile = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Restore it into a scratch database, compare every table, and print how long that took.",
        ),
    ] = False,
    every: Annotated[
        str,
        typer.Option(
            help="Run until SIGTERM: a backup each day at HH:MM (UTC), or every 6h or 30m; the first at once if there is none.",
            show_default=False,
        ),
    ] = "",
    keep_days: Annotated[
        int,
        typer.Option(
            min=1, help="With --every: remove backups older than this many days, except the newest ones."
        ),
    ] = 14,
    keep_count: Annotated[
        int, typer.Option(min=1, help="With --every: always keep this many of the newest backups.")
    ] = 7,
    encrypted: Annotated[
        bool, typer.Option("--encrypted", help="Refuse to make a backup without a key.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Back the database up while it is in use: a folder with the dump, the roles it needs, and a manifest with checksums.

    The manifest contains the versions, and each table's row count and content hash, all of one instant. Reads
    and writes are not blocked. The folder appears once complete: an interrupted backup leaves nothing that
    looks like one. With a key, dump and roles are encrypted; without one, they are readable only by you, and
    contain the verifiers of tenants' passwords.

    Example: db-utils backup --out /backups --verify
    """
    key = backups.read_key(key_file)
    if encrypted and key is None:
        raise ConfigurationError("no key was given: set BACKUP_KEY, or give a file with --key-file")
    if every:
        schedule = Schedule.parse(every)
        _keep_backing_up(
            out, lambda: _endpoint(url, container), key, schedule, keep_days, keep_count, verify=verify
        )
        return
    with _stoppable(), _steps(quiet=json) as say:
        endpoint = _endpoint(url, container)
        made = backups.backup(endpoint, out, key=key, say=say)
        seconds = backups.verify(endpoint, made.folder, key=key, say=say) if verify else None
        if seconds is not None and made.is_recorded:
            backups.record_verified(endpoint, made.manifest, seconds)
    manifest = made.manifest
    if json:
        print_json(
            {
                "backup": str(made.folder),
                "seconds": round(made.seconds, 3),
                "verification_seconds": None if seconds is None else round(seconds, 3),
                "is_recorded": made.is_recorded,
                "manifest": asdict(manifest),
            }
        )
        return
    typer.echo(
        f"{made.folder}: {manifest.rows:,} rows of {len(manifest.tables)} tables in {size(manifest.dump.size_bytes)}"
        f"{', encrypted' if manifest.key else ''}, {made.seconds:.1f} s."
    )
    if seconds is not None:
        typer.echo(f"Restored and compared: every table equals the original, in {seconds:.1f} s.")
    if not made.is_recorded:
        typer.echo(
            "It is not recorded in backup_runs: this user lacks permission, or the schema is older (db-utils migrate)."
        )


def _keep_backing_up(
    out: Path,
    endpoint_of: Callable[[], backups.Endpoint],
    key: backups.Key | None,
    schedule: Schedule,
    keep_days: int,
    keep_count: int,
    *,
    verify: bool,
) -> None:
    """Make a backup at each scheduled time and remove old ones; failures are logged and retried at the next time."""
    if not out.is_dir():
        raise ConfigurationError(f"{out} is not a folder: create it; each backup gets a folder in it")
    is_due = not schedules.complete(out)
    with _stoppable():
        while True:
            if not is_due:
                time.sleep(schedule.seconds_from(dt.datetime.now(dt.UTC)))
            is_due = False
            try:
                endpoint = endpoint_of()
                made = backups.backup(endpoint, out, key=key)
                if verify:
                    seconds = backups.verify(endpoint, made.folder, key=key)
                    if made.is_recorded:
                        backups.record_verified(endpoint, made.manifest, seconds)
            except (DbUtilsError, OSError) as error:
                schedules.note_failure(out, str(error))
                typer.echo(f"THE BACKUP FAILED: {error}", err=True)
                continue
            schedules.note_success(out)
            sealed = ", encrypted" if key else ""
            typer.echo(f"{made.folder}: {size(made.manifest.dump.size_bytes)}{sealed}, {made.seconds:.1f} s")
            now = dt.datetime.now(dt.UTC)
            for gone in schedules.rotate(out, keep_days=keep_days, keep_count=keep_count, now=now):
                typer.echo(f"{gone.name} was older than {keep_days} days: removed")


@app.command("backup-health")
def backup_health(
    out: Annotated[
        Path, typer.Option("--out", "-o", exists=True, file_okay=False, help="The folder of the backups.")
    ],
    max_age_hours: Annotated[int, typer.Option(min=1, help="Maximum age of the newest backup.")] = 26,
) -> None:
    """Check that the newest backup of a folder is recent enough, and that the last run of `backup --every` succeeded.

    Exit code 1 if not. It connects to no database and opens no backup.

    Example: db-utils backup-health --out /backups
    """
    wrong = schedules.problem(out, dt.timedelta(hours=max_age_hours), dt.datetime.now(dt.UTC))
    if wrong is not None:
        typer.echo(wrong, err=True)
        raise typer.Exit(Exit.FAILED)
    found = schedules.complete(out)
    typer.echo(f"{found[-1].name} is the newest of {len(found)}")


@app.command()
def restore(
    folder: Annotated[
        Path, typer.Argument(metavar="BACKUP", help="The folder that `backup` made.", show_default=False)
    ],
    url: Url = None,
    container: Container = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            help="Restore into this database instead of the one of the URL or container.",
            show_default=False,
        ),
    ] = None,
    create_database: Annotated[
        bool,
        typer.Option("--create-database", help="Create the database if it does not exist."),
    ] = False,
    key_file: KeyFile = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compare every table with the manifest, and refuse where one differs."),
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Connections to restore with: plain PostgreSQL and an unencrypted backup only.",
        ),
    ] = 1,
    json: AsJson = False,
) -> None:
    """Restore a backup into an EMPTY database: all of it or nothing. It never touches a database that holds anything.

    It is restored into a scratch database, checked there, and renamed to replace the empty one at the end. So
    after a failure, or a power cut, the database is still empty, and you run the command again. The server
    needs the backup's version of TimescaleDB, and the same or a later version of PostgreSQL. Missing roles
    are created, tenants' logins with their passwords; existing roles are left unchanged. With a key, only a
    backup made with it is accepted. Without one, the author of the backup decides what runs here as you:
    restore only backups from people you trust.

    Example: db-utils restore /backups/barnameh_ops-20260101T020000Z --url postgresql://user:password@host/barnameh_ops
    """
    with _stoppable(), _steps(quiet=json) as say:
        endpoint = _endpoint(url, container, server_only=True, database=database)
        done = backups.restore(
            endpoint,
            folder,
            key=backups.read_key(key_file),
            compare=verify,
            create_database=create_database,
            jobs=jobs,
            say=say,
        )
    if json:
        print_json(
            {
                "database": done.database,
                "backup_id": done.manifest.backup_id,
                "seconds": round(done.seconds, 3),
                "is_compared": done.is_compared,
                "rows": done.manifest.rows,
                "roles": asdict(done.roles),
            }
        )
        return
    typer.echo(
        f"{endpoint.label}: {done.manifest.rows:,} rows of {len(done.manifest.tables)} tables as of "
        f"{done.manifest.database.taken_at}, {done.seconds:.1f} s"
        f"{', every table equal to the original' if done.is_compared else ''}."
    )
    for sentence, roles in (
        ("Roles made: {}.", done.roles.made),
        ("Existing roles, left unchanged: {}.", done.roles.kept),
        (
            "Without a password, because the backup has none (ALTER ROLE … PASSWORD): {}.",
            done.roles.without_password,
        ),
        (
            "Not given, because a backup may not; run it yourself if it should be so: {}",
            done.roles.withheld,
        ),
    ):
        if roles:
            typer.echo(sentence.format(", ".join(roles)))


def _endpoint(
    url: str | None, container: str | None, *, server_only: bool = False, database: str | None = None
) -> backups.Endpoint:
    if url is not None and container is not None:
        raise ConfigurationError("--url and --container both name a database: give one of them")
    endpoint: backups.Endpoint = (
        backups.UrlEndpoint(settings_for(url), server_only=server_only)
        if container is None
        else backups.ContainerEndpoint(container)
    )
    if database is not None:
        endpoint.database = database
    return endpoint


@contextlib.contextmanager
def _steps(*, quiet: bool) -> Iterator[Say]:
    """Show progress on standard error if it is a terminal."""
    if quiet or not aside.is_terminal:
        yield lambda step: None
        return
    with aside.status("starting") as status:
        yield lambda step: status.update(step)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C: scratch databases and partial folders are removed."""

    def stop(*_: Any) -> None:
        raise typer.Exit(Exit.INTERRUPTED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
