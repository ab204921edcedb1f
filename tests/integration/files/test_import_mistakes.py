"""A mistake is reported in one sentence, and a failed import writes nothing."""

from __future__ import annotations

import datetime as dt
import gzip
import subprocess
import sys
import time
from pathlib import Path

import pytest

from db_utils import DatabaseManager
from db_utils.errors import ConfigurationError, InvalidInputError, NotFoundError, ServerUnavailableError
from db_utils.files import export_relation, import_files
from tests.integration.cli.conftest import Run, command, environment
from tests.integration.files.conftest import NAME, Write, count, location


@pytest.mark.slow
@pytest.mark.parametrize(("how", "into"), [([], "demand_history"), (["--update"], "import_stage")])
def test_killed_in_the_middle_nothing_is_written(
    db: DatabaseManager, tmp_path: Path, how: list[str], into: str
) -> None:
    _, name = location(db)
    before = count(db, "demand_history")
    arguments = ["import", "-", "--into", "demand_history", "--organization", NAME, *how]
    file = tmp_path / "large.csv"
    with file.open("w") as stream:
        stream.write("time,product_id,location,quantity\n")
        start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        for n in range(300_000):
            stream.write(f"{(start + n * dt.timedelta(minutes=1)).isoformat()},K,{name},{n}\n")
    arguments[1] = str(file)
    process = subprocess.Popen(
        command(*arguments), cwd=tmp_path, env=environment(DATABASE_URL=db.settings.database_url)
    )
    copying = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE %s"
    deadline = time.monotonic() + 60
    while not db.execute_query(copying, (f"COPY %{into}%",)):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.kill()
    process.wait()
    while db.execute_query(copying, (f"COPY %{into}%",)):
        assert time.monotonic() < deadline
    assert count(db, "demand_history") == before


BAD = [
    (["missing.csv"], "file missing.csv does not exist"),
    (["folder"], "is a folder"),
    (["empty.csv"], "is empty"),
    (["twice.csv"], "two columns named time"),
    (["good.csv", "--map", "tim=time"], "did you mean time"),
    (["good.csv", "--set", "quantitty=1"], "did you mean quantity"),
    (["good.csv", "--ignore", "quantity"], "no column for quantity"),
    (["good.csv", "--encoding", "utf-9"], "unknown encoding utf-9"),
    (["good.csv", "--time-zone", "Mars/Base"], "unknown time zone 'Mars/Base'"),
    (["good.csv", "--unit", "quantity=bananas:kwh"], "cannot be converted from 'bananas'"),
    (["unknown.csv"], "did you mean quantity"),
    (["cut.csv.gz"], "is damaged or truncated"),
    (["not.parquet"], "is not a parquet file"),
    (["good.csv", "--delimiter", "ab"], "delimiter must be one character"),
    (["good.csv", "--map", "x"], "--map must be NAME=VALUE"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_mistakes_are_told_in_a_sentence(
    seeded: DatabaseManager, run: Run, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.csv").touch()
    (tmp_path / "twice.csv").write_text("time,time\n1,2\n")
    (tmp_path / "good.csv").write_text("time,product_id,location_id,quantity\n")
    (tmp_path / "unknown.csv").write_text("time,product_id,location_id,quantety\n")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"time,product_id\n" * 50)[:-9])
    (tmp_path / "not.parquet").write_text("PAR2")
    done = run(
        seeded.settings.database_url, "import", *arguments, "--into", "demand_history", "--organization", NAME
    )
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert words in done.err


def test_a_header_alone_is_no_mistake(seeded: DatabaseManager, run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_bytes(b"\xef\xbb\xbftime,product_id,location_id,quantity\n")
    done = run(
        seeded.settings.database_url,
        "import",
        "good.csv",
        "--into",
        "demand_history",
        "--organization",
        NAME,
        "--json",
    )
    assert (done.code, done.json["read"]) == (0, 0)


def test_unknown_places(seeded: DatabaseManager, write: Write) -> None:
    file = write("x.csv", [["a"], ["b"]])
    for table, error in (
        ("demand_histor", NotFoundError),
        ("schema_version", InvalidInputError),
        ("shift_coverage", InvalidInputError),
    ):
        with pytest.raises(error):
            import_files(seeded, [file], table, organization=NAME)
    with pytest.raises(NotFoundError, match="did you mean 'Sample Manufacturing'"):
        import_files(seeded, [file], "demand_history", organization="Sample Manufacture")


@pytest.mark.slow
def test_a_lost_connection_is_not_called_a_broken_file(db: DatabaseManager, tmp_path: Path) -> None:
    _, name = location(db)
    file = tmp_path / "some.csv"
    file.write_text("time,product_id,location,quantity\n" + f"2024-01-01T00:00Z,L,{name},1\n" * 200_000)
    ended: list[int] = []

    def end_the_connection(done: int, total: int) -> None:
        if not ended:
            found = db.execute_query(
                "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND query LIKE 'COPY %import_stage%'"
            )
            ended.extend(row["pid"] for row in found)

    with pytest.raises(ServerUnavailableError):
        import_files(db, [file], "demand_history", organization=NAME, progress=end_the_connection)
    assert len(ended) == 1
    assert count(db, "demand_history", "product_id = 'L'") == 0


def test_without_pyarrow_it_is_said_how_to_install_it(
    seeded: DatabaseManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"barnameh-db-utils\[frames\]"):
        import_files(seeded, [file], "alerts", organization=NAME)
    with pytest.raises(ConfigurationError, match=r"barnameh-db-utils\[frames\]"):
        export_relation(seeded, "alerts", file, organization=NAME)
    assert file.read_bytes() == b"PAR1"
