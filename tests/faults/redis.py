"""Faults of Redis and its network, with reads through the prediction cache: always the database's values."""

from __future__ import annotations

import logging
from uuid import uuid4

from tests.benchmarks.bench_cache_faults import FAULTS, PRODUCTS, meet, prediction_of, prepare_database
from tests.faults.findings import Finding
from tests.faults.trial import Trial, timed

THREADS = 4
IN_SHORT = ("none", "black hole", "restarted")


def run(trial: Trial) -> list[Finding]:
    """Run each Redis fault."""
    logging.getLogger().addHandler(logging.NullHandler())  # the cache's warnings are counted, not shown
    findings, organization = [], uuid4()
    with trial.empty() as db:
        prepare_database(db, organization, PRODUCTS)
        truth = {product: prediction_of(db, organization, product).value for product in PRODUCTS}
        for name in FAULTS if not trial.short else IN_SHORT:
            if trial.over():
                break
            finding = Finding(
                f"Redis: {name}",
                f"{THREADS} threads read 50 predictions through the cache, and compare with the database",
            )
            with timed(finding):
                met = meet(name, db, organization, truth, calls=trial.amount(500, 20), threads=THREADS)
            finding.attempts, finding.acknowledged, finding.wrong = (
                met.reads,
                met.reads - met.wrong,
                met.wrong,
            )
            finding.seen = (
                f"{met.from_redis:,} answered by Redis; worst read {met.worst_ms:g} ms over its query; "
                f"Redis in use again after {met.back_after_seconds:g} s"
            )
            findings.append(finding)
    return findings
