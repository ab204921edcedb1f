"""A second implementation of the machine KPIs of ISO 22400-2, over a timeline of single minutes.

Slow and obvious on purpose: plain Python goes through a plant minute by minute, determines what the machine did, where it was and
whether it was planned to be busy, and counts. No SQL, no ranges, no helper of the product. Plans, attendance and
forecasts are counted row by row below.

Definitions (docs/kpis.md has the same in words): a machine is in one state in each minute; of several events, a planned stop takes
precedence over a failure, then setup, then waiting, then production; of one kind, the event that began first.  Planned
busy time is the shifts of the place where the machine stood, in service, less planned maintenance. Availability and OEE are of
planned minutes only; what was made counts for OEE by the share of the event that lies in shifts, planned maintenance or not, so that
OEE stays the product of its three factors. What was not reported is in no ratio. The quotients are what was counted, also where no figure
may be shown: a share above 100, as of a machine that makes more than its rated capacity allows (`is_impossible`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from tests.support.plants import EVER, Event, Machine, Plant, Shift, Version

KPIS = [
    "availability",
    "effectiveness",
    "quality_ratio",
    "oee",
    "utilisation_efficiency",
    "throughput_rate",
    "scrap_ratio",
    "mtbf",
    "mttr",
    "plan_attainment",
    "attendance_rate",
    "forecast_wape",
]
"""In order of output."""
RANK = {"maintenance": 0, "breakdown": 1, "setup": 2, "idle": 3, "production": 4}
BUSY = ("production", "setup", "idle", "breakdown")
Period = tuple[int, int]
"""First minute and first minute after, since the plant's base."""
Answers = dict[str, Fraction | None]


def timeline(plant: Plant, number: int) -> dict[int, Event]:
    """The event that determines the machine's state, for each minute that has one."""
    minutes: dict[int, Event] = {}
    own = [e for e in plant.events if e.machine == number and e.kind in RANK]
    for event in sorted(own, key=lambda e: (e.start, e.event_id)):
        for minute in range(event.start, event.start + (event.minutes or 0)):
            if minute not in minutes or RANK[event.kind] < RANK[minutes[minute].kind]:
                minutes[minute] = event
    return minutes


def shift_minutes(plant: Plant) -> set[tuple[int, int]]:
    """All (location, minute) in which a location planned to work."""
    return {(s.location, minute) for s in plant.shifts for minute in range(s.start, s.end)}


def failures(plant: Plant, number: int, period: Period) -> int:
    """Number of failures that began in the period: overlapping or adjacent breakdowns count once."""
    down = {
        minute
        for e in plant.events
        if e.machine == number and e.kind == "breakdown"
        for minute in range(e.start, e.start + (e.minutes or 0))
    }
    began = {minute for minute in down if minute - 1 not in down}
    # A failure without duration counts separately unless the machine is down then, or was until then.
    points = {
        e.start for e in plant.events if e.machine == number and e.kind == "breakdown" and not e.minutes
    }
    alone = {p for p in points if p not in down and p - 1 not in down}
    return sum(period[0] <= minute < period[1] for minute in began | alone)


def tally(
    plant: Plant,
    number: int,
    period: Period,
    *,
    does: Mapping[int, Event] | None = None,
    shifts: set[tuple[int, int]] | None = None,
) -> Counter[str]:
    """Minutes and quantities of one machine in a period; pass its timeline and the shifts for repeated calls."""
    machine = plant.machines[number]
    does = timeline(plant, number) if does is None else does
    shifts = shift_minutes(plant) if shifts is None else shifts
    counts: Counter[str] = Counter()
    for minute in range(*period):
        version = machine.at(minute)
        event = does.get(minute)
        kind = event.kind if event else None
        planned = version.in_service and (version.location, minute) in shifts and kind != "maintenance"
        counts["planned"] += planned
        if event:
            counts[event.kind] += 1
            counts["planned production"] += planned and kind == "production"
    for event in plant.events:
        if event.machine != number or event.kind != "production" or event.quantity is None:
            continue
        if event.start >= period[1] or event.start + max(event.minutes or 0, 1) <= period[0]:
            continue
        for minute, share in spread(event):
            if period[0] <= minute < period[1]:
                count_quantity(counts, machine, minute, event, share, shifts)
    counts["failures"] = failures(plant, number, period)
    return counts


def spread(event: Event) -> Iterable[tuple[int, Fraction]]:
    """The minutes of an event, each with its share of the production; all at once if it has no duration."""
    if not event.minutes:
        return [(event.start, Fraction(1))]
    return [(event.start + n, Fraction(1, event.minutes)) for n in range(event.minutes)]


def count_quantity(
    counts: Counter[str],
    machine: Machine,
    minute: int,
    event: Event,
    share: Fraction,
    shifts: set[tuple[int, int]],
) -> None:
    """Count the production of one minute, and its time at rated speed."""
    version = machine.at(minute)
    assert event.quantity is not None
    quantity = event.quantity * share
    counts["quantity"] += quantity  # type: ignore[assignment]
    in_shift = version.in_service and (version.location, minute) in shifts
    if version.capacity is not None:
        counts["rated"] += 60 * quantity / version.capacity  # type: ignore[assignment]
    if event.scrap is not None:
        scrap = event.scrap * share
        counts["scrap"] += scrap  # type: ignore[assignment]
        counts["quantity of known scrap"] += quantity  # type: ignore[assignment]
        if in_shift and version.capacity is not None:
            counts["rated good, in shifts"] += 60 * (quantity - scrap) / version.capacity  # type: ignore[assignment]


def quotient(scale: int, numerator: Fraction | int, denominator: Fraction | int) -> Fraction | None:
    """NULL if the denominator is zero."""
    return scale * Fraction(numerator) / denominator if denominator else None


SHARES = {"availability", "quality_ratio", "oee", "utilisation_efficiency", "scrap_ratio"}
"""KPIs that are a share of a whole, so that values above 100 are impossible. Effectiveness above 100 means that the rated capacity is
too low, plan attainment above 100 that more was produced than planned."""


def is_impossible(kpi: str, value: Fraction) -> bool:
    """Whether the quotient of a KPI must not be shown."""
    return kpi in SHARES and not 0 <= value <= 100


def is_uniform(plant: Plant) -> bool:
    """Whether every machine has a rated capacity at all times, and all report the same figures in one unit.

    Ratios of such a plant are beyond dispute; of others there is more than one way to leave the unknown out.
    """
    rated = all(v.capacity is not None for m in plant.machines for v in m.versions)
    units = {v.unit for m in plant.machines for v in m.versions}
    told = {(e.quantity is None, e.scrap is None) for e in plant.events if e.kind == "production"}
    return rated and len(units) == 1 and not units & {None} and len(told) <= 1


def organization_kpis(plant: Plant, period: Period) -> Answers:
    """KPIs of all machines that ever recorded anything; quantities where they are reported."""
    measured = [
        n
        for n, _ in enumerate(plant.machines)
        if any(e.machine == n and e.kind in RANK for e in plant.events)
    ]
    return answers(plant, {n: tally(plant, n, period) for n in measured})


def resource_kpis(plant: Plant, number: int, period: Period) -> Answers:
    """KPIs of one machine."""
    return answers(plant, {number: tally(plant, number, period)})


def answers(plant: Plant, counted: Mapping[int, Counter[str]]) -> Answers:
    """KPIs from what was counted of these machines."""
    total: dict[str, Fraction] = defaultdict(Fraction)
    for counts in counted.values():
        for name, count in counts.items():
            total[name] += count
    busy = sum((total[kind] for kind in BUSY), Fraction(0))
    producing = {n: [e for e in plant.events if e.machine == n and e.kind == "production"] for n in counted}
    counting = [n for n, own in producing.items() if own and all(e.quantity is not None for e in own)]
    judged = [n for n in counting if all(e.scrap is not None for e in producing[n])]

    def of(numbers: Sequence[int], *names: str) -> Fraction:
        return sum((Fraction(counted[n][name]) for n in numbers for name in names), Fraction(0))

    return {
        "availability": quotient(100, total["planned production"], total["planned"]),
        "effectiveness": quotient(100, of(counting, "rated"), of(counting, "production")),
        "quality_ratio": quotient(
            100, total["quantity of known scrap"] - total["scrap"], total["quantity of known scrap"]
        ),
        "oee": quotient(100, of(judged, "rated good, in shifts"), of(judged, "planned")),
        "utilisation_efficiency": quotient(100, total["production"], busy),
        "throughput_rate": quotient(60, of(counting, "quantity"), of(counting, *BUSY)),
        "scrap_ratio": quotient(100, total["scrap"], total["quantity of known scrap"]),
        "mtbf": quotient(1, total["production"] / 60, total["failures"]),
        "mttr": quotient(1, total["breakdown"] / 60, total["failures"]),
    }


def downtime_by_cause(plant: Plant, period: Period) -> dict[tuple[str, str | None], int]:
    """Minutes of each kind of stop and cause, each minute of a machine once."""
    minutes: Counter[tuple[str, str | None]] = Counter()
    for number, _ in enumerate(plant.machines):
        for minute, event in timeline(plant, number).items():
            if event.kind != "production" and period[0] <= minute < period[1]:
                minutes[event.kind, event.cause] += 1
    return dict(minutes)


# The sample data: the same reference; figures that do not concern machines come from the rows of the tables.

Row = Mapping[str, Any]
Keep = Callable[[Row], bool]
TABLES = {
    "resources": "resource_id, location_id, status, rated_capacity_per_hour, capacity_unit",
    "locations": "location_id, timezone",
    "shifts": "shift_id, location_id, starts_at, ends_at",
    "operational_events": (
        "event_id, resource_id, location_id, time, event_type, duration_minutes, quantity, scrap_quantity, cause"
    ),
    "production_plans": "location_id, resource_id, plan_date, planned_quantity, actual_quantity, status",
    "employees": "employee_id, location_id",
    "employee_attendance": "employee_id, shift_id, time, status",
    "demand_history": "product_id, location_id, time, quantity",
    "demand_forecasts": (
        "product_id, location_id, target_time, target_interval, predicted_quantity, available_at, model_name, model_version"
    ),
}


def read_raw_rows(db: Any, organization_id: UUID | str) -> dict[str, list[Row]]:
    """Every row of the organization that a KPI depends on."""
    return {
        table: db.execute_query(
            f"SELECT {columns} FROM {table} WHERE organization_id = %s", (organization_id,)
        )
        for table, columns in TABLES.items()
    }


def plant_of(raw: Mapping[str, list[Row]]) -> Plant:
    """The organization as a plant, its machines as they are now; its times must be whole minutes."""
    times = [e["time"] for e in raw["operational_events"]] + [s["starts_at"] for s in raw["shifts"]]
    base = min(times, default=datetime.min).replace(hour=0, minute=0, second=0, microsecond=0)

    def minute(at: datetime) -> int:
        whole, rest = divmod(at - base, timedelta(minutes=1))
        assert not rest, at
        return whole

    places = {row["location_id"]: n for n, row in enumerate(raw["locations"])}
    numbers = {row["resource_id"]: n for n, row in enumerate(raw["resources"])}
    return Plant(
        base,
        "",
        tuple(places),
        tuple(
            Machine(
                (
                    Version(
                        EVER,
                        places[r["location_id"]],
                        r["rated_capacity_per_hour"] and Fraction(r["rated_capacity_per_hour"]),
                        r["capacity_unit"],
                        r["status"] != "retired",
                    ),
                ),
                r["resource_id"],
            )
            for r in raw["resources"]
        ),
        tuple(
            Shift(places[s["location_id"]], minute(s["starts_at"]), minute(s["ends_at"]), s["shift_id"])
            for s in raw["shifts"]
        ),
        tuple(
            Event(
                None if e["resource_id"] is None else numbers[e["resource_id"]],
                places[e["location_id"]],
                e["event_type"],
                minute(e["time"]),
                None if e["duration_minutes"] is None else int(e["duration_minutes"]),
                None if e["quantity"] is None else Fraction(e["quantity"]),
                None if e["scrap_quantity"] is None else Fraction(e["scrap_quantity"]),
                e["cause"],
                e["event_id"],
            )
            for e in raw["operational_events"]
        ),
    )


class Sample:
    """The twelve KPIs of the sample data, of the organization, a location, a resource or a shift."""

    def __init__(self, raw: Mapping[str, list[Row]]) -> None:
        self.raw, self.plant = raw, plant_of(raw)
        self._shifts = shift_minutes(self.plant)
        self._timelines = [timeline(self.plant, n) for n, _ in enumerate(self.plant.machines)]
        self._tallies: dict[tuple[int, Period], Counter[str]] = {}

    def organization(self, start: datetime, end: datetime) -> Answers:
        """Of all machines."""
        numbers = range(len(self.plant.machines))
        return self._machines(numbers, start, end) | self._others(start, end, lambda row: True)

    def location(self, location_id: UUID, start: datetime, end: datetime) -> Answers:
        """Of the machines located there, where the sample's machines record all that they do."""
        here = self.plant.locations.index(location_id)
        numbers = [n for n, m in enumerate(self.plant.machines) if m.versions[0].location == here]
        return self._machines(numbers, start, end) | self._others(
            start, end, lambda row: row["location_id"] == location_id
        )

    def resource(self, resource_id: UUID, start: datetime, end: datetime) -> Answers:
        """Of one machine; attendance and forecasts are of locations."""
        numbers = [n for n, m in enumerate(self.plant.machines) if m.resource_id == resource_id]
        plans = plan_attainment(self.raw, start, end, lambda row: row.get("resource_id") == resource_id)
        return self._machines(numbers, start, end) | {
            "plan_attainment": plans,
            "attendance_rate": None,
            "forecast_wape": None,
        }

    def shift(self, shift_id: UUID) -> Answers:
        """Of the machines of its location, as if no other shift had been planned."""
        (shift,) = [s for s in self.plant.shifts if s.shift_id == shift_id]
        alone = Sample.__new__(Sample)
        alone.raw, alone.plant = self.raw, self.plant
        alone._shifts = {(shift.location, minute) for minute in range(shift.start, shift.end)}
        alone._timelines, alone._tallies = self._timelines, {}
        numbers = [n for n, m in enumerate(self.plant.machines) if m.versions[0].location == shift.location]
        due = [a for a in self.raw["employee_attendance"] if a["shift_id"] == shift_id]
        return alone._machines(numbers, self.plant.time(shift.start), self.plant.time(shift.end)) | {
            "plan_attainment": None,
            "attendance_rate": attended(due),
            "forecast_wape": None,
        }

    def _machines(self, numbers: Iterable[int], start: datetime, end: datetime) -> Answers:
        first, last = ((at - self.plant.base) // timedelta(minutes=1) for at in (start, end))
        for n in numbers:
            if (n, (first, last)) not in self._tallies:
                self._tallies[n, (first, last)] = tally(
                    self.plant, n, (first, last), does=self._timelines[n], shifts=self._shifts
                )
        counted = {n: self._tallies[n, (first, last)] for n in numbers}
        touched = any(counts[kind] for counts in counted.values() for kind in RANK)
        found = answers(self.plant, counted)
        return found if touched else dict.fromkeys(found)

    def _others(self, start: datetime, end: datetime, keep: Keep) -> Answers:
        where = {e["employee_id"]: e["location_id"] for e in self.raw["employees"]}
        due = [
            a
            for a in self.raw["employee_attendance"]
            if start <= a["time"] < end and keep({"location_id": where[a["employee_id"]]})
        ]
        return {
            "plan_attainment": plan_attainment(self.raw, start, end, keep),
            "attendance_rate": attended(due),
            "forecast_wape": forecast_wape(self.raw, start, end, keep),
        }


def plan_attainment(
    raw: Mapping[str, list[Row]], start: datetime, end: datetime, keep: Keep
) -> Fraction | None:
    """Of plans whose local day ended in the period and that say what was made."""
    zones = {location["location_id"]: ZoneInfo(location["timezone"]) for location in raw["locations"]}
    planned = actual = Fraction(0)
    for plan in raw["production_plans"]:
        day_end = datetime.combine(plan["plan_date"] + timedelta(days=1), time(), zones[plan["location_id"]])
        if plan["status"] != "cancelled" and start < day_end <= end and keep(plan):
            planned += Fraction(plan["planned_quantity"]) * (plan["actual_quantity"] is not None)
            actual += Fraction(plan["actual_quantity"] or 0)
    return quotient(100, actual, planned)


def attended(rows: Sequence[Row]) -> Fraction | None:
    """Share of scheduled work that was attended; vacation does not count."""
    due = [row["status"] for row in rows if row["status"] != "vacation"]
    return quotient(100, sum(status in ("present", "late", "remote") for status in due), len(due))


def forecast_wape(
    raw: Mapping[str, list[Row]], start: datetime, end: datetime, keep: Keep
) -> Fraction | None:
    """Of daily forecasts: the newest one before each target against the demand of the local day."""
    zones = {location["location_id"]: ZoneInfo(location["timezone"]) for location in raw["locations"]}
    newest: dict[Any, Row] = {}
    # Newest first; of several models at one time the first by name, and its latest version.
    for forecast in sorted(
        sorted(raw["demand_forecasts"], key=lambda f: f["model_version"], reverse=True),
        key=lambda f: (-f["available_at"].timestamp(), f["model_name"]),
    ):
        assert forecast["target_interval"] == timedelta(days=1)
        if forecast["available_at"] <= forecast["target_time"] and start <= forecast["target_time"] < end:
            key = (forecast["product_id"], forecast["location_id"], forecast["target_time"])
            newest.setdefault(key, forecast)
    error = demanded = Fraction(0)
    for (product_id, location_id, target), forecast in newest.items():
        local = target.astimezone(zones[location_id])
        target_end = datetime.combine(local.date() + timedelta(days=1), local.time(), zones[location_id])
        rows = [
            Fraction(d["quantity"])
            for d in raw["demand_history"]
            if (d["product_id"], d["location_id"]) == (product_id, location_id)
            and target <= d["time"] < target_end
        ]
        if rows and target_end <= end and keep(forecast):
            error += abs(sum(rows) - Fraction(forecast["predicted_quantity"]))
            demanded += sum(rows)
    return quotient(100, error, demanded)
