"""Authentication: wrong, foreign, expired and revoked keys; what is stored of them, and who may see it."""

from __future__ import annotations

import datetime as dt
import uuid

import psycopg2.extensions
import pytest

from barnameh.api import keys, service
from barnameh.api.keys import KeyRing
from barnameh.api.login import application_settings, owns_schema
from barnameh.api.problems import Problem
from barnameh.errors import UsageError
from db_utils import DatabaseManager
from db_utils.errors import PermissionDeniedError
from tests.support.api import OPERATIONS, Api, api_on
from tests.support.query_calls import MANUFACTURING


def refusal(api: Api, key: str | None) -> tuple[int, str]:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    answer = api.client.get(api.path(OPERATIONS["get_locations"]), headers=headers)
    assert answer.status_code != 401 or answer.headers["www-authenticate"].startswith("Bearer")
    return answer.status_code, answer.json().get("detail", "")


def test_without_a_key_or_with_a_wrong_one_nothing_is_answered(api: Api) -> None:
    assert refusal(api, None)[0] == 401
    assert refusal(api, "hello")[0] == 401
    assert refusal(api, api.key[:-1] + ("A" if api.key[-1] != "A" else "B")) == (401, "There is no such key.")
    assert refusal(api, "bn_aaaaaaaaaaaa_" + "A" * 43) == (401, "There is no such key.")
    assert (
        api.client.get(
            api.path(OPERATIONS["get_locations"]), headers={"authorization": f"Basic {api.key}"}
        ).status_code
        == 401
    )


def test_a_foreign_organization_is_answered_as_one_that_does_not_exist(api: Api) -> None:
    foreign, nobody = next(iter(api.others)), uuid.uuid4()
    answers = [
        api.client.get(api.path(operation, organization), headers={"authorization": f"Bearer {api.key}"})
        for operation in OPERATIONS.values()
        if not operation.writes
        for organization in (foreign, nobody)
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


def test_a_reader_does_not_write(api: Api) -> None:
    body = {"title": "x", "severity": "high", "alert_type": "t"}
    assert api.post("raise_alert", body, key=api.reader).status_code == 403
    assert api.get("get_alerts", key=api.reader).status_code == 200


def test_an_expired_key_opens_nothing_and_says_so(api: Api) -> None:
    key, row = keys.create(api.owner, MANUFACTURING, "short", "reader", dt.timedelta(days=1))
    assert refusal(api, key)[0] == 200
    api.owner.execute(
        "UPDATE api_keys SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day' WHERE key_id = %s",
        (row["key_id"],),
    )
    api.client.app.service.keys.forget(key)  # type: ignore[attr-defined]
    assert refusal(api, key) == (401, "The key has expired.")


def test_a_key_that_expires_while_it_is_remembered_opens_nothing(api: Api) -> None:
    key, _ = keys.create(api.owner, MANUFACTURING, "short", "reader", dt.timedelta(days=1))
    ring = KeyRing(api.owner, 1e9)
    caller = ring.find(key)
    assert ring.known(key) == caller
    assert caller.expires_at is not None
    ring._known[key] = (
        keys.Caller(caller.organization_id, caller.key, "reader", dt.datetime.now(dt.UTC)),
        1e18,
    )
    assert ring.known(key) is None


def test_a_revoked_key_opens_nothing_within_the_time_that_is_promised(api: Api) -> None:
    key, row = keys.create(api.owner, MANUFACTURING, "leaked", "writer")
    now = [0.0]
    ring = KeyRing(api.owner, 30, clock=lambda: now[0])
    assert ring.find(key).writes
    assert keys.revoke(api.owner, row["prefix"])["name"] == "leaked"
    assert ring.known(key) is not None
    now[0] = 30.1
    assert ring.known(key) is None
    with pytest.raises(Problem) as refused:
        ring.find(key)
    assert (refused.value.status, refused.value.detail) == (401, "The key was revoked.")
    first = keys.revoke(api.owner, key)["revoked_at"]
    assert keys.revoke(api.owner, str(row["key_id"]))["revoked_at"] == first
    with pytest.raises(UsageError):
        keys.revoke(api.owner, "bn_nothing")


def test_the_key_is_stored_nowhere_and_its_use_is_noted(api: Api) -> None:
    key, row = keys.create(api.owner, MANUFACTURING, "noted", "reader")
    stored = api.owner.execute_query("SELECT * FROM api_keys WHERE key_id = %s", (row["key_id"],))[0]
    assert key not in str(stored)
    assert key.split("_", 2)[2] not in str(stored)
    assert stored["last_used_at"] is None
    refusal(api, key)
    used = api.owner.execute_query("SELECT last_used_at FROM api_keys WHERE key_id = %s", (row["key_id"],))[0]
    assert used["last_used_at"] is not None


def test_the_service_works_as_a_login_without_rights_of_its_own(api: Api) -> None:
    with DatabaseManager(settings=application_settings(api.owner)) as db:
        assert owns_schema(api.owner)
        assert not owns_schema(db)
        for sql in (
            "SELECT * FROM public.api_keys",
            "SELECT * FROM public.locations",
            "SELECT * FROM tenant.api_keys",
        ):
            with pytest.raises(PermissionDeniedError):
                db.execute_query(sql)
        with pytest.raises(PermissionDeniedError):
            db.execute("INSERT INTO public.api_keys DEFAULT VALUES")
        rows = db.tenant(MANUFACTURING).execute_query("SELECT DISTINCT organization_id FROM api_keys")
        assert [row["organization_id"] for row in rows] == [MANUFACTURING]


def test_a_customers_login_sees_no_key_of_others_and_makes_none(api: Api) -> None:
    password = "a long password"
    login = f"keys_{uuid.uuid4().hex[:8]}"
    api.owner.execute("CALL create_tenant_login(%s, %s, %s)", (MANUFACTURING, login, password))
    try:
        url = psycopg2.extensions.make_dsn(api.owner.settings.database_url, user=login, password=password)
        with DatabaseManager(url) as db:
            rows = db.execute_query("SELECT organization_id, secret_sha256 FROM api_keys")
            assert {row["organization_id"] for row in rows} == {MANUFACTURING}
            for sql in (
                "UPDATE api_keys SET role = 'writer'",
                "DELETE FROM api_keys",
                "SELECT * FROM use_api_key('bn_aaaaaaaaaaaa', 'x')",
            ):
                with pytest.raises(PermissionDeniedError):
                    db.execute(sql)
    finally:
        with psycopg2.connect(api.owner.settings.database_url) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CALL drop_tenant_login(%s)", (login,))
        connection.close()


def test_unknown_keys_of_one_address_are_slowed_down(
    seeded_database: DatabaseManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "STRANGERS_PER_SECOND", 0.001)
    with api_on(seeded_database) as api:
        api.get("get_locations")
        answers = [
            refusal(api, f"bn_{number:012d}_" + "A" * 43)[0] for number in range(service.STRANGERS_AT_ONCE)
        ]
        assert answers == [401] * (service.STRANGERS_AT_ONCE - 1) + [429]
        assert api.get("get_locations").status_code == 200  # a known caller does not have to wait
