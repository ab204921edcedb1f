"""Every prebuilt read returns a frame with the contents of its rows."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.errors import NotFoundError
from tests.support.query_calls import Facts, read_calls


def plain(value: Any) -> Any:
    """Normalize one value of a row and of an Arrow table to compare them."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, (Decimal, float, int)) and not isinstance(value, bool):
        return Decimal(str(value)).normalize()
    if isinstance(value, str) and value[:1] in "{[" and value[-1:] in "}]":
        return plain(json.loads(value))
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC)
    return value


def test_a_frame_holds_what_the_rows_hold(seeded: DatabaseManager, facts: Facts) -> None:
    with seeded.transaction() as transaction:  # in which now() is constant
        queries = OperationalDataQueries(transaction)
        assert compare(queries, facts) > 500


def compare(queries: OperationalDataQueries, facts: Facts) -> int:
    """How many rows were the same."""
    frames = queries.as_frame("arrow", decimals="decimal")
    compared = 0
    for name, arguments, keywords in read_calls(facts):
        if name.startswith("get_cached_") or name == "get_organization":
            continue
        rows, frame = (getattr(asked, name)(*arguments, **keywords) for asked in (queries, frames))
        assert frame.num_rows == len(rows), name
        if rows and "factors" in rows[0] and "factors" not in frame.column_names:
            rows = [with_factors_as_columns(row) for row in rows]
        if rows:
            assert frame.column_names == list(rows[0]), name
        if "factors" in frame.column_names:
            continue  # rows have a name for each factor, frames what is known
        for row, found in zip(rows[:50], frame.slice(0, 50).to_pylist(), strict=True):
            assert {k: plain(v) for k, v in found.items()} == {k: plain(v) for k, v in row.items()}, name
            compared += 1
    return compared


def with_factors_as_columns(row: dict[str, Any]) -> dict[str, Any]:
    """A training frame's row as in a frame: a column per factor in place of `factors`."""
    columns: dict[str, Any] = {}
    for name, value in row.items():
        columns |= {f"factor_{n}": v for n, v in value.items()} if name == "factors" else {name: value}
    return columns


def test_out_of_a_transaction_it_is_the_same(queries: OperationalDataQueries, facts: Facts) -> None:
    rows = queries.get_resources(facts.organization_id)
    frame = queries.as_frame("arrow").get_resources(facts.organization_id)
    assert [plain(row) for row in frame.to_pylist()] == [plain(row) for row in rows]


@pytest.mark.parametrize("backend", ["pandas", "polars"])
def test_an_answer_without_rows_has_columns_and_types(own: OperationalDataQueries, backend: str) -> None:
    organization = own.create_organization("Empty", industry="none", timezone="UTC")["organization_id"]
    frame = own.as_frame(backend).get_alerts(organization)
    assert len(frame) == 0
    assert "created_at" in list(frame.columns)
    assert "UTC" in str(frame["created_at"].dtype)


def test_an_organization_that_is_not_there(queries: OperationalDataQueries) -> None:
    with pytest.raises(NotFoundError):
        queries.as_frame().get_kpi_summary(uuid.uuid4())
    with pytest.raises(NotFoundError):
        queries.as_frame().get_events(uuid.uuid4())


def test_rows_stay_rows_beside_frames(queries: OperationalDataQueries, facts: Facts) -> None:
    frames = queries.as_frame()
    assert isinstance(queries.get_resources(facts.organization_id), list)
    assert isinstance(frames.get_organization(facts.organization_id), dict)
    cached = frames.get_cached_demand_forecast(
        facts.organization_id, facts.product_id, location_id=facts.demand_location_id
    )
    assert cached.source == "database"
