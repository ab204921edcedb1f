-- Version 8: resource_recent_status is no longer used. It is kept if a user-defined view depends on it.
DO $$
BEGIN
    DROP VIEW IF EXISTS tenant.resource_recent_status, resource_recent_status;
EXCEPTION
    WHEN dependent_objects_still_exist THEN
        RAISE NOTICE 'view resource_recent_status is kept because other objects depend on it: use resource_latest_status instead';
END
$$;
