"""A short run of each fault of `python -m tests.faults`: nothing is lost, duplicated, half-written or wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.__main__ import SCENARIOS, merged, scenario
from tests.faults.arguments import commands, queries, verbs
from tests.faults.findings import Finding, as_json, markdown
from tests.faults.operations import full_disk_for_the_server, in_a_folder, killed_imports
from tests.faults.trial import Trial

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trial(server_url: str, schema_template: str, seeded_template: str) -> Iterator[Trial]:
    """A short trial, on the server under test."""
    with Trial(short=True, operations=5_000) as short:
        # In place of its own databases.
        short.__dict__.update(
            server_url=server_url, schema_template=schema_template, seeded_template=seeded_template
        )
        yield short


def harmless(findings: list[Finding]) -> None:
    assert findings
    for finding in findings:
        assert finding.harm == 0, finding.evidence
        assert finding.attempts > 0 or finding.not_run


@pytest.mark.parametrize("name", ["kills", "network", "replica", "redis", "soak", "chaos"])
def test_nothing_is_lost(trial: Trial, name: str) -> None:
    harmless(scenario(name)(trial))


@pytest.mark.parametrize("attempt", [queries, verbs, commands])
def test_anything_is_answered_or_refused(trial: Trial, attempt: Callable[[Trial], Finding]) -> None:
    harmless([attempt(trial)])


@pytest.mark.parametrize("attempt", [killed_imports, full_disk_for_the_server])
def test_commands_keep_all_or_nothing(trial: Trial, attempt: Callable[[Trial, Path], Finding]) -> None:
    harmless([in_a_folder(attempt, trial)])


def test_harm_is_counted_and_shown(tmp_path: Path) -> None:
    bad = Finding("two kinds", "x", attempts=1234, acknowledged=3, lost=2, half_written=1)
    bad.blame("an untyped error")
    assert bad.harm == 4
    fine = Finding("nothing", "y", attempts=1)
    left_out = Finding("disk", "z", not_run="only root can")
    text = markdown([bad, fine, left_out], {"Edition": "plain"})
    assert "| two kinds | 1,234 | 3 | 2 | 0 | 1 | 1 | 0.0 |" in text
    assert "| disk | z | only root can |" in text
    file = tmp_path / "found.json"
    file.write_text(json.dumps(as_json([bad, fine], {})))
    again = Finding("nothing", "y", attempts=2)
    assert merged(file, [again, left_out]) == [bad, again, left_out]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_can_be_asked_for(name: str) -> None:
    assert callable(scenario(name))
