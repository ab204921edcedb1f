"""Generated rounds: a few always, the others only with slow tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def rounds(values: Iterable[Any], fast: int) -> list[Any]:
    """These parameters; all but the first `fast` are marked slow."""
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)), marks=[pytest.mark.slow] * (number >= fast)
        )
        for number, value in enumerate(values)
    ]
