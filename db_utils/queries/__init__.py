"""The prebuilt queries as methods: one for each read and write that an operations platform needs."""

from __future__ import annotations

from db_utils.queries.absences import AbsenceQueries
from db_utils.queries.alerts import AlertQueries
from db_utils.queries.anomalies import AnomalyQueries
from db_utils.queries.attendance import AttendanceQueries
from db_utils.queries.cached_predictions import CachedPredictionQueries
from db_utils.queries.demand import DemandQueries
from db_utils.queries.employees import EmployeeQueries
from db_utils.queries.errors import DifferentValuesError, UnknownReferenceError, WrongStateError
from db_utils.queries.events import EventQueries
from db_utils.queries.external_factors import ExternalFactorQueries
from db_utils.queries.forecasts import ForecastQueries
from db_utils.queries.kpis import KpiQueries
from db_utils.queries.metrics import MetricQueries
from db_utils.queries.models import ModelQueries
from db_utils.queries.optimization import OptimizationQueries
from db_utils.queries.organizations import OrganizationQueries
from db_utils.queries.plans import PlanQueries
from db_utils.queries.proposals import ProposalQueries
from db_utils.queries.records import (
    AbsenceForecastRecord,
    AnomalyRecord,
    AttendanceRecord,
    BacktestRecord,
    DemandForecastRecord,
    DemandRecord,
    EventRecord,
    FactorRecord,
    MetricRecord,
)
from db_utils.queries.resources import ResourceQueries
from db_utils.queries.rosters import RosterQueries
from db_utils.queries.shifts import ShiftQueries

__all__ = [
    "AbsenceForecastRecord",
    "AnomalyRecord",
    "AttendanceRecord",
    "BacktestRecord",
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
    ModelQueries,
    AnomalyQueries,
    AbsenceQueries,
    CachedPredictionQueries,
    ExternalFactorQueries,
    RosterQueries,
    OptimizationQueries,
    ProposalQueries,
    AlertQueries,
    KpiQueries,
):
    """Every prebuilt query, on a manager, a tenant scope or a transaction.

    `OperationalDataQueries(db)` sees all organizations, `OperationalDataQueries(db.tenant(organization_id))`
    one; the statements are the same. Identifiers are UUIDs or their text. Times are passed in aware and
    returned in UTC; a period is `days` (a multiple of 24 hours) or `start` and `end`, half-open. Reads return
    plain dicts, one a row; an unknown organization is a `NotFoundError`, an unknown resource or product an
    empty list. Writes are all or nothing. Numbers are returned as exact `Decimal`; divide before rounding.
    """
