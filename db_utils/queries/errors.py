"""Errors of the prebuilt queries; all derive from `db_utils.errors`."""

from __future__ import annotations

from db_utils.errors import DbUtilsError, ForeignKeyViolationError, NotFoundError, UniqueViolationError


class UnknownReferenceError(ForeignKeyViolationError, NotFoundError):
    """A row to be written names a location, resource, employee … that this organization does not have."""


class DifferentValuesError(UniqueViolationError):
    """A prediction or reading was saved before with other values: save it as a newer run."""


class MovedEventError(UniqueViolationError):
    """An event was recorded before with another time; `replace=True` moves it."""


class WrongStateError(DbUtilsError):
    """The row's state does not allow this: a resolved alert cannot be resolved again.

    `status` is the current state.
    """

    def __init__(self, message: str = "", *, sqlstate: str | None = None, status: str | None = None) -> None:
        super().__init__(message, sqlstate=sqlstate)
        self.status = status
