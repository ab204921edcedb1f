"""The columnstore: are old chunks in it, and are its batches full?"""

from __future__ import annotations

from db_utils.admin.doctor.model import Finding, Findings, Fix, Severity, check, duration, literal
from db_utils.admin.doctor.patient import Patient

# A chunk is overdue when two runs of the policy have passed it by since it was both old enough and there.
_UNCOMPRESSED = """
    SELECT
        j.job_id,
        format('%I.%I', c.hypertable_schema, c.hypertable_name) AS hypertable,
        count(*) AS chunk_count,
        sum(pg_total_relation_size(format('%I.%I', c.chunk_schema, c.chunk_name)::regclass)) AS total_bytes,
        max(extract(epoch FROM now() - greatest(
            c.range_end + (j.config ->> 'compress_after')::interval,
            c.chunk_creation_time
        ))) AS overdue_seconds
    FROM timescaledb_information.jobs AS j
    JOIN timescaledb_information.chunks AS c
        ON (c.hypertable_schema, c.hypertable_name) = (j.hypertable_schema, j.hypertable_name)
    WHERE j.proc_name = 'policy_compression'
        AND NOT c.is_compressed
        AND greatest(c.range_end + (j.config ->> 'compress_after')::interval, c.chunk_creation_time)
            < now() - 2 * j.schedule_interval
    GROUP BY 1, 2
    ORDER BY 2
"""
_DENSITY = """
    SELECT
        format('%I.%I', h.schema_name, h.table_name) AS hypertable,
        s.segmentby,
        d.time_interval::text AS chunk_interval,
        extract(epoch FROM d.time_interval) AS chunk_seconds,
        count(*) AS chunk_count,
        sum(z.numrows_pre_compression) AS row_count,
        sum(z.numrows_pre_compression)::float8 / nullif(sum(z.numrows_post_compression), 0) AS rows_per_batch,
        array_agg(format('%I.%I', k.schema_name, k.table_name) ORDER BY k.id) AS chunks
    FROM _timescaledb_catalog.compression_chunk_size AS z
    JOIN _timescaledb_catalog.chunk AS k ON k.id = z.chunk_id
    JOIN _timescaledb_catalog.hypertable AS h ON h.id = k.hypertable_id
    JOIN timescaledb_information.dimensions AS d
        ON (d.hypertable_schema, d.hypertable_name) = (h.schema_name, h.table_name)
        AND d.dimension_number = 1
    LEFT JOIN timescaledb_information.hypertable_columnstore_settings AS s
        ON s.hypertable = format('%I.%I', h.schema_name, h.table_name)::regclass
    GROUP BY 1, 2, 3, 4
    ORDER BY 1
"""
_ROWS_THAT_MATTER = 100_000
_FULL_BATCH = 1000
_LONGEST_CHUNK_DAYS = 365


@check("uncompressed-chunks", edition="community")
def uncompressed(patient: Patient) -> Findings:
    """Are there chunks that the columnstore policy should have compressed and did not?

    Overdue is a chunk that two scheduled runs have passed by, so that a new database is not accused of its first day.
    """
    for table in patient.rows(_UNCOMPRESSED):
        yield Finding(
            Severity.WARNING,
            f"{table['chunk_count']} chunks of {table['hypertable']} ({_megabytes(table['total_bytes'])}) wait for the columnstore, "
            f"the oldest for {duration(float(table['overdue_seconds']))}",
            "They take many times the disk that they need. What stops the policy is in failing-jobs or late-jobs.",
            Fix(f"CALL run_job({table['job_id']});"),
            {"chunk_count": table["chunk_count"], "total_bytes": int(table["total_bytes"])},
        )


@check("segment-density", edition="community")
def density(patient: Patient) -> Findings:
    """Do columnstore batches hold few rows, because chunks are too short or segments too many?

    A batch holds rows of one segment of one chunk, up to 1,000.
    """
    limit = patient.limits["rows-per-batch"]
    for table in patient.rows(_DENSITY):
        rows = table["rows_per_batch"]
        if (
            rows is None
            or table["row_count"] < _ROWS_THAT_MATTER
            or limit.grade(float(rows)) <= Severity.OK
        ):
            continue
        days = float(table["chunk_seconds"]) / 86_400
        longer = max(1, min(round(days * _FULL_BATCH / float(rows)), _LONGEST_CHUNK_DAYS))
        yield Finding(
            Severity.WARNING,
            f"{table['hypertable']}: {float(rows):.0f} rows per batch over {table['chunk_count']} compressed chunks of "
            f"{table['chunk_interval']}, segments by {table['segmentby'] or 'nothing'}",
            "Batches this empty compress badly and are slow to read. Longer chunks fill them; the statement is for chunks from now "
            "on and merges those that are there.",
            Fix(_merge(table["hypertable"], longer, table["chunks"])),
            {"rows_per_batch": round(float(rows), 1), "chunk_count": table["chunk_count"]},
        )


def _merge(hypertable: str, days: int, chunks: list[str]) -> str:
    lines = [f"SELECT set_chunk_time_interval({literal(hypertable)}, INTERVAL '{days} days');"]
    if len(chunks) > 1:
        names = ", ".join(literal(name) for name in chunks)
        lines += [
            f"SELECT decompress_chunk(c) FROM unnest(ARRAY[{names}]::regclass[]) AS c;",
            f"CALL merge_chunks(ARRAY[{names}]::regclass[]);",
            f"SELECT compress_chunk(c) FROM unnest(ARRAY[{names}]::text[]) AS n (name) CROSS JOIN to_regclass(n.name) AS c "
            "WHERE c IS NOT NULL;",
        ]
    return "\n".join(lines)


def _megabytes(count: float) -> str:
    return f"{float(count) / 1024**2:.1f} MB"
