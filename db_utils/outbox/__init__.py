"""The outbox: changes in an organization, for external copies and live streams; see docs/outbox.md."""

from __future__ import annotations

from db_utils.outbox.kinds import KINDS, Kind
from db_utils.outbox.reading import Change, Changes, Outbox
from db_utils.outbox.targets import TargetFacts, targets

__all__ = ["KINDS", "Change", "Changes", "Kind", "Outbox", "TargetFacts", "targets"]
