"""Production plans against the independent checker, and against figures computed by hand."""

from __future__ import annotations

import datetime as dt
import random
from uuid import UUID

import pytest

from barnameh.planning.production import plan_production
from barnameh.planning.production_check import faults
from barnameh.planning.production_cuts import broken, windows
from barnameh.planning.production_model import shop_model
from barnameh.planning.shop import Ability, Job, Shop, Work, by_rule, on_time_pct, price_of
from barnameh.planning.solve import Relaxation, solve
from tests.support.rounds import rounds
from tests.support.shops import random_plant

MONDAY = dt.date(2026, 6, 1)
DAYS = tuple(MONDAY + dt.timedelta(days=n) for n in range(7))


def identifier(kind: int, number: int) -> UUID:
    return UUID(int=(kind << 64) + number)


def shop(*jobs: Job, hours: float = 8, resources: int = 1, **options: object) -> Shop:
    able = {(identifier(1, r), "P"): Ability(10.0, 0.5) for r in range(resources)}
    room = {(identifier(1, r), d): float(hours) for r in range(resources) for d in DAYS}
    return Shop(DAYS, jobs, able, room, **options)  # type: ignore[arg-type]


def random_shop(seed: int) -> Shop:
    chance = random.Random(seed)
    resources = [identifier(1, n) for n in range(3)]
    able = {
        (r, p): Ability(chance.uniform(5, 50), chance.choice([0, 0.25, 1.5]))
        for r in resources
        for p in "PQR"
        if chance.random() < 0.7
    }
    room = {(r, d): chance.choice([0.0, 8.0, 16.0]) for r in resources for d in DAYS}
    jobs = tuple(
        Job(
            identifier(2, n), chance.choice("PQR"), chance.choice(DAYS), chance.uniform(20, 400), chance.randint(1, 5),
            chance.choice([None, *resources]),
        )
        for n in range(12)
    )  # fmt: skip
    return Shop(DAYS, jobs, able, room)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", rounds(range(15), 4))
def test_the_judge_finds_no_fault_and_the_rule_is_never_better(seed: int) -> None:
    problem = random_shop(seed)
    plan = plan_production(problem, seconds=10)
    assert faults(problem, plan.work) == []
    assert faults(problem, by_rule(problem)) == []
    assert plan.cost == pytest.approx(price_of(problem, plan.work))
    assert plan.cost <= price_of(problem, by_rule(problem)) + 1e-9
    assert plan.bound <= plan.cost + 1e-9
    assert plan_production(problem, seconds=0).cost <= price_of(problem, by_rule(problem)) + 1e-9


@pytest.mark.parametrize("seed", rounds(range(20, 26), 2))
def test_cuts_raise_the_bound_and_never_above_the_optimum(seed: int) -> None:
    model = shop_model(random_shop(seed))
    optimum = solve(model.model).objective
    relaxed, known = Relaxation(model.model), windows(model)
    for _ in range(10):
        before = relaxed.bound
        rows = broken(known, relaxed.x)
        if not rows.upper:
            break
        relaxed.add(rows)
        assert before - 1e-6 <= relaxed.bound <= optimum + 1e-6
    assert solve(relaxed.model).objective == pytest.approx(optimum)


def test_cuts_raise_the_bound_where_setups_are_shared_out() -> None:
    model = shop_model(random_plant(60, 5, 14, 1.1, skew=1.2))
    relaxed = Relaxation(model.model)
    before = relaxed.bound
    relaxed.add(broken(windows(model), relaxed.x))
    assert relaxed.bound > before * (1 + 1e-5)


def test_one_job_is_made_before_it_is_due_with_its_setup() -> None:
    problem = shop(Job(identifier(2, 0), "P", DAYS[1], 150.0))
    plan = plan_production(problem)
    assert sum(w.quantity for w in plan.work) == pytest.approx(150)
    assert sum(w.hours for w in plan.work) == pytest.approx(15.5)
    assert {w.day for w in plan.work} == set(DAYS[:2])
    assert plan.on_time_pct == pytest.approx(100)


def test_what_is_more_urgent_goes_first_and_the_rest_is_late() -> None:
    urgent, other = (Job(identifier(2, n), "P", DAYS[0], 75.0, priority) for n, priority in ((0, 1), (1, 5)))
    plan = plan_production(shop(urgent, other))
    assert {w.day for w in plan.work if w.plan_id == urgent.plan_id} == {DAYS[0]}
    assert all(w.day > DAYS[0] for w in plan.work if w.plan_id == other.plan_id)
    assert plan.on_time_pct == pytest.approx(50)


def test_nothing_to_make_and_nothing_to_make_it_with() -> None:
    assert plan_production(shop()).work == []
    job = Job(identifier(2, 0), "Q", DAYS[0], 5.0)
    plan = plan_production(shop(job))
    assert (plan.work, plan.on_time_pct) == ([], None)


def test_the_judge_sees_what_is_wrong() -> None:
    job = Job(identifier(2, 0), "P", DAYS[1], 50.0)
    problem, press = shop(job), identifier(1, 0)
    assert faults(problem, [Work(job.plan_id, press, DAYS[0], 5.5, 50.0)]) == []
    wrong = {
        "at most": Work(job.plan_id, press, DAYS[0], 9.0, 50.0),
        "an hour": Work(job.plan_id, press, DAYS[0], 3.0, 50.0),
        "set up": Work(job.plan_id, press, DAYS[0], 5.0, 50.0),
        "made of": Work(job.plan_id, press, DAYS[0], 7.0, 60.0),
        "cannot make": Work(job.plan_id, identifier(1, 7), DAYS[0], 5.5, 50.0),
        "not to be made": Work(identifier(2, 7), press, DAYS[0], 5.5, 50.0),
    }
    for words, work in wrong.items():
        assert any(words in text for text in faults(problem, [work])), words


def test_on_time_is_a_share_of_hours() -> None:
    job = Job(identifier(2, 0), "P", DAYS[0], 40.0)
    late = Work(job.plan_id, identifier(1, 0), DAYS[1], 1.0, 10.0)
    early = Work(job.plan_id, identifier(1, 0), DAYS[0], 3.5, 30.0)
    assert on_time_pct(shop(job), [early, late]) == pytest.approx(75)
