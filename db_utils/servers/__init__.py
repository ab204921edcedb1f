"""The former name of `db_utils.embedded`, kept for programs that import it."""

from db_utils.embedded import redis_server

__all__ = ["redis_server"]
