"""Clients that write and read while rows move between nodes: acknowledged writes, failures, and the longest write."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from db_utils import DatabaseManager, OperationalDataQueries

_NOON = dt.datetime(2025, 3, 4, 12, tzinfo=dt.UTC)


@dataclass
class Load:
    """Clients that keep writing and reading, each in a separate organization."""

    acknowledged: dict[uuid.UUID, list[uuid.UUID]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    longest_write: float = 0.0
    reads: int = 0


@contextmanager
def people(db: DatabaseManager, organizations: list[uuid.UUID], places: list[uuid.UUID]) -> Iterator[Load]:
    """Two who write and one who reads, until the block ends; `places` has a location of each organization."""
    load = Load({organization: [] for organization in organizations})
    ended = threading.Event()
    began = threading.Barrier(4)

    def write(mine: list[tuple[uuid.UUID, uuid.UUID]]) -> None:
        began.wait()
        for (organization, place), number in zip(itertools.cycle(mine), itertools.count()):
            if ended.is_set():
                return
            started = time.monotonic()
            try:
                event = OperationalDataQueries(db.tenant(organization)).record_event(
                    organization,
                    time=_NOON + dt.timedelta(seconds=number),
                    event_type="idle",
                    location_id=place,
                )
            except Exception as error:
                load.errors.append(f"write: {error!r}")
            else:
                load.acknowledged[organization].append(event)
            load.longest_write = max(load.longest_write, time.monotonic() - started)

    def read() -> None:
        began.wait()
        for organization in itertools.cycle(organizations):
            if ended.is_set():
                return
            try:
                OperationalDataQueries(db.tenant(organization)).get_events(
                    organization, start=_NOON, end=_NOON + dt.timedelta(days=1), limit=20
                )
            except Exception as error:
                load.errors.append(f"read: {error!r}")
            load.reads += 1

    pairs = list(zip(organizations, places, strict=True))
    with ThreadPoolExecutor(3) as pool:
        tasks = [pool.submit(write, pairs[::2]), pool.submit(write, pairs[1::2]), pool.submit(read)]
        began.wait()
        try:
            yield load
        finally:
            ended.set()
        for task in tasks:
            task.result()
