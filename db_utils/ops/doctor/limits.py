"""The configurable limits, each with its unit and source."""

from __future__ import annotations

from db_utils.ops.doctor.model import Limit

_MONITORING = "https://www.postgresql.org/docs/16/monitoring-stats.html"

LIMITS: dict[str, Limit] = {
    "backup-days": Limit(
        7, 30, "days", "age of the last backup that was restored and compared",
        "a backup counts once it has been restored; a week limits how far back silent damage can go (our choice)",
    ),
    "bloat-pct": Limit(
        50, None, "% of a table or index", "estimated space without rows; relations below 100 MB are not checked",
        "a table settles at 10 to 20 % under autovacuum's defaults; when half is empty, a rewrite is worth it "
        "(https://www.postgresql.org/docs/16/routine-vacuuming.html)",
    ),
    "cache-hit-pct": Limit(
        90, None, "% of blocks found in shared_buffers", "blocks not read from the operating system, out of 100,000 reads or more",
        f"dashboards read recent rows again and again; analytic scans lower it, hence 90 and not 99 ({_MONITORING})",
    )
    ,
    "clock-skew-seconds": Limit(
        5, 300, "s", "difference between the clocks of client, PostgreSQL and Redis",
        "NTP keeps clocks within milliseconds; predictions dated an hour ahead are refused by the schema's checks",
    ),
    "connections-pct": Limit(
        80, 95, "% of max_connections", "connections in use, not counting those reserved for superusers",
        "https://www.postgresql.org/docs/16/runtime-config-connection.html",
    ),
    "dead-rows-pct": Limit(
        30, None, "% of a table's rows", "updated or deleted rows that are not vacuumed yet, at least 10,000",
        "autovacuum starts at 17 % (scale factor 0.2): at nearly twice that, it is not keeping up "
        "(https://www.postgresql.org/docs/16/runtime-config-autovacuum.html)",
    ),
    "disk-days": Limit(
        30, 7, "days", "until the disk is full at the current growth",
        "a month to order a disk, a week to act (our choice)", low_is_bad=True,
    ),
    "idle-in-transaction-minutes": Limit(
        10, 60, "minutes", "a session idle in an open transaction",
        "twice DB_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS (300), after which db_utils ends its own",
    ),
    "index-memory-pct": Limit(
        100, None, "% of shared_buffers", "indexes of the chunks being written (plain: of all tables, % of effective_cache_size)",
        "https://www.tigerdata.com/docs/learn/hypertables/sizing-hypertable-chunks",
    ),
    "job-late-minutes": Limit(
        30, 1440, "minutes", "delay of a background job's start",
        "the scheduler starts jobs within seconds; if all workers are busy for half an hour, there are too few",
    ),
    "lock-wait-seconds": Limit(
        60, 600, "s", "a session waiting for a lock", "db_utils itself gives up after DB_LOCK_TIMEOUT_SECONDS (10)",
    ),
    "long-transaction-minutes": Limit(
        60, 360, "minutes", "age of a transaction; VACUUM cannot remove rows that died after it started",
        "https://www.postgresql.org/docs/16/routine-vacuuming.html",
    ),
    "notification-queue-pct": Limit(
        10, 50, "% of the queue", "notifications that a session has not read yet, in all databases of the server",
        "it is empty unless a listening session does not read; at 75 % the schema stops sending notifications",
    ),
    "replication-lag-megabytes": Limit(
        256, 4096, "MB", "write-ahead log that a standby has not replayed", "sixteen segments of 16 MB (our choice)",
    ),
    "rows-per-batch": Limit(
        50, None, "rows", "average rows per columnstore batch, in tables with at least 100,000 compressed rows",
        "a batch holds 1,000 rows; a batch of a few rows costs more in headers than it saves "
        "(https://www.tigerdata.com/docs/use-timescale/latest/compression/about-compression)",
        low_is_bad=True,
    ),
    "slot-retained-megabytes": Limit(
        1024, 10240, "MB", "write-ahead log retained by a replication slot",
        "max_slot_wal_keep_size is unlimited by default (https://www.postgresql.org/docs/16/runtime-config-replication.html)",
    ),
    "unused-index-days": Limit(
        30, None, "days", "period the statistics must cover before an index is reported as unused",
        "a monthly report counts as use (our choice)",
    ),
    "unused-index-megabytes": Limit(
        100, None, "MB", "size of an index that nothing reads", "every write updates it (our choice)",
    ),
    "wraparound-pct": Limit(
        40, 75, "% of 2^31", "transaction or multixact age of the oldest rows",
        "autovacuum forces a freeze at 9 % (autovacuum_freeze_max_age 200 million), the server refuses to write at 100 % "
        "(https://www.postgresql.org/docs/16/routine-vacuuming.html)",
    ),
}  # fmt: skip
