"""Errors of the services; each message is one sentence that says what to change."""

from __future__ import annotations


class ServiceError(Exception):
    """Base class of the services' errors."""


class UsageError(ServiceError):
    """The request is invalid."""


class SourceError(ServiceError):
    """A source was unreachable, refused, or sent an unreadable answer. The next run tries again."""


class QuotaError(SourceError):
    """The request quota of a source is used up for now; no request was sent."""


class AnswerError(SourceError):
    """A source's answer does not match its documentation; nothing of it is stored."""
