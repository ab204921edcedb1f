"""Tokens of your own identity provider (JWT), as an option: checked with the public keys that it publishes (JWKS)."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from barnameh.api.keys import ROLES, Caller, unauthorized
from barnameh.api.problems import Problem
from barnameh.api.settings import ApiSettings

ALGORITHMS = ("RS256", "ES256")
"""With a private key that only the provider has; nothing that is signed with a shared secret, nor with none."""
KEYS_KEPT_SECONDS = 600


class Tokens:
    """Tells whose token it is. Needs PyJWT."""

    def __init__(self, settings: ApiSettings) -> None:
        import jwt

        assert settings.jwks_url is not None
        self._settings = settings
        self._jwt: Any = jwt
        self._keys = jwt.PyJWKClient(
            settings.jwks_url, cache_jwk_set=True, lifespan=KEYS_KEPT_SECONDS, timeout=5
        )

    def find(self, token: str) -> Caller:
        """The caller. Raises `Problem` 401 for a token that is not good, and 503 where the keys cannot be had."""
        settings = self._settings
        try:
            key = self._keys.get_signing_key_from_jwt(token).key
            claims = self._jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            organization_id = uuid.UUID(str(claims[settings.jwt_organization_claim]))
        except self._jwt.PyJWKClientConnectionError:
            raise Problem(
                503,
                "keys-unavailable",
                "The token cannot be checked",
                "The identity provider's keys cannot be had at the moment: send it again.",
                headers={"retry-after": "5"},
            ) from None
        except (self._jwt.PyJWTError, KeyError, ValueError):
            raise unauthorized("The token is not good, or names no organization.") from None
        role = claims.get(settings.jwt_role_claim)
        return Caller(
            organization_id,
            f"jwt {claims['sub']}"[:100],
            role if role in ROLES else "reader",
            dt.datetime.fromtimestamp(claims["exp"], dt.UTC),
        )
