"""Settings of the services other than the database's, from the environment and `.env`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from dotenv import dotenv_values

from barnameh.errors import UsageError


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of the services; secrets are excluded from `repr`."""

    contact: str = ""
    """BARNAMEH_CONTACT: a contact address for the User-Agent sent to sources."""
    open_meteo_api_key: str | None = field(default=None, repr=False)
    """OPEN_METEO_API_KEY: for commercial use."""
    fred_api_key: str | None = field(default=None, repr=False)
    """FRED_API_KEY."""
    entsoe_token: str | None = field(default=None, repr=False)
    """ENTSOE_TOKEN."""
    convex_url: str | None = None
    """CONVEX_URL: the deployment that dashboards read, such as https://happy-otter-123.convex.cloud."""
    convex_deploy_key: str | None = field(default=None, repr=False)
    """CONVEX_DEPLOY_KEY: its deploy key (of a self-hosted deployment, the admin key)."""
    connector_hosts: Mapping[str, str] = field(default_factory=dict)
    """CONNECTOR_HOSTS: addresses of sources: api.open-meteo.com=http://mirror:8080, separated by commas."""

    @classmethod
    def from_environment(cls) -> ServiceSettings:
        """Read the settings; `UsageError` if one is invalid."""
        values = {**dotenv_values(".env"), **os.environ}

        def text(name: str) -> str | None:
            return (values.get(name) or "").strip() or None

        hosts = {}
        for pair in (text("CONNECTOR_HOSTS") or "").split(","):
            host, _, address = pair.strip().partition("=")
            if pair.strip() and not address.startswith(("http://", "https://")):
                raise UsageError(
                    f"CONNECTOR_HOSTS has {pair.strip()!r}: give host=http://address, separated by commas"
                )
            if host:
                hosts[host] = address
        return cls(
            contact=text("BARNAMEH_CONTACT") or "",
            open_meteo_api_key=text("OPEN_METEO_API_KEY"),
            fred_api_key=text("FRED_API_KEY"),
            entsoe_token=text("ENTSOE_TOKEN"),
            convex_url=text("CONVEX_URL"),
            convex_deploy_key=text("CONVEX_DEPLOY_KEY"),
            connector_hosts=hosts,
        )
