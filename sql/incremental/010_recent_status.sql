-- Version 8: no function reads resource_recent_status any more. Where a view of somebody's own does, it stays as it is.
DO $$
BEGIN
    DROP VIEW IF EXISTS tenant.resource_recent_status, resource_recent_status;
EXCEPTION
    WHEN dependent_objects_still_exist THEN
        RAISE NOTICE 'view resource_recent_status stays, for something of yours reads it: read resource_latest_status instead';
END
$$;
