-- Stagger the jobs of a new database. All of them are due when the scheduler first runs, there are more of them than
-- background workers, and jobs that get no worker count as failed. Jobs that have run keep their schedule.

DO $$
DECLARE
    job record;
BEGIN
    IF database_edition() <> 'community' THEN
        RETURN;
    END IF;
    FOR job IN
        SELECT
            j.job_id,
            row_number() OVER (ORDER BY j.job_id) * interval '10 seconds' AS delay
        FROM timescaledb_information.jobs AS j
        LEFT JOIN timescaledb_information.job_stats AS s
            ON s.job_id = j.job_id
        WHERE j.job_id >= 1000
            AND j.scheduled
            AND coalesce(s.total_runs, 0) = 0
            AND coalesce(j.next_start, '-infinity') < now() + interval '10 seconds'
        ORDER BY j.job_id
    LOOP
        PERFORM alter_job(job.job_id, next_start => now() + job.delay);
    END LOOP;
END
$$;
