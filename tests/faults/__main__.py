"""What is lost when things go wrong?

    python -m tests.faults [--only kills network …] [--seconds-limit 3600] [--short] [--json FILE] [--markdown]

Kills, disconnects, slows, floods and attacks the database, the library and the commands, and counts attempts and what was
lost, duplicated, half-written or wrong. Exit code 1 if anything was. The edition is that of the test suites: set
TEST_PG_INSTALL to an installation with TimescaleDB for the community edition.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import traceback
from importlib import import_module
from pathlib import Path

import psutil
from rich.console import Console

from db_utils import schema
from tests.faults.findings import Finding, as_json, markdown, table
from tests.faults.trial import Scenario, Trial
from tests.support.readme import ROOT, with_part

SCENARIOS = ("kills", "network", "replica", "redis", "soak", "arguments", "operations", "isolation", "chaos")
PAGE = ROOT / "docs" / "faults.md"


def scenario(name: str) -> Scenario:
    """The scenario of this name."""
    run: Scenario = import_module(f"tests.faults.{name}").run
    return run


def machine(trial: Trial) -> dict[str, str]:
    """Describe the machine and the software under test."""
    with trial.empty() as db:
        versions = db.execute_query(
            "SELECT current_setting('server_version') AS server, "
            "(SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb"
        )[0]
        edition = schema.edition(db)
    return {
        "Edition": edition,
        "PostgreSQL": versions["server"].partition(" ")[0],
        **({"TimescaleDB": versions["timescaledb"]} if versions["timescaledb"] else {}),
        "Python": platform.python_version(),
        "processors": str(os.cpu_count()),
        "memory (GiB)": str(round(psutil.virtual_memory().total / 2**30)),
        "seed": str(trial.seed),
    }


def merged(path: Path, findings: list[Finding]) -> list[Finding]:
    """Return these findings, and earlier ones in the file that were not run again, in order of first appearance."""
    earlier = (
        [Finding(**found) for found in json.loads(path.read_text())["findings"]] if path.exists() else []
    )
    new = {finding.scenario: finding for finding in findings}
    return [new.pop(found.scenario, found) for found in earlier] + list(new.values())


def tried(name: str, trial: Trial) -> list[Finding]:
    """Run one scenario and return its finding; a crash counts as wrong."""
    if trial.over():
        return [Finding(name, "", not_run=f"the limit of {trial.seconds_limit:g} s was reached before")]
    try:
        return scenario(name)(trial)
    except Exception:
        traceback.print_exc()
        broken = Finding(name, "the scenario itself")
        broken.blame(traceback.format_exc(limit=-1))
        return [broken]


def main() -> int:
    """Run the scenarios and print the summary; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=SCENARIOS, metavar="SCENARIO",
                        help=f"some of: {', '.join(SCENARIOS)}")  # fmt: skip
    parser.add_argument(
        "--seconds-limit", type=float, default=3600.0, help="what has not been tried by then is left out"
    )
    parser.add_argument("--short", action="store_true", help="a little of everything: does it work at all?")
    parser.add_argument("--operations", type=int, help="of the soak; default: a million")
    parser.add_argument("--seed", type=int, default=20250304)
    parser.add_argument(
        "--json", type=Path, help="write the figures here, beside those of scenarios run earlier"
    )
    parser.add_argument("--markdown", action="store_true", help="write the summary into docs/faults.md")
    options = parser.parse_args()
    console, findings = Console(width=140), []
    with Trial(options.short, options.seconds_limit, options.seed, options.operations) as trial:
        for name in options.only:
            for finding in tried(name, trial):
                findings.append(finding)
                console.print(
                    " ".join(finding.cells()), finding.not_run or finding.seen, *finding.evidence, sep="\n  "
                )
        about = machine(trial)
    console.print(table(findings))
    harmed = any(finding.harm for finding in findings)
    if options.json:
        findings = merged(options.json, findings)
        options.json.write_text(json.dumps(as_json(findings, about), indent=2) + "\n", encoding="utf-8")
    if options.markdown:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_part(text, "summary", markdown(findings, about)), encoding="utf-8")
    return 1 if harmed else 0


if __name__ == "__main__":
    sys.exit(main())
