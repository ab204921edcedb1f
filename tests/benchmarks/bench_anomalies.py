"""How good are warnings of unusual readings? The standard score of NAB (the Numenta Anomaly Benchmark), with one warning a day.

    python -m tests.benchmarks.bench_anomalies --data FOLDER

FOLDER is a checkout of github.com/numenta/NAB; nothing of it is in this repository. Scoring as its paper describes it
(Lavin and Ahmad, 2015): a window's first warning counts by how early in it it comes, a window without one costs 1, a
warning outside costs up to 0.11, growing with its distance from the window before it; the first 15 % of a file (at most
750 readings) are not scored; 0 is a detector that says nothing, 100 one that warns at each window's start. On the
published scores of its windowed Gaussian detector, every reading counted, this gives the published 39.65.

Files are halved by their order: rules and the threshold were chosen on the even ones.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from barnameh.forecasting.anomalies import UNUSUAL_AT
from barnameh.forecasting.frames import Floats, Whole
from barnameh.forecasting.unusual import surprise

DAY = 86_400.0
FALSE_ALARM = 0.11


@dataclass(frozen=True)
class Recording:
    """One file: times in seconds, values, and windows as first and last position."""

    name: str
    times: Floats
    values: Floats
    windows: tuple[tuple[int, int], ...]

    @property
    def unscored(self) -> int:
        """How many readings at the start are not scored."""
        return min(int(0.15 * len(self.times)), 750)


@dataclass
class Tally:
    """What the warnings of some files came to."""

    points: float = 0.0
    windows: int = 0
    found: int = 0
    false_alarms: int = 0
    weeks: float = 0.0

    @property
    def score(self) -> float:
        """0 for a detector that says nothing, 100 for a perfect one."""
        return 100 * (self.points + self.windows) / (2 * self.windows)


def read(folder: Path) -> list[Recording]:
    """All labelled files, in the order of their names."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
    recordings = []
    for name, windows in sorted(labels.items()):
        with (folder / "data" / name).open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        times = np.array([_seconds(row["timestamp"]) for row in rows])
        at = {second: position for position, second in reversed(list(enumerate(times.tolist())))}
        recordings.append(
            Recording(
                name,
                times,
                np.array([float(row["value"]) for row in rows]),
                tuple((at[_seconds(first)], at[_seconds(last)]) for first, last in windows),
            )
        )
    return recordings


def _seconds(text: str) -> float:
    return dt.datetime.fromisoformat(text[:19]).replace(tzinfo=dt.UTC).timestamp()


def _worth(place: float) -> float:
    """What a warning is worth by its place: -1 at a window's start, 0 at its end, 1 a window's length later."""
    return -1.0 if place > 3 else 2 / (1 + float(np.exp(5 * place))) - 1


def count(recording: Recording, warnings: Whole, tally: Tally) -> None:
    """Add up the warnings of one file."""
    first_scored = recording.unscored
    best: dict[int, float] = {
        number: -1.0 for number, (_, last) in enumerate(recording.windows) if last >= first_scored
    }
    tally.windows += len(best)
    for at in warnings[warnings >= first_scored].tolist():
        inside = next((n for n, (a, b) in enumerate(recording.windows) if a <= at <= b), None)
        if inside is not None:
            first, last = recording.windows[inside]
            worth = _worth(-(last - at + 1) / (last - first + 1)) / _worth(-1.0)
            tally.found += best[inside] < 0
            best[inside] = max(best[inside], worth)
            continue
        tally.false_alarms += 1
        before = [window for window in recording.windows if window[1] < at]
        place = (at - before[-1][1]) / (before[-1][1] - before[-1][0]) if before else np.inf
        tally.points += FALSE_ALARM * _worth(place)
    tally.points += sum(best.values())
    tally.weeks += (recording.times[-1] - recording.times[first_scored]) / (7 * DAY)


def warnings_of(recording: Recording, scores: Floats, threshold: float) -> Whole:
    """Positions of warnings, at most one in a day of the readings' own time."""
    found: list[int] = []
    for at in np.flatnonzero(scores >= threshold).tolist():
        if at >= recording.unscored and (
            not found or recording.times[at] - recording.times[found[-1]] >= DAY
        ):
            found.append(at)
    return np.array(found, dtype=np.int64)


def scores_of(recording: Recording) -> Floats:
    """The surprise of each reading, on a grid of the file's own step."""
    step = max(float(np.median(np.diff(recording.times))), 1.0)
    at = np.rint((recording.times - recording.times[0]) / step).astype(np.int64)
    grid = np.full(int(at[-1]) + 1, np.nan)
    grid[at] = recording.values
    scores: Floats = surprise(grid, max(round(DAY / step), 1))[at]
    return scores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    recordings = read(parser.parse_args().data)
    started = time.process_time()
    scores = [scores_of(one) for one in recordings]
    seconds = time.process_time() - started
    readings = sum(len(one.times) for one in recordings)
    print(f"{len(recordings)} files, {readings:,} readings, {1e6 * seconds / readings:.1f} µs of CPU each\n")
    print("| threshold | rules' half | other half | all | windows found | false alarms a week and series |")
    print("|---|---|---|---|---|---|")
    for threshold in sorted({5.0, 6.0, UNUSUAL_AT, 8.0, 10.0}):
        halves = Tally(), Tally(), Tally()
        for number, (one, told) in enumerate(zip(recordings, scores, strict=True)):
            for tally in (halves[number % 2], halves[2]):
                count(one, warnings_of(one, told, threshold), tally)
        even, odd, both = halves
        shipped = " (the default)" if threshold == UNUSUAL_AT else ""
        print(
            f"| {threshold:g}{shipped} | {even.score:.1f} | {odd.score:.1f} | {both.score:.1f} "
            f"| {both.found} of {both.windows} | {both.false_alarms / both.weeks:.2f} |"
        )


if __name__ == "__main__":
    main()
