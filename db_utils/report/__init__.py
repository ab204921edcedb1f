"""The report: one page with the pictures that an operations lead looks at.

`build(db, organization)` returns its HTML; `data.gather` the figures alone. Drawing needs the extra `report`.
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
    """How does the organization do, as one HTML page? Arguments and errors as `gather`."""
    require_extra()
    return render(gather(db, organization, days=days, start=start, end=end))


def render(data: ReportData) -> str:
    """How do these figures look, as one HTML page? The same figures give the same bytes."""
    require_extra()
    from db_utils.report.page import page

    return page(data)


def require_extra() -> None:
    """Raises `ConfigurationError` where the packages that draw are not installed."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"the report needs the extra `report` ({error.name} is not installed): "
            "pip install 'barnameh-db-utils[report]', or pip install matplotlib jinja2"
        ) from None
