"""The report: one page of charts for an operations lead.

`build(db, organization)` returns its HTML; `data.gather` only the figures. Charts need the extra `report`.
"""

from __future__ import annotations

from db_utils.connections.executor import Executor
from db_utils.errors import ConfigurationError
from db_utils.report.data import ReportData, gather

__all__ = ["ReportData", "build", "gather", "render"]


def build(
    db: Executor,
    organization: str,
    *,
    days: int | None = None,
    start: str | None = None,
    end: str | None = None,
) -> str:
    """Return the organization's report as one HTML page. Arguments and errors as in `gather`."""
    require_extra()
    return render(gather(db, organization, days=days, start=start, end=end))


def render(data: ReportData) -> str:
    """Render these figures as one HTML page; the same figures give the same bytes."""
    require_extra()
    from db_utils.report.page import page

    return page(data)


def require_extra() -> None:
    """Raise `ConfigurationError` if the packages for charts are not installed."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"the report needs the extra `report` ({error.name} is not installed): "
            "pip install 'barnameh-db-utils[report]', or pip install matplotlib jinja2"
        ) from None
