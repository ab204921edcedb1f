"""The parts of the wall board: each one's values, from the prebuilt queries, for the templates."""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from db_utils import OperationalDataQueries, TenantScope

Values = dict[str, Any]

PRODUCTS_SHOWN, ALERTS_SHOWN = 3, 12
PAST_DAYS, AHEAD_DAYS = 14, 7
ROSTER_HOURS = 16

_SEVERITY = ("critical", "high", "medium", "low")
_STATES = ("down", "maintenance", "idle", "running")
_LOSSES = {
    "availability": ("Availability", "stood still"),
    "effectiveness": ("Effectiveness", "ran slower than rated"),
    "quality_ratio": ("Quality", "was scrap"),
}


def organization(scope: TenantScope) -> Values:
    """Return the organization of the board."""
    return _queries(scope).get_organization(scope.organization_id)


def kpis(scope: TenantScope) -> Values:
    """OEE of the last 24 hours, its three factors, and downtime by reason."""
    queries = _queries(scope)
    found = {row["kpi"]: row for row in queries.get_kpi_summary(scope.organization_id, days=1)}
    causes = queries.get_downtime_by_cause(scope.organization_id, days=1)[:4]
    return {
        "oee": found["oee"],
        "factors": [
            {"label": label, "loses": loses, **found[name]} for name, (label, loses) in _LOSSES.items()
        ],
        "causes": causes,
        "zone": _zone(scope),
    }


def machines(scope: TenantScope) -> Values:
    """Each machine and its state, those that need attention first."""
    queries = _queries(scope)
    places = {row["location_id"]: row["name"] for row in queries.get_locations(scope.organization_id)}
    rows = [row for row in queries.get_resource_status(scope.organization_id) if row["status"] != "retired"]
    rows.sort(key=lambda row: (_STATES.index(row["status"]), _as_read(row["name"]), str(row["resource_id"])))
    counts = {state: sum(row["status"] == state for row in rows) for state in _STATES}
    return {"machines": rows, "counts": counts, "places": places, "now": _now(), "zone": _zone(scope)}


def _as_read(name: str) -> list[tuple[int, str]]:
    """Natural sort key of a name: Press 2 before Press 10."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", name)]


def alerts(scope: TenantScope) -> Values:
    """Unresolved alerts, worst first."""
    rows = _queries(scope).get_active_alerts(scope.organization_id)
    counts = {severity: sum(row["severity"] == severity for row in rows) for severity in _SEVERITY}
    newest = max(rows, key=lambda row: row["created_at"], default=None)
    return {
        "alerts": rows[:ALERTS_SHOWN],
        "hidden": max(0, len(rows) - ALERTS_SHOWN),
        "counts": counts,
        "newest": newest,
        "now": _now(),
        "zone": _zone(scope),
    }


def demand(scope: TenantScope) -> Values:
    """Daily demand of the products with the most demand, and the forecast of the coming days."""
    queries, organization_id = _queries(scope), scope.organization_id
    zone = _zone(scope)
    products = queries.get_products(organization_id, days=PAST_DAYS)
    products.sort(key=lambda row: (-row["quantity"], row["product_id"]))
    charts = []
    for product in products[:PRODUCTS_SHOWN]:
        series = queries.get_demand_series(organization_id, product["product_id"], days=PAST_DAYS)
        actual: dict[dt.date, Decimal] = defaultdict(Decimal)
        for row in series:
            if row["quantity"] is not None:
                actual[row["bucket"].astimezone(zone).date()] += row["quantity"]
        forecast = _forecast(queries, scope, product["product_id"], zone)
        charts.append(
            {
                "product": product["name"] or product["product_id"],
                "unit": product["unit"] or "units",
                "chart": chart(dict(actual), forecast),
                "rows": _table(dict(actual), forecast),
            }
        )
    return {"charts": charts, "others": max(0, len(products) - PRODUCTS_SHOWN)}


def roster(scope: TenantScope) -> Values:
    """Current and coming shifts with their crews, and how many people are missing."""
    queries, organization_id, now = _queries(scope), scope.organization_id, _now()
    start, end = now - dt.timedelta(days=1), now + dt.timedelta(hours=ROSTER_HOURS)
    places = {row["location_id"]: row for row in queries.get_locations(organization_id)}
    gaps = {
        row["shift_id"]: row for row in queries.get_shift_coverage_gaps(organization_id, start=start, end=end)
    }
    rows = [
        row
        for row in queries.get_shift_schedule(organization_id, start=start, end=end)
        if row["ends_at"] > now
    ]
    shifts = []
    for _, members in groupby(rows, key=lambda row: row["shift_id"]):
        people = list(members)
        shift = people[0]
        place = places[shift["location_id"]]
        assigned = [
            row
            for row in people
            if row["full_name"] is not None
            and row["assignment_status"] not in ("cancelled", "absent", "no_show")
        ]
        shifts.append(
            {
                **shift,
                "place": place["name"],
                "zone": ZoneInfo(place["timezone"]),
                "people": assigned,
                "gap": gaps.get(shift["shift_id"]),
                "is_now": shift["starts_at"] <= now,
            }
        )
    return {"shifts": shifts, "hours": ROSTER_HOURS}


PARTS: Mapping[str, Callable[[TenantScope], Values]] = {
    "alerts": alerts,
    "kpis": kpis,
    "machines": machines,
    "demand": demand,
    "roster": roster,
}

# -- charts ---------------------------------------------------------------------------------------------------

Span = tuple[Decimal, Decimal | None, Decimal | None]
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _DIGIT = 360, 130, 40, 18, 6


def _forecast(
    queries: OperationalDataQueries, scope: TenantScope, product_id: str, zone: ZoneInfo
) -> dict[dt.date, Span]:
    """Return the forecast of each local day, over all locations; bounds only if there is a single location."""
    found: dict[dt.date, list[Values]] = defaultdict(list)
    rows = queries.get_current_demand_forecasts(scope.organization_id, product_id=product_id, days=AHEAD_DAYS)
    for row in rows:
        if dt.timedelta(hours=23) <= row["target_end"] - row["target_time"] <= dt.timedelta(hours=25):
            found[row["target_time"].astimezone(zone).date()].append(row)
    return {
        day: (
            sum((row["predicted_quantity"] for row in members), Decimal()),
            members[0]["lower_bound"] if len(members) == 1 else None,
            members[0]["upper_bound"] if len(members) == 1 else None,
        )
        for day, members in sorted(found.items())
    }


def _table(actual: Mapping[dt.date, Decimal], forecast: Mapping[dt.date, Span]) -> list[Values]:
    return [
        {"day": day, "actual": actual.get(day), "expected": forecast[day][0] if day in forecast else None}
        for day in sorted({*actual, *forecast})
    ]


def chart(actual: Mapping[dt.date, Decimal], forecast: Mapping[dt.date, Span]) -> Values | None:
    """Points of a chart of 360 by 130, for SVG; None if there is nothing to draw."""
    days = sorted({*actual, *forecast})
    if not days:
        return None
    values = [*actual.values(), *(value for span in forecast.values() for value in span if value is not None)]
    top = _round_up(max([*values, Decimal(1)]))
    marks = (Decimal(), top / 2, top)
    left = max(_LEFT, 12 + _DIGIT * max(len(say_number(mark)) for mark in marks))
    span_days = max(1, (days[-1] - days[0]).days)

    def x(day: dt.date) -> float:
        return round(left + (_WIDTH - left - 6) * (day - days[0]).days / span_days, 1)

    def y(value: Decimal) -> float:
        return round(6 + (_HEIGHT - _BOTTOM - 6) * float(1 - value / top), 1)

    ranged = [
        (day, low, high) for day, (_, low, high) in forecast.items() if low is not None and high is not None
    ]
    band = [f"{x(day)},{y(high)}" for day, _, high in ranged]
    band += [f"{x(day)},{y(max(low, Decimal()))}" for day, low, _ in reversed(ranged)]
    return {
        "actual": " ".join(f"{x(day)},{y(value)}" for day, value in sorted(actual.items())),
        "forecast": " ".join(f"{x(day)},{y(span[0])}" for day, span in sorted(forecast.items())),
        "band": " ".join(band) if len(ranged) > 1 else "",
        "marks": [{"value": value, "y": y(value)} for value in marks],
        "first": {"day": days[0], "x": x(days[0])},
        "last": {"day": days[-1], "x": x(days[-1])},
        "today": x(min(forecast)) if forecast and actual else None,
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": left,
    }


def _round_up(value: Decimal) -> Decimal:
    """Round up to 1, 2, 2.5 or 5 times a power of ten, for a readable axis."""
    power = Decimal(10) ** value.adjusted()
    for step in ("1", "2", "2.5", "5", "10"):
        if value <= Decimal(step) * power:
            return Decimal(step) * power
    return value


# -- formatting ---------------------------------------------------------------------------------------------


def _queries(scope: TenantScope) -> OperationalDataQueries:
    return OperationalDataQueries(scope)


def _zone(scope: TenantScope) -> ZoneInfo:
    return ZoneInfo(organization(scope)["timezone"])


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def say_number(value: Decimal | None, digits: int = 0) -> str:
    """Return a number with separators; a dash if unknown."""
    return "\u2013" if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def say_clock(time: dt.datetime | None, zone: ZoneInfo) -> str:
    """Hours and minutes in the location's time zone."""
    return "\u2013" if time is None else f"{time.astimezone(zone):%H:%M}"


def say_day(day: dt.date) -> str:
    """Return a date, such as 3 Nov."""
    return f"{day.day} {day:%b}"


def say_ago(time: dt.datetime | None, now: dt.datetime) -> str:
    """Return an age, such as 5 min ago."""
    if time is None:
        return "never"
    minutes = int((now - time).total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def say_words(name: str | None) -> str:
    """Return a database name as words."""
    return "" if name is None else name.replace("_", " ")


FILTERS: Mapping[str, Callable[..., str]] = {
    "number": say_number,
    "clock": say_clock,
    "day": say_day,
    "ago": say_ago,
    "words": say_words,
}
