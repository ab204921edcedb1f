"""The services of the operations platform, each a program of its own on the public names of `db_utils`.

A service imports nothing of another service; what two services tell each other stands in a table. See docs/services.md.
"""

from __future__ import annotations

from db_utils import __version__

__all__ = ["__version__"]
