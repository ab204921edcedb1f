"""The plan of a migration, and the batches of a load, without a server."""

from __future__ import annotations

import hashlib
import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from db_utils.errors import SchemaError
from db_utils.ops.sizes import size
from db_utils.schema import loading, planning, source, state

CURRENT = {"01_a.sql": "1", "02_b.sql": "2"}


@pytest.mark.parametrize(
    ("version", "applied", "kind", "changes"),
    [
        (None, None, "init", ["new", "new"]),
        (3, dict(CURRENT), "none", ["unchanged", "unchanged"]),
        (3, {"01_a.sql": "1", "02_b.sql": "old"}, "reapply", ["unchanged", "changed"]),
        (3, {"01_a.sql": "1"}, "reapply", ["unchanged", "new"]),
        (3, {**CURRENT, "03_gone.sql": "3"}, "reapply", ["unchanged", "unchanged"]),
        (3, None, "reapply", ["unknown", "unknown"]),
        (2, dict(CURRENT), "upgrade", ["unchanged", "unchanged"]),
        (4, dict(CURRENT), "newer", ["unchanged", "unchanged"]),
    ],
)
def test_kind_and_changes(
    version: int | None, applied: dict[str, str] | None, kind: str, changes: list[str]
) -> None:
    assert planning._kind(version, 3, applied, CURRENT) == kind
    assert [planning._change(name, digest, version, applied) for name, digest in CURRENT.items()] == changes


def test_a_file_s_checksum_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "01_x.sql").write_bytes(b"SELECT 1;\r\n")
    assert source.SchemaFile(tmp_path, "01_x.sql").checksum == hashlib.sha256(b"SELECT 1;\r\n").hexdigest()


@pytest.mark.parametrize(
    ("number", "is_old"), [(150_012, True), (90_624, True), (160_000, False), (180_004, False)]
)
def test_servers_older_than_16_are_refused(number: int, is_old: bool) -> None:
    if not is_old:
        state.check_server(number, "x")
        return
    with pytest.raises(SchemaError, match=r"PostgreSQL 15\.12 but the schema needs 16 or later"):
        state.check_server(number, "15.12")


@pytest.mark.parametrize("machines", [1, 8, 300, 100_000])
@pytest.mark.parametrize("function", sorted(loading._ROWS_OF_A_MACHINE_DAY))
def test_batches_are_of_a_bearable_size_and_cover_each_day_once(machines: int, function: str) -> None:
    length = loading._days_of_a_batch(function, machines)
    assert 1 <= length <= 30
    assert length == 1 or length * machines * loading._ROWS_OF_A_MACHINE_DAY[function] <= 100_000
    first, last = date(2025, 1, 1), date(2025, 4, 1)
    starts = list(loading._days(first, last, length))
    covered = [
        day for start in starts for day in (start + timedelta(days=n) for n in range(length)) if day <= last
    ]
    assert covered == [first + timedelta(days=n) for n in range((last - first).days + 1)]


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, ""),
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 kB"),
        (3 * 1024**3, "3.0 GB"),
        (2**42, "4.0 TB"),
    ],
)
def test_sizes_for_people(count: int | None, shown: str) -> None:
    assert size(count) == shown


def test_the_manifest_holds_nothing_but_comments_settings_and_files() -> None:
    """psql reads every line of it, the library only its file names: errors between them appear only in the container."""
    lines = (source.folder("sql") / "schema.sql").read_text(encoding="utf-8").splitlines()
    assert [
        line
        for line in lines
        if not re.fullmatch(r"--.*|SET \w+ = [\w, ]+;|\\ir (idempotent|incremental)/\w+\.sql|", line)
    ] == []
