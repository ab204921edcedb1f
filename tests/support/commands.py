"""The command lines, called in the test process: a separate process would add a second of imports.

What needs a process (signals, a full disk behind standard output, `python -m` itself) is tested with one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def call(
    main: Callable[[list[str]], None],
    arguments: list[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    sent: bytes = b"",
) -> Done:
    """Run `main` with these arguments in this folder, with only this environment, and return how it ended."""
    out, err = io.BytesIO(), io.BytesIO()
    streams = {
        "stdin": io.TextIOWrapper(io.BytesIO(sent), "utf-8"),
        "stdout": io.TextIOWrapper(out, "utf-8", write_through=True),
        "stderr": io.TextIOWrapper(err, "utf-8", write_through=True),
    }
    code = 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.multiple(sys, **streams),
        contextlib.chdir(folder),
    ):
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return Done(code, out.getvalue().decode(), err.getvalue().decode())
