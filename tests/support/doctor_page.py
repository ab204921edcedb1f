"""The tables of docs/doctor.md, generated from the checks and limits: `python -m tests.support.doctor_page` writes them."""

from __future__ import annotations

from pathlib import Path

from db_utils.ops.doctor import CHECKS, LIMITS
from tests.support.readme import with_part

PAGE = Path(__file__).resolve().parents[2] / "docs" / "doctor.md"


def checks() -> str:
    rows = [f"| `{check.name}` | {check.question} {check.explanation}".rstrip() + " |" for check in CHECKS]
    return "\n".join(["| check | what it looks for, and how it judges |", "|---|---|", *rows])


def limits() -> str:
    rows = []
    for name, limit in LIMITS.items():
        critical = "" if limit.critical is None else f"{limit.critical:g}"
        rows.append(
            f"| `{name}` | {limit.warning:g} | {critical} | {limit.unit} | {limit.meaning} | {limit.source} |"
        )
    return "\n".join(
        [
            "| limit | warning | critical | unit | of what | why, and where from |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )


def page(text: str) -> str:
    """The page with the required tables."""
    return with_part(with_part(text, "checks", f"\n{checks()}\n"), "limits", f"\n{limits()}\n")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
