"""How good and how fast are forecasts? Skill, intervals and pinball loss on public series; time and memory on made ones.

    python -m tests.benchmarks.bench_forecasting --data FOLDER [--only electricity,bikes,…] [--part rules|report|earlier] [--speed]

Data: see `forecasting_data`; none is in this repository. Each scored origin is a run as in production: the twelve origins before it
(fourteen for hours) set weights, intervals and which models may publish, and the would-be published forecast is compared with the
outcome. The last third of the origins is the report; to change a rule, look only at the part before it (`--part rules`); the origins
before both (`--part earlier`, as many as `--scored`) have been used for neither. One thread; seconds are CPU seconds. `--speed` needs
a server: TEST_PG_INSTALL, or the wheel's.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from barnameh.forecasting import forecast_demand
from barnameh.forecasting.backtest import NAIVES, QUANTILES, Said, Trial, run_trial, scales_of
from barnameh.forecasting.frames import Floats
from barnameh.forecasting.rules import COMBINATION, models_said, speaker_of
from db_utils import DatabaseManager, OperationalDataQueries, schema
from db_utils.embedded.server import EmbeddedServer
from tests.benchmarks.forecasting_data import KEPT, RULES_WERE_SET_ON, Series

BEFORE = {"half_hour": 14, "hour": 14, "day": 12, "week": 12}
APART = {"half_hour": 48, "hour": 24, "day": 3, "week": 2}
MOST_SCORED = {"half_hour": 14, "hour": 14, "day": 24, "week": 14}


def origins(series: Series, part: str, scored: int | None = None) -> list[int]:
    """The origins, as numbers of buckets that are over. The first ones only set the parameters of the scored ones."""
    apart, before = APART[series.bucket], BEFORE[series.bucket]
    last = series.length - series.horizon
    every = list(range(last, last // 4, -apart))[::-1]
    third = max((len(every) - before) // 3, min(len(every) - before, 6))
    report = every[-min(third, MOST_SCORED[series.bucket]) - before :]
    if part == "report":
        return report

    def until(later: list[int], count: int = MOST_SCORED[series.bucket]) -> list[int]:
        # Nothing that the later ones score is known to these.
        earlier = [origin for origin in every if origin + series.horizon <= later[before]]
        return earlier[-count - before :]

    rules = until(report)
    return rules if part == "rules" else until(rules, scored or MOST_SCORED[series.bucket])


def measured(series: Series, part: str, scored: int | None = None) -> tuple[dict[str, float], dict[str, int]]:
    """Return the figures of the forecasts that would have been published, and their models."""
    before, at = BEFORE[series.bucket], origins(series, part, scored)
    started = time.process_time()
    frames = [series.frame(origin) for origin in at]
    whole = run_trial(frames)
    seconds = (time.process_time() - started) / len(at)
    truth = np.stack([_ahead(series, origin) for origin in at])
    shape = truth[before:].shape
    published = Said(np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan))
    naive = {
        name: replace(
            published,
            point=np.copy(published.point),
            lower=np.copy(published.lower),
            upper=np.copy(published.upper),
        )
        for name in NAIVES
    }
    scale = np.full(shape[:2], np.nan)
    speakers: dict[str, int] = {}
    for number in range(before, len(at)):
        trial = _run_of(whole, number - before, number, series, at, scales_of(frames[number]))
        said, _ = models_said(trial, ())
        row = number - before
        scale[row] = trial.scale
        for one in range(len(trial.series)):
            speaker, *_ = speaker_of(trial, said, COMBINATION, one)
            speakers[speaker] = speakers.get(speaker, 0) + 1
            for target, source in ((published, said[speaker]), *((naive[n], said[n]) for n in NAIVES)):
                target.point[row, one] = source.point[-1, one]
                target.lower[row, one] = np.minimum(source.lower[-1, one], source.point[-1, one])
                target.upper[row, one] = np.maximum(source.upper[-1, one], source.point[-1, one])
    outcome = truth[before:]
    figures = {name: _wape(said.point, outcome) for name, said in (("published", published), *naive.items())}
    losses = {
        name: _pinball(said, outcome, scale) for name, said in (("published", published), *naive.items())
    }
    known = np.isfinite(outcome)
    scaled = {
        name: float((np.abs(said.point - outcome) / scale[:, :, None])[known].mean())
        for name, said in (("published", published), ("seasonal-naive", naive["seasonal-naive"]))
    }
    inside = (outcome >= published.lower) & (outcome <= published.upper)
    better = min(figures[name] for name in NAIVES)
    return {
        "origins": shape[0],
        "wape": figures["published"],
        "naive": figures["seasonal-naive"],
        "better_naive": better,
        "skill": 100 * (1 - figures["published"] / figures["seasonal-naive"]),
        "skill_mase": 100 * (1 - scaled["published"] / scaled["seasonal-naive"]),
        "skill_better": 100 * (1 - figures["published"] / better),
        "coverage": 100 * float(inside[known].mean()),
        "pinball": losses["published"],
        "pinball_naive": min(losses[name] for name in NAIVES),
        "seconds": seconds,
    }, speakers


def _ahead(series: Series, origin: int) -> Floats:
    return np.stack([values[origin : origin + series.horizon] for values in series.demand.values()])


def _run_of(whole: Trial, first: int, last: int, series: Series, at: list[int], scale: Floats) -> Trial:
    """Return the backtest of a run at this origin: the origins before it, and the targets that are over."""
    part = slice(first, last + 1)
    over = np.array([at[n] for n in range(first, last + 1)])
    ends = over[:, None] + np.arange(1, series.horizon + 1)[None, :]
    # The first of these origins at which each target is over.
    since = np.searchsorted(over, ends)
    return Trial(
        whole.origins[part],
        whole.series,
        {name: values[part] for name, values in whole.said.items()},
        np.stack([_ahead(series, at[n]) for n in range(first, last + 1)]),
        np.broadcast_to(since[:, None, :], (len(over), len(whole.series), series.horizon)).copy(),
        scale,
        np.ones(len(whole.series), dtype=bool),
    )


def _wape(point: Floats, outcome: Floats) -> float:
    known = np.isfinite(outcome)
    return 100 * float(np.abs(point - outcome)[known].sum() / outcome[known].sum())


def _pinball(said: Said, outcome: Floats, scale: Floats) -> float:
    known = np.isfinite(outcome)
    losses = [
        np.maximum(q * (outcome - bound), (q - 1) * (outcome - bound)) / scale[:, :, None]
        for q, bound in zip(QUANTILES, (said.lower, said.point, said.upper), strict=True)
    ]
    return float(np.mean(losses, axis=0)[known].mean())


def accuracy(folder: Path, only: list[str], part: str, scored: int | None) -> None:
    """Print a row of the table for each data set."""
    heads = (
        "data", "origins", "WAPE %", "seasonal naive %", "skill %", "by MASE %", "over the better naive %",
        "coverage %", "pinball", "naive's",
        "CPU s an origin", "published",
    )  # fmt: skip
    print(f"| {' | '.join(heads)} |")
    print("|" + "---|" * len(heads))
    for name, load in {**RULES_WERE_SET_ON, **KEPT}.items():
        if only and name not in only:
            continue
        figures, speakers = measured(load(folder), part, scored)
        kept = " (kept)" if name in KEPT else ""
        print(
            f"| {name}{kept} | {figures['origins']:.0f} | {figures['wape']:.2f} | {figures['naive']:.2f} | {figures['skill']:.1f} "
            f"| {figures['skill_mase']:.1f} | {figures['skill_better']:.1f} "
            f"| {figures['coverage']:.1f} | {figures['pinball']:.3f} | {figures['pinball_naive']:.3f} "
            f"| {figures['seconds']:.1f} | {', '.join(f'{k} {v}' for k, v in sorted(speakers.items()))} |",
            flush=True,
        )


def speed() -> None:
    """Print the cost of runs of two sizes: CPU seconds of this process and of the server, and this process's peak memory."""
    with EmbeddedServer.start(None, install_dir=os.environ.get("TEST_PG_INSTALL") or None) as server:
        for products, days, count in ((3, 90, 12), (1_000, 365, 4)):
            with DatabaseManager(
                server.url, max_connections=1, statement_timeout_seconds=0, slow_query_seconds=0
            ) as db:
                schema.apply(db)
                queries = OperationalDataQueries(db)
                org = queries.create_organization(f"{products} products", industry="retail")[
                    "organization_id"
                ]
                place = queries.create_location(org, "Store", location_type="store", timezone="UTC")[
                    "location_id"
                ]
                _fill(db, org, place, products, days)
                backend = psutil.Process(db.execute_query("SELECT pg_backend_pid() AS pid")[0]["pid"])
                before = sum(backend.cpu_times()[:2]), time.process_time()
                run = forecast_demand(db, org, origins=count)
                after = sum(backend.cpu_times()[:2]), time.process_time()
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{products} x {days}, {count} origins: {after[1] - before[1]:.1f} s here, {after[0] - before[0]:.1f} s of the server, "
                f"{most:.0f} MB, {run.written} forecasts"
            )


def _fill(db: DatabaseManager, org: object, place: object, products: int, days: int) -> None:
    db.execute(
        """
        INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity)
        SELECT
            %s,
            date_trunc('day', now(), 'UTC') - d * interval '1 day',
            'P' || p,
            %s,
            round((100 + 40 * sin(d * 0.897 + p) + hashint4(d * 1000 + p) %% 20)::numeric, 0)
        FROM generate_series(1, %s) AS d
        CROSS JOIN generate_series(1, %s) AS p
        """,
        (org, place, days, products),
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--only", default="")
    parser.add_argument("--part", choices=("rules", "report", "earlier"), default="report")
    parser.add_argument("--scored", type=int, default=None, help="how many origins, of the earlier part")
    parser.add_argument("--speed", action="store_true")
    given = parser.parse_args()
    if given.data is not None:
        accuracy(given.data, [name for name in given.only.split(",") if name], given.part, given.scored)
    if given.speed:
        speed()


if __name__ == "__main__":
    main()
