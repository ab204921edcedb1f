"""Shared base of all topics: runs named queries, and interprets empty results and refused rows."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from inspect import isfunction
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from db_utils.connections.executor import Executor
from db_utils.connections.transaction import Transaction
from db_utils.errors import ForeignKeyViolationError, InvalidInputError, NotFoundError, UniqueViolationError
from db_utils.queries.arguments import Id, optional_time, time_of
from db_utils.queries.codes import (
    Code,
    identifiers_of,
    look_up,
    new_code,
    takes_codes,
    unknown_codes,
)
from db_utils.queries.duplicates import alike, once_each
from db_utils.queries.errors import DifferentValuesError, UnknownReferenceError, WrongStateError
from db_utils.queries.loader import query
from db_utils.queries.records import as_json, encoded_rows, pages
from db_utils.text_keys import CODED, IDENTIFIED_BY, event_identity, parse_uuid
from db_utils.values import Row, dump_json

if TYPE_CHECKING:
    from db_utils.cache import PredictionCache
    from db_utils.dataframes import Backend, Decimals

Page = list[dict[str, Any]]

_MISSING_ROW = re.compile(r'table "(?P<table>[a-z_]+?)(?:_\d+)?"')
_ARGUMENT_OF_TABLE = {
    **IDENTIFIED_BY,
    "organizations": "organization_id",
    "anomaly_predictions": "anomaly_id",
}


class _ArgumentsAreGood(Exception):  # noqa: N818  no error
    """Raised instead of sending a statement."""


class _NoDatabase:
    """A placeholder for the database, to check arguments without sending anything."""

    def execute_query(self, *_: object, **__: object) -> NoReturn:
        """Nothing is sent."""
        raise _ArgumentsAreGood

    transaction = execute_query


class QueryRunner:
    """Runs the prebuilt queries on a manager, a tenant scope or a transaction."""

    def __init_subclass__(cls) -> None:
        for name, method in list(vars(cls).items()):
            if not name.startswith("_") and isfunction(method):
                setattr(cls, name, takes_codes(method))

    def __init__(self, db: Executor, *, cache: PredictionCache | None = None) -> None:
        self._db = db
        self._cache = None if cache is None else cache.of_database(db)
        self._frame_options: dict[str, Any] | None = None

    @property
    def answers_frames(self) -> bool:
        """Whether reads return frames: see `as_frame`."""
        return self._frame_options is not None

    def as_frame(self, backend: Backend = "pandas", *, decimals: Decimals = "float") -> Any:
        """Return the same queries with frames as results, e.g. `queries.as_frame("arrow").get_locations(id)`.

        `backend` is pandas, polars or arrow. Columns are those of the rows, typed even without rows: times
        aware in UTC, numeric as float64 or exact with `decimals="decimal"`, JSON and dicts as JSON text (see
        `DatabaseManager.read_frame`). Results other than lists of rows, and writes, are unchanged. Needs the
        extra `frames`.
        """
        found = copy(self)
        found._frame_options = {"backend": backend, "decimals": decimals}  # noqa: SLF001  a separate copy
        return found

    # -- reads -----------------------------------------------------------------------------------------------

    def _read(self, name: str, organization_id: uuid.UUID, parameters: Mapping[str, Any]) -> list[Row]:
        """Return the rows of a query, or their frame: see `as_frame`."""
        return self._known(
            organization_id, self._answer(name, {"organization_id": organization_id, **parameters})
        )

    def _answer(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        if self._frame_options is None:
            return self._db.execute_query(query(name).sql, parameters)
        frame: list[Row] = self._db.read_frame(query(name).sql, parameters, **self._frame_options)
        return frame

    def _read_rows(self, name: str, organization_id: uuid.UUID, parameters: Mapping[str, Any]) -> list[Row]:
        """Return the rows of a query, never from a replica, which may lag behind."""
        given = {"organization_id": organization_id, **parameters}
        return self._known(organization_id, self._db.execute_query(query(name).sql, given, primary=True))

    def _known(self, organization_id: uuid.UUID, rows: list[Row]) -> list[Row]:
        """Return the result; if it is empty, check that the organization exists."""
        if len(rows) == 0:  # a frame has no truth value
            self._require_organization(organization_id)
        return rows

    # -- codes -----------------------------------------------------------------------------------------------

    def identifiers_of(self, organization_id: Id, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Which identifiers do these codes stand for: arguments of a query, such as `{"resource_id": "V-17"}`?

        Arguments that name locations, resources, employees and shifts are returned as identifiers (UUID). One
        statement. Raises `NotFoundError`, which names unknown codes.
        """
        organization = parse_uuid(organization_id, "organization_id")
        try:
            return identifiers_of(self._db, organization, arguments)
        except NotFoundError:
            self._require_organization(organization)
            raise

    def _rows(
        self, organization_id: uuid.UUID, kind: type, rows: object, name: str, *, with_none: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of `encoded_rows` with codes replaced by identifiers, looked up page by page."""
        known: dict[str, dict[str, str]] = {column: {} for column in CODED}
        number = 0
        for page in pages(encoded_rows(kind, rows, name, with_none=with_none)):
            unknown: dict[str, set[str]] = {}
            coded = [(at, c, v) for at, row in enumerate(page) for c, v in row.items() if type(v) is Code]
            for _, column, code in coded:
                if column in CODED and code not in known[column]:
                    unknown.setdefault(column, set()).add(code)
            if unknown:
                for column, found in look_up(self._db, organization_id, unknown).items():
                    known[column].update({code: str(identifier) for code, identifier in found.items()})
            for at, column, code in coded:
                if column == "event_id":
                    page[at][column] = str(event_identity(organization_id, code))
                elif code in known[column]:
                    page[at][column] = known[column][code]
                else:
                    self._require_organization(organization_id)
                    missing = dict.fromkeys(
                        c for _, of, c in coded if of == column and c not in known[column]
                    )
                    raise unknown_codes(
                        self._db, organization_id, {column: list(missing)}, f"{name}: row {number + at + 1}: "
                    )
            number += len(page)
            yield from page

    def _require_organization(self, organization_id: uuid.UUID) -> None:
        if not self._db.execute_query(
            query("check_organization").sql, {"organization_id": organization_id}, primary=True
        ):
            raise NotFoundError(
                f"organization {organization_id} does not exist, or is not the one of this tenant scope: "
                "get_organizations() lists those that do"
            )

    def _get_or_create(
        self,
        organization_id: Id,
        kind: str,
        called: object,
        get: Callable[[Self, uuid.UUID], list[Row]],
        create: Callable[[Self, str], Row],
    ) -> Row:
        """Return the existing row, or the result of `create`; safe if two sessions create it at once."""
        organization = parse_uuid(organization_id, "organization_id")
        code = new_code(called, f"{CODED[kind]}_code")

        def found(queries: Self) -> Row | None:
            known = look_up(queries._db, organization, {kind: {code}})[kind]
            return get(queries, known[code])[0] if code in known else None

        self._check_arguments(lambda queries: create(queries, code))
        row = found(self._on(self._db))
        if row is not None:
            return row
        try:
            with self._db.transaction() as transaction:
                return create(self._on(transaction), code)
        except UniqueViolationError:
            row = found(self._on(self._db))
            if row is None:
                raise
            return row

    def _check_arguments(self, call: Callable[[Self], object]) -> None:
        """Check the arguments of this call without sending anything."""
        with suppress(_ArgumentsAreGood):
            call(self._on(cast(Executor, _NoDatabase())))

    def _on(self, db: Executor) -> Self:
        """Return the same queries on this executor, with rows as results."""
        other = copy(self)
        other._db, other._frame_options = db, None  # noqa: SLF001  a separate copy
        return other

    # -- writes ----------------------------------------------------------------------------------------------

    def _create(self, name: str, parameters: Mapping[str, Any], db: Executor | None = None) -> Row:
        """Return the one row that an INSERT created."""
        rows = self._change(name, parameters, db)
        return rows[0]

    def _change(self, name: str, parameters: Mapping[str, Any], db: Executor | None = None) -> list[Row]:
        """Return the rows that a statement changed."""
        try:
            return (db or self._db).execute_query(query(name).sql, parameters, primary=True)
        except ForeignKeyViolationError as error:
            raise unknown_reference(error) from error

    def _change_one(self, name: str, subject: str, parameters: Mapping[str, Any], key: Sequence[str]) -> Row:
        """Return the one row that an UPDATE changed."""
        rows = self._change(name, parameters)
        if not rows:
            raise _no_such(subject, parameters["organization_id"], *[parameters[column] for column in key])
        return rows[0]

    def _correct_history(
        self,
        name: str,
        organization_id: uuid.UUID,
        identity: uuid.UUID,
        changes: Mapping[str, Any],
        start: object,
        end: object,
    ) -> list[Row]:
        """Correct a resource, employee or location from `start` to `end` and return its history."""
        _, kind, _ = name.split("_")
        told = {column: value for column, value in changes.items() if value is not None}
        if not told:
            raise InvalidInputError(f"nothing to correct: give one of {', '.join(changes)}")
        subject = {"organization_id": organization_id, f"{kind}_id": identity}
        period = {"period_start": optional_time(start, "start"), "period_end": time_of(end, "end")}
        with self._db.transaction() as transaction:
            rows = self._change(name, {**subject, **period, "changes": dump_json(told)}, transaction)
            if not rows:
                raise _no_such(kind, organization_id, identity)
            return transaction.execute_query(query(f"get_{kind}_history").sql, subject)

    def _transition(
        self,
        name: str,
        check: str,
        subject: str,
        parameters: Mapping[str, Any],
        *,
        only: str,
        key: Sequence[str],
    ) -> Row:
        """Return the row whose state an UPDATE changed.

        If it changed none, a second query distinguishes a missing row from one in another state.
        """
        rows = self._change(name, parameters)
        if rows:
            return rows[0]
        status = self._status(
            check, subject, {column: parameters[column] for column in ("organization_id", *key)}
        )
        raise WrongStateError(f"{subject} {parameters[key[0]]} is {status}: {only}", status=status)

    def _status(self, check: str, subject: str, parameters: Mapping[str, Any]) -> str:
        found = self._db.execute_query(query(check).sql, parameters, primary=True)
        if not found:
            identity = [value for name, value in parameters.items() if name != "organization_id"]
            raise _no_such(subject, parameters["organization_id"], *identity)
        return str(found[0]["status"])

    def _write_pages(
        self,
        name: str,
        parameters: Mapping[str, Any],
        rows: Iterable[dict[str, Any]],
        into: str,
        *,
        key: Sequence[str],
        hint: str = "",
        prepare: Callable[[Page], Page] = list,
        before: Callable[[Executor, Page], Page] | None = None,
        after: Callable[[Executor, Page], None] | None = None,
        check: str | None = None,
        only_given: bool = False,
    ) -> int:
        """Write all pages or none and return how many rows were written.

        `into` is the parameter for a page as JSON, `prepare` is applied to each page last. Two rows with the
        same `key` are refused (see `once_each`). `check` names the query that finds rows saved before with
        other values, run if a page was not written completely. With `only_given` a statement takes only rows
        with the same columns, passed as `given`, and leaves other columns unchanged. `before` sees a page in
        the transaction that writes it, and may change other rows first; `after` may change others once it is
        written.
        """
        # The first two pages are read before a transaction begins: bad rows cost no connection, and one page needs no
        # separate transaction.
        remaining = pages(once_each(rows, key, into, hint))
        if only_given:
            remaining = (part for page in remaining for part in alike(page, key))

        def write(db: Executor, page: Page) -> int:
            given = {"given": sorted(page[0])} if only_given else {}
            if before is not None:
                page = before(db, page)
            written = self._write_page(db, name, {**parameters, **given}, into, prepare(page), check)
            if after is not None:
                after(db, page)
            return written

        first, second = next(remaining, None), next(remaining, None)
        if first is None:
            return 0
        if second is None and check is None and before is None and after is None:
            return write(self._db, first)
        if second is None and not isinstance(self._db, Transaction):
            return self._db.run_in_transaction(lambda transaction: write(transaction, first))
        with self._db.transaction() as transaction:
            written = write(transaction, first)
            if second is not None:
                written += write(transaction, second)
            for page in remaining:
                written += write(transaction, page)
        return written

    def _write_page(
        self, db: Executor, name: str, parameters: Mapping[str, Any], into: str, page: Page, check: str | None
    ) -> int:
        given = {**parameters, into: as_json(page)}
        try:
            # Count the returned rows: with existing rows, Citus reports a wrong row count.
            written = db.execute(f"{query(name).sql.rstrip().rstrip(';')}\nRETURNING 1", given)
        except ForeignKeyViolationError as error:
            raise unknown_reference(error) from error
        if check is not None and written < len(page):
            different = db.execute_query(query(check).sql, given, primary=True)
            if different:
                raise different_values(different)
        return written


def _no_such(subject: str, organization_id: uuid.UUID, *identity: object) -> NotFoundError:
    return NotFoundError(
        f"{subject} {', '.join(map(str, identity))} does not exist in organization {organization_id}"
    )


def unknown_reference(error: ForeignKeyViolationError) -> UnknownReferenceError:
    """Translate a foreign key violation for the caller; the server's detail would quote values."""
    match = _MISSING_ROW.search(error.detail or "")
    argument = _ARGUMENT_OF_TABLE.get(match["table"]) if match else None
    if argument == "organization_id":
        message = "organization_id names no organization: create it first"
    elif match and argument:
        message = f"{argument} names no row of {match['table']} in this organization: create it first"
    else:
        message = f"a row refers to another one that this organization does not have: {error}"
    return UnknownReferenceError(
        message,
        sqlstate=error.sqlstate,
        constraint=error.constraint,
        table=error.table,
        column=argument,
        detail=error.detail,
        hint=error.hint,
    )


def different_values(rows: Sequence[Row]) -> DifferentValuesError:
    """Return the error for rows saved before with other values; it names the first few."""
    named = "; ".join(
        ", ".join(f"{name} {value}" for name, value in row.items() if value is not None) for row in rows
    )
    return DifferentValuesError(
        f"saved before with other values, which are never overwritten ({named}): save a newer run, with its own "
        "available_at, model_name or model_version",
        sqlstate="23505",
    )
