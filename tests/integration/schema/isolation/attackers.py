"""The attackers, the judgement of attempts, and the count of attempts and crossings."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, make_dsn, parse_dsn

from tests.integration.schema.isolation.markers import found_in, printed
from tests.integration.schema.isolation.population import Organization

PASSWORD = "a_long_password"
_LIMITS = "-c statement_timeout=2000 -c lock_timeout=500 -c idle_in_transaction_session_timeout=0"


@dataclass
class Outcome:
    """The result of one attempt."""

    sqlstate: str | None = None
    message: str = ""
    detail: str = ""
    """The other fields of the error."""
    row_count: int = -1
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def worked(self) -> bool:
        return self.sqlstate is None

    def answer(self) -> str:
        """What an attacker can distinguish, without parts that always differ."""
        return (
            f"{self.sqlstate} {self.message} {self.row_count}" if self.sqlstate else f"done {self.row_count}"
        )


class Ledger:
    """Counts attempts and crossings by category."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.crossings: dict[str, list[str]] = {}

    def crossing(self, category: str, evidence: str) -> None:
        self.crossings.setdefault(category, []).append(evidence)

    @property
    def crossing_count(self) -> int:
        return sum(len(found) for found in self.crossings.values())

    def table(self) -> str:
        """Attempts and crossings by category, as text."""
        categories = sorted({*self.attempts, *self.crossings})
        width = max(map(len, categories), default=8)
        lines = [f"{'category':{width}}  attempts  crossings"]
        for category in categories:
            found = len(self.crossings.get(category, []))
            lines.append(f"{category:{width}}  {self.attempts[category]:8,}  {found:9,}")
        lines.append(f"{'all':{width}}  {self.attempts.total():8,}  {self.crossing_count:9,}")
        for category, found in self.crossings.items():
            lines += [f"  {category}: {evidence}" for evidence in found[:8]]
        return "\n".join(lines)


class _EveryNotice(list[str]):
    """psycopg2 keeps only 50 notices in a plain list; an attacker would read all of them."""


class Attacker:
    """A session that may act for one organization, or for none, and tries to access the others' rows."""

    def __init__(
        self,
        name: str,
        url: str,
        ledger: Ledger,
        *,
        own: Organization,
        setup: Sequence[str] = (),
        each: str = "",
        chooses_organization: bool = False,
    ) -> None:
        self.name = name
        self.own = own
        """The attacker's own organization: it knows these rows, even if its session acts for none."""
        self.chooses_organization = chooses_organization
        """Whether this login may choose its organization, so that doing so is not an attack."""
        self._url = make_dsn(**{**parse_dsn(url), "options": _LIMITS})
        self._ledger = ledger
        self._setup = setup
        self._each = each  # the start of every transaction
        self._connection: Any = None

    @property
    def role(self) -> str:
        """The login's own role."""
        return str(parse_dsn(self._url)["user"])

    # -- sessions --------------------------------------------------------------------------------------------

    @property
    def connection(self) -> Any:
        if self._connection is None or self._connection.closed:
            connection = psycopg2.connect(self._url)
            connection.autocommit = True
            connection.notices = _EveryNotice()
            with connection.cursor() as cursor:
                for statement in self._setup:
                    cursor.execute(statement)
            self._connection = connection
        return self._connection

    def leave(self) -> None:
        """End the session, with everything that belongs to it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Attempts in this block are rolled back at its end, whatever their outcome."""
        self.quietly("BEGIN")
        try:
            yield
        finally:
            self.quietly("ROLLBACK")

    # -- attempts --------------------------------------------------------------------------------------------

    def attempt(self, category: str, sql: str, parameters: Any = None) -> Outcome:
        """Run one statement, and search the result for other organizations' contents."""
        self._ledger.attempts[category] += 1
        outcome, texts = self._run(sql, parameters)
        evidence = found_in(texts)
        if evidence is not None:
            self.report(category, f"{sql[:200]} -> {evidence}")
        return outcome

    def report(self, category: str, evidence: str) -> None:
        """Record a crossing."""
        self._ledger.crossing(category, f"[{self.name}] {evidence}")

    def count(self, category: str) -> None:
        """Count an attempt that is judged by the caller."""
        self._ledger.attempts[category] += 1

    def quietly(self, sql: str, parameters: Any = None) -> Outcome:
        """Run a statement that prepares an attempt."""
        return self._run(sql, parameters)[0]

    def heard(self) -> list[Any]:
        """Notifications that arrived."""
        self.connection.poll()
        arrived = list(self.connection.notifies)
        self.connection.notifies.clear()
        return arrived

    def _run(self, sql: str, parameters: Any) -> tuple[Outcome, list[str]]:
        if not self._each or self.connection.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            return self._run_as_is(sql, parameters)
        with self.connection.cursor() as cursor:
            cursor.execute(f"BEGIN; {self._each}")
        if sql.strip().upper().startswith("BEGIN"):
            return Outcome(), []
        try:
            return self._run_as_is(sql, parameters)
        finally:
            with suppress(psycopg2.Error):
                self.connection.cursor().execute("COMMIT")

    def _run_as_is(self, sql: str, parameters: Any) -> tuple[Outcome, list[str]]:
        connection = self.connection
        texts: list[str] = []
        try:
            with connection.cursor() as cursor:
                if sql.lstrip().upper().startswith("COPY"):
                    stream = io.StringIO("" if parameters is None else parameters)
                    cursor.copy_expert(sql, stream)
                    texts.append(stream.getvalue() if parameters is None else "")
                else:
                    cursor.execute(sql, parameters)
                rows = cursor.fetchall() if cursor.description is not None else []
                texts.append("\x1f".join(printed(value) for row in rows for value in row))
                outcome = Outcome(row_count=cursor.rowcount, rows=rows)
        except psycopg2.Error as error:
            said = error.diag
            names = (
                said.schema_name,
                said.table_name,
                said.column_name,
                said.constraint_name,
                said.datatype_name,
            )
            detail = " ".join(
                str(part) for part in (said.message_detail, said.message_hint, said.context, *names)
            )
            outcome = Outcome(error.pgcode or "none", said.message_primary or "", detail)
            texts += [
                str(error),
                str(error.diag.message_detail),
                str(error.diag.message_hint),
                str(error.diag.context),
            ]
        except (ValueError, OverflowError) as error:  # there was an answer, but Python has no value for it
            outcome = Outcome(message=str(error))
            texts.append(str(error))
        texts += connection.notices
        connection.notices.clear()
        return outcome, texts
