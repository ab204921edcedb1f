"""The page as parsed by a program: tables and tiles."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "img", "source", "br"}


class Page(HTMLParser):
    """Tables by caption, tiles by name, titles by section; also checks that every element is closed correctly."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = text
        self.tables: dict[str, list[list[str]]] = {}
        self.tiles: dict[str, list[str]] = {}
        self.titles: dict[str, str] = {}
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self._said: dict[str, str] = {}
        self._rows: list[list[str]] = []
        self._caption = self._id = self._tile = ""
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.attributes.append((tag, given))
        if tag in VOID:
            return
        self._open.append(tag)
        self._said[tag] = ""
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag == "h2":
            self._id = given.get("id") or ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        said = self._said[tag].strip()
        ends: dict[str, Callable[[], Any]] = {
            "caption": lambda: setattr(self, "_caption", said),
            "th": lambda: self._rows[-1].append(said),
            "td": lambda: self._rows[-1].append(said),
            "table": lambda: self.tables.__setitem__(self._caption, self._rows),
            "h2": lambda: self.titles.__setitem__(self._id, said),
            "h3": lambda: (setattr(self, "_tile", said), self.tiles.__setitem__(said, [])),
        }
        if tag in ends:
            ends[tag]()
        elif tag == "p" and self._tile and "li" in self._open:
            self.tiles[self._tile].append(said)

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self._said[tag] += data
        if not {"style", "title"} & set(self._open):
            self.words.append(data)

    def table(self, beginning: str) -> list[list[str]]:
        """The rows of the only table whose caption begins with this, without its header."""
        (found,) = [rows for caption, rows in self.tables.items() if caption.startswith(beginning)]
        return found[1:]
