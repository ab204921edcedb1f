"""How fast is an import compared with psql's COPY of the same file, and is its memory use constant?

    python -m tests.benchmarks.bench_import [rows]

Both run on one server in one run: psql's `\\copy` into the table itself (types, rules and foreign keys are checked there
too), then `db-utils import` of the same file into an equal database: it also checks names, times and repeated keys.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from db_utils import DatabaseManager, schema
from db_utils.embedded.server import EmbeddedServer
from tests.support.programs import program

_ORGANIZATION = "11111111-1111-1111-1111-111111111111"
_COLUMNS = "organization_id,time,product_id,location_id,quantity,revenue"


def make_file(path: Path, rows: int, location: str) -> None:
    start = dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
    with path.open("w") as stream:
        stream.write(_COLUMNS + "\n")
        for n in range(rows):
            moment = (start + dt.timedelta(minutes=n // 4)).isoformat()
            stream.write(f"{_ORGANIZATION},{moment},P{n % 4},{location},{n % 997}.25,{n % 89}\n")


def imported(url: str, path: Path) -> tuple[dict[str, Any], int]:
    """Return the summary of `db-utils import`, and the peak memory of its process (bytes)."""
    arguments = ["import", str(path), "--into", "demand_history", "--organization", _ORGANIZATION, "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "db_utils", *arguments],
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        with suppress(psutil.Error):
            peak = max(peak, watched.memory_info().rss)
        time.sleep(0.05)
    return json.loads(process.stdout.read()), peak


def main() -> None:
    """Print the rows a second of both, their ratio, and peak memory for a tenth of the rows and for all of them."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer.start(install_dir=os.environ.get("TEST_PG_INSTALL") or None) as server,
        DatabaseManager(server.url) as db,
    ):
        schema.apply(db)
        db.execute(
            "INSERT INTO organizations (organization_id, name, industry) VALUES (%s, 'A', 'x')",
            (_ORGANIZATION,),
        )
        location = db.execute_query(
            "INSERT INTO locations (organization_id, name, location_type) VALUES (%s, 'L', 'store') RETURNING location_id::text",
            (_ORGANIZATION,),
        )[0]["location_id"]
        small, large = Path(folder, "small.csv"), Path(folder, "large.csv")
        make_file(small, rows // 10, location)
        make_file(large, rows, location)
        for size, path in ((rows // 10, small), (rows, large)):
            copy = f"\\copy demand_history ({_COLUMNS}) FROM '{path}' WITH (FORMAT csv, HEADER)"
            db.execute("TRUNCATE demand_history")
            started = time.monotonic()
            subprocess.run(
                [program("psql"), server.url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", copy], check=True
            )
            copied = time.monotonic() - started
            db.execute("TRUNCATE demand_history")
            done, peak = imported(server.url, path)
            assert done["added"] == size, done
            print(
                f"{size:>9,} rows  psql {size / copied:>9,.0f} rows/s  import {size / done['seconds']:>9,.0f} rows/s  "
                f"ratio {copied / done['seconds']:.2f}  peak {peak / 1024**2:.0f} MB"
            )


if __name__ == "__main__":
    main()
