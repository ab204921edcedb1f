"""`sync`: copies of current rows, kept up to date elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table

from barnameh.cli.common import (
    AsJson,
    Exit,
    Url,
    aside,
    database,
    log_progress,
    organization_of,
    print_json,
    screen,
)
from barnameh.errors import UsageError
from barnameh.settings import ServiceSettings
from barnameh.sync import CONSUMER, Budget, ConvexClient, SyncService, compare
from barnameh.sync.service import add_target
from db_utils import DatabaseManager
from db_utils.outbox import Outbox
from db_utils.outbox import targets as outbox_targets

app = typer.Typer()
sync = typer.Typer(no_args_is_help=True, help="Keep copies of what is current up to date elsewhere.")
app.add_typer(sync, name="sync")
_SHOWN = 20
LATE_SECONDS = 300.0


@sync.callback()
def group() -> None:
    """Keep copies of what is current up to date elsewhere."""


@sync.command()
def convex(
    url: Url = None,
    organization: Annotated[
        str, typer.Option("--organization", help="Name or id of one organization.", show_default=False)
    ] = "",
    everybody: Annotated[
        bool, typer.Option("--all", help="All organizations added before with --organization.")
    ] = False,
    backfill: Annotated[bool, typer.Option("--backfill", help="Send all current rows again.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Send waiting changes, compare both sides, resend differences, and end."
        ),
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Send waiting changes and end.")] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Stop recording changes of this organization, and end.")
    ] = False,
    linger_ms: Annotated[
        int, typer.Option(min=0, max=60_000, help="How long a change waits for others to share a call.")
    ] = 250,
    kpis_every: Annotated[
        int, typer.Option(min=0, max=86_400, help="Seconds between computations of the KPIs; 0: none.")
    ] = 60,
    calls_per_month: Annotated[
        int, typer.Option(min=0, help="Calls per month allowed for each organization; 0: unlimited.")
    ] = 1_000_000,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Serve /metrics for Prometheus on this port; 0 for a free one.",
            show_default=False,
        ),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option(help="Address to serve /metrics on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    as_json: AsJson = False,
) -> None:
    """Keep dashboards on Convex up to date: alerts, anomalies, resource status, forecasts, plans and KPIs.

    Runs until SIGTERM. When an organization is first named, recording of its changes starts and all current
    rows are sent. CONVEX_URL and CONVEX_DEPLOY_KEY name the deployment, which needs the functions of convex/
    (docs/sync.md). One process sends for an organization; a second one waits to take over. Exit code of
    --verify: 3 if something differed.

    Example: barnameh sync convex --organization "Sample Manufacturing"
    """
    if bool(organization) == everybody:
        raise UsageError("give --organization NAME, or --all for those added before")
    log_progress()
    with database(url) as db:
        organization_id = organization_of(db, organization)[0] if organization else None
        targets = _targets(db, organization_id)
        if remove:
            for target in targets:
                Outbox(db, target, CONSUMER).remove_target()
            return
        with _client() as client:
            for target in targets:
                if not add_target(db, target) and backfill:
                    Outbox(db, target, CONSUMER).enqueue()
            service = SyncService(
                db,
                client,
                organization_id,
                linger_seconds=linger_ms / 1000,
                kpis_every_seconds=kpis_every,
                budget=Budget(calls_per_month or None),
            )
            service.stop_on_signals()
            with ExitStack() as stack:
                if metrics_port is not None:
                    from barnameh.sync.metrics import served

                    port = stack.enter_context(served(db, metrics_host, metrics_port))
                    aside.print(f"Metrics: http://{metrics_host}:{port}/metrics", highlight=False)
                sent = service.run(once=once or verify)
            if verify:
                _verify(db, client, targets, sent, as_json=as_json)


@sync.command()
def status(url: Url = None, as_json: AsJson = False) -> None:
    """Show the state of each copy and stream: waiting changes and their age, sent and rejected ones.

    Exit code: 3 if a copy is more than five minutes behind or something is rejected.

    Example: barnameh sync status
    """
    with database(url) as db:
        found = outbox_targets(db)
    if as_json:
        print_json([asdict(target) for target in found])
    else:
        table = Table()
        for heading in (
            "organization",
            "for",
            "waiting",
            "oldest",
            "sent",
            "refused",
            "last success",
            "last error",
        ):
            table.add_column(heading)
        for target in found:
            table.add_row(
                target.organization_name,
                target.consumer,
                f"{target.waiting:,}",
                "" if target.lag_seconds is None else f"{target.lag_seconds:,.0f} s",
                f"{target.sent:,}",
                f"{target.rejected:,}",
                "" if target.last_success_at is None else f"{target.last_success_at:%Y-%m-%d %H:%M} UTC",
                target.last_error or "",
            )
        screen.print(
            table
            if found
            else "No organization has a copy: barnameh sync convex --organization … creates one."
        )
    if any(t.rejected or (not t.is_stream and (t.lag_seconds or 0) > LATE_SECONDS) for t in found):
        raise typer.Exit(Exit.ATTENTION)


def _targets(db: DatabaseManager, organization_id: UUID | None) -> list[UUID]:
    if organization_id is not None:
        return [organization_id]
    rows = db.execute_query(
        "SELECT organization_id FROM sync_targets WHERE consumer = %s ORDER BY organization_id", (CONSUMER,)
    )
    if not rows:
        aside.print("No organization has a copy yet: add one with --organization. Waiting for one.")
    return [row["organization_id"] for row in rows]


def _client() -> ConvexClient:
    settings = ServiceSettings.from_environment()
    if not settings.convex_url or not settings.convex_deploy_key:
        raise UsageError(
            "set CONVEX_URL and CONVEX_DEPLOY_KEY: the deployment's address and a deploy key, from its settings on the Convex dashboard"
        )
    return ConvexClient(settings.convex_url, settings.convex_deploy_key)


def _verify(
    db: DatabaseManager, client: ConvexClient, targets: list[UUID], sent: int, *, as_json: bool
) -> None:
    """Compare both sides, enqueue what differs, and print it."""
    report = []
    for target in targets:
        differences, counts = compare(db, client, target, CONSUMER)
        Outbox(db, target, CONSUMER).enqueue_keys((d.kind, d.key) for d in differences)
        report.append((target, differences, counts))
    some_differ = any(differences for _, differences, _ in report)
    if as_json:
        print_json(
            [
                {
                    "organization_id": target,
                    "documents": counts,
                    "differences": [
                        {"kind": d.kind, "key": d.key, "problem": d.problem} for d in differences
                    ],
                }
                for target, differences, counts in report
            ]
        )
    else:
        for target, differences, counts in report:
            held = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
            screen.print(f"{target}: {held}; {len(differences):,} differ", highlight=False)
            for d in differences[:_SHOWN]:
                screen.print(f"  {d.kind} {d.key}: {d.problem}", highlight=False, markup=False)
        if sent:
            screen.print(f"{sent:,} changes were sent before that.", highlight=False)
        if some_differ:
            screen.print("The documents that differ will be sent again.", highlight=False)
    if some_differ:
        raise typer.Exit(Exit.ATTENTION)
