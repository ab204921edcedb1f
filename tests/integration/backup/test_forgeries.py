"""A backup is untrusted text: with a key only its owner's backup is accepted, and no roles.json grants more than it may."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest

from db_utils import DatabaseManager, schema
from db_utils.ops.backup import UrlEndpoint, backup, read_key
from tests.conftest import maintenance
from tests.integration.cli.conftest import Run
from tests.support.former_backups import make_former
from tests.support.servers import own_server

pytestmark = pytest.mark.slow

OBJECTS = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
DATABASES = "SELECT max(oid::bigint) AS newest, count(*) AS n FROM pg_database"
MISSING = "role_of_a_forgery"


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    found = json.loads(path.read_text())
    path.write_text(json.dumps(change(found) or found))


def describe(folder: Path, part: str, file: str | None = None) -> None:
    """Make the manifest match the file."""

    def change(manifest: Any) -> None:
        name = file or manifest[part]["file"]
        content = (folder / name).read_bytes()
        manifest[part] = {
            "file": name,
            "size_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }

    rewrite(folder / "manifest.json", change)


def replace_all(sealed: Path, plain: Path, other: Path) -> None:
    """Replace the whole backup by a plain one, under its name."""
    shutil.rmtree(sealed)
    shutil.copytree(plain, sealed)


def say_plain(sealed: Path, plain: Path, other: Path) -> None:
    rewrite(sealed / "manifest.json", lambda m: m.update(key=None, signature=None))


def plain_files(sealed: Path, plain: Path, other: Path) -> None:
    """Keep the manifest's signature, with plain files."""
    shutil.copy(plain / "database.dump", sealed)
    describe(sealed, "dump", "database.dump")


def plain_roles(sealed: Path, plain: Path, other: Path) -> None:
    shutil.copy(plain / "roles.json", sealed / "roles.json.age")
    describe(sealed, "roles")


def another_dump(sealed: Path, plain: Path, other: Path) -> None:
    """Files encrypted with the same key, from another backup."""
    shutil.copy(other / "database.dump.age", sealed)
    describe(sealed, "dump")


def another_manifest(sealed: Path, plain: Path, other: Path) -> None:
    shutil.copy(other / "manifest.json", sealed)


def swapped(sealed: Path, plain: Path, other: Path) -> None:
    first, second = sealed / "database.dump.age", sealed / "roles.json.age"
    first.rename(sealed / "x")
    second.rename(first)
    (sealed / "x").rename(second)
    for part in ("dump", "roles"):
        describe(sealed, part)


def unsigned(sealed: Path, plain: Path, other: Path) -> None:
    rewrite(sealed / "manifest.json", lambda m: m.update(signature=None))


def elsewhere(sealed: Path, plain: Path, other: Path) -> None:
    (sealed / "roles.json.age").rename(sealed.with_name("elsewhere"))
    (sealed / "roles.json.age").symlink_to(sealed.with_name("elsewhere"))


def sealed_by_a_stranger(sealed: Path, plain: Path, other: Path) -> None:
    """With the public half of the key one can encrypt files, but not sign the manifest."""
    recipient = pyrage.x25519.Recipient.from_str((sealed.parent / "recipient").read_text())
    for part, name in (("dump", "database.dump"), ("roles", "roles.json")):
        pyrage.encrypt_file(str(plain / name), str(sealed / f"{name}.age"), [recipient])
        describe(sealed, part)


@pytest.fixture(scope="module")
def made(
    server_url: str, seeded_template: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path, Path]:
    """Two backups encrypted with one key, a plain one, and the key file."""
    from tests.conftest import fresh_database

    folder = tmp_path_factory.mktemp("made")
    key_file = folder / "key"
    key_file.write_bytes(base64.b64encode(os.urandom(32)))
    key = read_key(key_file)
    with fresh_database(server_url, seeded_template) as url, DatabaseManager(url) as db:
        endpoint = UrlEndpoint(db.settings)
        sealed, other, plain = (
            backup(endpoint, folder / name, key=own).folder
            for name, own in (("sealed", key), ("other", key), ("plain", None))
        )
    return sealed, plain, other, key_file


@pytest.mark.parametrize(
    "forge",
    [
        replace_all,
        say_plain,
        plain_files,
        plain_roles,
        another_dump,
        another_manifest,
        swapped,
        unsigned,
        elsewhere,
        sealed_by_a_stranger,
    ],
)
def test_a_key_that_is_given_means_sealed_and_signed_with_it(
    made: tuple[Path, Path, Path, Path],
    blank: DatabaseManager,
    run: Run,
    tmp_path: Path,
    forge: Callable[[Path, Path, Path], None],
) -> None:
    *folders, key_file = made
    copies = [shutil.copytree(folder, tmp_path / folder.name) for folder in folders]
    key = read_key(key_file)
    assert key is not None
    public = pyrage.x25519.Identity.from_str(key.identity).to_public()
    (tmp_path / "recipient").write_text(str(public))
    forge(*copies)
    before = blank.execute_query(DATABASES)
    done = run(
        blank.settings.database_url, "restore", str(copies[0]), "--verify", "--key-file", str(key_file)
    )
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert blank.execute_query(OBJECTS) == []
    assert blank.execute_query(DATABASES) == before  # not even a scratch database was made


def test_what_the_key_sealed_restores(
    made: tuple[Path, Path, Path, Path], blank: DatabaseManager, run: Run
) -> None:
    sealed, _, _, key_file = made
    done = run(blank.settings.database_url, "restore", str(sealed), "--verify", "--key-file", str(key_file))
    assert done.code == 0, done.err


def test_what_was_sealed_before_age_restores(
    made: tuple[Path, Path, Path, Path], blank: DatabaseManager, run: Run, tmp_path: Path
) -> None:
    _, plain, _, key_file = made
    former = shutil.copytree(plain, tmp_path / "former")
    key = read_key(key_file)
    assert key is not None
    make_former(former, key)
    url = blank.settings.database_url
    changed = shutil.copytree(former, tmp_path / "changed")
    rewrite(changed / "manifest.json", lambda m: m.update(format=2))
    assert run(url, "restore", str(changed), "--key-file", str(key_file)).code == 1
    done = run(url, "restore", str(former), "--verify", "--key-file", str(key_file))
    assert done.code == 0, done.err


def test_age_alone_opens_what_the_key_sealed(made: tuple[Path, Path, Path, Path]) -> None:
    sealed, _, _, key_file = made
    key = read_key(key_file)
    assert key is not None
    identity = pyrage.x25519.Identity.from_str(key.identity)
    dump = pyrage.decrypt((sealed / "database.dump.age").read_bytes(), [identity])
    assert dump.startswith(b"PGDMP")
    assert "barnameh_tenant" in pyrage.decrypt((sealed / "roles.json.age").read_bytes(), [identity]).decode()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '"x"',
        "[" * 200_000,
        '{"format": 1, "database": 5}',
        '{"format": 1, "database": {}, "dump": {}, "roles": {}, "tables": []}',
    ],
)
def test_a_manifest_of_another_form(blank: DatabaseManager, sample_backup: Path, run: Run, text: str) -> None:
    (sample_backup / "manifest.json").write_text(text)
    done = run(blank.settings.database_url, "restore", str(sample_backup))
    assert (done.code, len(done.err.splitlines())) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["roles"].update(file="../sample_backup/roles.json"),
        lambda m: m["dump"].update(file=""),
        lambda m: m["dump"].update(size_bytes="1"),
        lambda m: m["database"].update(schema_version="8"),
        lambda m: m["database"].update(job_owners=[1]),
        lambda m: m["database"].update(owner="a\0b"),
        lambda m: m["tables"].append({"table": "x", "rows": None, "hash": ""}),
    ],
)
def test_a_manifest_with_other_values(
    blank: DatabaseManager, sample_backup: Path, run: Run, change: Callable[[Any], Any]
) -> None:
    rewrite(sample_backup / "manifest.json", lambda m: change(m) and None)
    done = run(blank.settings.database_url, "restore", str(sample_backup))
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "damaged" in done.err


ROLE = {
    "name": MISSING,
    "can_login": True,
    "inherits": True,
    "connection_limit": -1,
    "settings": [],
    "comment": None,
    "password": None,
    "member_of": [],
}


def test_what_a_role_of_a_backup_gets(run: Run, tmp_path: Path) -> None:
    """On a private server, whose roles the test may create and inspect."""
    with own_server() as server, DatabaseManager(server.url) as db:
        schema.apply(db)
        db.execute("CREATE ROLE accountants NOLOGIN")
        db.execute("CREATE ROLE chief NOLOGIN SUPERUSER")
        name = 'x"; CREATE ROLE evil SUPERUSER; --'
        roles = [
            {
                **ROLE,
                "settings": [
                    'search_path=tenant, "public"',
                    "work_mem=8MB",
                    "session_preload_libraries=/tmp/evil",
                    "plperl.on_init=evil",
                    "app.colour=red",
                ],
                "comment": "'; \\! touch " + str(tmp_path / "touched") + "\n\\! touch " + str(tmp_path / "touched"),
                "member_of": [
                    {"role": role, "inherit": True, "set": True}
                    for role in (
                        "barnameh_readonly", "accountants", "chief", "pg_execute_server_program", "barnameh_user", name,
                    )
                ],
            },
            {**ROLE, "name": name, "can_login": False},
        ]  # fmt: skip
        done = run(server.url, "backup", "--out", str(tmp_path / "made"))
        assert done.code == 0, done.err
        rewrite(tmp_path / "made" / "roles.json", lambda found: found + roles)
        describe(tmp_path / "made", "roles")
        done = run(
            server.url.replace("/barnameh_ops", "/moved"),
            "restore",
            str(tmp_path / "made"),
            "--create-database",
            "--json",
        )
        assert done.code == 0, done.err
        assert set(done.json["roles"]["made"]) == {MISSING, name}
        withheld = " ".join(done.json["roles"]["withheld"])
        for word in (
            "accountants",
            "chief",
            "pg_execute_server_program",
            "barnameh_user",
            "session_preload",
            "plperl",
        ):
            assert word in withheld
        found = db.execute_query(
            "SELECT r.rolname, r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls AS more, "
            "r.rolconfig, ARRAY(SELECT m.roleid::regrole::text FROM pg_auth_members AS m WHERE m.member = r.oid) AS member_of "
            "FROM pg_roles AS r WHERE r.rolname IN (%s, %s, 'evil')",
            (MISSING, name),
        )
        assert {row["rolname"] for row in found} == {MISSING, name}
        assert not any(row["more"] for row in found)
        (login,) = [row for row in found if row["rolname"] == MISSING]
        assert login["rolconfig"] == ["search_path=tenant, public", "work_mem=8MB", "app.colour=red"]
        assert len(login["member_of"]) == 2
        assert "barnameh_readonly" in login["member_of"]
        assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda role: role["member_of"].append(
            {"role": "barnameh_tenant_login", "inherit": "TRUE; CREATE ROLE evil SUPERUSER", "set": "FALSE"}
        ),
        lambda role: role.update(connection_limit="5; CREATE ROLE evil SUPERUSER"),
        lambda role: role.update(name="a\0b"),
        lambda role: role.update(settings=[5]),
        lambda role: role.update(is_superuser=True),
        lambda role: role.pop("member_of"),
    ],
)
def test_roles_of_another_form(
    server_url: str, blank: DatabaseManager, sample_backup: Path, run: Run, change: Callable[[Any], Any]
) -> None:
    role = json.loads(json.dumps(ROLE))
    change(role)
    rewrite(sample_backup / "roles.json", lambda found: [*found, role])
    describe(sample_backup, "roles")
    before = blank.execute_query(DATABASES)
    done = run(blank.settings.database_url, "restore", str(sample_backup))
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "roles.json is damaged" in done.err
    assert blank.execute_query(DATABASES) == before
    with maintenance(server_url) as cursor:
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname IN ('evil', %s)", (MISSING,))
        assert cursor.fetchone() == (0,)
