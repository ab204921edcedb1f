"""The meaning of samples in plain Python: each covers the time up to the resource's next one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

Sample = dict[str, Any]
HOUR = dt.timedelta(hours=1)


def exact(span: dt.timedelta) -> Fraction:
    return Fraction(span // dt.timedelta(microseconds=1), 60_000_000)


def said(samples: Sequence[Sample], start: dt.datetime, end: dt.datetime) -> dict[str, Any]:
    """The samples of one resource between two instants, by exact minutes."""
    ordered = sorted(samples, key=lambda sample: sample["time"])
    totals: dict[str, Fraction] = dict.fromkeys(
        ("all", "utilization", "utilized", "efficiency", "efficient", "down", "known"), Fraction(0)
    )
    seen = []
    for sample, following in zip(ordered, [*ordered[1:], None], strict=True):
        told = sample.get("sample_minutes")
        until = sample["time"] + (
            HOUR if told is None else dt.timedelta(microseconds=round(Fraction(told) * 60_000_000))
        )
        if following is not None:
            until = min(until, following["time"])
        inside = min(until, end) - max(sample["time"], start)
        if start <= sample["time"] < end:
            seen.append(sample)
        if inside <= dt.timedelta(0):
            continue
        if not start <= sample["time"] < end:
            seen.append({**sample, "is_from_before": True})
        minutes = exact(inside)
        totals["all"] += minutes
        for column, weight, weighted in (
            ("utilization_pct", "utilized", "utilization"),
            ("efficiency_pct", "efficient", "efficiency"),
        ):
            if sample.get(column) is not None:
                totals[weight] += minutes
                totals[weighted] += minutes * Fraction(sample[column])
        down = sample.get("downtime_minutes")
        spoken = exact(until - sample["time"]) if told is None else Fraction(told)
        if down is not None and Fraction(down) <= spoken:
            totals["known"] += minutes
            totals["down"] += Fraction(down) * minutes / spoken
    return {**totals, "count": sum("is_from_before" not in s for s in seen), "samples": seen}
