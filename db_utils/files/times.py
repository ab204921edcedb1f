"""Times and days of a file: with an offset, in a zone or in that of each row's location, or as Unix time."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from db_utils.copy.text_format import BadValueError
from db_utils.files.options import EPOCHS, ImportOptions, has_time_of_day
from db_utils.files.row_timezones import LocationPeriod, RowTimezones

_ISO = re.compile(r"(\d{4}-?\d\d-?\d\d|\d{4}-?W\d\d-?\d)[Tt ]\d\d.*", re.ASCII | re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d+([.,]\d*)?", re.ASCII)
_UTC_NAMES = frozenset(("UTC", "GMT", "UT", "Z", "ZULU"))
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LEAST_MILLISECONDS = _MOST_SECONDS = 10**11
"""Between these, a number could be seconds or milliseconds: 1973 in milliseconds is 5138 in seconds."""
_ZONE = r"(?P<zone>[A-Za-z][A-Za-z0-9_+\-]*(?:/[A-Za-z0-9_+\-]+)*)"


class Unresolved:
    """A repeated local time, to be resolved by the order of the rows."""

    __slots__ = ("wall", "zone")

    def __init__(self, wall: dt.datetime, zone: ZoneInfo) -> None:
        self.wall = wall
        self.zone = zone

    def moment(self, fold: int) -> str:
        """Return the first (0) or second (1) of the two instants, in ISO 8601 with its offset."""
        return self.wall.replace(tzinfo=self.zone, fold=fold).isoformat()


class Moments:
    """Converts a value to an instant; without an offset it is local time of the zone or the row's location.

    A day (a date of Parquet and Arrow, or a text whose format has no time of day) is the local day of the
    row's location if it has one, and begins at its first instant.
    """

    def __init__(self, options: ImportOptions, places: RowTimezones | None, *, may_be_ordered: bool) -> None:
        self._named = options.zone
        self._by_place = options.time_zone == "location"
        self._places = places
        self._format = options.time_format
        self._is_day = self._format is not None and not has_time_of_day(self._format)
        self._zone_finder = _zone_finder(self._format) if self._format and "%Z" in self._format else None
        self._ambiguous = options.ambiguous
        self._may_be_ordered = may_be_ordered
        self._nonexistent = options.nonexistent

    def __call__(self, value: Any, where: tuple[Any, ...] = ()) -> Any:
        """Return the instant in ISO 8601, or `Unresolved`; `where` are the values for `RowTimezones`."""
        if isinstance(value, dt.datetime):
            moment: dt.datetime | dt.date = value
            abbreviation = None
        elif isinstance(value, dt.date):
            moment, abbreviation = value, None
        else:
            moment, abbreviation = self._parsed(value)
        plain_day = self._is_day and abbreviation is None and not isinstance(value, dt.datetime)
        if not isinstance(moment, dt.datetime) or (plain_day and moment.tzinfo is None):
            return self._day(moment, where)
        if moment.tzinfo is not None:
            return moment.isoformat()
        if abbreviation is not None:
            return self._in_zone_named(abbreviation, moment, where)
        return self._local(moment, self._stays(where))

    # -- what is written -----------------------------------------------------------------------------------------

    def _parsed(self, value: Any) -> tuple[dt.datetime, str | None]:
        if self._format in EPOCHS:
            return _of_epoch(value, self._format), None
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            raise BadValueError(
                "a number is not a time: use --time-format epoch if it is Unix time (epoch_ms: milliseconds)"
            )
        if not isinstance(value, str):
            raise BadValueError(f"a {type(value).__name__} is not a time: give date and time")
        text = value.strip()
        if self._format is not None:
            return self._of_format(text, self._format)
        if _NUMBER.fullmatch(text):
            raise BadValueError(
                f"{value!r} is a number, not a time: use --time-format epoch if it is Unix time (epoch_ms: milliseconds), "
                "or give its format"
            )
        try:
            if _ISO.fullmatch(text):
                return dt.datetime.fromisoformat(text), None
            dt.date.fromisoformat(text)
        except ValueError:
            raise BadValueError(
                f"{value!r} is not a time in ISO 8601: give its format, such as --time-format '%d/%m/%Y %H:%M'"
            ) from None
        raise BadValueError(
            f"{value!r} is a day, not a time: give its format with --time-format if the day is meant"
        )

    def _of_format(self, text: str, written: str) -> tuple[dt.datetime, str | None]:
        name = None
        try:
            if self._zone_finder is not None:
                found = self._zone_finder.fullmatch(text)
                if found is None:
                    raise ValueError(text)
                name = found["zone"]
                text = text[: found.start("zone")] + text[found.end("zone") :]
                written = written.replace("%Z", "")
            return dt.datetime.strptime(text, written), name
        except ValueError:
            raise BadValueError(f"{text!r} is not a time of the format {self._format}") from None

    # -- where it is written -------------------------------------------------------------------------------------

    def _stays(self, where: tuple[Any, ...]) -> list[LocationPeriod]:
        if not self._by_place:
            if self._named is None:
                raise BadValueError("a time without time zone: give the zone of such times with --time-zone")
            return [LocationPeriod(None, None, self._named)]
        if self._places is None:
            raise BadValueError("--time-zone location needs one organization: give an IANA zone")
        return self._places(where) or [self._places.of_organization]

    def _in_zone_named(self, name: str, wall: dt.datetime, where: tuple[Any, ...]) -> Any:
        """Convert a local time with a zone name: UTC, an IANA name, or the zone's abbreviation then."""
        if name.upper() in _UTC_NAMES:
            return wall.replace(tzinfo=dt.UTC).isoformat()
        if "/" in name:
            try:
                zone = ZoneInfo(name)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                raise BadValueError(f"there is no time zone {name!r}") from None
            return self._on_clock(wall, zone)
        if not self._by_place and self._named is None:
            raise BadValueError(f"{name} stands for more than one zone: give the right one with --time-zone")
        stays = self._stays(where)
        for stay in stays:
            for fold in (0, 1):
                moment = wall.replace(tzinfo=stay.zone, fold=fold)
                if moment.tzname() == name and _exists(moment) and stay.holds(moment):
                    return moment.isoformat()
        names = sorted(
            {str(wall.replace(tzinfo=stay.zone, fold=fold).tzname()) for stay in stays for fold in (0, 1)}
        )
        raise BadValueError(
            f"{name} is not in use in {stays[0].zone.key} says at {wall.isoformat(' ')} ({' or '.join(names)})"
        )

    def _day(self, day: dt.date, where: tuple[Any, ...]) -> str:
        stays = self._places(where) if self._places is not None else []
        day = dt.date(day.year, day.month, day.day)
        if not stays:
            stays = self._stays(where)
        found = {moment for stay in stays if stay.holds(moment := day_start(day, stay.zone))}
        return str(_only(found, day.isoformat()).isoformat())

    def _local(self, wall: dt.datetime, stays: list[LocationPeriod]) -> Any:
        if len(stays) == 1:
            return self._on_clock(wall, stays[0].zone)
        found = set()
        for stay in stays:
            moments = [wall.replace(tzinfo=stay.zone, fold=fold) for fold in (0, 1)]
            if any(stay.holds(moment) for moment in moments):
                found.add(stay.zone)
        return self._on_clock(wall, _only(found, wall.isoformat(" ")))

    def _on_clock(self, wall: dt.datetime, zone: ZoneInfo) -> Any:
        earlier, later = wall.replace(tzinfo=zone, fold=0), wall.replace(tzinfo=zone, fold=1)
        before, after = earlier.utcoffset(), later.utcoffset()
        if before is None or after is None or before == after:
            return earlier.isoformat()
        if before > after:
            if self._ambiguous == "order" and self._may_be_ordered:
                return Unresolved(wall, zone)
            if self._ambiguous in ("reject", "order"):
                raise BadValueError(
                    f"{wall.isoformat(' ')} occurred twice in {zone.key}, when the clock was set back: choose one with --ambiguous"
                )
            return (earlier if self._ambiguous == "earlier" else later).isoformat()
        if self._nonexistent == "reject":
            raise BadValueError(
                f"{wall.isoformat(' ')} did not exist in {zone.key}, when the clock was set forward: --nonexistent shift moves it forward"
            )
        return earlier.astimezone(dt.UTC).isoformat()


def _only(found: set[Any], what: str) -> Any:
    if len(found) != 1:
        raise BadValueError(
            f"the row's place was in another time zone before and after, and {what} "
            f"{'was in both' if found else 'was in neither'}: give the offset"
        )
    return next(iter(found))


def _exists(moment: dt.datetime) -> bool:
    return moment.astimezone(dt.UTC).astimezone(moment.tzinfo).replace(tzinfo=None) == moment.replace(
        tzinfo=None
    )


def day_start(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    """Return the first instant whose local date in this zone is `day` (or later, if the zone skipped it)."""
    midnight = dt.datetime(day.year, day.month, day.day)
    try:
        low, high = sorted(midnight.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1))
    except OverflowError:
        raise BadValueError(f"{day} is out of range") from None
    if low.astimezone(zone).date() >= day:
        return low.astimezone(zone)
    while high - low > dt.timedelta(seconds=1):  # the clock was set forward across midnight
        middle = low + (high - low) // 2
        low, high = (low, middle) if middle.astimezone(zone).date() >= day else (middle, high)
    return high.replace(microsecond=0).astimezone(zone)


def _zone_finder(written: str) -> re.Pattern[str]:
    """Finds the %Z part of a text in this format."""
    parts = re.split(r"(%.)", written)
    known = {"%Z": _ZONE, "%%": "%"}
    return re.compile(
        "".join(known.get(part, ".+?" if part[:1] == "%" else re.escape(part)) for part in parts)
    )


def _of_epoch(value: Any, written: str | None) -> dt.datetime:
    text = str(value).strip()
    if isinstance(value, bool) or not _NUMBER.fullmatch(text):
        raise BadValueError(f"{value!r} is not Unix time: give a number")
    number = Decimal(text.replace(",", "."))
    if written == "epoch" and abs(number) >= _MOST_SECONDS:
        raise BadValueError(
            f"{value!r} seconds are beyond the year 5138: --time-format epoch_ms reads milliseconds"
        )
    if written == "epoch_ms" and abs(number) < _LEAST_MILLISECONDS:
        raise BadValueError(f"{value!r} milliseconds are about 1970: --time-format epoch reads seconds")
    try:
        return _EPOCH + dt.timedelta(microseconds=int((number * EPOCHS[written or ""]).to_integral_value()))
    except OverflowError:
        raise BadValueError(f"{value!r} is out of range") from None


def day_converter(written: str | None) -> Callable[[Any], str]:
    """Converts a value to a day in ISO 8601."""
    return lambda value: day(value, written)


def day(value: Any, written: str | None) -> str:
    """Return the day in ISO 8601."""
    if isinstance(value, dt.datetime):
        if value.tzinfo is not None:
            raise BadValueError("the day of a time depends on its location: give a date")
        if value.time() != dt.time():
            raise BadValueError("a time is not a date: give a date")
        return value.date().isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if not isinstance(value, str):
        raise BadValueError(f"a {type(value).__name__} is not a day")
    text = value.strip()
    try:
        if written is not None:
            return dt.datetime.strptime(text, written).date().isoformat()
        if _NUMBER.fullmatch(text):
            raise BadValueError(
                f"{value!r} is a number, not a day: give its format, such as --date-format %Y%m%d"
            )
        return dt.date.fromisoformat(text).isoformat()
    except BadValueError:
        raise
    except ValueError:
        raise BadValueError(
            f"{value!r} is not a day as {written or 'ISO 8601'} writes it (--date-format)"
        ) from None
