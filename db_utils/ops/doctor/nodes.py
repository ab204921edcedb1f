"""The nodes of Citus: does each answer, and is it configured like the others?"""

from __future__ import annotations

from db_utils.connections.citus_nodes import dead_workers
from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, ok, skipped


@check("nodes", edition="citus")
def answering(context: CheckContext) -> Findings:
    """Can the coordinator reach every worker of Citus?

    One that it cannot reach within a second is critical: the organizations whose rows are there can neither
    read nor write, while all others can.
    """
    dead = dead_workers(context.db.pool)
    if dead is None:
        yield skipped("this role may not query the nodes: run the check as the schema's owner")
        return
    for node in dead:
        yield Finding(
            Severity.CRITICAL,
            f"worker {node} does not answer",
            "Reads and writes of organizations whose rows are there wait or fail; nothing is lost, and they work again once it is back.",
            Fix("SELECT * FROM citus_check_cluster_node_health();"),
        )
    if not dead:
        yield ok("all workers answer")
