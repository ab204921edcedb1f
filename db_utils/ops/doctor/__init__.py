"""The doctor: what is wrong with this database and its cache, how severe is it, and what fixes it?

It reads only. Each check is a function in its family's module, yields findings, and is listed once in
`CHECKS`.
"""

from __future__ import annotations

from db_utils.ops.doctor.limits import LIMITS
from db_utils.ops.doctor.model import Check, Finding, Fix, Limit, Severity, change_limits
from db_utils.ops.doctor.run import CHECKS, Diagnosis, examine

__all__ = [
    "CHECKS",
    "LIMITS",
    "Check",
    "Diagnosis",
    "Finding",
    "Fix",
    "Limit",
    "Severity",
    "change_limits",
    "examine",
]
