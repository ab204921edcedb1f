"""The figures of the report, all read in one transaction, so that all charts show the same instant."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from zoneinfo import ZoneInfo

from db_utils.connections.executor import Executor
from db_utils.connections.transaction import without_deadline
from db_utils.errors import InvalidInputError, NotFoundError
from db_utils.queries import OperationalDataQueries
from db_utils.report import series
from db_utils.values import Row

DEFAULT_DAYS = 30
MAX_DAYS = 3_660
MAX_PRODUCTS = 6
"""Maximum number of products shown, largest first."""
DAILY_UNTIL_DAYS = 400
"""Longer periods are shown by week."""


@dataclass(frozen=True)
class Period:
    """start <= time < end; local days are counted in the organization's time zone."""

    start: dt.datetime
    end: dt.datetime
    zone: ZoneInfo

    @property
    def first_day(self) -> dt.date:
        """The local day in which the period begins."""
        return self.start.astimezone(self.zone).date()

    @property
    def last_day(self) -> dt.date:
        """The local day of its last instant."""
        return (self.end - dt.timedelta(microseconds=1)).astimezone(self.zone).date()

    @property
    def days(self) -> int:
        """Number of local days that it overlaps."""
        return (self.last_day - self.first_day).days + 1


@dataclass(frozen=True)
class DemandSeries:
    """One product at one location: demand by local day or week, and its forecast."""

    product_id: str
    location_name: str
    bucket: str
    history: tuple[Row, ...]
    forecasts: tuple[Row, ...]
    zone: ZoneInfo
    """Time zone of the location, whose days these are."""

    def day(self, row: Row) -> dt.date:
        """Return the local date of a bucket of `history`, or of its first day."""
        # By its noon, because the zone may have been another one then.
        return (row["bucket"] + dt.timedelta(hours=12)).astimezone(self.zone).date()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Attendance:
    """Attendance of one employee in the period."""

    full_name: str
    attended_count: int
    scheduled_count: int

    @property
    def rate(self) -> float:
        """Attended of scheduled, 0 to 100."""
        return 100 * self.attended_count / self.scheduled_count


@dataclass(frozen=True)
class Proposal:
    """The newest roster or production plan that was proposed or applied; `result` is that of its run."""

    header: Row
    items: list[Row]
    result: dict[str, Any]


@dataclass(frozen=True)
class ReportData:
    """All data of one page. `oldest` and `newest` (first and last row) are set if the period has no rows."""

    organization: Row
    period: Period
    read_at: dt.datetime
    oldest: dt.datetime | None
    newest: dt.datetime | None
    kpis: list[Row]
    resource_kpis: dict[str, dict[str, Row]]
    demand: list[DemandSeries]
    product_count: int
    accuracy: list[Row]
    utilization: list[Row]
    attendance: list[Attendance]
    attendance_days: list[Row]
    anomalies: list[Row]
    plans: dict[str, list[Row]]
    coverage: list[Row]
    alerts: list[Row]
    proposals: dict[str, Proposal] = field(default_factory=dict)
    models: list[Row] = field(default_factory=list)
    backtests: list[Row] = field(default_factory=list)
    series_backtests: list[Row] = field(default_factory=list)
    location_names: dict[uuid.UUID, str] = field(default_factory=dict)
    kpis_before: list[Row] = field(default_factory=list)
    """KPIs of the preceding period of the same length."""
    stops: list[Row] = field(default_factory=list)
    stops_before: list[Row] = field(default_factory=list)
    trend: list[Row] = field(default_factory=list)
    trend_bucket: str = "day"
    outcomes: list[Row] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    """Units of the products that have one."""
    resource_types: dict[str, str] = field(default_factory=dict)
    """By the resource's name in resource_kpis."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show for the period."""
        return not (
            self.coverage
            or self.plans
            or self.anomalies
            or self.alerts
            or any(s.forecasts for s in self.demand)
        )


def find_organization(queries: OperationalDataQueries, wanted: str) -> Row:
    """Return the organization with this id or exact name.

    Raises `NotFoundError`, which lists the existing ones, `InvalidInputError` if several have the name.
    """
    organizations = queries.get_organizations()
    try:
        wanted_id: uuid.UUID | None = uuid.UUID(wanted)
    except ValueError:
        wanted_id = None
    found = [o for o in organizations if o["organization_id"] == wanted_id or o["name"] == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(str(o["organization_id"]) for o in found)
        raise InvalidInputError(f"{len(found)} organizations are named {wanted!r}: name one by its id, {ids}")
    there = ", ".join(f"{o['name']} ({o['organization_id']})" for o in organizations[:10]) or "none"
    more = f" and {len(organizations) - 10} more" if len(organizations) > 10 else ""
    raise NotFoundError(f"there is no organization {wanted!r}: there are {there}{more}")


def gather(
    db: Executor,
    organization: str,
    *,
    days: int | None = None,
    start: str | None = None,
    end: str | None = None,
) -> ReportData:
    """Read everything that the report shows of an organization.

    `organization` is an id or an exact name. The period is the last `days` times 24 hours (default 30), or
    `start` <= time < `end` (ISO 8601; a day or a time without offset is in the organization's time zone; no
    `end`: now). Demand, utilization, attendance and coverage are aggregated in the database. Raises
    `NotFoundError` for an unknown organization and `InvalidInputError` for an invalid period.
    """
    # A year of thousands of machines without stored rollups takes longer than the usual statement timeout.
    with (
        db.transaction(isolation="repeatable read", read_only=True) as transaction,
        without_deadline(transaction),
    ):
        queries = OperationalDataQueries(transaction)
        found = find_organization(queries, organization)
        read_at: dt.datetime = transaction.execute_query(series.READ_AT)[0]["read_at"]
        period = period_of(days, start, end, zone=ZoneInfo(found["timezone"]), now=read_at)
        org = found["organization_id"]
        parameters = {
            "organization_id": org,
            "start": period.start,
            "end": period.end,
            "period_start": period.start,
            "period_end": period.end,
            "bucket_unit": "hour",
            "resource_id": None,
        }

        def ask(sql: str, **others: object) -> list[Row]:
            return transaction.execute_query(sql, {**parameters, **others})

        start_before = period.start - (period.end - period.start)
        bucket: Literal["day", "week"] = "day" if period.days <= DAILY_UNTIL_DAYS else "week"

        coverage = ask(series.COVERAGE)
        # Scans all days: only if the period has no rows.
        extent = {} if coverage else ask(series.DATA_EXTENT)[0]
        places = queries.get_locations(org)
        locations = {row["location_id"]: row["name"] for row in places}
        zones = {row["location_id"]: ZoneInfo(row["timezone"]) for row in places}
        demand, product_count = _demand(queries, org, period, locations, zones)
        products = queries.get_products(org, start=period.start, end=period.end)
        resource_kpis, kinds = _resource_kpis(queries, org, period)
        return ReportData(
            organization=found,
            period=period,
            read_at=read_at,
            oldest=extent.get("oldest"),
            newest=extent.get("newest"),
            kpis=queries.get_kpi_summary(org, start=period.start, end=period.end),
            resource_kpis=resource_kpis,
            resource_types=kinds,
            demand=demand,
            product_count=product_count,
            accuracy=queries.get_demand_forecast_accuracy(org, start=period.start, end=period.end),
            utilization=ask(series.utilization_by_hour()),
            attendance=_attendance(queries, org, period),
            attendance_days=ask(series.ATTENDANCE_BY_DAY),
            anomalies=ask(series.ANOMALY_PREDICTIONS),
            plans=_plans(queries, org, period, locations),
            coverage=coverage,
            alerts=queries.get_active_alerts(org),
            proposals=_proposals(queries, org),
            models=queries.get_forecast_models(org, kind="demand"),
            backtests=queries.get_forecast_backtests(org),
            series_backtests=queries.get_forecast_backtests(org, by_series=True),
            location_names=locations,
            kpis_before=queries.get_kpi_summary(org, start=start_before, end=period.start),
            stops=ask(series.STOPS),
            stops_before=ask(series.STOPS, start=start_before, end=period.start),
            trend=queries.get_kpi_trend(org, bucket=bucket, start=period.start, end=period.end),
            trend_bucket=bucket,
            outcomes=queries.get_demand_forecast_outcomes(org, start=period.start, end=period.end),
            units={row["product_id"]: row["unit"] for row in products if row["unit"]},
        )


def _proposals(queries: OperationalDataQueries, org: uuid.UUID) -> dict[str, Proposal]:
    """Return the newest proposed or applied one of each kind; stale and rejected ones are not shown."""
    found = {}
    for kind, run_type in (("assignment", "shift_scheduling"), ("plan", "production_planning")):
        rows = [
            row
            for status in ("proposed", "applied")
            for row in queries.get_schedule_proposals(org, kind=kind, status=status, limit=1)
        ]
        if rows:
            newest = max(rows, key=lambda row: row["created_at"])
            runs = queries.get_latest_optimization_runs(org, run_type=run_type, status="completed", limit=100)
            results = [run["result"] for run in runs if run["run_id"] == newest["run_id"]]
            items = queries.get_schedule_proposal_items(org, newest["run_id"])
            found[kind] = Proposal(newest, items, results[0] if results else {})
    return found


def period_of(
    days: int | None, start: str | None, end: str | None, *, zone: ZoneInfo, now: dt.datetime
) -> Period:
    """Return the period of these arguments; see `gather`."""
    if days is not None and (start is not None or end is not None):
        raise InvalidInputError("give either days, or start and end")
    if start is None and end is not None:
        raise InvalidInputError("end needs a start: give start and end, or days")
    last = _instant(end, "end", zone) if end is not None else now
    if start is None:
        count = DEFAULT_DAYS if days is None else days
        if not 1 <= count <= MAX_DAYS:
            raise InvalidInputError(f"days must be 1 to {MAX_DAYS}, not {count}")
        return Period(last - dt.timedelta(days=count), last, zone)
    first = _instant(start, "start", zone)
    if first >= last:
        raise InvalidInputError(f"the period must start before it ends: {first} to {last}")
    if last - first > dt.timedelta(days=MAX_DAYS):
        raise InvalidInputError(f"the period must not be longer than {MAX_DAYS} days")
    return Period(first, last, zone)


def _instant(text: str, name: str, zone: ZoneInfo) -> dt.datetime:
    try:
        instant = dt.datetime.fromisoformat(text)
        local = instant.replace(tzinfo=zone) if instant.tzinfo is None else instant
        return local.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{name} {text!r} is no time: write 2026-11-24, or 2026-11-24T06:00+01:00"
        ) from None


def _resource_kpis(
    queries: OperationalDataQueries, org: uuid.UUID, period: Period
) -> tuple[dict[str, dict[str, Row]], dict[str, str]]:
    """Return the KPIs of each resource by its name, and the type of each."""
    by_resource: dict[uuid.UUID, dict[str, Row]] = defaultdict(dict)
    for row in queries.get_resource_kpis(org, start=period.start, end=period.end):
        by_resource[row["resource_id"]][row["kpi"]] = row
    names = labels((one, next(iter(kpis.values()))["resource_name"]) for one, kpis in by_resource.items())
    kinds = {row["resource_id"]: row["resource_type"] for row in queries.get_resources(org)}
    return (
        {names[one]: kpis for one, kpis in by_resource.items()},
        {names[one]: kinds[one] for one in by_resource},
    )


def labels(named: Iterable[tuple[Any, str]]) -> dict[Any, str]:
    """Return a unique name for each; equal names are numbered in order."""
    called: dict[Any, str] = {}
    times: dict[str, int] = defaultdict(int)
    for one, name in named:
        if one not in called:
            times[name] += 1
            called[one] = name if times[name] == 1 else f"{name} ({times[name]})"
    return called


def _demand(
    queries: OperationalDataQueries,
    org: uuid.UUID,
    period: Period,
    locations: dict[uuid.UUID, str],
    zones: dict[uuid.UUID, ZoneInfo],
) -> tuple[list[DemandSeries], int]:
    """Return the series of the largest products by location, and the number of all products."""
    bucket = "day" if period.days <= DAILY_UNTIL_DAYS else "week"
    horizon = min(period.end - period.start, dt.timedelta(days=30))
    forecasts = defaultdict(list)
    for row in queries.get_current_demand_forecasts(org, start=period.end, end=period.end + horizon):
        forecasts[row["product_id"], row["location_id"]].append(row)
    demanded = sorted(
        queries.get_products(org, start=period.start, end=period.end),
        key=lambda p: (-p["quantity"], p["product_id"]),
    )
    products = list(
        dict.fromkeys([p["product_id"] for p in demanded] + sorted({product for product, _ in forecasts}))
    )
    series = []
    for product in products[:MAX_PRODUCTS]:
        history = defaultdict(list)
        rows = queries.get_demand_series(
            org, product, bucket="day" if bucket == "day" else "week", start=period.start, end=period.end
        )
        for row in rows:
            history[row["location_id"]].append(row)
        places = set(history) | {place for name, place in forecasts if name == product}
        series += [
            DemandSeries(
                product,
                locations[place],
                bucket,
                tuple(history[place]),
                tuple(forecasts[product, place]),
                zones[place],
            )
            for place in sorted(places, key=lambda place: locations[place])
        ]
    return series, len(products)


def _attendance(queries: OperationalDataQueries, org: uuid.UUID, period: Period) -> list[Attendance]:
    counts: dict[uuid.UUID, tuple[str, int, int]] = {}
    for row in queries.get_attendance_rate(org, start=period.start, end=period.end):
        _, attended, scheduled = counts.get(row["employee_id"], ("", 0, 0))
        counts[row["employee_id"]] = (
            row["full_name"],
            attended + row["attended_count"],
            scheduled + row["scheduled_count"],
        )
    return sorted(
        (Attendance(*count) for count in counts.values() if count[2]), key=lambda a: (a.rate, a.full_name)
    )


def _plans(
    queries: OperationalDataQueries, org: uuid.UUID, period: Period, locations: dict[uuid.UUID, str]
) -> dict[str, list[Row]]:
    by_location: dict[str, list[Row]] = defaultdict(list)
    for row in queries.get_production_efficiency(
        org, first_date=period.first_day, end_date=period.last_day + dt.timedelta(days=1)
    ):
        by_location[locations[row["location_id"]]].append(row)
    return dict(sorted(by_location.items()))
