"""What only the prebuilt queries can find wrong; all of it belongs to the family of `db_utils.errors`."""

from __future__ import annotations

from db_utils.errors import DbUtilsError, ForeignKeyViolationError, NotFoundError, UniqueViolationError


class UnknownReferenceError(ForeignKeyViolationError, NotFoundError):
    """A row to be written names a location, resource, employee … that this organization does not have."""


class DifferentValuesError(UniqueViolationError):
    """What was predicted or read before cannot be said again with other values: save it as a newer run."""


class MovedEventError(UniqueViolationError):
    """An event was recorded before with another time: `replace=True` moves it."""


class WrongStateError(DbUtilsError):
    """It exists, but not in a state that allows this: a resolved alert cannot be resolved again.

    `status` is the one it has.
    """

    def __init__(self, message: str = "", *, sqlstate: str | None = None, status: str | None = None) -> None:
        super().__init__(message, sqlstate=sqlstate)
        self.status = status
