"""What a session of Citus is sent when it repeats a prebuilt read."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from db_utils.connections import planned_once
from db_utils.queries.loader import query

_SQL = query("get_locations").sql
_FORMS = {
    "": None,
    "prepared": r"S\nPREPARE (get_locations_\d+)\(uuid, text\) AS SELECT.*%\(organization_id\)s.*\$1.*\$2.*;\nEXECUTE \1\(.*\)",
    "executed": r"S\nEXECUTE get_locations_\d+\(.*\)",
}


def _sent(session: Any, organization: str) -> str:
    text = planned_once.repeated(session, "S", _SQL, {"organization_id": organization})
    for name, pattern in _FORMS.items():
        if (text is None) if pattern is None else text and re.fullmatch(pattern, text, re.S):
            return name
    return str(text)


def test_the_second_time_it_is_prepared_for_this_organization() -> None:
    session = SimpleNamespace(planned={})
    assert [_sent(session, each) for each in "aabab"] == ["", "prepared", "", "executed", "prepared"]
    assert planned_once.repeated(session, "S", _SQL, ("a",)) is None


def test_the_one_used_longest_ago_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned_once, "_MOST", 2)
    session = SimpleNamespace(planned={})
    assert [_sent(session, each) for each in "aabba"] == ["", "prepared", "", "prepared", "executed"]
    assert re.fullmatch(r"S\nDEALLOCATE get_locations_\d+;\nSELECT.*", _sent(session, "c"), re.S)
    assert [_sent(session, each) for each in "ac"] == ["executed", "prepared"]
    assert set(planned_once.reads) >= {_SQL, query("get_kpi_summary").sql}
    assert query("create_location").sql not in planned_once.reads
