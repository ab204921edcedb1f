"""Settings: read in one place, from arguments, the environment and `.env`, all problems reported at once."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg2
import psycopg2.extensions
from dotenv import dotenv_values

from db_utils.errors import ConfigurationError

_POOLER_MODES = ("transaction", "session")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_DATABASE_VARIABLES = (
    "DATABASE_URL",
    "POSTGRES_HOST",
    "POSTGRES_PORT",
    "POSTGRES_DB",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_PASSWORD_FILE",
)
_REDIS_SCHEMES = (
    "redis://",
    "rediss://",
    "unix://",
    "redis+sentinel://",
    "rediss+sentinel://",
    "redis+cluster://",
    "rediss+cluster://",
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings, with their defaults. Secrets are left out of `repr`.

    Durations are seconds; 0 means no limit for the timeouts, and "always" for `pool_idle_check_seconds`.
    """

    database_url: str = field(
        default="postgresql://barnameh_user:barnameh_password@localhost:5432/barnameh_ops", repr=False
    )
    """DATABASE_URL, a postgresql:// URL, or POSTGRES_HOST, _PORT, _DB, _USER and _PASSWORD (or _PASSWORD_FILE)."""
    replica_url: str | None = field(default=None, repr=False)
    """A read replica for reads outside a transaction. DATABASE_REPLICA_URL."""
    replica_max_lag_seconds: float = 10.0
    """DATABASE_REPLICA_MAX_LAG_SECONDS: reads go to the primary when the replica lags by more."""
    redis_url: str | None = field(default="redis://localhost:6379/0", repr=False)
    """The prediction cache; None (an empty REDIS_URL) runs without one."""
    sslmode: str | None = None
    """DB_SSLMODE: disable, allow, prefer, require, verify-ca or verify-full; None leaves it to the URL."""
    sslrootcert: str | None = None
    """DB_SSLROOTCERT: file with the certificate authorities to trust."""
    application_name: str = "db_utils"
    """DB_APPLICATION_NAME: shown in pg_stat_activity."""
    pooler_mode: str = "transaction"
    """DB_POOLER_MODE: how a pooler in front of the server, if one is detected, pools: transaction or session."""
    connect_timeout_seconds: float = 10.0
    statement_timeout_seconds: float = 60.0
    lock_timeout_seconds: float = 10.0
    idle_in_transaction_timeout_seconds: float = 300.0
    pool_max_connections: int = 10
    pool_timeout_seconds: float = 30.0
    pool_max_age_seconds: float = 3600.0
    pool_max_idle_seconds: float = 600.0
    pool_idle_check_seconds: float = 30.0
    slow_query_seconds: float = 1.0
    """DB_SLOW_QUERY_SECONDS: statements slower than this are logged as warnings; 0 logs none."""
    cache_budget_seconds: float = 0.05
    cache_fresh_seconds: float = 86_400.0
    cache_stale_seconds: float = 604_800.0
    is_configured: bool = False
    """Whether the environment or .env configures the database."""
    redis_is_configured: bool = False
    """Whether the environment or .env configures Redis."""

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ConfigurationError("; ".join(problems))

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] | None = None,
        *,
        dotenv_path: str | Path | None = ".env",
        **overrides: Any,
    ) -> Settings:
        """Read the settings from the environment and `.env`.

        `environment` defaults to `os.environ`. Variables of the file at `dotenv_path` (None: no file) apply
        where the environment does not define them. `overrides` are fields of this class and win over both.
        Raises one `ConfigurationError` that names every bad setting.
        """
        values = _collect(os.environ if environment is None else environment, dotenv_path)
        problems: list[str] = []
        arguments: dict[str, Any] = {}
        for name, (variable, parse) in _VARIABLES.items():
            text = values.get(variable, "").strip()
            if not text or name in overrides:
                continue
            try:
                arguments[name] = parse(text)
            except ValueError:
                problems.append(f"{variable} is {text!r}: give {_EXPECTED[parse]}")
        if "database_url" not in overrides:
            arguments["database_url"] = _database_url(values, problems)
        if "redis_url" not in overrides:
            arguments["redis_url"] = _redis_url(values.get("REDIS_URL", cls.redis_url), values, problems)
        arguments["redis_is_configured"] = bool(values.get("REDIS_URL", "").strip())
        arguments["is_configured"] = any(values.get(name, "").strip() for name in _DATABASE_VARIABLES)
        arguments.update(overrides)
        try:
            settings = cls(**arguments)
        except ConfigurationError as error:
            problems.append(str(error))
            settings = None
        if problems or settings is None:
            raise ConfigurationError("; ".join(problems)) from None
        return settings

    def with_changes(self, **changes: Any) -> Settings:
        """Return a copy with `changes` (fields of this class) applied; a change that is None is ignored."""
        known = {item.name for item in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ConfigurationError(f"unknown setting: {', '.join(unknown)}")
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def without_replica(self) -> Settings:
        """Return a copy with all reads on the primary, as the replica may be of another database."""
        return replace(self, replica_url=None)

    @property
    def safe_url(self) -> str:
        """The address of the database without the password, for logs and messages."""
        return describe_url(self.database_url)

    def connection_parameters(self, url: str | None = None) -> dict[str, str]:
        """Return the libpq connection parameters: the parts of the URL, TLS, timeouts and session settings.

        Session settings are sent in the start-up packet and cost no round trip. Times are returned in
        UTC whatever the server's own time zone is.
        """
        parameters = parse_url(self.database_url if url is None else url)
        given = parameters.get("options", "")
        session_options = " ".join(f"-c {name}={value}" for name, value in self._own_session().items())
        parameters["options"] = f"{session_options} {given}".strip()
        parameters.setdefault("connect_timeout", str(max(1, round(self.connect_timeout_seconds))))
        parameters.setdefault("application_name", self.application_name)
        parameters.setdefault("client_encoding", "UTF8")
        for name, value in _KEEPALIVE.items():
            parameters.setdefault(name, value)
        if self.sslmode:
            parameters["sslmode"] = self.sslmode
        if self.sslrootcert:
            parameters["sslrootcert"] = self.sslrootcert
        return parameters

    def session_settings(self, url: str | None = None) -> dict[str, str]:
        """Return the session settings of a connection: those of the library, and those that the URL's `options` set.

        For poolers that do not forward `options`. Raises `ConfigurationError` for an option that sets nothing.
        """
        session = self._own_session()
        words = iter(parse_url(self.database_url if url is None else url).get("options", "").split())
        for word in words:
            setting = next(words, "") if word == "-c" else word.removeprefix("-c").removeprefix("--")
            name, equals, value = setting.partition("=")
            if not equals or not word.startswith("-"):
                raise ConfigurationError(
                    f"the URL's options contain {word!r}: behind a pooler only -c name=value can be kept"
                )
            session[name.replace("-", "_")] = value
        return session

    def _own_session(self) -> dict[str, str]:
        return {
            "statement_timeout": str(_milliseconds(self.statement_timeout_seconds)),
            "lock_timeout": str(_milliseconds(self.lock_timeout_seconds)),
            "idle_in_transaction_session_timeout": str(
                _milliseconds(self.idle_in_transaction_timeout_seconds)
            ),
            "TimeZone": "UTC",
            "IntervalStyle": "postgres",
            "DateStyle": "ISO",
            "standard_conforming_strings": "on",
            # The plans of KPIs over many chunks look expensive and run for milliseconds: compiling them takes seconds.
            "jit": "off",
        }


_KEEPALIVE = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


def _milliseconds(seconds: float) -> int:
    return 0 if seconds == 0 else max(1, round(seconds * 1000))


def parse_url(url: str) -> dict[str, str]:
    """Return the libpq parameters of a URL or a `host=… dbname=…` text.

    Accepts SQLAlchemy's `postgresql+psycopg2://` too. Raises `ConfigurationError`, never quoting the text.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"a database URL is text, not {type(url).__name__}")
    scheme, separator, rest = url.partition("://")
    if separator:
        if scheme.partition("+")[0] not in ("postgresql", "postgres"):
            raise ConfigurationError("the database URL must start with postgresql://")
        url = f"postgresql://{rest}"
    try:
        parameters: dict[str, str] = psycopg2.extensions.parse_dsn(url)
    except (psycopg2.Error, UnicodeEncodeError):
        parameters = {}
    if not parameters and url != "postgresql://":
        raise ConfigurationError(
            "the database URL cannot be read: write postgresql://user:password@host:port/database, "
            "with special characters of the password percent-encoded"
        )
    for port in parameters.get("port", "").split(","):
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            advice = (
                "put an IPv6 address into brackets, as in [::1]:5432"
                if ":" in port
                else "give a number from 1 to 65535"
            )
            raise ConfigurationError(f"the port in the database URL is {port!r}: {advice}")
    return parameters


def describe_url(url: str) -> str:
    """Return this URL without its password and other secrets."""
    try:
        parameters = parse_url(url)
    except ConfigurationError:
        return "an unreadable database URL"
    user = quote(parameters.get("user", ""), safe="")
    host = parameters.get("host", "")
    port = parameters.get("port", "")
    extra = {}
    if host.startswith("/"):
        extra = {"host": host, "port": port} if port else {"host": host}
        host = port = ""
    if ":" in host and "," not in host:
        host = f"[{host}]"
    place = f"{host}:{port}" if port else host
    tail = f"?{urlencode(extra, safe='/')}" if extra else ""
    database = quote(parameters.get("dbname", ""), safe="")
    return f"postgresql://{user}{'@' if user else ''}{place}/{database}{tail}"


def _collect(environment: Mapping[str, str], dotenv_path: str | Path | None) -> dict[str, str]:
    values: dict[str, str] = {}
    if dotenv_path is not None and Path(dotenv_path).is_file():
        from_file = dotenv_values(stream=io.StringIO(_text_of(Path(dotenv_path))))
        values.update({name: value for name, value in from_file.items() if value is not None})
    values.update(environment)
    return values


def _text_of(path: Path) -> str:
    """Return the text of a settings file in UTF-8, with or without a byte order mark. Raises `ConfigurationError`."""
    try:
        data = path.read_bytes()
        if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
            raise ConfigurationError(
                f"{path} is not in UTF-8 but in UTF-16, as PowerShell's > and some editors write it: save it as UTF-8"
            )
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} cannot be read, as it is not in UTF-8: save it as UTF-8") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}") from None


def _database_url(values: Mapping[str, str], problems: list[str]) -> str:
    url = values.get("DATABASE_URL", "").strip()
    if url:
        return url
    port = values.get("POSTGRES_PORT", "").strip() or "5432"
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        problems.append(f"POSTGRES_PORT is {port!r}: give a number from 1 to 65535")
        port = "5432"
    host = values.get("POSTGRES_HOST", "").strip() or "localhost"
    database = quote(values.get("POSTGRES_DB", "").strip() or "barnameh_ops", safe="")
    user = quote(values.get("POSTGRES_USER", "").strip() or "barnameh_user", safe="")
    password = quote(_secret("POSTGRES_PASSWORD", values, problems) or "barnameh_password", safe="")
    if host.startswith("/"):
        return f"postgresql://{user}:{password}@/{database}?host={quote(host, safe='/')}&port={port}"
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]  # an IPv6 address, as URLs and BIND_ADDRESS have it
    place = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"postgresql://{user}:{password}@{place}:{port}/{database}"


def _secret(variable: str, values: Mapping[str, str], problems: list[str]) -> str:
    """Return a password, or the content of the file that holds it without its last line break."""
    file = values.get(f"{variable}_FILE", "").strip()
    if not file:
        return values.get(variable, "")
    if values.get(variable):
        problems.append(f"{variable} and {variable}_FILE are both set: keep one of them")
        return ""
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{variable}_FILE names {file}, which cannot be read ({type(error).__name__})")
        return ""


def _redis_url(url: str | None, values: Mapping[str, str], problems: list[str]) -> str | None:
    """Return this URL; where it names no user or password, with the one of REDIS_PASSWORD_FILE."""
    url = (url or "").strip()
    scheme, separator, place = url.partition("://")
    if not separator or "@" in place or not values.get("REDIS_PASSWORD_FILE", "").strip():
        return url or None
    password = quote(_secret("REDIS_PASSWORD", values, problems), safe="")
    return f"{scheme}://:{password}@{place}"


def _seconds(text: str) -> float:
    value = float(_decimal_digits(text))
    if not 0 <= value < 10_000_000:
        raise ValueError(text)
    return value


def _decimal_digits(text: str) -> str:
    """Return this text; Python would read 1_000 as well, which a shell or Compose would not."""
    if "_" in text:
        raise ValueError(text)
    return text


def _count(text: str) -> int:
    value = int(_decimal_digits(text))
    if value < 1:
        raise ValueError(text)
    return value


def _ssl_mode(text: str) -> str:
    if text not in _SSL_MODES:
        raise ValueError(text)
    return text


def _pooler_mode(text: str) -> str:
    if text not in _POOLER_MODES:
        raise ValueError(text)
    return text


_EXPECTED: dict[Callable[[str], Any], str] = {
    _seconds: "a number of seconds, 0 or more",
    _count: "a whole number, 1 or more",
    _ssl_mode: f"one of {', '.join(_SSL_MODES)}",
    _pooler_mode: f"one of {', '.join(_POOLER_MODES)}",
    str: "a text",
}

_VARIABLES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "replica_url": ("DATABASE_REPLICA_URL", str),
    "replica_max_lag_seconds": ("DATABASE_REPLICA_MAX_LAG_SECONDS", _seconds),
    "sslmode": ("DB_SSLMODE", _ssl_mode),
    "sslrootcert": ("DB_SSLROOTCERT", str),
    "application_name": ("DB_APPLICATION_NAME", str),
    "pooler_mode": ("DB_POOLER_MODE", _pooler_mode),
    "connect_timeout_seconds": ("DB_CONNECT_TIMEOUT_SECONDS", _seconds),
    "statement_timeout_seconds": ("DB_STATEMENT_TIMEOUT_SECONDS", _seconds),
    "lock_timeout_seconds": ("DB_LOCK_TIMEOUT_SECONDS", _seconds),
    "idle_in_transaction_timeout_seconds": ("DB_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS", _seconds),
    "pool_max_connections": ("DB_POOL_MAX_CONNECTIONS", _count),
    "pool_timeout_seconds": ("DB_POOL_TIMEOUT_SECONDS", _seconds),
    "pool_max_age_seconds": ("DB_POOL_MAX_AGE_SECONDS", _seconds),
    "pool_max_idle_seconds": ("DB_POOL_MAX_IDLE_SECONDS", _seconds),
    "pool_idle_check_seconds": ("DB_POOL_IDLE_CHECK_SECONDS", _seconds),
    "slow_query_seconds": ("DB_SLOW_QUERY_SECONDS", _seconds),
    "cache_budget_seconds": ("CACHE_BUDGET_SECONDS", _seconds),
    "cache_fresh_seconds": ("CACHE_FRESH_SECONDS", _seconds),
    "cache_stale_seconds": ("CACHE_STALE_SECONDS", _seconds),
}


def _is_bare_ipv6(url: str) -> bool:
    """Whether the only host of this URL has colons and no brackets."""
    host = re.split(r"[/?#]", url.partition("://")[2])[0].rpartition("@")[2]
    return host.count(":") > 1 and not host.startswith("[") and "," not in host


def embedded_folder(url: str | None) -> str | None:
    """Return the folder that `embedded:FOLDER` names, or None for any other address.

    Raises `ConfigurationError` where no folder follows.
    """
    if url is None or not url.startswith("embedded:"):
        return None
    if url == "embedded:":
        raise ConfigurationError("--url embedded: has no folder: write embedded:FOLDER")
    return url.removeprefix("embedded:")


def _problems(settings: Settings) -> list[str]:
    problems = []
    for name in ("database_url", "replica_url"):
        url = getattr(settings, name)
        variable = "DATABASE_URL" if name == "database_url" else "DATABASE_REPLICA_URL"
        if url is None:
            continue
        try:
            parse_url(url)
        except ConfigurationError as error:
            problems.append(f"{variable}: {error}")
    if settings.redis_url is not None and not str(settings.redis_url).startswith(_REDIS_SCHEMES):
        problems.append(
            f"REDIS_URL must start with one of {', '.join(_REDIS_SCHEMES)}, or be empty for no cache"
        )
    elif settings.redis_url is not None and _is_bare_ipv6(str(settings.redis_url)):
        problems.append("REDIS_URL names an IPv6 address without brackets: write redis://[::1]:6379/0")
    for name, (variable, parse) in _VARIABLES.items():
        value = getattr(settings, name)
        if parse is str or value is None:
            continue
        try:
            if isinstance(value, str) is not (parse in (_ssl_mode, _pooler_mode)):
                raise ValueError(value)
            parse(str(value))
        except ValueError:
            problems.append(f"{variable} is {value!r}: give {_EXPECTED[parse]}")
    if settings.cache_stale_seconds < settings.cache_fresh_seconds:
        problems.append(
            "CACHE_STALE_SECONDS is shorter than CACHE_FRESH_SECONDS: an entry is fresh first, then stale"
        )
    return problems
