"""The services of the operations platform, each a separate program that uses the public names of `db_utils`.

Services never import each other; they exchange data through tables. See docs/services.md.
"""

from __future__ import annotations

from db_utils import __version__

__all__ = ["__version__"]
