"""The columnstore: are old chunks in it, and are its batches full?"""

from __future__ import annotations

from math import ceil
from typing import Any

from db_utils.ops.doctor.context import CheckContext
from db_utils.ops.doctor.model import Finding, Findings, Fix, Severity, check, duration
from db_utils.ops.sizes import size
from db_utils.ops.table_sizes import STORED_IN_CHUNKS
from db_utils.sql_text import literal

# A chunk is overdue if two runs of the policy have skipped it since it existed and was old enough.
_UNCOMPRESSED = f"""
    WITH {STORED_IN_CHUNKS}
    SELECT
        j.job_id,
        format('%I.%I', r.relation_schema, r.relation) AS hypertable,
        count(*) AS chunk_count,
        sum(pg_total_relation_size(format('%I.%I', c.chunk_schema, c.chunk_name)::regclass)) AS total_bytes,
        max(extract(epoch FROM now() - greatest(
            c.range_end + (j.config ->> 'compress_after')::interval,
            c.chunk_creation_time
        ))) AS overdue_seconds
    FROM timescaledb_information.jobs AS j
    JOIN stored AS r ON (r.relation_schema, r.relation) = (j.hypertable_schema, j.hypertable_name)
    JOIN timescaledb_information.chunks AS c
        ON (c.hypertable_schema, c.hypertable_name) = (r.hypertable_schema, r.hypertable_name)
    WHERE j.proc_name = 'policy_compression'
        AND NOT c.is_compressed
        AND greatest(c.range_end + (j.config ->> 'compress_after')::interval, c.chunk_creation_time)
            < now() - 2 * j.schedule_interval
    GROUP BY 1, 2
    ORDER BY 2
"""
_DENSITY = f"""
    WITH {STORED_IN_CHUNKS}
    SELECT
        format('%I.%I', r.relation_schema, r.relation) AS hypertable,
        c.hypertable_schema AS schema_name,
        c.hypertable_name AS table_name,
        s.segmentby,
        count(*) AS chunk_count,
        extract(epoch FROM avg(c.range_end - c.range_start)) AS chunk_seconds,
        sum(z.numrows_pre_compression) AS row_count,
        sum(z.numrows_pre_compression)::float8 / nullif(sum(z.numrows_post_compression), 0) AS rows_per_batch
    FROM _timescaledb_catalog.compression_chunk_size AS z
    JOIN _timescaledb_catalog.chunk AS k ON k.id = z.chunk_id
    JOIN timescaledb_information.chunks AS c ON format('%I.%I', c.chunk_schema, c.chunk_name)::regclass = k.relid
    JOIN stored AS r ON (r.hypertable_schema, r.hypertable_name) = (c.hypertable_schema, c.hypertable_name)
    LEFT JOIN timescaledb_information.hypertable_columnstore_settings AS s
        ON s.hypertable = format('%I.%I', c.hypertable_schema, c.hypertable_name)::regclass
    GROUP BY 1, 2, 3, 4
    ORDER BY 1
"""
_ROWS_THAT_MATTER = 100_000
_LONGEST_CHUNK_SECONDS = 365 * 86_400


@check("uncompressed-chunks", edition="community")
def uncompressed(context: CheckContext) -> Findings:
    """Are there chunks that the columnstore policy should have compressed but did not?

    A chunk is overdue after two scheduled runs have skipped it, so that a new database is not reported on its
    first day.
    """
    for table in context.rows(_UNCOMPRESSED):
        yield Finding(
            Severity.WARNING,
            f"{table['chunk_count']} chunks of {table['hypertable']} ({size(table['total_bytes'])}) are waiting for the columnstore, "
            f"the oldest for {duration(float(table['overdue_seconds']))}",
            "They take many times the disk space they need. failing-jobs or late-jobs shows what stops the policy.",
            Fix(f"CALL run_job({table['job_id']});"),
            {"chunk_count": table["chunk_count"], "total_bytes": int(table["total_bytes"])},
        )


@check("segment-density", edition="community")
def density(context: CheckContext) -> Findings:
    """Do columnstore batches hold few rows, because chunks are too short or segments too many?

    A batch holds rows of one segment of one chunk, up to 1,000.
    """
    limit = context.limits["rows-per-batch"]
    for table in context.rows(_DENSITY):
        rows = table["rows_per_batch"]
        if rows is None or table["row_count"] < _ROWS_THAT_MATTER or limit.grade(float(rows)) <= Severity.OK:
            continue
        chunk_seconds = float(table["chunk_seconds"])
        longer = min(chunk_seconds * max(2, ceil(limit.warning / float(rows))), _LONGEST_CHUNK_SECONDS)
        yield Finding(
            Severity.WARNING,
            f"{table['hypertable']}: {float(rows):.0f} rows per batch over {table['chunk_count']} compressed chunks of "
            f"{duration(chunk_seconds)}, segmented by {table['segmentby'] or 'nothing'}",
            "Batches this small compress badly and are slow to read. Longer chunks fill them; the statements lengthen future chunks "
            "and merge existing ones.",
            Fix(_merge(table, longer)),
            {"rows_per_batch": round(float(rows), 1), "chunk_count": table["chunk_count"]},
        )


def _merge(table: dict[str, Any], seconds: float) -> str:
    """Return the fix: longer chunks from now on, and merging existing neighbours."""
    interval = f"INTERVAL '{ceil(seconds / 86_400)} days'"
    return f"""SELECT set_chunk_time_interval({literal(table["hypertable"])}, {interval});
DO $$
DECLARE
    chunks regclass[];
BEGIN
    FOR chunks IN
        SELECT array_agg(format('%I.%I', chunk_schema, chunk_name)::regclass ORDER BY range_start)
        FROM timescaledb_information.chunks
        WHERE (hypertable_schema, hypertable_name) = ({literal(table["schema_name"])}, {literal(table["table_name"])})
            AND is_compressed
        GROUP BY time_bucket({interval}, range_start)
        HAVING count(*) > 1 AND sum(range_end - range_start) = max(range_end) - min(range_start)
    LOOP
        PERFORM decompress_chunk(c) FROM unnest(chunks) AS c;
        CALL merge_chunks(chunks);
        PERFORM compress_chunk(oid) FROM pg_class WHERE oid = ANY (chunks);
    END LOOP;
END
$$;"""
