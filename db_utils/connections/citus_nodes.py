"""The workers of Citus: do they answer?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from db_utils.connections.statement import run
from db_utils.errors import DbUtilsError
from db_utils.values import fetch_count, fetch_rows

if TYPE_CHECKING:
    from db_utils.connections.pool import ConnectionPool

_ASKED = """
SELECT
    format('%s:%s', n.nodename, n.nodeport) AS node,
    n.isactive AND citus_check_connection_to_node(n.nodename, n.nodeport) AS answers
FROM pg_dist_node AS n
WHERE n.noderole = 'primary'
    AND n.groupid <> 0
ORDER BY n.nodename, n.nodeport
"""


def dead_workers(pool: ConnectionPool) -> tuple[str, ...] | None:
    """Return the workers that the coordinator does not reach within a second, as host:port; None where this role lacks permission.

    Uses a separate connection: the coordinator counts an existing one to a worker as an answer.
    """
    try:
        checkout = pool.open_beside()
        try:
            run(checkout, "SET citus.node_connection_timeout = 1000", None, fetch_count)
            return tuple(row["node"] for row in run(checkout, _ASKED, None, fetch_rows) if not row["answers"])
        finally:
            checkout.close()
    except DbUtilsError:
        return None
