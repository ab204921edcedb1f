"""The page's sections on proposals: the newest roster and production plan, if any."""

from __future__ import annotations

import datetime as dt
from typing import Any

from db_utils.report.charts import planning as charts
from db_utils.report.data import Proposal, ReportData
from db_utils.report.sections import MAX_BARS, FigureTable, Section, local, number
from db_utils.values import Row

MAX_PEOPLE = 40
"""Maximum number of people drawn in a roster; the tables show all changes."""


def proposed_sections(data: ReportData) -> list[Section]:
    """Return the sections on the newest proposals; empty if there are none."""
    makers = {"assignment": _roster, "plan": _schedule}
    return [make(data.proposals[kind], data) for kind, make in makers.items() if kind in data.proposals]


def _roster(proposal: Proposal, data: ReportData) -> Section:
    question, status = "Who works when, by the newest proposal?", proposal.header["status"]
    empty = [_gap(gap) for gap in proposal.result.get("unfilled", ())]
    changed = [item for item in proposal.items if item["action"] != "keep"]
    names = sorted({item["full_name"] for item in proposal.items})
    tables: list[FigureTable] = []
    rows: list[tuple[str, ...]]
    if changed:
        rows = [
            (i["action"], i["full_name"], i["shift_name"], local(i["starts_at"], data), i["reason"])
            for i in changed
        ]
        tables.append(FigureTable("Changes", ("Action", "Who", "Shift", "From", "Why"), rows, frozenset()))
    if empty:
        rows = [
            (
                g["name"],
                local(g["starts_at"], data),
                str(g["missing"]),
                ", ".join(g["missing_skills"]),
                g["why"],
            )
            for g in empty
        ]
        heads = ("Shift", "From", "People missing", "Skills missing", "Employees by reason")
        tables.append(
            FigureTable(
                "Understaffed shifts, and why no other employee is available", heads, rows, frozenset({2})
            )
        )
    title = f"{len(changed)} changes are {status}, {len(empty)} shifts remain understaffed"
    if not names:
        return Section(
            "roster", question, title, tables=tuple(tables), reason="No employee is assigned in its period."
        )
    caption = "A bar for each shift, by person."
    if len(names) > MAX_PEOPLE:
        caption += f" The first {MAX_PEOPLE} of {len(names)} people are drawn."
    drawing = charts.roster(names[:MAX_PEOPLE], proposal.items, empty, data.period.zone)
    return Section("roster", question, title, drawing, caption, tuple(tables))


def _gap(gap: dict[str, Any]) -> Row:
    times = {name: dt.datetime.fromisoformat(gap[name]) for name in ("starts_at", "ends_at")}
    return {**gap, **times, "why": ", ".join(f"{why} {count}" for why, count in gap["reasons"].items())}


def _schedule(proposal: Proposal, data: ReportData) -> Section:
    question, status = "What is produced where and when, by the newest proposal?", proposal.header["status"]
    late = proposal.result.get("late", ())
    work = [item for item in proposal.items if item["resource_name"] is not None]
    tables: tuple[FigureTable, ...] = ()
    if late:
        amounts = ("quantity", "in_time", "late", "not_made")
        rows = [
            (r["product_id"], r["due"], *(number(r[name], 0) for name in amounts), r["why"]) for r in late
        ]
        heads = ("Product", "Due", "Quantity", "In time", "Late", "Not made", "Why")
        tables = (FigureTable("Plans not completed in time, and why", heads, rows, frozenset({2, 3, 4, 5})),)
    title = f"{len({item['plan_id'] for item in work})} plans are {status}, {len(late)} not in time"
    if not work:
        return Section("schedule", question, title, tables=tables, reason="No resource has work to do.")
    names = sorted({item["resource_name"] for item in work})
    caption = "A bar for each part of a plan, by resource and local day; what is not made has none."
    if len(names) > MAX_BARS:
        caption += f" The first {MAX_BARS} of {len(names)} resources are drawn."
    return Section("schedule", question, title, charts.schedule(names[:MAX_BARS], work), caption, tables)
