"""Create a database on a server if it does not exist yet."""

from __future__ import annotations

import psycopg2
from psycopg2 import errors, sql

from db_utils.config import Settings
from db_utils.errors import ConfigurationError, translate, translate_connect

_MAINTENANCE = "postgres"


def create_database(settings: Settings) -> bool:
    """Create the database that `settings` name, owned by their user. Return False if it exists.

    Connects to the database `postgres` of the same server. Raises `PermissionDeniedError` if the user may not
    create databases.
    """
    parameters = settings.connection_parameters()
    name = parameters.get("dbname")
    if not name:
        raise ConfigurationError("the database URL has no database name: add /name at its end")
    try:
        connection = psycopg2.connect(**{**parameters, "dbname": _MAINTENANCE})
    except psycopg2.Error as error:
        raise translate_connect(error, where=f"{settings.safe_url} (database {_MAINTENANCE})") from error
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except (errors.DuplicateDatabase, errors.UniqueViolation):
        return False
    except psycopg2.Error as error:
        raise translate(error) from error
    finally:
        connection.close()
    return True
