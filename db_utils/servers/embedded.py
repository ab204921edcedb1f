"""The former name of `db_utils.embedded.server`, kept for programs that import it."""

from db_utils.embedded.server import PASSWORD, USER, EmbeddedServer

__all__ = ["PASSWORD", "USER", "EmbeddedServer"]
