"""Inspect SQL text closely enough to tell one statement from several, reads from writes, and what affects the session.

It splits text into tokens by the rules of PostgreSQL's own lexer (with `standard_conforming_strings` on, which every
connection of this library sets); it does not parse SQL. The server always decides: it refuses a wrongly
guessed read, because guesses run in a read-only transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from psycopg2.extensions import adapt

# As in PostgreSQL's scan.l: a carriage return ends a comment as a line feed does, every non-ASCII character
# (even a no-break space) is a letter, and a string continues where another quote follows on a later line.
_LETTER = r"A-Za-z_\u0080-\U0010ffff"
# Atomic groups and possessive quantifiers prevent catastrophic backtracking.
_GAP = r"(?: [\ \t\f\v] | (?>--[^\n\r]*) )*+ [\n\r] (?: [\ \t\n\r\f\v] | (?>--[^\n\r]*) [\n\r] )*+"
_ESCAPED = r"'(?: [^'\\]++ | \\. | '' )*+'"
_STANDARD = r"'(?: [^']++ | '' )*+'"
_TOKEN = re.compile(
    rf"""
      (?P<skip>[\ \t\n\r\f\v]+|--[^\n\r]*)
    | (?P<comment>/\*)
    | (?P<quoted>[eE]{_ESCAPED} (?:{_GAP}{_ESCAPED})* | (?:[bBxXnN]|[uU]&)?{_STANDARD} (?:{_GAP}{_STANDARD})*)
    | (?P<name>(?:[uU]&)?"(?:[^"]|"")*")
    | (?P<dollar>\$(?P<tag>(?:[{_LETTER}][{_LETTER}0-9]*)?)\$.*?\$(?P=tag)\$)
    | (?P<word>[{_LETTER}][{_LETTER}0-9$]*)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_PLACEHOLDER = re.compile(r"(?<!%)(?:%%)*%[s(]")
LONGEST_READ = 20_000
"""Longer texts are not analysed for effects on the session."""

_WRITING_WORDS = frozenset(("INSERT", "UPDATE", "DELETE", "MERGE", "INTO", "SHARE"))
_READING_STARTS = frozenset(("SELECT", "WITH", "VALUES", "TABLE"))
_TRANSACTION_STARTS = frozenset(
    ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE")
)
_PLAIN_STARTS = frozenset(("SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE"))
_MAINTENANCE = frozenset(
    (
        "REFRESH_ROLLUPS",
        "REFRESH_RESOURCE_TIME",
        "REMOVE_DOUBLE_ROWS",
        "REFRESH_CONTINUOUS_AGGREGATE",
        "RUN_JOB",
    )
)
_TEMPORARY_WORDS = frozenset(("TEMP", "TEMPORARY", "PG_TEMP"))
_INTO_WORDS = frozenset(("INSERT", "MERGE"))
_SESSION_STARTS = frozenset(("LISTEN", "UNLISTEN", "EXECUTE", "DEALLOCATE", "DISCARD", "LOAD", "RESET"))
_SESSION_FUNCTIONS = frozenset(
    f"PG_{form}ADVISORY_{verb}{mode}"
    for form, verb in (("", "LOCK"), ("TRY_", "LOCK"), ("", "UNLOCK"))
    for mode in ("", "_SHARED")
) | {"PG_ADVISORY_UNLOCK_ALL"}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Keywords that a parenthesis may follow without a function call.
_BEFORE_BRACKETS = _words(
    """
    ALL AND ANY ARRAY AS BETWEEN BY CASE CHECK CONFLICT CROSS CUBE DISTINCT ELSE EXCEPT EXISTS FILTER FROM GROUP
    GROUPING HAVING IN INTERSECT INTERVAL INTO IS JOIN KEY LATERAL LIKE ILIKE LIMIT MATERIALIZED NOT OFFSET ON OR ORDER
    OVER OVERLAPS PARTITION RETURNING ROLLUP ROW SELECT SET SETS SIMILAR SOME THEN TO UNION USING VALUES WHEN WHERE
    WINDOW WITH WITHIN
    BIT CHAR CHARACTER DEC DECIMAL FLOAT NUMERIC TIME TIMESTAMP TIMESTAMPTZ VARCHAR VARYING PRECISION
    """
)
# Functions known to leave nothing in the session. One that is missing here costs a round trip, not a fault: whatever it
# left is reset. A test holds this list against what the server says of their volatility.
HARMLESS_FUNCTIONS = _words(
    """
    ABS AGE ARRAY_AGG ARRAY_APPEND ARRAY_CAT ARRAY_LENGTH ARRAY_POSITION ARRAY_REMOVE ARRAY_TO_STRING AVG BOOL_AND
    BOOL_OR BTRIM CARDINALITY CEIL CEILING CHAR_LENGTH CLOCK_TIMESTAMP COALESCE CONCAT CONCAT_WS CORR COUNT CUME_DIST
    CURRENT_SETTING DATE DATE_ADD DATE_BIN DATE_PART DATE_SUBTRACT DATE_TRUNC DENSE_RANK EVERY EXP EXTRACT FIRST_VALUE
    FLOOR FORMAT GEN_RANDOM_UUID GENERATE_SERIES GREATEST HASHTEXTEXTENDED INITCAP ISFINITE JSON_AGG JSON_BUILD_OBJECT
    JSON_OBJECT_AGG JSONB_AGG JSONB_ARRAY_ELEMENTS JSONB_ARRAY_ELEMENTS_TEXT JSONB_ARRAY_LENGTH JSONB_BUILD_ARRAY
    JSONB_BUILD_OBJECT JSONB_EACH JSONB_EACH_TEXT JSONB_OBJECT_AGG JSONB_OBJECT_KEYS JSONB_PATH_EXISTS JSONB_PATH_QUERY
    JSONB_SET JSONB_STRIP_NULLS JSONB_TO_RECORDSET JSONB_TYPEOF JUSTIFY_HOURS LAG LAST_VALUE LEAD LEAST LEFT LENGTH LN
    LOCALTIMESTAMP LOG LOWER LOWER_INF LPAD LTRIM MAKE_DATE MAKE_INTERVAL MAKE_TIMESTAMPTZ MAX MD5 MIN MOD MODE
    MULTIRANGE NOW NTH_VALUE NTILE NULLIF NUM_NULLS OCTET_LENGTH PERCENT_RANK PERCENTILE_CONT PERCENTILE_DISC
    PG_ADVISORY_XACT_LOCK PG_BACKEND_PID PG_CURRENT_SNAPSHOT PG_SNAPSHOT_XMAX PG_SNAPSHOT_XMIN PG_VISIBLE_IN_SNAPSHOT
    PG_NOTIFY PG_SLEEP PG_TRY_ADVISORY_XACT_LOCK PG_TYPEOF POSITION POWER
    RANGE_AGG RANGE_MERGE RANK REGEXP_COUNT REGEXP_LIKE REGEXP_MATCH REGEXP_MATCHES REGEXP_REPLACE
    REGEXP_SPLIT_TO_TABLE REPEAT REPLACE REVERSE RIGHT ROUND ROW_NUMBER ROW_TO_JSON RPAD RTRIM SHA256 SIGN SPLIT_PART
    SQRT STARTS_WITH STDDEV STDDEV_POP STDDEV_SAMP STRING_AGG STRING_TO_ARRAY STRPOS SUBSTR SUBSTRING SUM TIME_BUCKET
    TIMEZONE TO_CHAR TO_DATE TO_JSON TO_JSONB TO_NUMBER TO_REGCLASS TO_TIMESTAMP TRANSLATE TRIM TRUNC TSTZRANGE UNNEST
    UPPER UPPER_INF VAR_POP VAR_SAMP VARIANCE WIDTH_BUCKET
    ABSENCE_FORECAST_ACCURACY ABSENCE_FORECASTS_AS_OF ANOMALY_PREDICTION_SCORES ANOMALY_PREDICTIONS_AS_OF
    COUNTED_ATTENDANCE CURRENT_ORGANIZATION_ID DATABASE_EDITION DEMAND_FORECAST_ACCURACY DEMAND_FORECAST_OUTCOMES
    DEMAND_FORECASTS_AS_OF DEMAND_TOTALS
    FIRST_SAMPLE_AT FORECAST_KEY GET_KPI_SUMMARY KPIS_BY_PART LATEST_RESOURCE_STATUS LOCAL_BUCKET_EDGES LOCAL_DATE LOCAL_DAY_START
    LOCAL_INTERVAL_END LOCATION_BUCKETS NOTIFICATION_CHANNEL OPERATION_TOTALS OPERATIONAL_KPIS PRODUCTION_BY_BUCKET
    RESOURCE_SAMPLES RESOURCE_TIME SHIFT_KPIS SYNC_KEPT_FOR TIME_KPIS USE_API_KEY
    """
)


class Shape(NamedTuple):
    """The outline of a statement's text."""

    first_words: tuple[str, ...]
    """The first word of each statement, upper case."""
    statements: int
    """How many statements the text holds."""
    words: frozenset[str]
    """All bare words, upper case; nothing quoted and no comments."""
    literals: str
    """All quoted parts, lower case, one after the other."""
    functions: frozenset[str]
    """Names followed by a parenthesis, as in a function call, upper case; `"` for every quoted name."""
    escapes_names: bool
    """Whether a name is written with Unicode escapes, so that it cannot be recognised here."""
    quotes_placeholder: bool
    """Whether a placeholder is inside quotes or a comment, where its value would not be one value."""
    may_leave_traces: bool
    """Whether it may leave session state that outlives its transaction.

    A temporary table, a held cursor, a prepared statement, a setting, a lock or sequence of the session: any statement
    but plain reads and writes, those that read into a table, and those that call a function not known to be harmless.
    The effects of triggers, views and operators are not detected.
    """

    @property
    def is_query(self) -> bool:
        """Whether it is one SELECT, VALUES, TABLE or WITH."""
        return self.statements == 1 and _READING_STARTS.issuperset(self.first_words)

    @property
    def looks_read_only(self) -> bool:
        """Whether it is a single statement that reads, judging by its keywords."""
        return self.is_query and not self.words & _WRITING_WORDS

    @property
    def needs_session(self) -> bool:
        """Whether its effect is meant to last into the session's next transaction."""
        first, words = self.first_words, self.words
        return (
            not _SESSION_STARTS.isdisjoint(first)
            or ("SET" in first and words.isdisjoint(("LOCAL", "TRANSACTION")))
            or ("PREPARE" in first and "TRANSACTION" not in words)
            or ("DECLARE" in first and "HOLD" in words and "WITHOUT" not in words)
            or (not _TEMPORARY_WORDS.isdisjoint(words) and ("CREATE" in first or "INTO" in words) and "DROP" not in words)
            or not _SESSION_FUNCTIONS.isdisjoint(self.functions)
        )  # fmt: skip

    @property
    def controls_transaction(self) -> bool:
        """Whether it begins or ends a transaction or a savepoint by hand."""
        starts = _TRANSACTION_STARTS.intersection(self.first_words)
        return bool(starts - {"PREPARE"}) or ("PREPARE" in starts and "TRANSACTION" in self.words)


def leaves_traces(sql: str) -> bool:
    """Whether the session may have to be reset after this text; long texts are not analysed."""
    return len(sql) > LONGEST_READ or shape(sql).may_leave_traces


def calls_maintenance(sql: str) -> bool:
    """Whether it calls a procedure that processes all rows and commits as it goes, such as refresh_rollups()."""
    return shape(sql).first_words == ("CALL",) and not _MAINTENANCE.isdisjoint(shape(sql).functions)


@lru_cache(maxsize=1024)
def shape(sql: str) -> Shape:
    """Describe an SQL text: how many statements it holds, and of what kind."""
    first_words: list[str] = []
    statements = 0
    inside = False
    words: set[str] = set()
    functions: set[str] = set()
    literals: list[str] = []
    escapes_names = quotes_placeholder = False
    position = 0
    has_percent = "%" in sql
    last = before = ""  # the last name, and the word before it: INTO t (a, b) and AS t (a, b) call nothing
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        assert match is not None
        kind = "dollar" if match.lastgroup == "tag" else match.lastgroup
        start, position = position, match.end()
        if kind == "comment":
            position = _comment_end(sql, position)
        if has_percent and kind not in ("word", "end", "other"):
            quotes_placeholder = quotes_placeholder or bool(_PLACEHOLDER.search(sql, start, position))
        if kind in ("skip", "comment"):
            continue
        if kind == "end":
            inside = False
            last = before = ""
            continue
        if not inside:
            inside = True
            statements += 1
        if kind == "other":
            if match.group() == "(" and last:
                if before not in ("INTO", "AS") and last not in _BEFORE_BRACKETS:
                    functions.add(last)
                last = before = ""
            elif match.group() != ".":
                last = before = ""
            elif before != "INTO":  # INTO schema.t; but what follows a schema named "as" is called
                last = ""
            continue
        joined = sql[start - 1 : start] == "." and before == "INTO"
        if kind == "word":
            word = match.group().upper()
            words.add(word)
            if len(first_words) < statements:
                first_words.append(word)
            last, before = word, before if joined else last
            continue
        literals.append(match.group().lower())
        if kind == "name":
            escapes_names = escapes_names or match.group()[0] in "uU"
            last, before = '"', before if joined else last
        else:
            last = before = ""
    traces = (
        not _PLAIN_STARTS.issuperset(first_words)
        or not _TEMPORARY_WORDS.isdisjoint(words)
        or (
            "INTO" in words and (_INTO_WORDS.isdisjoint(words) or any("pg_temp" in text for text in literals))
        )
        or escapes_names
        or not functions <= HARMLESS_FUNCTIONS
    )
    return Shape(
        tuple(first_words),
        statements,
        frozenset(words),
        " ".join(literals),
        frozenset(functions),
        escapes_names,
        quotes_placeholder,
        traces,
    )


def statements(sql: str) -> Iterator[tuple[int, str]]:
    """Yield each statement of a text with the position at which it begins."""
    begin = position = 0
    is_empty = True
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        assert match is not None
        position = match.end()
        if match.lastgroup == "comment":
            position = _comment_end(sql, position)
        elif match.lastgroup == "end":
            if not is_empty:
                yield begin, sql[begin:position]
            begin, is_empty = position, True
        elif match.lastgroup != "skip":
            is_empty = False
    if not is_empty:
        yield begin, sql[begin:]


def _comment_end(sql: str, position: int) -> int:
    depth = 1
    while depth:
        match = _COMMENT_EDGE.search(sql, position)
        if match is None:
            return len(sql)
        depth += 1 if match.group() == "/*" else -1
        position = match.end()
    return position


def literal(value: object) -> str:
    """Return a value as an SQL literal, for statements that take no parameters."""
    adapted = adapt(value)
    if not isinstance(value, str):
        return str(adapted)
    adapted.encoding = "utf-8"
    return str(adapted.getquoted().decode())


def identifier(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
