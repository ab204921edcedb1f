"""README's picture, drawn by the product's report from the sample data: `python -m tests.support.picture` redraws it."""

from __future__ import annotations

from db_utils import DatabaseManager
from db_utils.report import gather
from db_utils.report.sections import sections
from tests.support.readme import ROOT

FILE = ROOT / "docs" / "images" / "oee.svg"
_WHITE = '<rect width="100%" height="100%" fill="white"/>'


def drawing(db: DatabaseManager) -> str:
    """The report's chart of planned time, on a white background."""
    (section,) = [one for one in sections(gather(db, "Sample Manufacturing")) if one.id == "oee"]
    assert section.picture is not None
    return on_white(section.picture.wide)


def on_white(svg: str) -> str:
    """The drawing with its own background, because a page may be dark."""
    end = svg.index(">") + 1
    return f"{svg[:end]}\n{_WHITE}{svg[end:]}".rstrip() + "\n"


if __name__ == "__main__":
    with DatabaseManager.embedded(seed=True) as manager:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(drawing(manager), encoding="utf-8")
