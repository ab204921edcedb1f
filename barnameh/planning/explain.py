"""Explain empty places: check every person, without the solver, and solve with each rule relaxed."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from barnameh.planning.check import violations
from barnameh.planning.inputs import WhatIf, imagine
from barnameh.planning.model import Pair, Roster, Shift, Worker
from barnameh.planning.roster import plan_roster

NEAREST = 3
RELAXATIONS: tuple[tuple[str, Callable[[Roster], WhatIf]], ...] = (
    ("rest of 9 hours", lambda r: WhatIf(contract={"min_rest_hours": 9.0})),
    ("8 more hours a week", lambda r: WhatIf(contract={"max_hours_per_week": _most_hours(r) + 8})),
    ("one more day in a row", lambda r: WhatIf(contract={"max_consecutive_days": _most_days(r) + 1})),
    ("skills ignored", lambda r: WhatIf(ignore_skills=True)),
    ("everyone anywhere", lambda r: WhatIf(anywhere=True)),
)


def _most_hours(roster: Roster) -> float:
    return max((c.max_hours_per_week for w in roster.workers for c in w.contracts), default=48.0)


def _most_days(roster: Roster) -> int:
    return max((c.max_consecutive_days for w in roster.workers for c in w.contracts), default=6)


def gaps(roster: Roster, pairs: set[Pair]) -> list[dict[str, Any]]:
    """Which shifts lack people or skills in this roster?"""
    present, pinned = roster.present(), roster.pinned()
    people = {w.employee_id: w for w in roster.workers}
    found = []
    crews: dict[object, list[Any]] = {}
    for shift_id, employee_id in pairs:
        if (shift_id, employee_id) in present or (shift_id, employee_id) not in pinned:
            crews.setdefault(shift_id, []).append(employee_id)
    for shift in roster.shifts:
        crew = crews.get(shift.shift_id, [])
        there = {k for e in crew if e in people for k in people[e].skills}
        missing = max(0, shift.required - len(crew))
        lacking = sorted(shift.skills - there) if roster.skills_count else []
        if missing or lacking:
            found.append({"shift": shift, "missing": missing, "missing_skills": lacking})
    return found


def explain(roster: Roster, pairs: set[Pair]) -> list[dict[str, Any]]:
    """For each short shift, count all people of the organization by the reason why they cannot fill it."""
    by_worker: dict[object, list[Shift]] = {}
    shifts = {s.shift_id: s for s in roster.shifts}
    for shift_id, employee_id in pairs:
        by_worker.setdefault(employee_id, []).append(shifts[shift_id])
    explained = []
    for gap in gaps(roster, pairs):
        shift: Shift = gap["shift"]
        reasons: Counter[str] = Counter()
        near: list[tuple[int, str, str]] = []
        for worker in roster.workers:
            why = _why_not(roster, shift, worker, pairs, gap)
            reasons[why[0]] += 1
            if len(why) == 1 and why[0] in _NEAR:
                near.append((len(why), worker.name, why[0]))
        explained.append(
            {
                "shift_id": str(shift.shift_id),
                "location_id": str(shift.location_id),
                "name": shift.name,
                "starts_at": shift.starts_at.isoformat(),
                "ends_at": shift.ends_at.isoformat(),
                "missing": gap["missing"],
                "missing_skills": gap["missing_skills"],
                "reasons": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
                "nearest": [{"name": name, "rule": rule} for _, name, rule in sorted(near)[:NEAREST]],
            }
        )
    return explained


_NEAR = frozenset(
    {"too little rest", "over the hours of the week", "too many days in a row", "works at that time"}
)
_TEXTS = {
    "rest": "too little rest",
    "week": "over the hours of the week",
    "days": "too many days in a row",
    "overlap": "works at that time",
}


def _why_not(
    roster: Roster, shift: Shift, worker: Worker, pairs: set[Pair], gap: Mapping[str, Any]
) -> list[str]:
    """Reasons against this person, the hardest first; never empty."""
    pair = (shift.shift_id, worker.employee_id)
    if pair in pairs:
        return ["works it"]
    if shift.location_id not in worker.places:
        return ["based elsewhere"]
    if not any(a <= shift.starts_at < b for a, b in worker.employed):
        return ["not employed then"]
    for a, b, reason in worker.away:
        if a < shift.ends_at and b > shift.starts_at:
            return [f"away: {reason}"]
    if not gap["missing"] and not worker.skills & set(gap["missing_skills"]):
        return ["lacks the skill"]
    own = {p for p in pairs if p[1] == worker.employee_id} | {pair}
    alone = Roster(
        roster.shifts,
        (worker,),
        tuple(a for a in roster.standing if a.employee_id == worker.employee_id),
        roster.weights,
    )
    rules = [v.rule for v in violations(alone, own) if v.rule in _TEXTS]
    texts = list(dict.fromkeys(_TEXTS[rule] for rule in rules))
    order = ["works at that time", "too little rest", "over the hours of the week", "too many days in a row"]
    return sorted(texts, key=order.index) or ["possible, but at a higher cost, or not found in time"]


def relaxations(
    roster: Roster, pairs: set[Pair], seconds: float, stop: Callable[[], bool] = lambda: False
) -> list[dict[str, Any]]:
    """What would each single relaxed rule give? Each variant is solved, within its share of the time."""
    base = gaps(roster, pairs)
    if not base:
        return []
    empty, lacking = sum(g["missing"] for g in base), sum(len(g["missing_skills"]) for g in base)
    found = []
    began = time.perf_counter()
    for n, (name, what_if) in enumerate(RELAXATIONS):
        left = seconds - (time.perf_counter() - began)
        if stop():
            break
        imagined = imagine(roster, what_if(roster))
        plan = plan_roster(imagined, seconds=max(0.0, left / (len(RELAXATIONS) - n)), stop=stop)
        now = gaps(imagined, plan.pairs)
        found.append(
            {
                "rule": name,
                "empty_places": sum(g["missing"] for g in now),
                "missing_skills": sum(len(g["missing_skills"]) for g in now),
                "was_empty_places": empty,
                "was_missing_skills": lacking,
                "is_proven": plan.status == "optimal",
            }
        )
    return found


def kpis(roster: Roster, pairs: set[Pair]) -> dict[str, Any]:
    """Figures of a roster: shortages, and how evenly work is spread."""
    lacks = gaps(roster, pairs)
    present = roster.present()
    pinned = roster.pinned()
    shifts = {s.shift_id: s for s in roster.shifts}
    hours = {w.employee_id: 0.0 for w in roster.workers}
    expected = 0.0
    people = {w.employee_id: w for w in roster.workers}
    for shift_id, employee_id in pairs:
        if employee_id not in hours or (
            (shift_id, employee_id) in pinned and (shift_id, employee_id) not in present
        ):
            continue
        shift = shifts[shift_id]
        hours[employee_id] += shift.hours
        expected += people[employee_id].absence.get(_day(shift, people[employee_id]), 0.0)
    window = [s.starts_at for s in roster.shifts]
    weeks = ((max(window) - min(window)).total_seconds() / 604_800 if window else 0.0) or 1.0
    above = sum(
        max(0.0, h - people[e].contracts[-1].hours_per_week * max(weeks, 1.0)) for e, h in hours.items()
    )
    return {
        "empty_places": sum(g["missing"] for g in lacks),
        "missing_skills": sum(len(g["missing_skills"]) for g in lacks),
        "shifts_short": len(lacks),
        "hours": round(sum(hours.values()), 2),
        "hours_above_contract": round(above, 2),
        "expected_absences": round(expected, 2),
        "added": len(pairs - present - pinned),
        "removed": len(present - pairs),
    }


def _day(shift: Shift, worker: Worker) -> dt.date:
    from zoneinfo import ZoneInfo

    return shift.starts_at.astimezone(ZoneInfo(worker.timezone)).date()
