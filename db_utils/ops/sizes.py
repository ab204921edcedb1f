"""Numbers of bytes for people."""

from __future__ import annotations


def size(count: float | None) -> str:
    """How much is this, as PostgreSQL writes it (kB = 1024 bytes)? Empty where it is not known."""
    if count is None:
        return ""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
