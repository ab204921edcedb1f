"""The input of every scenario: how much to do, until when, the random seed, and databases to work on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from psycopg2.extensions import parse_dsn

from db_utils import DatabaseManager
from tests.conftest import database_url, fresh_database, make_template
from tests.faults.findings import Finding
from tests.support.servers import own_server

SERVER_OPTIONS = {"max_connections": "200", "max_worker_processes": "24"}


@dataclass
class Trial:
    """One run of the scenarios, on one shared server and on private servers that they may abuse."""

    short: bool = False
    seconds_limit: float = 3600.0
    seed: int = 20250304
    operations: int | None = None
    """Of the soak; None: a million, ten thousand if `short`."""
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def over(self) -> bool:
        """Whether the time is up: a scenario then ends, and counts only what it has done."""
        return time.monotonic() - self.began > self.seconds_limit

    def chances(self, scenario: str) -> random.Random:
        """A random generator with the same sequence for the same seed and scenario."""
        return random.Random(f"{self.seed} {scenario}")

    def amount(self, full: int, short: int) -> int:
        """The number of repetitions: the first, or the second for a short run."""
        return short if self.short else full

    @cached_property
    def server_url(self) -> str:
        """A server shared by all scenarios."""
        return self._stack.enter_context(own_server(**SERVER_OPTIONS)).socket_url

    def _template(self, seed: bool) -> str:
        url = self._stack.enter_context(fresh_database(self.server_url))
        name = str(parse_dsn(url)["dbname"])
        make_template(self.server_url, name, seed=seed)
        return name

    @cached_property
    def schema_template(self) -> str:
        """Name of a database with the schema and no rows."""
        return self._template(seed=False)

    @cached_property
    def seeded_template(self) -> str:
        """Name of a database with the sample data."""
        return self._template(seed=True)

    @contextmanager
    def seeded(self) -> Iterator[DatabaseManager]:
        """A database with the sample data."""
        with (
            fresh_database(self.server_url, self.seeded_template) as url,
            DatabaseManager(url, max_connections=16) as db,
        ):
            yield db

    @contextmanager
    def empty(self) -> Iterator[DatabaseManager]:
        """A database with the schema and no rows."""
        with fresh_database(self.server_url, self.schema_template) as url, DatabaseManager(url) as db:
            yield db

    @contextmanager
    def blank(self) -> Iterator[DatabaseManager]:
        """An empty database."""
        with fresh_database(self.server_url) as url, DatabaseManager(url) as db:
            yield db

    def beside(self, name: str) -> str:
        """The URL of a database of this name on the shared server."""
        return database_url(self.server_url, name)


Scenario = Callable[[Trial], list[Finding]]


@contextmanager
def timed(finding: Finding) -> Iterator[Finding]:
    """Measures the seconds of the block."""
    began = time.monotonic()
    try:
        yield finding
    finally:
        finding.seconds += time.monotonic() - began
