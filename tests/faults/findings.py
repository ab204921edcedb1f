"""The finding of a scenario: one row of the summary, as a table, as JSON, and as Markdown for docs/faults.md."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

HEADINGS = ("scenario", "attempts", "acknowledged", "lost", "doubled", "half-written", "wrong", "seconds")


@dataclass
class Finding:
    """One row of the summary.

    `attempts` counts tries, `acknowledged` those that the other side confirmed. `wrong` counts incorrect answers,
    untyped errors, and answers after their deadline. All four counts of damage must be 0.
    """

    scenario: str
    tried: str
    attempts: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    half_written: int = 0
    wrong: int = 0
    seconds: float = 0.0
    seen: str = ""
    not_run: str = ""
    evidence: list[str] = field(default_factory=list)
    date: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).date().isoformat())

    @property
    def harm(self) -> int:
        """How much was lost, duplicated, half-written or wrong."""
        return self.lost + self.doubled + self.half_written + self.wrong

    def blame(self, sentence: str) -> None:
        """Count something wrong, and keep the first few as evidence."""
        self.wrong += 1
        if len(self.evidence) < 40:
            self.evidence.append(sentence[:300])

    def cells(self) -> list[str]:
        """The figures, in the order of HEADINGS."""
        if self.not_run:
            return [self.scenario, *["not run"] * (len(HEADINGS) - 1)]
        counts = (
            self.attempts, self.acknowledged, self.lost, self.doubled, self.half_written, self.wrong,
        )  # fmt: skip
        return [self.scenario, *(f"{count:,}" for count in counts), f"{self.seconds:.1f}"]


def table(findings: Iterable[Finding]) -> Table:
    """The summary for a terminal."""
    shown = Table(title="What was tried, and what was lost", title_justify="left")
    for heading in HEADINGS:
        shown.add_column(heading, justify="left" if heading == "scenario" else "right")
    for finding in findings:
        shown.add_row(*finding.cells(), style="bold red" if finding.harm else None)
    return shown


def markdown(findings: list[Finding], machine: dict[str, str]) -> str:
    """The summary for docs/faults.md."""
    lines = [", ".join(f"{name} {value}" for name, value in machine.items()) + ".", ""]
    lines += [f"| {' | '.join(HEADINGS)} |", "|---" + "|---:" * (len(HEADINGS) - 1) + "|"]
    lines += [f"| {' | '.join(finding.cells())} |" for finding in findings]
    lines += ["", "| scenario | what was tried | what was seen | date |", "|---|---|---|---|"]
    lines += [
        f"| {finding.scenario} | {finding.tried} | {finding.not_run or finding.seen} | {finding.date} |"
        for finding in findings
    ]
    return "\n".join(lines) + "\n"


def as_json(findings: list[Finding], machine: dict[str, str]) -> dict[str, Any]:
    """The summary for programs."""
    return {"machine": machine, "findings": [asdict(finding) for finding in findings]}
