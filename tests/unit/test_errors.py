"""The error family: caught by existing handlers, pickled without loss, chosen by SQLSTATE."""

from __future__ import annotations

import inspect
import pickle

import psycopg2
import psycopg2.errors
import pytest

from db_utils import errors
from db_utils.errors import DbUtilsError, QueryError, translate, translate_connect

FAMILY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DbUtilsError)]


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_survives_pickling_and_says_what_it_said(kind: type[DbUtilsError]) -> None:
    error = kind("what to do", sqlstate="12345")
    if isinstance(error, QueryError):
        error.constraint, error.table, error.column = "c", "t", "k"
        error.detail, error.hint = "d", "h"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "what to do"
    assert copy.__dict__ == error.__dict__
    assert copy.sqlstate == "12345"


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ConfigurationError, ValueError),
        (errors.InvalidInputError, ValueError),
        (errors.InvalidDataError, ValueError),
        (errors.ConnectionFailedError, ConnectionError),
        (errors.AuthenticationFailedError, ConnectionError),
        (errors.ServerUnavailableError, ConnectionError),
        (errors.PoolTimeoutError, TimeoutError),
        (errors.QueryTimeoutError, TimeoutError),
        (errors.NotFoundError, LookupError),
        (errors.TransactionStateError, RuntimeError),
    ],
)
def test_the_builtin_handler_catches_it(kind: type[DbUtilsError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin):
        raise kind("x")


def with_sqlstate(sqlstate: str) -> psycopg2.Error:
    """A driver error with this code, as the driver creates it when unpickled."""
    error = psycopg2.errors.lookup(sqlstate)("the server's words")
    error.__setstate__({"pgcode": sqlstate, "pgerror": "ERROR:  the server's words\n"})
    return error


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("23505", errors.UniqueViolationError),
        ("23503", errors.ForeignKeyViolationError),
        ("23514", errors.CheckViolationError),
        ("23502", errors.NotNullViolationError),
        ("23P01", errors.ExclusionViolationError),
        ("23001", errors.ConstraintViolationError),
        ("22P02", errors.InvalidDataError),
        ("22012", errors.InvalidDataError),
        ("42P01", errors.UndefinedObjectError),
        ("42703", errors.UndefinedObjectError),
        ("42883", errors.UndefinedObjectError),
        ("3F000", errors.UndefinedObjectError),
        ("42501", errors.PermissionDeniedError),
        ("44000", errors.PermissionDeniedError),
        ("40001", errors.SerializationError),
        ("40P01", errors.SerializationError),
        ("57014", errors.QueryTimeoutError),
        ("55P03", errors.QueryTimeoutError),
        ("25P03", errors.QueryTimeoutError),
        ("25006", errors.ReadOnlyError),
        ("53100", errors.ResourceExhaustedError),
        ("53200", errors.ResourceExhaustedError),
        ("53300", errors.ResourceExhaustedError),
        ("57P01", errors.ServerUnavailableError),
        ("57P02", errors.ServerUnavailableError),
        ("57P03", errors.ServerUnavailableError),
        ("08006", errors.ServerUnavailableError),
        ("28P01", errors.AuthenticationFailedError),
        ("42601", errors.QueryError),
        ("XX000", errors.QueryError),
    ],
)
def test_the_sqlstate_picks_the_error(sqlstate: str, kind: type[DbUtilsError]) -> None:
    error = translate(with_sqlstate(sqlstate))
    assert type(error) is kind
    assert error.sqlstate == sqlstate


@pytest.mark.parametrize(
    ("words", "kind", "sqlstate", "advice"),
    [
        (
            'FATAL:  password authentication failed for user "u"',
            errors.AuthenticationFailedError,
            "28P01",
            "PASSWORD",
        ),
        ("fe_sendauth: no password supplied", errors.AuthenticationFailedError, "28P01", "PASSWORD"),
        ('FATAL:  role "u" does not exist', errors.AuthenticationFailedError, "28000", "POSTGRES_USER"),
        ('FATAL:  database "d" does not exist', errors.ConnectionFailedError, "3D000", "POSTGRES_DB"),
        (
            "FATAL:  sorry, too many clients already",
            errors.ConnectionFailedError,
            "53300",
            "DB_POOL_MAX_CONNECTIONS",
        ),
        ("FATAL:  the database system is starting up", errors.ServerUnavailableError, "57P03", "wait"),
        ("FATAL:  the database system is shutting down", errors.ServerUnavailableError, "57P03", "wait"),
        ("Connection refused", errors.ConnectionFailedError, None, "port"),
        ("timeout expired", errors.ConnectionFailedError, None, "DB_CONNECT_TIMEOUT_SECONDS"),
        (
            "server does not support SSL, but SSL was required",
            errors.ConnectionFailedError,
            None,
            "DB_SSLMODE",
        ),
    ],
)
def test_a_failed_connection_says_what_to_change(
    words: str, kind: type[DbUtilsError], sqlstate: str | None, advice: str
) -> None:
    text = f'connection to server at "h" (127.0.0.1), port 5432 failed: {words}\n'
    error = translate_connect(psycopg2.OperationalError(text), where="postgresql://u@h/d")
    assert type(error) is kind
    assert error.sqlstate == sqlstate
    assert advice in str(error)
    assert "postgresql://u@h/d" in str(error)
    assert "\n" not in str(error)
