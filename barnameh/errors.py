"""Errors of the services; each message is one sentence that says what to change."""

from __future__ import annotations


class ServiceError(Exception):
    """Base class of the services' errors."""


class UsageError(ServiceError):
    """The request is invalid."""


class CustomerLoginError(UsageError):
    """A customer's login, which cannot act in a scope, was used for a service."""

    def __init__(self) -> None:
        super().__init__(
            "a customer's login is for SQL: use the owner's, or an application's own login (docs/tenants.md)"
        )


class SourceError(ServiceError):
    """A source was unreachable, refused, or sent an unreadable answer. The next run tries again."""


class QuotaError(SourceError):
    """The request quota of a source is used up for now; no request was sent."""


class AnswerError(SourceError):
    """A source's answer does not match its documentation; nothing of it is stored."""
