-- Version 6: the newest events of a resource in a certain order, two that began at the same time included.
DROP INDEX IF EXISTS operational_events_organization_id_resource_id_time_idx;
