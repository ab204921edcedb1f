"""Inspection of SQL text: number of statements, words, read or write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db_utils.connections.tenant import stay_in_scope
from db_utils.errors import InvalidInputError, PermissionDeniedError
from db_utils.sql_text import shape


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("", 0),
        (" ; ;; ", 0),
        ("-- nothing; here", 0),
        ("SELECT 1", 1),
        ("SELECT 1;", 1),
        ("SELECT 1; -- the end;", 1),
        ("SELECT 1; SELECT 2", 2),
        ("SELECT ';'", 1),
        ("SELECT 'it''s; fine'", 1),
        (r"SELECT E'it\'s; fine'", 1),
        ('SELECT 1 AS "a;b"', 1),
        ("SELECT $$a;b$$", 1),
        ("SELECT $tag$a;$$;b$tag$", 1),
        ("SELECT /* a; /* nested; */ b; */ 1", 1),
        ("SELECT $1; SELECT $2", 2),
        ("DO $$ BEGIN PERFORM 1; END $$", 1),
    ],
)
def test_statements_are_counted_past_quotes_and_comments(sql: str, statements: int) -> None:
    assert shape(sql).statements == statements


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("/* c */ select 1", True),
        ("(SELECT 1) UNION (SELECT 2)", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ("VALUES (1)", True),
        ("TABLE notes", True),
        ("SELECT 'INSERT INTO'", True),
        ("WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", False),
        ("SELECT * INTO t FROM u", False),
        ("SELECT * FROM t FOR UPDATE", False),
        ("SELECT * FROM t FOR SHARE", False),
        ("INSERT INTO t VALUES (1) RETURNING *", False),
        ("SELECT 1; DELETE FROM t", False),
        ("", False),
    ],
)
def test_a_read_is_told_from_a_write(sql: str, reads: bool) -> None:
    assert shape(sql).looks_read_only is reads


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        "commit;",
        "/* x */ ROLLBACK",
        "END",
        "ABORT",
        "BEGIN",
        "START TRANSACTION",
        "SAVEPOINT a",
        "RELEASE a",
        "ROLLBACK TO a",
        "PREPARE TRANSACTION 'x'",
        "SELECT 1; COMMIT",
    ],
)
def test_control_of_the_transaction_is_noticed(sql: str) -> None:
    assert shape(sql).controls_transaction


@pytest.mark.parametrize(
    "sql", ["PREPARE p AS SELECT 1", "SELECT 'COMMIT'", "SELECT 1 AS commit", "INSERT INTO t DEFAULT VALUES"]
)
def test_other_statements_do_not_control_the_transaction(sql: str) -> None:
    assert not shape(sql).controls_transaction


@pytest.mark.parametrize(
    "sql",
    [
        "RESET ROLE",
        "reset all",
        "SET ROLE barnameh_user",
        "SET LOCAL ROLE barnameh_user",
        "SET SESSION AUTHORIZATION barnameh_user",
        "SET search_path = public",
        "SET SCHEMA 'public'",
        'SET "search_path" = public',
        "SET app.organization_id = 'x'",
        "set local app.organization_id to 'x'",
        "SET \"app.organization_id\" = 'x'",
        "DISCARD ALL",
        "SELECT set_config('app.organization_id', %s, false)",
        "SELECT pg_catalog.set_config('role', 'none', false)",
        "SELECT \"set_config\"('role', 'none', false)",
        "SELECT \"SET_CONFIG\"('role', 'none', false)",
        "DO $$ BEGIN EXECUTE 'RESET ROLE'; END $$",
        "COMMIT",
        "ROLLBACK; SELECT 1",
        "SELECT 1; RESET ROLE",
    ],
)
def test_what_leaves_a_tenant_scope_is_refused(sql: str) -> None:
    with pytest.raises((PermissionDeniedError, InvalidInputError)):
        stay_in_scope(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM notes",
        "UPDATE notes SET text = 'RESET ROLE; COMMIT' WHERE note_id = %s;",
        "INSERT INTO notes (note_id, role) VALUES (1, 'local')",
        "SELECT count(*) FROM notes -- ; RESET ROLE",
        "SET LOCAL work_mem = '64MB'",
    ],
)
def test_ordinary_statements_pass_a_tenant_scope(sql: str) -> None:
    stay_in_scope(sql)


@given(st.text(alphabet=" ;'\"$-/*abE\\\n%()", max_size=60))
def test_any_text_has_a_shape(text: str) -> None:
    look = shape(text)
    assert 0 <= look.statements <= text.count(";") + 1
    assert len(look.first_words) <= look.statements
