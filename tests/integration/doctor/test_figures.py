"""Rows that make figures impossible are found."""

from __future__ import annotations

from db_utils.ops.doctor import Severity
from tests.integration.doctor.support import ailment, execute, well


def test_samples_that_reach_over_the_next_one_are_found(url: str) -> None:
    assert well(url, "overlapping-samples")
    execute(
        url,
        "INSERT INTO resource_metrics (organization_id, time, resource_id, utilization_pct, sample_minutes) "
        "SELECT r.organization_id, date_trunc('hour', now()) - interval '5 hours' + n * interval '30 seconds' + interval '7 seconds', "
        "r.resource_id, 50, 1 FROM (SELECT organization_id, resource_id FROM resources ORDER BY 1, 2 LIMIT 1) AS r "
        "CROSS JOIN generate_series(1, 100) AS n",
    )
    found = ailment(url, "overlapping-samples")
    assert found.severity == Severity.NOTE
    assert found.figures["resources"] == 1
    assert found.figures["samples"] >= 99
    execute(url, "UPDATE resource_metrics SET sample_minutes = NULL WHERE time > now() - interval '1 day'")
    assert well(url, "overlapping-samples")
