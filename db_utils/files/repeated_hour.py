"""Resolve repeated local times by the order of the rows of their series."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from db_utils.files.times import Unresolved

Line = tuple[int, list[Any]]


class _Doubt(Exception):  # noqa: N818 - a signal: the order does not tell, and why
    pass


class RepeatedHours:
    """Resolves the `Unresolved` times in a stream of rows, for each series separately.

    A series is the rows with the same values at `series_at`. Its rows of a repeated hour are held back until
    its next row outside of it. They are assumed to be in order of time: the clock goes through the hour, back
    once, and through it again; rows sorted by the clock, each time twice, are the first and the second. If
    the rows before or after show that the file runs backwards, so does the hour. `repeats_tell`: a time that
    repeats in a series belongs to the second pass, because keys are unique; else (events) only a clock that
    goes back starts it.
    """

    def __init__(self, time_at: int, series_at: Sequence[int], *, repeats_tell: bool) -> None:
        self._time_at = time_at
        self._series_at = series_at
        self._repeats_tell = repeats_tell
        self._last: dict[tuple[Any, ...], str] = {}
        self._held: dict[tuple[Any, ...], list[Line]] = {}

    def rows(self, rows: Iterator[Line], on_bad: Any) -> Iterator[Line]:
        """Yield the rows with all times resolved; `on_bad` is called for those that cannot be."""
        for line, values in rows:
            series = tuple(values[place] for place in self._series_at)
            time = values[self._time_at]
            held = self._held.get(series)
            if isinstance(time, Unresolved):
                if held and abs(held[-1][1][self._time_at].wall - time.wall) > dt.timedelta(hours=6):
                    yield from self._settled(series, None, on_bad)
                self._held.setdefault(series, []).append((line, values))
                continue
            if held:
                yield from self._settled(series, time, on_bad)
            if time is not None:
                self._last[series] = time
            yield line, values
        for series in list(self._held):
            yield from self._settled(series, None, on_bad)

    def _settled(self, series: tuple[Any, ...], after: str | None, on_bad: Any) -> Iterator[Line]:
        held = self._held.pop(series)
        times = [values[self._time_at] for _, values in held]
        try:
            folds = self._folds(
                [time.wall for time in times], _direction(times, self._last.get(series), after)
            )
        except _Doubt as doubt:
            for (line, _), time in zip(held, times, strict=True):
                on_bad(
                    line,
                    "time",
                    f"{time.wall.isoformat(' ')} occurred twice in {time.zone.key}, and the order of the rows does not show which "
                    f"is meant ({doubt}): use --ambiguous earlier or later, or give the offset",
                )
            return
        for (line, values), time, fold in zip(held, times, folds, strict=True):
            values[self._time_at] = time.moment(fold)
            yield line, values

    def _folds(self, walls: list[dt.datetime], direction: int) -> list[int]:
        if direction < 0:
            return self._ascending(walls[::-1])[::-1]
        if direction == 0 and self._breaks(walls) > 1 and self._breaks(walls[::-1]) == 1:
            return self._ascending(walls[::-1])[::-1]
        return self._ascending(walls)

    def _breaks(self, walls: list[dt.datetime]) -> int:
        return sum(self._goes_back(one, next_one) for one, next_one in pairwise(walls))

    def _goes_back(self, one: dt.datetime, next_one: dt.datetime) -> bool:
        return next_one < one or (self._repeats_tell and next_one == one)

    def _ascending(self, walls: list[dt.datetime]) -> list[int]:
        if self._repeats_tell and walls == sorted(walls):
            counts = set(Counter(walls).values())
            if counts == {1}:
                raise _Doubt("its series has the hour once")
            if counts != {2}:
                raise _Doubt("sorted by the clock, its series has some times twice and others not")
            return [place % 2 for place in range(len(walls))]
        backwards = [at for at, pair in enumerate(pairwise(walls), 1) if self._goes_back(*pair)]
        if len(backwards) != 1:
            raise _Doubt(
                f"the clock of its series goes back {len(backwards)} times"
                if backwards
                else "its series has the hour once"
            )
        return [0] * backwards[0] + [1] * (len(walls) - backwards[0])


def _direction(times: Sequence[Unresolved], before: str | None, after: str | None) -> int:
    """Return 1 if the surrounding rows run forwards, -1 for backwards, 0 without any."""
    moments = [dt.datetime.fromisoformat(time.moment(fold)) for time in times for fold in (0, 1)]
    first, last = min(moments), max(moments)
    said = set()
    for text, sign in ((before, 1), (after, -1)):
        if text is not None:
            moment = dt.datetime.fromisoformat(text)
            said |= {sign} if moment < first else {-sign} if moment > last else set()
    if len(said) > 1:
        raise _Doubt("the rows before and after are not in the order of time")
    return said.pop() if said else 0
