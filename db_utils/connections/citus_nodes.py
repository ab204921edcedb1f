"""The workers of Citus: do they answer?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from db_utils.errors import DbUtilsError

if TYPE_CHECKING:
    from db_utils.connections.executor import Executor

_ASKED = """
SELECT
    format('%s:%s', n.nodename, n.nodeport) AS node,
    n.isactive AND citus_check_connection_to_node(n.nodename, n.nodeport) AS answers
FROM pg_dist_node AS n
WHERE n.noderole = 'primary'
    AND n.groupid <> 0
ORDER BY n.nodename, n.nodeport
"""


def dead_workers(db: Executor) -> tuple[str, ...] | None:
    """Return the workers that the coordinator does not reach within a second, as host:port; None where this role may not ask."""
    try:
        with db.transaction(read_only=True) as transaction:
            transaction.execute("SET LOCAL citus.node_connection_timeout = 1000")
            return tuple(row["node"] for row in transaction.execute_query(_ASKED) if not row["answers"])
    except DbUtilsError:
        return None
