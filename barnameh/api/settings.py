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
    """Each field is read from API_ followed by its name in capitals."""

    database_url: str | None = field(default=None, repr=False)
    """Your own application login; without it `serve` creates one (see `login`)."""
    rate_per_second: float = 50.0
    """Sustained requests per second of one key; 0: no limit."""
    burst: int = 100
    """Requests that a key may make in a burst before the rate applies."""
    concurrency: int = 8
    """Concurrent requests of one key; 0: no limit."""
    streams_per_key: int = 50
    """Concurrent live streams of one key."""
    body_limit_bytes: int = 8 * 1024 * 1024
    statement_timeout_seconds: float = 30.0
    """Timeout of the statements of one response."""
    export_timeout_seconds: float = 3600.0
    """Timeout of a CSV, NDJSON or Arrow download."""
    key_cache_seconds: float = 30.0
    """How long a verified key is cached: a revocation takes effect within this time."""
    jwks_url: str | None = None
    """URL of the public keys of your own tokens (JWT); None: API keys only."""
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_organization_claim: str = "organization_id"
    jwt_role_claim: str = "barnameh_role"

    @classmethod
    def from_environment(cls) -> Self:
        """Read the settings; `UsageError` names all invalid ones."""
        return cls.from_values({**dotenv_values(".env"), **os.environ})

    @classmethod
    def from_values(cls, values: Mapping[str, str | None]) -> Self:
        """Read the settings from this mapping."""
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
                    problems.append(f"{name} is {text!r}: give a number of at least 0")
                given[known.name] = number
            else:
                given[known.name] = text
        settings = cls(**given)
        if settings.jwks_url and not (settings.jwt_issuer and settings.jwt_audience):
            problems.append("API_JWKS_URL needs API_JWT_ISSUER and API_JWT_AUDIENCE")
        if problems:
            raise UsageError("; ".join(problems))
        return settings
