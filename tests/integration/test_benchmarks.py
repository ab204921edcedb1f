"""The benchmarks run and fill their tables. Only their function is tested, not the figures."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import BENCHMARKS, markdown
from tests.benchmarks.harness import Context, Goal, Table, on_one_core

# Starts containers, which the end-to-end tests do.
NOT_HERE = {"first_start"}


@pytest.mark.slow
# Some of the peers leave files open, which we cannot fix.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", sorted(set(BENCHMARKS) - NOT_HERE))
def test_it_fills_its_table(name: str, server_url: str, tmp_path: Path) -> None:
    context = Context(server_url, scale=0.001, rounds=1, folder=tmp_path)
    made = importlib.import_module(f"tests.benchmarks.bench_{name}").run(context)
    for table in made if isinstance(made, list) else [made]:
        assert table.rows or table.remark.startswith("Not measured"), table.name
        assert {len(row) for row in table.rows} <= {len(table.columns)}
        assert not table.drawn or table.drawn in table.columns
        figures = [cell for row in table.rows for cell in row if isinstance(cell, (int, float))]
        assert all(figure >= 0 for figure in figures)
        assert bool(figures) == bool(table.rows)


def test_a_missed_goal_is_marked() -> None:
    table = Table("one", "A question.", ("way", "ms"), [("slow", 12_345)])
    table.goals += [Goal("a", 2.0, 1.5), Goal("b", 2.0, 1.5, at_most=False), Goal("c", float("nan"), 1.5)]
    found = {**vars(table), "goals": [str(goal) for goal in table.goals], "measured": "today"}
    results = {"machine": {"cores": "2"}, "edition": "plain", "tables": [found]}
    page = markdown(results, {})
    assert "- a: 2.00 (goal ≤ 1.5) MISSED" in page
    assert "- b: 2.00 (goal ≥ 1.5)\n" in page
    assert "- c: nan (goal ≤ 1.5) MISSED" in page
    assert "| slow | 12,345 |" in page


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system does not let a process choose its core"
)
def test_one_core_is_left_again_and_only_servers_are_moved() -> None:
    before = os.sched_getaffinity(0)
    others = os.sched_getaffinity(os.getppid())
    with on_one_core(os.getppid()):
        assert len(os.sched_getaffinity(0)) == 1
        assert os.sched_getaffinity(os.getppid()) == others
    assert os.sched_getaffinity(0) == before
