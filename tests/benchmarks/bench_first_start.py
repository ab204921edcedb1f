"""How long do the embedded server, and the compose file from an empty volume, take to start?"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from db_utils import DatabaseManager
from tests.benchmarks.harness import Context, Goal, Table
from tests.e2e.compose_stack import ComposeStack
from tests.e2e.conftest import missing_for_docker


def run(context: Context) -> Table:
    """Seconds of the first and second start with schema and sample data."""
    table = Table("first start", "From nothing to the sample data, and a second start.", ("what", "seconds"))
    with tempfile.TemporaryDirectory(prefix="db_utils-start-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        for what, limit in (("embedded, first start", 8.0), ("embedded, second start", 1.5)):
            started = time.perf_counter()
            with DatabaseManager.embedded(Path(folder) / "data", seed=True) as db:
                db.execute_query("SELECT 1 AS answer")
                taken = time.perf_counter() - started
            table.rows.append((what, round(taken, 2)))
            table.goals.append(Goal(f"{what}, seconds", taken, limit))
    missing = missing_for_docker()
    if missing:
        table.remark = f"The compose file was not started: {missing}."
        return table
    with tempfile.TemporaryDirectory(prefix="db_utils-compose-") as folder:
        stack = ComposeStack(Path(folder), f"benchmark-{os.getpid()}")
        try:
            for what, limit in (("compose, empty volume to healthy", 30.0), ("compose, second start", 30.0)):
                started = time.perf_counter()
                stack.up()
                taken = time.perf_counter() - started
                table.rows.append((what, round(taken, 1)))
                table.goals.append(Goal(f"{what}, seconds", taken, limit))
                stack.down()
        finally:
            stack.down(volumes=True)
    return table
