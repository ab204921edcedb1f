"""Series of external factors in two units."""

from __future__ import annotations

from tests.integration.doctor.support import ailment, execute, well

# Rows from before the rule.
_TWO_UNITS = """
    ALTER TABLE external_factors DISABLE TRIGGER external_factors_one_unit_per_series;
    INSERT INTO external_factors (organization_id, time, factor_type, name, value, unit, available_at)
    SELECT o.organization_id, now() - n * interval '1 day', 'weather', 'temperature outside', 20 * n, u.unit, now()
    FROM (SELECT organization_id FROM organizations ORDER BY organization_id LIMIT 1) AS o
    CROSS JOIN (VALUES (1, 'celsius'), (2, 'celsius'), (3, 'fahrenheit')) AS u (n, unit);
    ALTER TABLE external_factors ENABLE TRIGGER external_factors_one_unit_per_series
"""


def test_a_series_in_two_units_is_found(url: str) -> None:
    assert well(url, "factor-units")
    execute(url, _TWO_UNITS)
    finding = ailment(url, "factor-units")
    assert finding.figures == {"rows": 3, "units": ["celsius", "fahrenheit"]}
    assert "temperature outside" in finding.found
