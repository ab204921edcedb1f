"""If the output cannot be written: an exit code and at most one sentence, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from barnameh import __main__ as services
from db_utils import __main__ as command_line
from tests.support.readme import ROOT

COMMAND = [sys.executable, "-m", "db_utils", "queries"]


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
def test_a_full_disk_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(COMMAND, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"


@pytest.mark.thorough
def test_a_reader_that_has_seen_enough_is_no_error_of_ours() -> None:
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1
    process.stderr.close()


def test_ctrl_c_while_the_commands_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: object) -> None:
        raise KeyboardInterrupt

    left: list[int] = []
    monkeypatch.setattr(command_line, "_run", interrupted)
    monkeypatch.setattr(command_line, "_leave", left.append)
    command_line.main([])
    assert left == [130]


@pytest.mark.parametrize(
    ("arguments", "is_command"),
    [
        (["-m", "db_utils", "--help"], True),
        (["-m", "barnameh", "--help"], True),
        ([str(ROOT / "db_utils.py")], True),
        (["-c", "import db_utils"], False),
    ],
)
def test_ctrl_c_while_modules_are_read_ends_a_command_and_is_a_librarys_callers(
    tmp_path: Path, arguments: list[str], is_command: bool
) -> None:
    (tmp_path / "psycopg2.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGINT
    assert ("KeyboardInterrupt" in done.stderr) != is_command
    assert bool(done.stderr) != is_command


def test_the_first_process_of_a_container_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(os, "_exit", left.append)
    services.main(["--help"])
    services.main(["no-such-command"])
    assert left == [0, 2]
