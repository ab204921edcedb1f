"""The prebuilt queries as methods: one for each question that an operations platform asks, reads and writes."""

from __future__ import annotations

from db_utils.operational.absences import AbsenceQueries
from db_utils.operational.alerts import AlertQueries
from db_utils.operational.anomalies import AnomalyQueries
from db_utils.operational.attendance import AttendanceQueries
from db_utils.operational.cached import CachedPredictionQueries
from db_utils.operational.demand import DemandQueries
from db_utils.operational.employees import EmployeeQueries
from db_utils.operational.errors import DifferentValuesError, UnknownReferenceError, WrongStateError
from db_utils.operational.events import EventQueries
from db_utils.operational.external_factors import ExternalFactorQueries
from db_utils.operational.forecasts import ForecastQueries
from db_utils.operational.kpis import KpiQueries
from db_utils.operational.metrics import MetricQueries
from db_utils.operational.optimization import OptimizationQueries
from db_utils.operational.organizations import OrganizationQueries
from db_utils.operational.plans import PlanQueries
from db_utils.operational.records import (
    AbsenceForecastRecord,
    AnomalyRecord,
    AttendanceRecord,
    DemandForecastRecord,
    DemandRecord,
    EventRecord,
    FactorRecord,
    MetricRecord,
)
from db_utils.operational.resources import ResourceQueries
from db_utils.operational.shifts import ShiftQueries

__all__ = [
    "AbsenceForecastRecord",
    "AnomalyRecord",
    "AttendanceRecord",
    "DemandForecastRecord",
    "DemandRecord",
    "DifferentValuesError",
    "EventRecord",
    "FactorRecord",
    "MetricRecord",
    "OperationalDataQueries",
    "UnknownReferenceError",
    "WrongStateError",
]


class OperationalDataQueries(
    OrganizationQueries,
    ResourceQueries,
    EmployeeQueries,
    EventQueries,
    DemandQueries,
    MetricQueries,
    AttendanceQueries,
    ShiftQueries,
    PlanQueries,
    ForecastQueries,
    AnomalyQueries,
    AbsenceQueries,
    CachedPredictionQueries,
    ExternalFactorQueries,
    OptimizationQueries,
    AlertQueries,
    KpiQueries,
):
    """Every prebuilt query, on a manager, a tenant scope or a transaction.

    `OperationalDataQueries(db)` sees all organizations, `OperationalDataQueries(db.tenant(organization_id))` one;
    the statements are the same. Identifiers are UUIDs or their text. Times go in aware and come back in UTC; a period
    is `days` (a multiple of 24 hours) or `start` and `end`, half-open. Reads return plain dicts, one a row; an
    unknown organization is a `NotFoundError`, an unknown resource or product an empty list. Writes are all or nothing.
    Numbers come back as `Decimal`, exact; divide them before you round them.
    """
