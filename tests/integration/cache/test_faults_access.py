"""A server that refuses logins, is shared with others, or is not Redis: the correct answer, and no error."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from uuid import UUID

import pytest
import redis

from db_utils.cache import PredictionCache, PutOutcome
from db_utils.cache.keys import space
from db_utils.embedded import redis_server

from .conftest import (
    KIND,
    Database,
    MakeCache,
    ask,
    own_server,
    prediction,
    wait_until,
)
from .test_truth import key_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("login", [":wrong", "nobody:wrong", ""])
def test_a_wrong_or_missing_password(
    make_cache: MakeCache,
    organization: UUID,
    database: Database,
    login: str,
    warnings_logged: Callable[[], list[str]],
) -> None:
    with redis_server.start("--requirepass", "right") as url:
        cache = make_cache(url.replace("//", f"//{login}@") if login else url)
        for _ in range(10):
            assert ask(cache, organization, database).source == "database"
        assert cache.statistics()["breaker"] == "open"
        wait_until(warnings_logged)  # by the thread that opens connections
        assert len(warnings_logged()) == 1
        assert "wrong" not in warnings_logged()[0].lower().replace("wrongpass", "")


def test_a_user_who_may_only_read(
    make_cache: MakeCache, organization: UUID, database: Database, warnings_logged: Callable[[], list[str]]
) -> None:
    with own_server() as (url, raw):
        raw.acl_setuser(
            "reader", enabled=True, passwords=["+secret"], keys=["pred:v2:*"], commands=["+mget", "+time"]
        )
        make_cache(url).put(organization, KIND, "a", prediction("there"))
        cache = make_cache(url.replace("//", "//reader:secret@"))
        assert ask(cache, organization, database).value == "there"
        for _ in range(3):
            assert ask(cache, organization, database, "b").source == "database"
        assert cache.put(organization, KIND, "a", prediction()) is PutOutcome.REFUSED
        assert cache.statistics()["breaker"] == "closed"
        assert len(warnings_logged()) == 1
        assert "NOPERM" in warnings_logged()[0]


@pytest.mark.parametrize("which", ["entry", "lease", "generation"])
def test_another_application_s_keys_are_neither_used_nor_touched(
    make_cache: MakeCache,
    raw: redis.Redis,
    organization: UUID,
    database: Database,
    which: str,
    warnings_logged: Callable[[], list[str]],
) -> None:
    cache = make_cache(budget_seconds=0.25)
    own = space("pred", organization, KIND)
    name = {"entry": own.key("a"), "lease": own.key("a") + ":!lease", "generation": own.generations[1]}[which]
    raw.rpush(name, "someone", "else's")
    for number in range(3):
        assert ask(cache, organization, database).source == "database"
        assert database.reads == number + 1
    if which != "lease":
        assert cache.put(organization, KIND, "a", prediction()) is PutOutcome.REFUSED
        assert cache.statistics()["errors"] > 0
        assert raw.lrange(name, 0, -1) == [b"someone", b"else's"]
        assert len(warnings_logged()) == 1
    assert cache.get(organization, KIND, "a") is None
    assert cache.statistics()["breaker"] == "closed"


@pytest.mark.parametrize(
    "garbage", [b"", b"hello", b"\x01" * 49, b"\x01\x00" + b"\xff" * 200, b"\x80\x04K\x01.", b"\x07" * 60]
)
def test_bytes_that_cannot_be_decoded_are_a_counted_miss_and_are_replaced(
    cache: PredictionCache, raw: redis.Redis, organization: UUID, database: Database, garbage: bytes
) -> None:
    ask(cache, organization, database, "other")
    tenant, kind = raw.mget(space("pred", organization, KIND).generations)  # type: ignore[misc]
    whole = garbage[:34] + tenant + kind + garbage[50:] if len(garbage) >= 50 else garbage
    raw.set(key_of(organization), whole)
    assert cache.get(organization, KIND, "a") is None
    assert ask(cache, organization, database).source == "database"
    assert cache.statistics()["undecodable"] == (2 if len(garbage) >= 50 else 0)
    assert ask(cache, organization, database).source == "cache"


def test_something_that_is_not_redis(make_cache: MakeCache, organization: UUID, database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        cache = make_cache(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        for _ in range(5):
            assert ask(cache, organization, database).source == "database"
        assert cache.statistics()["breaker"] == "open"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
