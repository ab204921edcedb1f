"""The dashboards of grafana/: every query is run as Grafana's login, and the figures equal those of the prebuilt queries."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from db_utils import DatabaseManager, OperationalDataQueries

ROOT = Path(__file__).parents[2] / "grafana"
DASHBOARDS = sorted((ROOT / "dashboards").glob("*.json"))
MANUFACTURING = "11111111-1111-1111-1111-111111111111"


def dashboard(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def queries() -> Iterator[Any]:
    for path in DASHBOARDS:
        for panel in dashboard(path)["panels"]:
            for target in panel["targets"]:
                yield pytest.param(path, panel, target, id=f"{path.stem}: {panel['title']}")


def filled(sql: str, start: dt.datetime, end: dt.datetime, variables: dict[str, list[str]]) -> str:
    """The statement as Grafana sends it: its macros are literals, its variables texts."""
    sql = sql.replace("$__timeFrom()", f"'{start:%Y-%m-%dT%H:%M:%SZ}'").replace(
        "$__timeTo()", f"'{end:%Y-%m-%dT%H:%M:%SZ}'"
    )
    for name, values in variables.items():
        listed = ",".join("'" + value.replace("'", "''") + "'" for value in values)
        sql = sql.replace(f"${{{name}:sqlstring}}", listed).replace(f"${name}", values[0])
    assert "$" not in sql, sql
    return sql


@pytest.fixture(scope="module")
def variables(seeded: DatabaseManager) -> dict[str, list[str]]:
    """The values of the dashboards' variables, each from its own query, after choosing the organization."""
    found = {"organization": [MANUFACTURING]}
    for path in DASHBOARDS:
        for variable in dashboard(path)["templating"]["list"]:
            sql = filled(variable["query"], dt.datetime.now(dt.UTC), dt.datetime.now(dt.UTC), found)
            rows = as_grafana(seeded, sql)
            assert rows
            if variable["name"] == "organization":
                assert MANUFACTURING in [str(row["__value"]) for row in rows]
            else:
                found[variable["name"]] = [str(row.get("__value", row.get("product_id"))) for row in rows]
    return found


def as_grafana(db: DatabaseManager, sql: str) -> list[dict[str, Any]]:
    with db.transaction(read_only=True) as transaction:
        transaction.execute("SET LOCAL ROLE barnameh_readonly")
        return transaction.execute_query(sql)


@pytest.mark.parametrize(("path", "panel", "target"), list(queries()))
def test_every_query_runs_as_grafanas_login(
    seeded: DatabaseManager,
    variables: dict[str, list[str]],
    path: Path,
    panel: dict[str, Any],
    target: dict[str, Any],
) -> None:
    end = dt.datetime.now(dt.UTC).replace(microsecond=0)
    sql = filled(target["rawSql"], end - dt.timedelta(days=30), end, variables)
    rows = as_grafana(seeded, sql)
    assert rows
    if target["format"] == "time_series":
        assert set(rows[0]) == {"time", "metric", "value"}
        assert all(isinstance(row["time"], dt.datetime) for row in rows)
    again = filled(
        target["rawSql"],
        end - dt.timedelta(days=30),
        end,
        {**variables, "organization": ["0" * 8 + "-0000" * 3 + "-" + "0" * 12]},
    )
    if re.search(r"operational_kpis|demand_forecast_accuracy", sql) is None:
        assert as_grafana(seeded, again) == []  # another organization's dashboard shows nothing of this one


def test_the_figures_are_those_of_the_prebuilt_queries(
    seeded: DatabaseManager, variables: dict[str, list[str]]
) -> None:
    end = dt.datetime.now(dt.UTC).replace(microsecond=0)
    start = end - dt.timedelta(days=30)
    prebuilt = OperationalDataQueries(seeded)
    panels = {panel["title"]: panel for path in DASHBOARDS for panel in dashboard(path)["panels"]}

    def shown(title: str) -> list[dict[str, Any]]:
        return as_grafana(seeded, filled(panels[title]["targets"][0]["rawSql"], start, end, variables))

    kpis = {row["kpi"]: row["value"] for row in prebuilt.get_kpi_summary(MANUFACTURING, start=start, end=end)}
    figures = shown("KPIs of the period")
    assert {row["metric"]: row["value"] for row in figures} == {
        row["metric"]: kpis[row["metric"]] for row in figures
    }
    assert len(figures) >= 4
    stops = prebuilt.get_downtime_by_cause(MANUFACTURING, start=start, end=end)
    causes = {
        f"{row['cause'] or 'no cause given'} ({row['event_type']})": row["downtime_minutes"] / 60
        for row in stops
    }
    for row in shown("Time lost by cause"):
        assert row["hours"] == pytest.approx(causes[row["cause"]])


def test_dashboards_are_whole_and_read_the_provisioned_source() -> None:
    (source,) = yaml.safe_load((ROOT / "provisioning/datasources/barnameh.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((ROOT / "provisioning/dashboards/barnameh.yml").read_text())["providers"]
    compose = yaml.safe_load((ROOT.parent / "docker-compose.yml").read_text())["services"]["grafana"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in compose["volumes"]
    told = set(re.findall(r"\$(\w+)", json.dumps(source)))
    assert told <= set(compose["environment"])
    uids = set()
    for path in DASHBOARDS:
        board = dashboard(path)
        uids.add(board["uid"])
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            assert panel["description"]
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert place["x"] + place["w"] <= 24
            taken |= cells
            for asked in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
                assert asked == {"type": source["type"], "uid": source["uid"]}
    assert len(uids) == len(DASHBOARDS) == 2


def unknown(given: Any, kept: Any, place: str = "") -> Iterator[str]:
    """The parts of a document that its schema does not know; empty ones may be left out."""
    if isinstance(given, dict):
        for name, value in given.items():
            if value not in (None, "", [], {}, False):
                assert isinstance(kept, dict)
                yield from (
                    unknown(value, kept[name], f"{place}/{name}") if name in kept else [f"{place}/{name}"]
                )
    elif isinstance(given, list):
        for number, value in enumerate(given):
            yield from unknown(value, kept[number], f"{place}/{number}")
    elif given != kept:
        yield f"{place}: {given!r} became {kept!r}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_the_published_schema_knows_all_of_a_dashboard(path: Path) -> None:
    """Parse into Grafana's types, generated from its schema, and write again; a misspelt field would be lost."""
    register_default_plugins()
    given = dashboard(path)
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
    assert list(unknown(given, written)) == []
    misspelt = json.loads(path.read_text(encoding="utf-8"))
    misspelt["panels"][0]["gridPosition"] = misspelt["panels"][0].pop("gridPos")
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(misspelt)))
    assert list(unknown(misspelt, written)) == ["/panels/0/gridPosition"]
