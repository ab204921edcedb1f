"""Import of files into a table, in constant memory, all or nothing.

By COPY directly if every row is valid and new; otherwise staged, checked, and inserted by one INSERT.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db_utils import schema
from db_utils.connections.manager import DatabaseManager, connection_for_one_transaction
from db_utils.copy.target_table import plain_cursor, translated_errors
from db_utils.errors import InvalidInputError
from db_utils.files import reject_file
from db_utils.files.column_mapping import Mapping, OnBad, constants
from db_utils.files.direct_copy import NotDirectError, copy_directly
from db_utils.files.options import ImportOptions
from db_utils.files.readers import Opened, Source, open_source, reading_errors
from db_utils.files.reject_file import Refusal, Refusals, TooManyRejectsError
from db_utils.files.relations import WITH_ROLLUPS, Relation, importable, organization_named
from db_utils.files.scope import Scope
from db_utils.files.staging import Stage
from db_utils.files.staging_table import line_key

_LEAST_REFRESH_SECONDS = 1.0

FileProgress = Callable[[int, int], None]
"""Called with the number of bytes read, and the total."""

# The transaction may take long for a large file, and standard input may pause.
_SESSION = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL timezone = 'UTC'; "
    "SET LOCAL datestyle = 'ISO, MDY'; SET LOCAL intervalstyle = 'postgres'"
)


@dataclass(frozen=True)
class ImportResult:
    """The result of an import.

    `read` = `added` + `updated` + `already_there` + `rejected` + `summed`.
    """

    table: str
    files: list[str]
    read: int
    added: int
    updated: int
    already_there: int
    different: int
    """Number of existing rows with other values than the file: `update` would change them."""
    rejected: int
    rejects_file: str | None
    first_rejects: list[Refusal] = field(repr=False)
    written: bool
    """False for a dry run, and if there were bad rows without `skip_bad`."""
    gave_up: bool
    """There were more rejects than `max_rejects`, and the rest was not read."""
    dry_run: bool
    refreshed: tuple[dt.datetime, dt.datetime] | None
    """The period whose rollups were refreshed; earlier ones follow on schedule."""
    seconds: float
    summed: int = 0
    """Rows that were added up into another row of the same key (`sum`)."""
    refresh_follows: tuple[dt.datetime, dt.datetime] | None = None
    """The period whose rollups follow with their next scheduled refresh."""


def import_files(
    db: DatabaseManager,
    files: Sequence[str | Path],
    table: str,
    *,
    organization: str | None,
    options: ImportOptions | None = None,
    progress: FileProgress | None = None,
) -> ImportResult:
    """Import files into a table and return how many rows were added and which were refused.

    `files` are paths, or `-` for standard input; `organization` is an id or exact name, or None if each row
    names its own in organization_id. All or nothing unless `skip_bad`; refused rows go to the rejects file
    either way. An existing row (by its key; without one, by its content) is left alone unless `update`. The
    same key twice in one call is refused, or added up if `sum` names columns. Only a few thousand rows and
    the reasons of refused rows are kept in memory.

    Raises `InvalidInputError` for errors of no single row (no such file, unknown column, no value for a
    required column), `NotFoundError` for an unknown table or organization, and what the connection raises;
    nothing is written then.
    """
    options = options or ImportOptions()
    if not files:
        raise InvalidInputError("name at least one file")
    started = time.monotonic()
    with ExitStack() as stack:
        opened = [open_source(str(path), options, stack) for path in files]
        job = _Job([source for source, _ in opened], [file for _, file in opened], options, progress)
        with connection_for_one_transaction(db) as connection, translated_errors():
            job.run(connection, table, organization)
            if not job.written:
                connection.rollback()
        rejects_file = job.write_rejects()
    refreshed = None
    if job.written and job.period is not None and job.added + job.updated:
        first, last = job.period
        # For as long as the load itself took, so that organizations do not wait for each other.
        seconds = max(_LEAST_REFRESH_SECONDS, time.monotonic() - started)
        end = last + dt.timedelta(microseconds=1)
        refreshed = schema.refresh_newest_rollups(db, start=first, end=end, seconds=seconds), last
    return job.result(rejects_file, refreshed, time.monotonic() - started)


def import_for_each(
    db: DatabaseManager,
    files: Sequence[str | Path],
    table: str,
    *,
    organizations: Sequence[str | None],
    options: ImportOptions | None = None,
    progress: FileProgress | None = None,
) -> Iterator[tuple[str | None, ImportResult]]:
    """Import the same files for several organizations, such as the weather of a city; yield each one's result.

    Each organization's rows are a transaction of their own. Ends after the first for which nothing was
    written. Raises like `import_files`, for an unknown organization before anything is read.
    """
    if len(organizations) > 1:
        if "-" in map(str, files):
            raise InvalidInputError(
                "standard input can be read only once: save it to a file for several organizations"
            )
        with connection_for_one_transaction(db) as connection:
            for named in filter(None, organizations):
                organization_named(connection, named)
    for organization in organizations:
        result = import_files(db, files, table, organization=organization, options=options, progress=progress)
        yield organization, result
        if not (result.written or result.dry_run):
            return


class _Job:
    """One import, from its files to its counts."""

    def __init__(
        self,
        sources: list[Source],
        files: list[Opened],
        options: ImportOptions,
        progress: FileProgress | None,
    ) -> None:
        self._sources = sources
        self._options = options
        self._progress = progress
        self._total = sum(file.size for file in files)
        self._sizes = [file.size for file in files]
        self._refusals = Refusals([source.name for source in sources], options.max_rejects)
        self._table = ""
        self._read = self._different = self._summed = self.added = self.updated = 0
        self._gave_up = self.written = False
        self.period: tuple[dt.datetime, dt.datetime] | None = None

    def run(self, connection: Any, table: str, organization: str | None) -> None:
        """Import in this connection's transaction, which the caller rolls back unless `written`."""
        with plain_cursor(connection) as cursor:
            cursor.execute(_SESSION)
        relation = importable(connection, table)
        self._table = relation.name
        update = relation.changeable() if self._options.update else None
        scope = _scope(connection, relation, organization)
        values = constants(relation, self._options, scope)
        mappings = [Mapping(source, relation, self._options, scope, values) for source in self._sources]
        sent = list(dict.fromkeys(column for mapping in mappings for column in mapping.columns))
        shared = {k: v for k, v in values.items() if k not in sent}
        stage = Stage(
            connection, relation, sent, shared, self._refusals.add, [source.name for source in self._sources]
        )
        # COPY fails on an existing key, but would add the same row at another time.
        may_go_straight = update is None and stage.derives is None and stage.moves_by is None
        if not (may_go_straight and self._went_straight(connection, relation, mappings, sent, shared)):
            stage.create()
            try:
                for number, mapping in enumerate(mappings):
                    with reading_errors(self._sources[number].name):
                        stage.copy(self._staged_rows(number, mapping, sent))
                self._take_over(stage, update, has_rollups=relation.name in WITH_ROLLUPS)
            except TooManyRejectsError:
                self._gave_up = True
        self.written = not self._options.dry_run and not self._stopped

    @property
    def _stopped(self) -> bool:
        return self._gave_up or (bool(self._refusals.found) and not self._options.skip_bad)

    def _went_straight(
        self,
        connection: Any,
        relation: Relation,
        mappings: Sequence[Mapping],
        sent: Sequence[str],
        shared: dict[str, Any],
    ) -> bool:
        """Whether all rows were valid and new, so that COPY loaded them; otherwise none was."""
        rows = self._straight_rows(relation, mappings, sent, shared)
        added = copy_directly(connection, relation, [*sent, *shared], rows)
        if added is None:
            self._read, self.period = 0, None
            return False
        self.added = added
        return True

    def _straight_rows(
        self, relation: Relation, mappings: Sequence[Mapping], sent: Sequence[str], shared: dict[str, Any]
    ) -> Iterator[list[Any]]:
        with_default = [place for place, column in enumerate(sent) if column in relation.defaults]
        columns, constant = [*sent, *shared], list(shared.values())
        time_at = columns.index("time") if relation.name in WITH_ROLLUPS else None
        for number, mapping in enumerate(mappings):
            with reading_errors(self._sources[number].name):
                for _, values in self._rows(number, mapping, sent, _not_straight):
                    if with_default and any(values[place] is None for place in with_default):
                        raise NotDirectError  # an empty value means the default, which COPY does not apply
                    values += constant
                    if time_at is not None:
                        self._note_time(dt.datetime.fromisoformat(values[time_at]))
                    yield values

    def _note_time(self, moment: dt.datetime) -> None:
        if self.period is None:
            self.period = moment, moment
        elif not self.period[0] <= moment <= self.period[1]:
            self.period = min(self.period[0], moment), max(self.period[1], moment)

    def _staged_rows(self, number: int, mapping: Mapping, sent: Sequence[str]) -> Iterator[list[Any]]:
        def refuse(line: int, column: str | None, reason: str) -> None:
            self._read += 1
            self._refusals.add(line_key(number, line), column, reason)

        for line, values in self._rows(number, mapping, sent, refuse):
            values.append(line_key(number, line))
            yield values

    def _rows(
        self, number: int, mapping: Mapping, sent: Sequence[str], refuse: OnBad
    ) -> Iterator[tuple[int, list[Any]]]:
        before = sum(self._sizes[:number])
        for line, values in mapping.rows(sent, refuse):
            self._read += 1
            yield line, values
            if self._progress is not None and not self._read % 1000:
                self._progress(before + self._sources[number].position(), self._total)

    def _take_over(self, stage: Stage, update: frozenset[str] | None, *, has_rollups: bool) -> None:
        stage.prepare()
        self._summed = stage.refuse_repeats(self._options.sum)
        if update is not None and stage.derives is not None:
            stage.recognize_corrected()
            stage.refuse_strays()
        stage.move(update)
        self.added = stage.insert(update)
        self.updated = stage.updated
        if update is None and self._read > self.added + self._summed + len(self._refusals.found):
            self._different = stage.count_different()
        if has_rollups:
            self.period = _span(stage.period(), stage.moved_from)

    def write_rejects(self) -> str | None:
        """Write the refused rows and return the file's name; None if there are none."""
        if not self._refusals.found:
            return None
        path = self._options.rejects or reject_file.default_file(self._sources)
        reject_file.write(path, self._sources, self._refusals.found)
        return str(path)

    def result(
        self, rejects_file: str | None, refreshed: tuple[dt.datetime, dt.datetime] | None, seconds: float
    ) -> ImportResult:
        """Return the result."""
        rejected = len(self._refusals.found)
        nothing = self._stopped
        added, updated = (0, 0) if nothing else (self.added, self.updated)
        return ImportResult(
            table=self._table,
            files=[source.name for source in self._sources],
            read=self._read,
            added=added,
            updated=updated,
            already_there=0 if nothing else self._read - added - updated - rejected - self._summed,
            different=0 if nothing else self._different,
            rejected=rejected,
            rejects_file=rejects_file,
            first_rejects=sorted(self._refusals.found)[:10],
            written=self.written,
            gave_up=self._gave_up,
            dry_run=self._options.dry_run,
            refreshed=refreshed,
            seconds=round(seconds, 3),
            summed=0 if nothing else self._summed,
            refresh_follows=_before(self.period, refreshed),
        )


def _span(*periods: tuple[dt.datetime, dt.datetime] | None) -> tuple[dt.datetime, dt.datetime] | None:
    known = [period for period in periods if period is not None]
    return (min(p[0] for p in known), max(p[1] for p in known)) if known else None


def _before(
    period: tuple[dt.datetime, dt.datetime] | None, refreshed: tuple[dt.datetime, dt.datetime] | None
) -> tuple[dt.datetime, dt.datetime] | None:
    if period is None or refreshed is None or refreshed[0] <= period[0]:
        return None
    return period[0], refreshed[0]


def _not_straight(line: int, column: str | None, reason: str) -> None:
    raise NotDirectError


def _scope(connection: Any, relation: Relation, organization: str | None) -> Scope:
    if organization is None:
        return Scope(connection, None, "")
    identifier = organization_named(connection, organization)
    with plain_cursor(connection) as cursor:
        cursor.execute("SELECT name FROM organizations WHERE organization_id = %s", (identifier,))
        return Scope(connection, identifier, cursor.fetchone()[0])
