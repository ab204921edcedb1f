"""`doctor`: what is wrong, how severe is it, and how is it fixed?"""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from db_utils.cli.common import AsJson, Exit, Url, print_json, screen, settings_for
from db_utils.connections.manager import DatabaseManager
from db_utils.errors import InvalidInputError
from db_utils.ops.doctor import CHECKS, LIMITS, Diagnosis, Finding, Severity, change_limits
from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.run import choose, examine

app = typer.Typer()

_STYLES = {Severity.CRITICAL: "bold white on red", Severity.WARNING: "bold yellow", Severity.NOTE: "cyan"}
_UNITS = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_EXITS = {Severity.WARNING: Exit.ATTENTION, Severity.CRITICAL: Exit.CRITICAL}


@app.command()
def doctor(
    url: Url = None,
    as_json: AsJson = False,
    only: Annotated[
        str, typer.Option(help="Run only these checks: names, separated by commas.", show_default=False)
    ] = "",
    skip: Annotated[
        str, typer.Option(help="Skip these checks: names, separated by commas.", show_default=False)
    ] = "",
    list_checks: Annotated[
        bool, typer.Option("--list", help="List the checks and the limits without running them.")
    ] = False,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            help="Change a limit: NAME=WARNING or NAME=WARNING,CRITICAL, such as disk-days=14,3. May be repeated.",
            show_default=False,
        ),
    ] = None,
    disk_free: Annotated[
        str,
        typer.Option(
            help="Free space on the server's disk, such as 40GB, if it cannot be determined from here.",
            show_default=False,
        ),
    ] = "",
    show_all: Annotated[bool, typer.Option("--all", help="Also show checks that passed.")] = False,
    check_seconds: Annotated[float, typer.Option(min=0.1, help="Time limit for one check (s).")] = 5.0,
    total_seconds: Annotated[
        float, typer.Option(min=0.1, help="Time limit for all checks together (s).")
    ] = 60.0,
) -> None:
    """Examine the database and its cache: what is wrong, how severe it is, and the statement that fixes it.

    Reads only, never runs a fix, holds no lock, and ends within --total-seconds. Most severe first. Tries the
    documented default password and says whether it works; prints no password. Exit code: 0 nothing or notes, 3 warnings, 4
    critical, 1 it could not run. The roles pg_monitor and barnameh_readonly are sufficient.

    Example: python -m db_utils doctor --skip sample-data --limit backup-days=2,7
    """
    if list_checks:
        _show_list(as_json)
        return
    try:
        checks = choose(_names(only), _names(skip))
        limits = change_limits(LIMITS, limit or [])
        free = _bytes(disk_free) if disk_free else None
    except InvalidInputError as error:
        raise typer.BadParameter(str(error)) from None
    settings = settings_for(url).with_changes(
        application_name="db_utils doctor",
        slow_query_seconds=0.0,
        statement_timeout_seconds=check_seconds,
        lock_timeout_seconds=1.0,
    )
    with DatabaseManager(settings=settings) as db:
        context = CheckContext(
            db,
            limits,
            redis_url=settings.redis_url,
            redis_is_configured=settings.redis_is_configured,
            disk_free_bytes=free,
            seconds=check_seconds,
            total_seconds=total_seconds,
        )
        diagnosis = examine(context, checks)
    if as_json:
        print_json(_document(diagnosis))
    else:
        _show(diagnosis, show_all)
    code = _EXITS.get(diagnosis.severity, Exit.DONE)
    if code is not Exit.DONE:
        raise typer.Exit(code)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise InvalidInputError(
            f"--disk-free {text!r} is not a size: write a number and B, kB, MB, GB or TB, such as 40GB"
        )
    return round(float(match[1]) * _UNITS[(match[2] or "").upper()])


def _document(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "url": diagnosis.url,
        "about": diagnosis.about,
        "severity": diagnosis.severity.label,
        "seconds": round(diagnosis.seconds, 2),
        "findings": [finding.as_dict() for finding in diagnosis.findings],
    }


def _show(diagnosis: Diagnosis, show_all: bool) -> None:
    about = diagnosis.about
    if about:
        timescaledb = f", TimescaleDB {about['timescaledb']}" if about["timescaledb"] else ""
        _line(
            f"{diagnosis.url}  PostgreSQL {about['server_version']}{timescaledb} ({about['edition']} edition)\n"
        )
    for finding in diagnosis.findings:
        if finding.severity >= Severity.NOTE:
            _show_finding(finding)
    _show_skipped([finding for finding in diagnosis.findings if finding.severity == Severity.SKIPPED])
    well = [finding for finding in diagnosis.findings if finding.severity == Severity.OK]
    if show_all:
        for finding in well:
            _line(Text.assemble((f"{'ok':<9}", "green"), f"{finding.check}: {finding.found}"))
    counts = [
        f"{number} {severity.label}"
        for severity in sorted(Severity, reverse=True)
        if (number := sum(finding.severity == severity for finding in diagnosis.findings))
    ]
    _line(f"{diagnosis.check_count} checks in {diagnosis.seconds:.1f} s: {', '.join(counts)}")


def _show_finding(finding: Finding) -> None:
    _line(
        Text.assemble(
            (f"{finding.severity.name:<8}", _STYLES[finding.severity]),
            " ",
            (finding.check, "bold"),
            f"  {finding.found}",
        )
    )
    if finding.means:
        _line(Text(f"         {finding.means}", "dim"))
    if finding.fix:
        # Flush left and never wrapped, so that it can be pasted.
        _line(Text(f"         fix ({finding.fix.where}):", "dim"))
        _line(Text(finding.fix.text, "green"))
    _line("")


def _show_skipped(findings: list[Finding]) -> None:
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        reasons.setdefault(finding.found, []).append(finding.check)
    for reason, names in reasons.items():
        _line(Text.assemble((f"{'skipped':<9}", "magenta"), f"{', '.join(names)}: {reason}"))


def _line(text: str | Text) -> None:
    screen.print(text, soft_wrap=True, markup=False, highlight=False)


def _show_list(as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "checks": [
                    {"name": check.name, "question": check.question, "edition": check.edition}
                    for check in CHECKS
                ],
                "limits": {
                    name: {
                        "warning": item.warning,
                        "critical": item.critical,
                        "unit": item.unit,
                        "meaning": item.meaning,
                    }
                    for name, item in LIMITS.items()
                },
            }
        )
        return
    table = Table("check", "question")
    for check in CHECKS:
        table.add_row(check.name, check.question)
    screen.print(table)
    table = Table("limit", "warning", "critical", "unit", "what")
    for name, item in LIMITS.items():
        table.add_row(
            name,
            f"{item.warning:g}",
            "" if item.critical is None else f"{item.critical:g}",
            item.unit,
            item.meaning,
        )
    screen.print(table)
