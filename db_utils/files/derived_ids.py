"""Ids of rows derived from the caller's own key."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from db_utils.errors import InvalidInputError
from db_utils.files.options import ImportOptions
from db_utils.files.relations import Relation
from db_utils.files.scope import Scope
from db_utils.text_keys import id_of_key, number_text, text_key


class DerivedIds:
    """The ids derived from a file's key columns; `column` is their target, None without a key."""

    def __init__(
        self, header: Sequence[str], relation: Relation, options: ImportOptions, scope: Scope, given: set[str]
    ) -> None:
        self.column: str | None = None
        if not options.key:
            return
        if scope.organization_id is None:
            raise InvalidInputError("--key derives ids within one organization: give it with --organization")
        self.column = relation.id_column
        if self.column is None:
            raise InvalidInputError(f"--key: a row of {relation.name} has no id; its columns are its key")
        if self.column in given:
            raise InvalidInputError(
                f"--key derives {self.column}, but the file already has it: keep one of them"
            )
        self._organization_id = uuid.UUID(scope.organization_id)
        self._table = relation.name
        self._places = [header.index(text_key(name)) for name in options.key]

    def ids(
        self, given: Sequence[Sequence[Any]], count: int, null: str | None, bad: dict[int, tuple[str, str]]
    ) -> list[str | None]:
        """Return the id of each of these rows; one with an incomplete key is noted in `bad`."""
        found: list[str | None] = []
        columns = [given[place] for place in self._places] if count else []
        for at, values in enumerate(zip(*columns, strict=True)):
            texts = [None if v is None or v == null else _text(v) for v in values]
            if all(texts):
                key = id_of_key(self._organization_id, self._table, [text or "" for text in texts])
                found.append(str(key))
            else:
                bad.setdefault(at, (self.column or "", "a part of its key (--key) is empty"))
                found.append(None)
        return found


def _text(value: Any) -> str:
    return text_key(number_text(value) if isinstance(value, (float, Decimal)) else str(value))
