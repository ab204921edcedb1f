"""The image of docker-compose.yml alone: the schema applies to it from Python and verifies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from db_utils import DatabaseManager, OperationalDataQueries, schema

pytestmark = pytest.mark.docker

PASSWORD = "a password"
COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
IMAGE = "timescale/timescaledb:2.29.2-pg16"


def test_the_schema_on_a_bare_container(monkeypatch: pytest.MonkeyPatch) -> None:
    # The reaper is a separate image, which an offline engine lacks; the block below removes the container.
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)
    assert IMAGE in COMPOSE.read_text(encoding="utf-8")
    container = (
        DockerContainer(os.environ.get("POSTGRES_IMAGE", IMAGE))
        .with_env("POSTGRES_PASSWORD", PASSWORD)
        .with_exposed_ports(5432)
        .waiting_for(LogMessageWaitStrategy("ready to accept connections", times=2))
    )
    with container:
        url = f"postgresql://postgres:a%20password@127.0.0.1:{container.get_exposed_port(5432)}/postgres"
        with DatabaseManager(url) as db:
            db.wait(60)
            schema.apply(db)
            schema.seed(db)
            schema.verify(db)
            assert schema.edition(db) in ("apache", "community")
            kpis = OperationalDataQueries(db).get_kpi_summary("11111111-1111-1111-1111-111111111111")
            assert all(row["value"] is not None for row in kpis)
