"""Every prebuilt write on Citus: the same calls leave the same rows and give the same answers and refusals as on plain PostgreSQL."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.errors import DbUtilsError
from tests.conftest import compared
from tests.support.query_calls import READS, READS_OF_ALL, WRITES, WRITES_OF_ALL, public_methods
from tests.support.write_site import DAY, HOUR, NOON

_ONE, _TWO, _THREE, _FOUR = (uuid.UUID(int=(4 << 76) + (8 << 60) + n) for n in range(1, 5))
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_GIVEN = {str(one) for one in (_ONE, _TWO, _THREE, _FOUR)}
# Drawn by each database for itself.
_OWN = {"outbox_id", "transaction_id", "trimmed_to", "notification_key"}
_KINDS = ["alert", "anomaly", "resource_status", "forecast", "plan", "kpi"]


def _order(name: str) -> int:
    """What others are about comes first; what finds something that there may be, last."""
    return 2 if name.startswith("get_or") else 1 - bool(re.match(r"create_(?!schedule)", name))


Story = Callable[["_Teller"], None]


def _plainly(value: Any) -> Any:
    """The value without what is drawn or read off the clock: identifiers nobody gave, and moments about now."""
    if isinstance(value, dict):
        return {str(key): _plainly(each) for key, each in value.items() if key not in _OWN}
    if isinstance(value, (list, tuple)):
        return [_plainly(each) for each in value]
    if isinstance(value, dt.datetime):
        return "now" if abs(value - dt.datetime.now(dt.UTC)) < DAY else value.astimezone(dt.UTC).isoformat()
    text = str(value)
    return _UUID.sub(lambda found: found[0] if found[0] in _GIVEN else "drawn", text)


class _Teller:
    """The prebuilt writes of one database, whose every answer or refusal is written down."""

    def __init__(self, db: Any, organization: uuid.UUID, ledger: list[tuple[str, Any]]) -> None:
        self.db = db
        self.queries = OperationalDataQueries(db)
        self.organization = organization
        self.ledger = ledger

    def __call__(self, name: str, /, *positional: Any, **keywords: Any) -> None:
        try:
            answer = getattr(self.queries, name)(
                self.organization, *copy.deepcopy(positional), **copy.deepcopy(keywords)
            )
        except DbUtilsError as error:
            names_a_shard = re.search(r"_\d{6}", str(error)) is not None
            refusal = (
                type(error).__name__,
                error.sqlstate,
                getattr(error, "constraint", None),
                names_a_shard,
            )
            self.ledger.append((name, ["refused", *_plainly(refusal)]))
        else:
            self.ledger.append((name, _plainly(answer)))


def _every_verb_twice(tell: _Teller) -> None:
    """As the catalogue's own table calls it, then again, and with each choice the other way."""
    for name in sorted(WRITES, key=_order):
        positional, keywords = WRITES[name]
        if name.startswith("get_or_create"):
            keywords = {**keywords, "name": "found by its code"} if "name" in keywords else keywords
        if name in ("acknowledge_anomaly_prediction", "close_anomaly_prediction", "raise_alert"):
            found = tell.db.execute_query(
                "SELECT anomaly_id FROM anomaly_predictions WHERE organization_id = %s", (tell.organization,)
            )
            if name == "raise_alert":
                keywords = {**keywords, "anomaly_id": found[0]["anomaly_id"]}
            else:
                positional = (found[0]["anomaly_id"],)
        if name in ("fail_optimization_run", "cancel_optimization_run", "complete_production_plan"):
            positional = ({"f": _TWO, "c": _THREE}[name[0]],)
        if name == "cancel_production_plan":
            positional = (_FOUR,)
        tell(name, *positional, **keywords)
        tell(name, *positional, **keywords)
        if "replace" in keywords:
            tell(name, *positional, **{**keywords, "replace": not keywords["replace"]})
        if name == "create_shift":
            tell("assign_employee", _ONE, employee_id=_ONE, status="confirmed")
        if name == "start_optimization_run":
            tell(name, **{**keywords, "run_id": _TWO})
            tell(name, **{**keywords, "run_id": _THREE})
        if name == "create_production_plan":
            for plan in (_THREE, _FOUR):
                tell(
                    name,
                    *positional,
                    **{**keywords, "plan_id": plan, "plan_date": dt.date(2025, 1, plan.int % 10)},
                )


def _rows_corrected(tell: _Teller) -> None:
    """Rows that are sent again with other values, at other times, with fewer columns."""
    shift = {"location_id": _ONE, "starts_at": NOON, "ends_at": NOON + 8 * HOUR, "shift_id": _TWO}
    tell("create_shift", "Late", **shift)
    for days in (0, 1):
        tell(
            "create_employee",
            f"Number {days}",
            location_id=_ONE,
            employee_code=f"n{days}",
            role="operator",
            employee_id=[_TWO, _THREE][days],
        )
    worked: dict[str, Any] = {"employee_id": _TWO, "shift_id": _TWO, "status": "present", "hours_worked": 7}
    for attendance in (
        [{**worked, "time": NOON}],
        [{**worked, "time": NOON + HOUR}],  # moves
        [{**worked, "time": NOON + 2 * HOUR, "status": "sick"}],
        [{**worked, "time": NOON + 2 * HOUR, "shift_id": _ONE}, {**worked, "time": NOON + 3 * HOUR}],
        [{"time": NOON + 2 * HOUR, "employee_id": _TWO, "status": "late"}],
        [{"time": NOON + n * HOUR, "employee_id": _THREE, "status": "remote", "shift_id": None} for n in range(5)],
        [{**worked, "time": NOON, "shift_id": _FOUR}],
    ):  # fmt: skip
        for replace in (False, True):
            tell("record_attendance", attendance, replace=replace)
    event: dict[str, Any] = {"event_id": _ONE, "event_type": "production", "resource_id": _ONE, "quantity": 5}
    for events in (
        [{**event, "time": NOON}, {**event, "time": NOON, "event_id": _TWO}],
        [{**event, "time": NOON + HOUR, "quantity": 6}],
        [{"event_id": _TWO, "time": NOON + DAY, "event_type": "idle", "location_id": _ONE}, {**event, "time": NOON}],
        [{**event, "time": NOON, "event_id": "their own key", "resource_id": _FOUR}],
        [{**event, "time": NOON, "event_id": "their own key"}],
    ):  # fmt: skip
        for replace in (False, True):
            tell("record_events", events, replace=replace)
    sold: dict[str, Any] = {"time": NOON, "product_id": "P", "location_id": _ONE}
    for quantity in (2, 3):
        for replace in (False, True):
            tell("record_demand", [{**sold, "quantity": quantity}], replace=replace)
    tell("record_demand", [{**sold, "quantity": 1}, {**sold, "quantity": 1}])
    tell("record_demand", [{**sold, "quantity": 1}, {**sold, "quantity": 1}], on_repeat="sum")
    tell("record_demand", [{**sold, "quantity": 1, "product_id": f"P{n}"} for n in range(1200)])
    for metric in (
        {"utilization_pct": 50},
        {"utilization_pct": 60, "downtime_minutes": 1},
        {"efficiency_pct": 5},
    ):
        for replace in (False, True):
            tell("record_resource_metrics", [{"time": NOON, "resource_id": _ONE, **metric}], replace=replace)
    factor: dict[str, Any] = {
        "time": NOON,
        "factor_type": "weather",
        "name": "rain",
        "value": 1,
        "unit": "mm",
        "available_at": NOON,
    }
    for told in (
        {},
        {"value": 2},
        {"available_at": NOON + HOUR, "value": 2},
        {"unit": "inch", "time": NOON + DAY},
    ):
        tell("record_external_factors", [{**factor, **told}])


def _times_that_change(tell: _Teller) -> None:
    """Employment by local days, both ways; who has left is not assigned; history corrected; roles that step down; other values."""
    tell("end_employment", _TWO, last_day=dt.date(2025, 6, 30))
    tell(
        "create_shift",
        "July",
        location_id=_ONE,
        starts_at=NOON.replace(year=2025, month=7),
        ends_at=NOON.replace(year=2025, month=7) + 8 * HOUR,
        shift_id=_THREE,
    )
    tell("assign_employee", _THREE, employee_id=_TWO)
    tell("resume_employment", _TWO, first_day=dt.date(2025, 7, 3))
    tell("assign_employee", _THREE, employee_id=_TWO)
    tell("assign_employee", _THREE, employee_id=_THREE)
    tell("unassign_employee", _THREE, employee_id=_THREE)
    tell("assign_employee", _THREE, employee_id=_THREE)
    tell(
        "create_shift",
        "July too",
        location_id=_ONE,
        starts_at=NOON.replace(year=2025, month=7) + HOUR,
        ends_at=NOON.replace(year=2025, month=7) + 2 * HOUR,
        shift_id=_FOUR,
    )
    tell("assign_employee", _FOUR, employee_id=_THREE)
    tell("end_employment", _FOUR, last_day=dt.date(2025, 6, 30))
    tell("end_employment", _THREE, last_day=dt.date(2025, 6, 30), effective_at=NOON)
    tell("correct_employee_history", _TWO, start=None, end=NOON, is_employed=False)
    tell(
        "correct_resource_history",
        _ONE,
        start=NOON,
        end=NOON + DAY,
        rated_capacity_per_hour=3,
        capacity_unit="pieces",
    )
    tell("save_forecast_model", "m", "2", kind="demand", config={})
    tell("set_model_role", "m", "2", role="champion", reason="better")
    said: dict[str, Any] = {"product_id": "P", "location_id": _ONE, "target_time": NOON}
    for quantity in (1, 2):
        tell(
            "save_demand_forecasts",
            [{**said, "predicted_quantity": quantity}],
            model_name="m",
            model_version="2",
            available_at=NOON,
        )
        tell(
            "save_absence_forecasts",
            [{"target_date": dt.date(2025, 1, 2), "employee_id": _TWO, "absence_probability": quantity / 4}],
            model_name="m",
            model_version="2",
            available_at=NOON,
        )
        tell(
            "save_anomaly_predictions",
            [
                {
                    "resource_id": _ONE,
                    "anomaly_type": "failure",
                    "severity": "high",
                    "probability": quantity / 4,
                    "predicted_for": NOON,
                }
            ],
            model_name="m",
            model_version="2",
            available_at=NOON,
        )


_STORIES: tuple[Story, ...] = (_every_verb_twice, _rows_corrected, _times_that_change)


def _told(
    db: DatabaseManager, organization: uuid.UUID, *, as_tenant: bool
) -> tuple[list[tuple[str, Any]], dict[str, list[str]]]:
    """What the writes of all stories answer, and what rows they leave behind, in an organization of their own."""
    owner = OperationalDataQueries(db)
    ledger: list[tuple[str, Any]] = []
    for name, (positional, keywords) in WRITES_OF_ALL.items():
        if name == "create_organization":
            keywords = {**keywords, "organization_id": organization}
        else:
            positional = (f"{organization}, found",)
        ledger.append((name, _plainly(getattr(owner, name)(*positional, **keywords))))
    targets = "INSERT INTO sync_targets (organization_id, consumer, kinds) VALUES (%s, 'copy', %s)"
    db.execute(targets, (organization, _KINDS))
    for story in _STORIES:
        story(_Teller(db.tenant(organization) if as_tenant else db, organization, ledger))
    return ledger, _rows(db, organization)


def _rows(db: DatabaseManager, organization: uuid.UUID) -> dict[str, list[str]]:
    tables = db.execute_query(
        "SELECT c.relname AS name FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'organization_id' "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY 1"
    )
    return {
        table["name"]: sorted(
            json.dumps(_plainly(row), sort_keys=True)
            for row in db.execute_query(
                f"SELECT * FROM {table['name']} WHERE organization_id = %s", (organization,)
            )
        )
        for table in tables
    }


@pytest.mark.parametrize("as_tenant", [False, True], ids=["owner", "tenant"])
def test_every_write_does_what_plain_does(
    citus: DatabaseManager, plain: DatabaseManager, as_tenant: bool
) -> None:
    organization = uuid.uuid4()
    theirs, their_rows = _told(plain, organization, as_tenant=as_tenant)
    ours, our_rows = _told(citus, organization, as_tenant=as_tenant)
    for our, their in zip(ours, theirs, strict=True):
        assert our == their
    for name, rows in their_rows.items():
        assert our_rows[name] == rows, name
    compared("calls of writes on Citus with those on plain PostgreSQL", len(ours))
    writes = set(public_methods()) - set(READS) - READS_OF_ALL
    succeeded = {
        name for name, answer in ours if not (isinstance(answer, list) and answer[:1] == ["refused"])
    }
    assert succeeded >= writes, "each is told, and succeeds once"
    assert sum(map(bool, their_rows.values())) >= 25
