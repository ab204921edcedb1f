"""The count of attempts in docs/tenants.md: `python -m tests.support.isolation_page` writes the test's count."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.readme import ROOT, with_part

PAGE = ROOT / "docs" / "tenants.md"
COUNTS = ROOT / "tests" / "integration" / "schema" / "isolation" / "counts.json"
EDITIONS = ("community", "apache", "plain")


def counts() -> dict[str, dict[str, list[int]]]:
    """Attempts and crossings by edition and category, of the last run that wrote them."""
    found: dict[str, dict[str, list[int]]] = json.loads(COUNTS.read_text(encoding="utf-8"))
    return found


def write(path: Path, edition: str, attempts: dict[str, int], crossings: dict[str, int]) -> None:
    """Store the count of one edition's run next to those of the other editions."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept[edition] = {name: [attempts[name], crossings.get(name, 0)] for name in sorted(attempts)}
    path.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n", encoding="utf-8")


def table() -> str:
    """The table of the page."""
    counted = counts()
    editions = [edition for edition in EDITIONS if edition in counted]
    lines = [
        f"| category | attempts: {' | '.join(editions)} | crossings |",
        "|---|" + "---:|" * (len(editions) + 1),
    ]
    for name in sorted({name for edition in editions for name in counted[edition]}):
        cells = [f"{counted[edition][name][0]:,}" if name in counted[edition] else "" for edition in editions]
        crossings = sum(counted[edition].get(name, [0, 0])[1] for edition in editions)
        lines.append(f"| {name} | {' | '.join(cells)} | {crossings} |")
    sums = [f"**{sum(attempts for attempts, _ in counted[edition].values()):,}**" for edition in editions]
    crossed = sum(crossings for edition in editions for _, crossings in counted[edition].values())
    return "\n".join([*lines, f"| **all** | {' | '.join(sums)} | **{crossed}** |"])


def page() -> str:
    """The page with the required table."""
    return with_part(PAGE.read_text(encoding="utf-8"), "attempts", table())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
