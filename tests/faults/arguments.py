"""Every prebuilt query, every method of the library and every command with unexpected arguments.

The answer is correct or the error typed, and the database is unchanged afterwards.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import tempfile
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded_with
from hypothesis import strategies as st

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.__main__ import main
from db_utils.errors import DbUtilsError
from tests.faults.findings import Finding
from tests.faults.trial import Trial, timed
from tests.faults.values import anything, texts
from tests.support.query_calls import (
    MANUFACTURING,
    WRITES,
    WRITES_OF_ALL,
    find_facts,
    public_methods,
    read_calls,
)
from tests.support.schema_snapshot import content_hashes

OTHER = uuid.UUID("22222222-2222-2222-2222-222222222222")
ABSENT = uuid.UUID("99999999-9999-4999-8999-999999999999")

Judge = Callable[[Any], str | None]


def run(trial: Trial) -> list[Finding]:
    """Queries, methods, commands; each on a separate database."""
    return [attempt(trial) for attempt in (queries, verbs, commands) if not trial.over()]


def many(
    trial: Trial, name: str, examples: int, strategy: st.SearchStrategy[Any], try_one: Callable[[Any], object]
) -> None:
    """Try hypothesis' examples without shrinking, because failures are counted, not raised."""

    @seeded_with(f"{trial.seed} {name}")
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(strategy)
    def each(drawn: Any) -> None:
        if not trial.over():
            try_one(drawn)

    each()


def attempt(finding: Finding, what: str, act: Callable[[], Any], judge: Judge = lambda answer: None) -> None:
    """Make one call: acknowledged if it returns, fine if its error is typed."""
    finding.attempts += 1
    try:
        complaint = judge(act())
    except DbUtilsError as error:
        # Server messages may quote a value with its line breaks.
        if len(str(error)) > 2000 or (error.sqlstate is None and "\n" in str(error).strip()):
            finding.blame(f"{what}: the message is not one sentence: {str(error)[:100]!r}")
        return
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        finding.blame(
            f"{what}: {type(error).__name__}: {str(error)[:100]!r} in {Path(where.filename).name}:{where.lineno}"
        )
        return
    finding.acknowledged += 1
    if complaint:
        finding.blame(f"{what}: {complaint}")


@contextlib.contextmanager
def nothing_written(db: DatabaseManager, finding: Finding) -> Iterator[None]:
    """Compare the contents of every table before and after."""
    before = content_hashes(db)
    yield
    after = content_hashes(db)
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            finding.lost += 1
            finding.evidence.append(f"{name} was {before.get(name)} and is {after.get(name)}")
    finding.seen = f"{len(after)} tables hash as before"


class TakenBackError(Exception):
    """Rolls back a transaction in which a write is tried."""


def shown(value: object) -> str:
    """Return a value as evidence."""
    return ascii(value)[:60]


# -- prebuilt queries ---------------------------------------------------------------------------------------------


def queries(trial: Trial) -> Finding:
    """Replace one argument of an otherwise valid call by anything."""
    finding = Finding(
        "anything into every prebuilt query",
        "every public method of OperationalDataQueries: one argument of a good call replaced; reads as owner and in a "
        "tenant's scope, writes for an absent organization, in another tenant's scope, and in a transaction that is rolled back",
    )
    with trial.seeded() as db, timed(finding), nothing_written(db, finding):
        facts = find_facts(db)
        reads = [(name, _named(name, args), keywords) for name, args, keywords in read_calls(facts)]
        writes = [(name, _named(name, (MANUFACTURING, *args)), kw) for name, (args, kw) in WRITES.items()]
        writes += [(name, _named(name, args), kw) for name, (args, kw) in WRITES_OF_ALL.items()]
        finding.tried += f" ({len(public_methods())} methods)"
        calls = st.sampled_from([(False, *call) for call in reads] + [(True, *call) for call in writes])

        def try_one(drawn: tuple[Any, str, Any, int]) -> None:
            (is_write, name, named, keywords), where, value, position = drawn
            call = {**named, **keywords}
            argument = sorted(call)[position] if position < len(call) else None  # None: the call stays valid
            if argument:
                call[argument] = value
            what = f"{name}({argument}={shown(value)}) {where}"
            if is_write:
                _write(db, finding, what, name, call, where)
            else:
                scope = {"own scope": MANUFACTURING, "other scope": OTHER}.get(where)
                target = OperationalDataQueries(db.tenant(scope) if scope else db)
                judge: Judge = (
                    _is_foreign if where == "other scope" and argument != "organization_id" else _is_answer
                )
                attempt(finding, what, lambda: getattr(target, name)(**call), judge)

        drawn = st.tuples(
            calls, st.sampled_from(["owner", "own scope", "other scope"]), anything, st.integers(0, 8)
        )
        many(trial, "queries", trial.amount(5_000, 150), drawn, try_one)
    return finding


def _named(name: str, positional: tuple[Any, ...]) -> dict[str, Any]:
    names = list(inspect.signature(getattr(OperationalDataQueries, name)).parameters)[1:]
    return dict(zip(names, positional, strict=False))


def _is_answer(answer: Any) -> str | None:
    answer = getattr(answer, "value", answer)  # of a CachedPrediction
    if answer is None or isinstance(answer, (dict, list, int)) or hasattr(answer, "columns"):
        return None
    return f"answered with a {type(answer).__name__}"


def _is_foreign(answer: Any) -> str | None:
    """Another tenant's scope has none of the requested rows, so no names or titles are returned."""
    answer = getattr(answer, "value", answer)
    rows = answer if isinstance(answer, list) else [answer] if isinstance(answer, dict) else []
    names = ("name", "full_name", "resource_name", "location_name", "title")
    foreign = [row for row in rows if any(row.get(name) for name in names)]
    return f"another tenant's row: {shown(foreign[0])}" if foreign else _is_answer(answer)


def _write(
    db: DatabaseManager, finding: Finding, what: str, name: str, call: dict[str, Any], where: str
) -> None:
    def taken_back() -> None:
        with contextlib.suppress(TakenBackError), db.transaction() as tx:
            getattr(OperationalDataQueries(tx), name)(**call)
            raise TakenBackError

    if where == "owner" or name in WRITES_OF_ALL:
        attempt(finding, what, taken_back)
    elif where == "own scope":
        if call["organization_id"] == MANUFACTURING:
            call["organization_id"] = ABSENT
        attempt(finding, what, lambda: getattr(OperationalDataQueries(db), name)(**call), _wrote_nothing)
    else:
        attempt(
            finding,
            what,
            lambda: getattr(OperationalDataQueries(db.tenant(OTHER)), name)(**call),
            _wrote_nothing,
        )


def _wrote_nothing(answer: Any) -> str | None:
    return None if answer in (None, 0, [], False) else f"says that it wrote: {shown(answer)}"


# -- verbs --------------------------------------------------------------------------------------------------------


def verbs(trial: Trial) -> Finding:
    """Every method, with anything for every argument, reading a table with one row, and loading it."""
    finding = Finding(
        "anything into every verb", "every public method of DatabaseManager, with anything for its arguments"
    )
    with trial.seeded() as db, timed(finding), nothing_written(db, finding):
        import pandas

        table, names = "locations", ["organization_id", "name", "location_type"]
        calls: dict[str, Callable[[Any, Any], Any]] = {
            "execute_query text": lambda a, b: db.execute_query(_no_statement(a), b, timeout_seconds=5),
            "execute_query value": lambda a, b: db.execute_query("SELECT %s AS v", (a,)),
            "execute_query named": lambda a, b: db.execute_query("SELECT %(v)s AS v", {"v": a, str(b): a}),
            "execute_query params": lambda a, b: db.execute_query("SELECT %s AS v", a),
            "execute_query timeout": lambda a, b: db.execute_query("SELECT 1 AS v", timeout_seconds=a),
            "execute text": lambda a, b: db.execute(_no_statement(a), b),
            "execute value": lambda a, b: db.execute(f"UPDATE {table} SET name = name WHERE name = %s AND false", (a,)),
            "execute_many statement": lambda a, b: db.execute_many(_no_statement(a), [(b,)]),
            "execute_many rows": lambda a, b: db.execute_many(f"INSERT INTO {table} ({', '.join(names)}) VALUES %s", _rows(a, b)),
            "execute_many page": lambda a, b: db.execute_many(f"INSERT INTO {table} (name) VALUES %s", [], page_size=a),
            "copy_rows table": lambda a, b: db.copy_rows(a, names, [(b, b, b)]),
            "copy_rows columns": lambda a, b: db.copy_rows(table, a, [(b, b, b)]),
            "copy_rows rows": lambda a, b: db.copy_rows(table, names, _rows(a, b)),
            "upsert_many rows": lambda a, b: db.upsert_many(table, names, _rows(a, b), conflict_columns=names[:2]),
            "upsert_many conflict": lambda a, b: db.upsert_many(table, names, [], conflict_columns=a, update_columns=b),
            "upsert_many table": lambda a, b: db.upsert_many(a, b, [], conflict_columns=names[:2]),
            "stream": lambda a, b: list(db.stream("SELECT %s AS v", (a,), batch_size=b)),
            "stream text": lambda a, b: list(db.stream(_no_statement(a), b)),
            "read_frame": lambda a, b: db.read_frame("SELECT %s AS v", (a,), timezone=b),
            "read_frame text": lambda a, b: db.read_frame(_no_statement(a), b),
            "read_frame backend": lambda a, b: db.read_frame("SELECT 1 AS v", backend=a, decimals=b),
            "write_frame": lambda a, b: db.write_frame(a, b),
            "write_frame column": lambda a, b: db.write_frame(
                table, pandas.DataFrame({"name": pandas.Series([a, b], dtype=object)})
            ),
            "tenant": lambda a, b: db.tenant(a).execute_query("SELECT %s AS v", (b,)),
            "tenant write": lambda a, b: db.tenant(OTHER).copy_rows(table, names, [(MANUFACTURING, a, b)]),
            "transaction": lambda a, b: _in_transaction(db, a, b),
            "listen": lambda a, b: list(db.listen(a, timeout_seconds=0.001 if b else b)) if b is not None else [],
            "health": lambda a, b: db.health(timeout_seconds=a),
            "wait": lambda a, b: db.wait(a),
        }  # fmt: skip

        def try_one(drawn: tuple[str, Any, Any]) -> None:
            name, a, b = drawn
            judge: Judge = lambda answer: None  # noqa: E731
            if name in ("execute_query value", "stream") and isinstance(a, (str, uuid.UUID, bytes, bool)):
                judge = lambda answer: None if _came_back(answer, a) else f"came back as {shown(answer)}"  # noqa: E731
            attempt(finding, f"{name} {shown(a)} {shown(b)}", lambda: calls[name](a, b), judge)

        drawn = st.tuples(st.sampled_from(sorted(calls)), anything, anything)
        many(trial, "verbs", trial.amount(5_000, 150), drawn, try_one)
        if db.pool_stats().in_use:
            finding.blame(f"{db.pool_stats().in_use} connections never came back to the pool")
    return finding


def _no_statement(text: Any) -> Any:
    """As a statement an injection would be executed, so it is turned into a comparison."""
    return f"SELECT {text}" if isinstance(text, str) and ";" in text and "'" not in text else text


def _rows(a: Any, b: Any) -> Any:
    """Rows of an organization that does not exist, or anything."""
    return [(ABSENT, a, b), (ABSENT, b, a)] if isinstance(a, (str, int, float)) else a


def _in_transaction(db: DatabaseManager, isolation: Any, value: Any) -> Any:
    with db.transaction(isolation=isolation, read_only=True) as tx:
        return tx.execute_query("SELECT %s AS v", (value,))


def _came_back(answer: Any, value: Any) -> bool:
    (row,) = answer
    found = row["v"]
    return bool(
        (uuid.UUID(found) if isinstance(value, uuid.UUID) and isinstance(found, str) else found) == value
    )


# -- commands -----------------------------------------------------------------------------------------------------

NAME = "Sample Manufacturing"


def commands(trial: Trial) -> Finding:
    """The commands in this process, with arguments and files generated by hypothesis."""
    finding = Finding(
        "anything into every command",
        "status, verify, migrate --plan, reset without --yes, seed, export, import, backup, restore, doctor, smoke, with "
        "generated options and files",
    )
    with (
        trial.seeded() as db,
        timed(finding),
        tempfile.TemporaryDirectory(prefix="db_utils-faults-") as folder,
        contextlib.chdir(folder),
        _environment(DATABASE_URL=db.settings.database_url, REDIS_URL=""),
        nothing_written(db, finding),
    ):
        file = Path(folder) / "given.csv"

        def try_one(drawn: tuple[list[str], list[str], bytes]) -> None:
            template, values, content = drawn
            file.write_bytes(content)
            given = iter(values)
            arguments = [part if part != "?" else next(given) for part in template]
            _command(finding, arguments)

        drawn = st.tuples(st.sampled_from(TEMPLATES), st.lists(_words, min_size=3, max_size=3), _contents)
        many(trial, "commands", trial.amount(1_000, 60), drawn, try_one)
    return finding


def _can_be_typed(text: str) -> bool:
    """Whether a shell can pass it; a number could be valid for `seed`, and would write."""
    with contextlib.suppress(UnicodeEncodeError):
        return "\0" not in os.fsdecode(os.fsencode(text)) and not text.strip().isdigit()
    return False


_words = texts.filter(_can_be_typed).map(lambda text: text.replace("--yes", "-yes"))
_contents = (
    st.binary(max_size=200)
    | st.lists(st.lists(texts, min_size=1, max_size=5).map(",".join), max_size=4).map(
        lambda lines: "\n".join(["time,product_id,location_id,quantity", *lines]).encode(
            "utf-8", "surrogatepass"
        )
    )
    | st.just(b"time,product_id,location_id,quantity\n9999-12-31T23:59:59Z,P,Plant North,NaN\n")
)
_IMPORT = ["import", "given.csv", "--into", "demand_history", "--organization", NAME]
TEMPLATES: list[list[str]] = [
    ["?"], ["status", "?"], ["status", "--url", "?"], ["verify", "--url", "?"], ["migrate", "--plan", "?"], ["reset"],
    ["reset", "?"], ["seed", "--days", "?"], ["seed", "--scale", "?"], ["seed", "--organizations", "?"],
    ["export", "?"], ["export", "alerts", "--organization", "?"], ["export", "alerts", "--all-organizations", "--start", "?"],
    ["export", "alerts", "--all-organizations", "--columns", "?"], ["export", "alerts", "--all-organizations", "--time-column", "?"],
    ["export", "alerts", "--all-organizations", "--delimiter", "?"], ["export", "alerts", "--all-organizations", "--null", "?"],
    ["export", "--query", "?", "--organization", NAME], ["export", "--query", "get_events", "--organization", NAME, "--param", "?"],
    _IMPORT, [*_IMPORT, "--skip-bad"], [*_IMPORT, "--map", "?"], [*_IMPORT, "--set", "?"], [*_IMPORT, "--unit", "?"],
    [*_IMPORT, "--time-zone", "?"], [*_IMPORT, "--time-format", "?"], [*_IMPORT, "--encoding", "?"],
    ["import", "?", "--into", "alerts", "--organization", NAME], ["import", "given.csv", "--into", "?", "--organization", NAME],
    ["import", "given.csv", "--into", "demand_history", "--organization", "?"],
    ["backup", "--out", "missing/?", "--key-file", "?"], ["backup", "--out", ".", "--key-file", "?"],
    ["restore", "?"], ["restore", "?", "--database", "?"], ["doctor", "?"], ["smoke", "--url", "?"],
]  # fmt: skip


def _command(finding: Finding, arguments: list[str]) -> None:
    out, err = io.StringIO(), io.StringIO()
    out.buffer = io.BytesIO()  # type: ignore[misc]
    finding.attempts += 1
    what = f"db-utils {shown(arguments)}"
    code: object = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(arguments)
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        finding.blame(
            f"{what}: {type(error).__name__}: {str(error)[:100]!r} in {Path(where.filename).name}:{where.lineno}"
        )
        return
    finding.acknowledged += code in (0, None, 3, 4)
    if code not in (0, None, 1, 2, 3, 4):
        finding.blame(f"{what}: exit code {code}")
    elif code == 1 and not (err.getvalue() or out.getvalue()):
        finding.blame(f"{what}: failed without a word")
    if "Traceback" in err.getvalue():
        finding.blame(f"{what}: a traceback")


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
