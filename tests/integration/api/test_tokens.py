"""Tokens of an identity provider: their organization, and invalid ones; its keys come from a loopback server."""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import http.server
import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from barnameh.api import tokens
from barnameh.api.settings import ApiSettings
from db_utils import DatabaseManager
from tests.support.api import OPERATIONS, Api, api_on

ISSUER, AUDIENCE = "https://login.example", "barnameh"


class Provider:
    """Signs tokens, and publishes its public keys."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.published: dict[str, Any] = {"rsa": self.rsa.public_key(), "ec": self.ec.public_key()}
        self.asked = 0
        self.page: bytes | None = None
        """The response instead, if any."""
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                body = provider.page if provider.page is not None else provider.document()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def document(self) -> bytes:
        keys = []
        for key_id, key in self.published.items():
            algorithm = (
                jwt.algorithms.RSAAlgorithm if key_id.startswith("rsa") else jwt.algorithms.ECAlgorithm
            )
            keys.append({**algorithm.to_jwk(key, as_dict=True), "kid": key_id, "use": "sig"})
        return json.dumps({"keys": keys}).encode()

    def token(
        self, key: Any = None, key_id: str | None = "rsa", algorithm: str = "RS256", /, **claims: Any
    ) -> str:
        now = dt.datetime.now(dt.UTC)
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ada",
            "exp": now + dt.timedelta(minutes=5),
            **claims,
        }
        payload = {name: value for name, value in payload.items() if value is not None}
        headers = {} if key_id is None else {"kid": key_id}
        return jwt.encode(payload, self.rsa if key is None else key, algorithm, headers=headers)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def api(seeded_database: DatabaseManager, provider: Provider) -> Iterator[Api]:
    settings = ApiSettings(
        rate_per_second=0, concurrency=0, jwks_url=provider.url, jwt_issuer=ISSUER, jwt_audience=AUDIENCE
    )
    with api_on(seeded_database, settings) as api:
        yield api


def status(api: Api, token: str) -> int:
    return api.get("get_locations", key=token).status_code


def test_a_token_opens_its_organization_in_its_role(api: Api, provider: Provider) -> None:
    mine = str(api.organization_id)
    reader = provider.token(organization_id=mine)
    assert api.get("get_locations", key=reader).json() == api.get("get_locations").json()
    alert = {"title": "x", "severity": "high", "alert_type": "t"}
    assert api.post("raise_alert", alert, key=reader).status_code == 403
    assert status(api, provider.token(provider.ec, "ec", "ES256", organization_id=mine)) == 200
    writer = provider.token(organization_id=mine, barnameh_role="writer")
    assert api.post("raise_alert", alert, key=writer).status_code == 200
    # An unknown role counts as the lesser one.
    assert (
        api.post(
            "raise_alert", alert, key=provider.token(organization_id=mine, barnameh_role="admin")
        ).status_code
        == 403
    )
    # API keys still work.
    assert api.get("get_locations").status_code == 200


def test_another_organization_is_one_that_does_not_exist(api: Api, provider: Provider) -> None:
    mine, foreign = api.organization_id, next(iter(api.others))
    token = provider.token(organization_id=str(foreign))
    answers = [
        api.client.get(
            api.path(OPERATIONS["get_locations"], organization), headers={"authorization": f"Bearer {token}"}
        )
        for organization in (mine, uuid.uuid4(), foreign)
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 200]
    assert answers[0].content == answers[1].content
    # An unknown organization gives empty results, and reveals nothing.
    nobody = uuid.uuid4()
    path = api.path(OPERATIONS["get_locations"], nobody)
    token = provider.token(organization_id=str(nobody))
    assert api.client.get(path, headers={"authorization": f"Bearer {token}"}).json()["data"] == []


def unsigned(claims: dict[str, Any], algorithm: str) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': algorithm, 'typ': 'JWT', 'kid': 'rsa'})}.{part(claims)}."


def signed_with_public_key(claims: dict[str, Any], public: bytes) -> str:
    """Signed with published data only, for a verifier that lets the token choose the algorithm."""
    signed = unsigned(claims, "HS256").rstrip(".")
    signature = hmac.digest(public, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def test_tokens_that_open_nothing(api: Api, provider: Provider) -> None:
    mine = str(api.organization_id)
    soon = int((dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)).timestamp())
    past = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": soon, "organization_id": mine}
    public = provider.rsa.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    good = provider.token(organization_id=mine)
    head, body, signature = good.split(".")
    other_body = provider.token(organization_id=str(next(iter(api.others)))).split(".")[1]
    refused = {
        "signed by another key under the same id": provider.token(stranger, organization_id=mine),
        "a key id that nobody has": provider.token(None, "gone", organization_id=mine),
        "no key id": provider.token(None, None, organization_id=mine),
        "alg none": unsigned(claims, "none"),
        "alg None": unsigned(claims, "None"),
        "the public key as a shared secret": signed_with_public_key(claims, public),
        "a shared secret": provider.token(b"s" * 32, "rsa", "HS256", organization_id=mine),
        "another algorithm of the same key": provider.token(
            provider.rsa, "rsa", "RS512", organization_id=mine
        ),
        "another kind of key under the id": provider.token(provider.ec, "rsa", "ES256", organization_id=mine),
        "expired": provider.token(organization_id=mine, exp=past),
        "never expires": provider.token(organization_id=mine, exp=None),
        "expires beyond all years": provider.token(organization_id=mine, exp=10**15),
        "not yet good": provider.token(organization_id=mine, nbf=soon),
        "another issuer": provider.token(organization_id=mine, iss="https://evil.example"),
        "another audience": provider.token(organization_id=mine, aud="other"),
        "no subject": provider.token(organization_id=mine, sub=None),
        "no organization": provider.token(),
        "an organization that is no id": provider.token(organization_id="Sample Manufacturing"),
        "a list of organizations": provider.token(organization_id=[mine]),
        "a body of another token": f"{head}.{other_body}.{signature}",
        "no signature": f"{head}.{body}.",
        "nothing at all": "..",
        "no JSON": "YQ.YQ.YQ",
    }
    assert status(api, good) == 200
    answers = {what: status(api, token) for what, token in refused.items()}
    assert answers == dict.fromkeys(refused, 401)


def test_a_token_that_is_remembered_ends_when_it_says(api: Api, provider: Provider) -> None:
    ring = api.client.app.service.keys  # type: ignore[attr-defined]
    token = provider.token(organization_id=str(api.organization_id))
    assert status(api, token) == 200
    caller = ring.known(token)
    assert caller is not None
    ring.remember(
        token, type(caller)(caller.organization_id, caller.key, caller.role, dt.datetime.now(dt.UTC))
    )
    assert ring.known(token) is None


def test_one_token_asks_as_often_as_a_key_may(api: Api, provider: Provider) -> None:
    """Only unknown callers count as strangers, of which an address may try few."""
    token = provider.token(organization_id=str(api.organization_id))
    assert {status(api, token) for _ in range(60)} == {200}


def test_the_providers_keys_are_asked_for_seldom(
    api: Api, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = str(api.organization_id)
    for number in range(5):
        assert status(api, provider.token(organization_id=mine, jti=str(number))) == 200
    assert provider.asked == 1
    for number in range(5):
        assert status(api, provider.token(None, f"unknown{number}", organization_id=mine)) == 401
    assert provider.asked == 1  # the keys were fetched within the minute
    found = api.client.app.service.tokens  # type: ignore[attr-defined]
    found._keys.cooldown_duration = 0  # the minute is over
    fresh = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    provider.published["rsa2"] = fresh.public_key()
    assert status(api, provider.token(fresh, "rsa2", organization_id=mine)) == 200
    assert provider.asked == 2


def test_a_provider_that_fails_is_no_verdict_on_the_token(
    api: Api, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = str(api.organization_id)
    monkeypatch.setattr(tokens, "UNREACHABLE_SECONDS", 0.0)
    for page in (b"<html>", b"[]", b"{}", b'{"keys": []}', b'{"keys": [{"kty": "oct"}]}'):
        provider.page = page
        answer = api.get("get_locations", key=provider.token(organization_id=mine))
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5"), page
    provider.page = None
    assert status(api, provider.token(organization_id=mine)) == 200
    # Known keys are enough while the provider is down; it is not queried repeatedly.
    monkeypatch.setattr(tokens, "UNREACHABLE_SECONDS", 1e9)
    api.client.app.service.tokens._keys.cooldown_duration = 0  # type: ignore[attr-defined]
    provider.page = b"<html>"
    asked = provider.asked
    assert status(api, provider.token(None, "unknown", organization_id=mine)) == 503
    assert status(api, provider.token(None, "unknown", organization_id=mine, jti="2")) == 503
    assert status(api, provider.token(organization_id=mine, jti="3")) == 200
    assert provider.asked == asked + 1
