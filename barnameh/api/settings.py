"""Settings of the API, from the environment and `.env`; docs/api.md lists them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from dotenv import dotenv_values

from barnameh.errors import UsageError


@dataclass(frozen=True)
class ApiSettings:
    """Each field is read from API_ and its name in capitals."""

    database_url: str | None = field(default=None, repr=False)
    """An application's login of your own; without it `serve` makes one (see `login`)."""
    rate_per_second: float = 50.0
    """Requests a second of one key in the long run; 0: no limit."""
    burst: int = 100
    """Requests that a key may make at once before the rate counts."""
    concurrency: int = 8
    """Requests of one key under way at the same time; 0: no limit."""
    streams_per_key: int = 50
    """Live streams of one key at the same time."""
    body_limit_bytes: int = 8 * 1024 * 1024
    statement_timeout_seconds: float = 30.0
    """Longest run of the statements of one answer."""
    export_timeout_seconds: float = 3600.0
    """Longest run of a CSV, NDJSON or Arrow download."""
    key_cache_seconds: float = 30.0
    """How long a key is believed without asking again: a revocation acts within this time."""
    jwks_url: str | None = None
    """Where the public keys of your own tokens (JWT) are; None: API keys only."""
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_organization_claim: str = "organization_id"
    jwt_role_claim: str = "barnameh_role"

    @classmethod
    def from_environment(cls) -> Self:
        """Read them; `UsageError` names every one that cannot be read."""
        return cls.from_values({**dotenv_values(".env"), **os.environ})

    @classmethod
    def from_values(cls, values: Mapping[str, str | None]) -> Self:
        """Take them from this mapping."""
        given: dict[str, Any] = {}
        problems = []
        for known in fields(cls):
            name = f"API_{known.name.upper()}"
            text = (values.get(name) or "").strip()
            if not text:
                continue
            if known.type in ("float", "int"):
                try:
                    number = float(text) if known.type == "float" else int(text)
                except ValueError:
                    number = -1
                if not 0 <= number < 1e12:
                    problems.append(f"{name} is {text!r}: give a number, 0 or more")
                given[known.name] = number
            else:
                given[known.name] = text
        settings = cls(**given)
        if settings.jwks_url and not (settings.jwt_issuer and settings.jwt_audience):
            problems.append("API_JWKS_URL needs API_JWT_ISSUER and API_JWT_AUDIENCE")
        if problems:
            raise UsageError("; ".join(problems))
        return settings
