"""Settings: their sources, invalid values, and no secret in any message."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from db_utils.config import Settings, describe_url, embedded_folder, parse_url
from db_utils.errors import ConfigurationError

SECRET = "s3cr3t-p4ss"


def from_(environment: dict[str, str], dotenv: Path | None = None) -> Settings:
    return Settings.from_environment(environment, dotenv_path=dotenv)


def test_with_nothing_said_the_documented_defaults_hold() -> None:
    settings = from_({})
    assert parse_url(settings.database_url) == {
        "user": "barnameh_user",
        "password": "barnameh_password",
        "host": "localhost",
        "port": "5432",
        "dbname": "barnameh_ops",
    }
    assert settings.redis_url == "redis://localhost:6379/0"
    assert not settings.is_configured


def test_the_postgres_variables_make_a_url_and_special_characters_survive() -> None:
    settings = from_(
        {
            "POSTGRES_HOST": "db.example",
            "POSTGRES_PORT": "5433",
            "POSTGRES_DB": "a b",
            "POSTGRES_USER": "u@x",
            "POSTGRES_PASSWORD": "p:/?#[]@ %ü",
        }
    )
    assert parse_url(settings.database_url) == {
        "user": "u@x",
        "password": "p:/?#[]@ %ü",
        "host": "db.example",
        "port": "5433",
        "dbname": "a b",
    }
    assert settings.is_configured


@pytest.mark.parametrize("host", ["/var/run/postgresql", "::1"])
def test_sockets_and_ipv6_addresses_are_hosts_too(host: str) -> None:
    assert parse_url(from_({"POSTGRES_HOST": host}).database_url)["host"] == host


def test_a_url_wins_over_the_single_variables() -> None:
    settings = from_({"DATABASE_URL": "postgresql+psycopg2://u:p@h/d", "POSTGRES_HOST": "elsewhere"})
    assert parse_url(settings.database_url) == {"user": "u", "password": "p", "host": "h", "dbname": "d"}


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("POSTGRES_HOST=from-file\nPOSTGRES_DB=from-file\nREDIS_URL=\n", encoding="utf-8")
    settings = from_({"POSTGRES_HOST": "from-environment"}, file)
    assert parse_url(settings.database_url)["host"] == "from-environment"
    assert parse_url(settings.database_url)["dbname"] == "from-file"
    assert settings.redis_url is None
    assert settings.is_configured


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"POSTGRES_HOST=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match=r"\.env"):
        from_({}, file)


def test_all_bad_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_(
            {
                "POSTGRES_PORT": "many",
                "DB_POOL_MAX_CONNECTIONS": "0",
                "DB_STATEMENT_TIMEOUT_SECONDS": "soon",
                "DB_SSLMODE": "yes",
                "REDIS_URL": "http://x",
            }
        )
    for name in (
        "POSTGRES_PORT",
        "DB_POOL_MAX_CONNECTIONS",
        "DB_STATEMENT_TIMEOUT_SECONDS",
        "DB_SSLMODE",
        "REDIS_URL",
    ):
        assert name in str(caught.value)


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e99", "", "1s", "٣x"])
def test_durations_are_plain_numbers_of_seconds(value: str) -> None:
    environment = {"DB_LOCK_TIMEOUT_SECONDS": value}
    if value == "":
        assert from_(environment).lock_timeout_seconds == 10.0
    else:
        with pytest.raises(ConfigurationError, match="DB_LOCK_TIMEOUT_SECONDS"):
            from_(environment)


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{SECRET}@h/d",
        f"postgresql://u:{SECRET}@h:notaport/d",
        f"postgresql://u:{SECRET}@h:99999/d",
        f"postgresql://u:{SECRET}@[h/d",
        f"postgresql://u:{SECRET}@h/d?nonsense=1",
        f"host=h password={SECRET} nonsense",
        SECRET,
    ],
)
def test_a_bad_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as caught:
        from_({"DATABASE_URL": url})
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert SECRET not in describe_url(url)


def test_no_secret_in_any_text_of_the_settings() -> None:
    settings = from_(
        {
            "DATABASE_URL": f"postgresql://u:{SECRET}@h/d?sslpassword={SECRET}",
            "DATABASE_REPLICA_URL": f"postgresql://u:{SECRET}@r/d",
            "REDIS_URL": f"redis://:{SECRET}@h/0",
        }
    )
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)
    assert SECRET not in settings.safe_url
    assert settings.safe_url == "postgresql://u@h/d"
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_session_settings_travel_with_the_connection() -> None:
    parameters = Settings(
        database_url="postgresql://h/d?options=-c%20work_mem%3D64MB&application_name=mine",
        statement_timeout_seconds=1.5,
        lock_timeout_seconds=0,
        idle_in_transaction_timeout_seconds=0.0001,
        connect_timeout_seconds=3,
        sslmode="verify-full",
        sslrootcert="/ca.pem",
    ).connection_parameters()
    options = parameters["options"].split(" -c ")
    assert "statement_timeout=1500" in parameters["options"]
    assert "lock_timeout=0" in options
    assert "idle_in_transaction_session_timeout=1" in options
    assert "jit=off" in options
    assert options[-1] == "work_mem=64MB"  # the URL's own come last and take precedence
    assert parameters["application_name"] == "mine"
    assert parameters["connect_timeout"] == "3"
    assert (parameters["sslmode"], parameters["sslrootcert"]) == ("verify-full", "/ca.pem")
    assert parameters["keepalives"] == "1"


def test_changes_of_unknown_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="colour"):
        Settings().with_changes(colour="red")
    assert Settings().with_changes(pool_max_connections=3).pool_max_connections == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pool_max_connections", 0),
        ("pool_max_connections", "3"),
        ("pool_max_connections", 2.5),
        ("pool_timeout_seconds", -1),
        ("statement_timeout_seconds", "1"),
        ("database_url", 5),
        ("redis_url", 5),
    ],
)
def test_arguments_are_checked_as_the_environment_is(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_a_cache_entry_cannot_be_stale_before_it_is_fresh() -> None:
    with pytest.raises(ConfigurationError, match="CACHE_STALE_SECONDS"):
        Settings(cache_fresh_seconds=10, cache_stale_seconds=5)


def test_passwords_can_come_from_files(tmp_path: Path) -> None:
    database, cache = tmp_path / "database", tmp_path / "cache"
    database.write_text("p@ss: word\n", encoding="utf-8")
    cache.write_text("r=d/s", encoding="utf-8")
    settings = Settings.from_environment(
        {
            "POSTGRES_PASSWORD_FILE": str(database),
            "REDIS_URL": "redis://cache:6379/1",
            "REDIS_PASSWORD_FILE": str(cache),
        },
        dotenv_path=None,
    )
    assert settings.is_configured
    assert settings.connection_parameters()["password"] == "p@ss: word"
    assert settings.redis_url == "redis://:r%3Dd%2Fs@cache:6379/1"


def test_a_redis_url_with_a_password_keeps_it(tmp_path: Path) -> None:
    file = tmp_path / "cache"
    file.write_text("other", encoding="utf-8")
    environment = {"REDIS_URL": "redis://:own@cache:6379/1", "REDIS_PASSWORD_FILE": str(file)}
    settings = Settings.from_environment(environment, dotenv_path=None)
    assert settings.redis_url == "redis://:own@cache:6379/1"


def test_a_password_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"POSTGRES_PASSWORD_FILE names .*missing, which cannot be read"
    ):
        Settings.from_environment({"POSTGRES_PASSWORD_FILE": str(tmp_path / "missing")}, dotenv_path=None)


def test_a_password_and_its_file_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="are both set: keep one of them"):
        Settings.from_environment(
            {"POSTGRES_PASSWORD": "a", "POSTGRES_PASSWORD_FILE": str(tmp_path)}, dotenv_path=None
        )


def test_a_url_that_is_not_utf_8_is_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        parse_url("postgresql://host/\udcff")


def test_an_address_of_an_embedded_server_names_a_folder() -> None:
    assert embedded_folder("embedded:some/folder") == "some/folder"
    assert embedded_folder("postgresql://u:p@h/embedded:x") is None
    assert embedded_folder(None) is None
    with pytest.raises(ConfigurationError, match="write embedded:FOLDER"):
        embedded_folder("embedded:")
