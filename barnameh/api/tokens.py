"""Optional tokens of your own identity provider (JWT), verified with its published public keys (JWKS)."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from typing import Any

from barnameh.api.keys import ROLES, Caller, unauthorized
from barnameh.api.problems import Problem
from barnameh.api.settings import ApiSettings

ALGORITHMS = ("RS256", "ES256")
"""Signed with a private key that only the provider has; never with a shared secret, nor unsigned."""
KEYS_KEPT_SECONDS = 600
LOOKED_AGAIN_SECONDS = 60
"""Minimum interval between fetches of the provider's keys for tokens with an unknown key."""
UNREACHABLE_SECONDS = 5.0
"""Time until the next attempt after a failed fetch."""


class Tokens:
    """Authenticates tokens. Needs PyJWT."""

    def __init__(self, settings: ApiSettings) -> None:
        import jwt

        assert settings.jwks_url is not None
        self._settings = settings
        self._jwt: Any = jwt
        self._keys: Any = jwt.PyJWKClient(
            settings.jwks_url,
            cache_jwk_set=True,
            lifespan=KEYS_KEPT_SECONDS,
            timeout=5,
            cooldown_duration=LOOKED_AGAIN_SECONDS,
        )
        self._not_before = 0.0

    def find(self, token: str) -> Caller:
        """Return the caller. Raises `Problem` 401 for an invalid token, 503 if the keys are unavailable."""
        settings = self._settings
        try:
            key = self._key(self._jwt.get_unverified_header(token).get("kid"))
            claims = self._jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            organization_id = uuid.UUID(str(claims[settings.jwt_organization_claim]))
            expires_at = dt.datetime.fromtimestamp(claims["exp"], dt.UTC)
        except (self._jwt.PyJWTError, KeyError, ValueError, OverflowError):
            raise unauthorized("The token is invalid, or has no organization.") from None
        role = claims.get(settings.jwt_role_claim)
        return Caller(
            organization_id,
            f"jwt {claims['sub']}"[:100],
            role if role in ROLES else "reader",
            expires_at,
        )

    def _key(self, key_id: Any) -> Any:
        """Return the provider's public key with this id. Raises `Problem` 503 if its keys are unavailable."""
        provider, errors = self._keys, self._jwt
        if provider.jwk_set_cache.get() is not None:
            known = provider.match_kid(provider.get_signing_keys(), key_id)
            if known is not None:
                return known
        if time.monotonic() < self._not_before:
            raise _unavailable()
        try:
            try:
                provider.get_signing_keys()
            except Exception as error:  # no usable keys: says nothing about the token
                raise errors.PyJWKClientConnectionError(str(error)) from None
            return provider.get_signing_key(key_id)  # with its algorithm, which the token must use
        except (errors.PyJWKClientConnectionError, OSError, ValueError):
            self._not_before = time.monotonic() + UNREACHABLE_SECONDS
            raise _unavailable() from None


def _unavailable() -> Problem:
    return Problem(
        503,
        "keys-unavailable",
        "The token cannot be checked",
        "The identity provider's keys are unavailable at the moment: send it again.",
        headers={"retry-after": "5"},
    )
