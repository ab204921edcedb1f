-- Version 6: order the newest events of a resource deterministically, including two that began at the same time.
DROP INDEX IF EXISTS operational_events_organization_id_resource_id_time_idx;
