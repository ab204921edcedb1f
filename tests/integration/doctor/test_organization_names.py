"""Two organizations with the same name are found."""

from __future__ import annotations

from tests.integration.doctor.support import ailment, execute, well

_IDS = ("00000000-0000-4000-8000-0000000000a1", "00000000-0000-4000-8000-0000000000a2")


def test_twins_are_named_by_id(url: str) -> None:
    assert well(url, "organization-names")
    execute(
        url,
        f"INSERT INTO organizations (organization_id, name, industry) VALUES ('{_IDS[0]}', 'Twin', 'x'), ('{_IDS[1]}', 'Twin ', 'x')",
    )
    finding = ailment(url, "organization-names")
    assert finding.figures == {"organizations": 2}
    assert all(identifier in finding.found for identifier in _IDS)
