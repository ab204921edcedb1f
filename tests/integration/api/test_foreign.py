"""Another organization's ids in every parameter of every path neither show nor change any of its rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from db_utils import DatabaseManager
from tests.support.api import OPERATIONS, Api

TABLES = {
    "location_id": "locations",
    "resource_id": "resources",
    "employee_id": "employees",
    "shift_id": "shifts",
    "plan_id": "production_plans",
    "alert_id": "alerts",
    "anomaly_id": "anomaly_predictions",
    "run_id": "optimization_runs",
    "event_id": "operational_events",
}
LISTS = {"may_work_at": "location_id"}
"""Lists of ids, and what they identify."""
VALUES: dict[str, Any] = {
    "product_id": "FOREIGN",
    "title": "t",
    "severity": "high",
    "alert_type": "t",
    "status": "scheduled",
    "name": "n",
    "timezone": "UTC",
    "as_of": "2030-01-01T00:00:00Z",
    "start": "2020-01-01T00:00:00Z",
    "end": "2020-02-01T00:00:00Z",
    "time": "2026-11-01T00:00:00Z",
    "outcome": "confirmed",
    "planned_quantity": 1,
    "actual_quantity": 1,
    "rated_capacity_per_hour": 1,
    "plan_date": "2026-11-01",
    "skills": ["x"],
    "event_type": "production",
    "error_message": "e",
    "result": {},
    "model_name": "m",
    "model_version": "1",
    "available_at": "2026-11-01T00:00:00Z",
    "starts_at": "2026-11-01T00:00:00Z",
    "ends_at": "2026-11-01T08:00:00Z",
    "location_type": "factory",
    "location_code": "L-1",
    "resource_code": "R-1",
    "shift_code": "S-1",
    "resource_type": "r",
    "role": "r",
    "full_name": "f",
    "employee_code": "c",
    "run_type": "r",
    "algorithm": "a",
    "quantity": 1,
    "target_time": "2026-12-01T00:00:00Z",
    "target_date": "2026-12-01",
    "predicted_quantity": 1,
    "predicted_for": "2026-12-01T00:00:00Z",
    "anomaly_type": "failure",
    "probability": 0.5,
    "factor_type": "weather",
    "value": 1,
    "unit": "celsius",
    "valid_from": "2026-11-01",
    "reason": "vacation",
    "kind": "plan",
    "window_start": "2026-11-01T00:00:00Z",
    "window_end": "2026-11-02T00:00:00Z",
    "fingerprint": "0" * 64,
    "items": [],
    "horizon": 7,
    "history": "P30D",
    "target_interval": "P1D",
    "first_step": 1,
    "last_step": 7,
    "first_origin": "2026-10-01T00:00:00Z",
    "last_origin": "2026-10-29T00:00:00Z",
    "origin_count": 5,
    "better_origin_count": 3,
    "target_count": 35,
    "naive_name": "n",
}


def foreign_ids(owner: DatabaseManager, organization_id: uuid.UUID) -> dict[str, str]:
    """An id of each kind that belongs to this organization."""
    found = {}
    for column, table in TABLES.items():
        rows = owner.execute_query(
            f"SELECT {column}::text AS id FROM {table} WHERE organization_id = %s ORDER BY 1 LIMIT 1",
            (organization_id,),
        )
        found[column] = rows[0]["id"] if rows else str(uuid.uuid4())
    return found


def content(owner: DatabaseManager, organization_id: uuid.UUID) -> dict[str, str]:
    """All rows of this organization, table by table."""
    tables = owner.execute_query(
        "SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'organization_id' "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'api_keys' ORDER BY 1"
    )
    found = {}
    for table in tables:
        name = table["relname"]
        digest = f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) AS all FROM {name} AS t WHERE organization_id = %s"
        found[name] = owner.execute_query(digest, (organization_id,))[0]["all"]
    return found


def arguments(model: type[BaseModel], ids: dict[str, str], *, everything: bool) -> dict[str, Any]:
    """Foreign ids wherever an id is accepted, and valid values for the other required parameters."""
    given: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        rows = _rows_of(field.annotation)
        if name in ids and (field.is_required() or everything):
            given[name] = ids[name]
        elif name in LISTS and (field.is_required() or everything):
            given[name] = [ids[LISTS[name]]]
        elif field.is_required() or (everything and rows):
            given[name] = [arguments(rows, ids, everything=everything)] if rows else VALUES[name]
    return given


def _unknown(ids: dict[str, str]) -> dict[str, str]:
    return {name: str(uuid.uuid4()) for name in ids}


def _rows_of(annotation: Any) -> type[BaseModel] | None:
    for member in get_args(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def ids_of(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        rows = _rows_of(field.annotation)
        if rows is not None:
            yield from ids_of(rows)
        elif "UUID" in str(field.annotation):
            yield name


def test_no_parameter_that_takes_an_id_is_left_out() -> None:
    assert {name for operation in OPERATIONS.values() for name in ids_of(operation.arguments)} == {
        *TABLES,
        *LISTS,
    }


def test_foreign_ids_show_and_change_nothing(api: Api) -> None:
    for foreign in api.others:
        ids = foreign_ids(api.owner, foreign)
        before = content(api.owner, foreign)
        asked = 0
        for operation in OPERATIONS.values():
            for everything in (False, True):
                given = arguments(operation.arguments, ids, everything=everything)
                if not set(TABLES) & set(str(given).replace("'", " ").split()) and not operation.writes:
                    continue
                asked += 1
                if operation.writes:
                    answer = api.post(operation.name, given)
                    refers = any(value in str(given) for value in ids.values())
                    assert answer.status_code in ((404, 409, 422) if refers else (200, 409, 422)), (
                        operation.name,
                        given,
                        answer.text,
                    )
                else:
                    answer = api.get(operation.name, **given)
                    assert answer.status_code in (200, 404, 422), (operation.name, given, answer.text)
                    if answer.status_code == 200:
                        # The result for an unknown id: nothing, or rows of the whole organization.
                        nobody = arguments(operation.arguments, _unknown(ids), everything=everything)
                        unknown = api.get(operation.name, **nobody)
                        assert answer.json()["data"] == unknown.json()["data"], (operation.name, given)
                        assert not any(value in answer.text for value in ids.values()), operation.name
        assert asked > 60
        assert content(api.owner, foreign) == before


def test_a_foreign_id_is_refused_in_the_words_of_one_that_nobody_has(api: Api) -> None:
    foreign = next(iter(api.others))
    ids = foreign_ids(api.owner, foreign)
    for operation in OPERATIONS.values():
        if not operation.writes:
            continue
        given = arguments(operation.arguments, ids, everything=False)
        nobody = arguments(operation.arguments, _unknown(ids), everything=False)
        if given == nobody:
            continue
        answers = [api.post(operation.name, body) for body in (given, nobody)]
        texts = []
        for answer, body in zip(answers, (given, nobody), strict=True):
            text = answer.text
            for value in _values(body):
                text = text.replace(value, "ID")
            texts.append((answer.status_code, text))
        assert texts[0] == texts[1], operation.name


def _values(body: Any) -> list[str]:
    if isinstance(body, dict):
        return [text for value in body.values() for text in _values(value)]
    if isinstance(body, list):
        return [text for value in body for text in _values(value)]
    return [body] if isinstance(body, str) and len(body) == 36 else []
