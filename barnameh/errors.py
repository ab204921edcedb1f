"""Errors of the services, each one sentence that says what to change."""

from __future__ import annotations


class ServiceError(Exception):
    """Base class: what a service could not do, in one sentence."""


class UsageError(ServiceError):
    """What was asked for cannot be done like this."""


class SourceError(ServiceError):
    """A source could not be reached, refused, or answered what nobody can read. The next run tries again."""


class QuotaError(SourceError):
    """What may be asked of a source at the moment is used up; nothing was asked."""


class AnswerError(SourceError):
    """A source answered something that is not what it documents; nothing of it is stored."""
