"""Looks at SQL text just closely enough to tell one statement from two and a read from a write.

It splits text into words, quoted things and semicolons; it does not parse SQL. What decides in the end is
always the server: a wrongly guessed read is refused by it, because guesses are tried on read-only ground.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
      (?P<skip>\s+|--[^\n]*)
    | (?P<comment>/\*)
    | (?P<quoted>[eE]'(?:[^'\\]|\\.|'')*' | (?:[uU]&)?'(?:[^']|'')*' | "(?:[^"]|"")*")
    | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_WRITING_WORDS = frozenset(("INSERT", "UPDATE", "DELETE", "MERGE", "INTO", "SHARE"))
_READING_STARTS = frozenset(("SELECT", "WITH", "VALUES", "TABLE"))
_TRANSACTION_STARTS = frozenset(
    ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE")
)


_PLAIN_STARTS = frozenset(("SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE"))
_TEMPORARY_WORDS = frozenset(("TEMP", "TEMPORARY", "PG_TEMP"))
_INTO_WORDS = frozenset(("INSERT", "MERGE"))


class Shape(NamedTuple):
    """What the text of a statement looks like from outside."""

    first_words: tuple[str, ...]
    """The word that each statement begins with, upper case."""
    statements: int
    """How many statements the text holds."""
    words: frozenset[str]
    """All bare words, upper case; nothing quoted and no comments."""
    literals: str
    """All quoted parts, lower case, one after the other."""

    @property
    def is_query(self) -> bool:
        """Whether it is one SELECT, VALUES, TABLE or WITH."""
        return self.statements == 1 and _READING_STARTS.issuperset(self.first_words)

    @property
    def looks_read_only(self) -> bool:
        """Whether it is one statement that reads, as far as its words tell."""
        return self.is_query and not self.words & _WRITING_WORDS

    @property
    def may_leave_traces(self) -> bool:
        """Whether it may leave something in the session that outlives its transaction.

        A temporary table, a held cursor, a prepared statement, a setting, a lock of the session: any statement but
        plain reads and writes, and those that read into a table or take an advisory lock.
        """
        return (
            not _PLAIN_STARTS.issuperset(self.first_words)
            or not _TEMPORARY_WORDS.isdisjoint(self.words)
            or ("INTO" in self.words and _INTO_WORDS.isdisjoint(self.words))
            or "advisory" in self.literals
            or any("ADVISORY" in word for word in self.words)
        )

    @property
    def controls_transaction(self) -> bool:
        """Whether it begins or ends a transaction or a savepoint by hand."""
        starts = _TRANSACTION_STARTS.intersection(self.first_words)
        return bool(starts - {"PREPARE"}) or ("PREPARE" in starts and "TRANSACTION" in self.words)


@lru_cache(maxsize=1024)
def shape(sql: str) -> Shape:
    """What does this text look like from outside?"""
    first_words: list[str] = []
    statements = 0
    inside = False
    words: set[str] = set()
    literals: list[str] = []
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        assert match is not None
        kind = match.lastgroup
        position = match.end()
        if kind == "skip":
            continue
        if kind == "comment":
            position = _comment_end(sql, position)
            continue
        if kind == "end":
            inside = False
            continue
        if not inside:
            inside = True
            statements += 1
        if kind == "word":
            word = match.group().upper()
            words.add(word)
            if len(first_words) < statements:
                first_words.append(word)
        elif kind in ("quoted", "dollar", "tag"):
            literals.append(match.group().lower())
    return Shape(tuple(first_words), statements, frozenset(words), " ".join(literals))


def _comment_end(sql: str, position: int) -> int:
    depth = 1
    while depth:
        match = _COMMENT_EDGE.search(sql, position)
        if match is None:
            return len(sql)
        depth += 1 if match.group() == "/*" else -1
        position = match.end()
    return position
