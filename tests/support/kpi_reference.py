"""The KPIs of machines once more, after the definitions of ISO 22400-2, over a timeline of single minutes.

Slow and obvious on purpose: it walks minute by minute through a plant in plain Python, asks of each minute what the machine did,
where it stood, whether it was planned to be busy, and counts. No SQL, no ranges, no helper of the product.

Meaning (docs/kpis.md says the same in words): a machine is in one state in a minute; of several events the planned stop goes before
the failure, the failure before setup, setup before waiting, all before production; of one kind the one that began first. Planned
busy time is the shifts of the place where the machine stood, in service, less planned maintenance. Availability and OEE are of
planned minutes only. What was not reported is in no ratio.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from tests.support.plants import Event, Machine, Plant

RANK = {"maintenance": 0, "breakdown": 1, "setup": 2, "idle": 3, "production": 4}
BUSY = ("production", "setup", "idle", "breakdown")
Period = tuple[int, int]
"""First minute and first minute after, since the plant's base."""
Answers = dict[str, Fraction | None]


def timeline(plant: Plant, number: int) -> dict[int, Event]:
    """Which event tells what the machine did, for each minute of which one does."""
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
    """How many standstills by failure began in the period: breakdowns that overlap or touch are one."""
    down = {
        minute
        for e in plant.events
        if e.machine == number and e.kind == "breakdown"
        for minute in range(e.start, e.start + (e.minutes or 0))
    }
    began = {minute for minute in down if minute - 1 not in down}
    # A failure without duration is one of its own unless the machine is down just then, or was until then.
    points = {
        e.start for e in plant.events if e.machine == number and e.kind == "breakdown" and not e.minutes
    }
    alone = {p for p in points if p not in down and p - 1 not in down}
    return sum(period[0] <= minute < period[1] for minute in began | alone)


def tally(plant: Plant, number: int, period: Period, location: int | None = None) -> Counter[str]:
    """Minutes and quantities of one machine; with a location, what happened there and while it stood there."""
    machine = plant.machines[number]
    does, shifts = timeline(plant, number), shift_minutes(plant)
    counts: Counter[str] = Counter()
    for minute in range(*period):
        version = machine.at(minute)
        event = does.get(minute)
        kind = event.kind if event else None
        planned = version.in_service and (version.location, minute) in shifts and kind != "maintenance"
        if planned and location in (None, version.location):
            counts["planned"] += 1
        if event and location in (None, event.location):
            counts[event.kind] += 1
            counts["planned production"] += planned and kind == "production"
    for event in plant.events:
        if event.machine != number or event.kind != "production" or event.quantity is None:
            continue
        if location not in (None, event.location):
            continue
        for minute, share in spread(event):
            if period[0] <= minute < period[1]:
                count_quantity(counts, machine, does.get(minute), minute, event, share, shifts)
    if location is None:
        counts["failures"] = failures(plant, number, period)
    return counts


def spread(event: Event) -> Iterable[tuple[int, Fraction]]:
    """The minutes of an event, each with its share of what was made; all at once where it has no duration."""
    if not event.minutes:
        return [(event.start, Fraction(1))]
    return [(event.start + n, Fraction(1, event.minutes)) for n in range(event.minutes)]


def count_quantity(
    counts: Counter[str],
    machine: Machine,
    does: Event | None,
    minute: int,
    event: Event,
    share: Fraction,
    shifts: set[tuple[int, int]],
) -> None:
    """Count what was made in one minute, and how long that takes at rated speed."""
    version = machine.at(minute)
    assert event.quantity is not None
    quantity = event.quantity * share
    counts["quantity"] += quantity  # type: ignore[assignment]
    planned = (
        version.in_service
        and (version.location, minute) in shifts
        and (does is None or does.kind != "maintenance")
    )
    if version.capacity is not None:
        counts["rated"] += 60 * quantity / version.capacity  # type: ignore[assignment]
    if event.scrap is not None:
        scrap = event.scrap * share
        counts["scrap"] += scrap  # type: ignore[assignment]
        counts["quantity of known scrap"] += quantity  # type: ignore[assignment]
        if planned and version.capacity is not None:
            counts["rated good, planned"] += 60 * (quantity - scrap) / version.capacity  # type: ignore[assignment]


def quotient(scale: int, numerator: Fraction | int, denominator: Fraction | int) -> Fraction | None:
    """NULL where there is nothing to divide by."""
    return scale * Fraction(numerator) / denominator if denominator else None


def is_uniform(plant: Plant) -> bool:
    """Whether each machine has a rated capacity at all times, reports all or nothing, and all count in one unit.

    Ratios of such a plant are beyond dispute; of others there is more than one way to leave the unknown out.
    """
    rated = all(v.capacity is not None for m in plant.machines for v in m.versions)
    units = {v.unit for m in plant.machines for v in m.versions}
    return rated and len(units) == 1 and not units & {None}


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
        "oee": quotient(100, of(judged, "rated good, planned"), of(judged, "planned")),
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
