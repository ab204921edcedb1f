"""Rosters against brute force and the independent checker."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools

import pytest

from barnameh.planning import search
from barnameh.planning.check import already_broken, cost, night, violations
from barnameh.planning.explain import explain, gaps
from barnameh.planning.model import Contract, Pair, Roster, Shift, Standing, Weights, Worker
from barnameh.planning.roster import plan_roster
from tests.support.exhaustive import is_any_cheaper
from tests.support.rosters import EVER, identifier, random_roster, random_site
from tests.support.rounds import rounds

PARIS = "Europe/Paris"


def best_of_all(roster: Roster) -> float:
    """The least cost of all rosters, by the checker alone: the allowed shifts of each person, combined over all people."""
    pinned = roster.pinned()
    free = [
        [(s.shift_id, w.employee_id) for s in roster.shifts if (s.shift_id, w.employee_id) not in pinned]
        for w in roster.workers
    ]
    own: list[list[set[Pair]]] = []
    for worker, pairs in zip(roster.workers, free, strict=True):
        alone = dataclasses.replace(roster, workers=(worker,))
        held = {p for p in pinned if p[1] == worker.employee_id}
        options: list[set[Pair]] = []
        for size in range(len(pairs) + 1):
            for chosen in itertools.combinations(pairs, size):
                found = violations(alone, held | set(chosen))
                # The other rules concern more than one person.
                if not [v for v in found if v.rule not in ("places", "pinned")]:
                    options.append(held | set(chosen))
        own.append(options)
    best = float("inf")
    for chosen in itertools.product(*own):
        pairs_of_all = set().union(*chosen)
        if not [v for v in violations(roster, pairs_of_all) if v.rule == "places"]:
            best = min(best, cost(roster, pairs_of_all))
    return best


@pytest.mark.parametrize("seed", rounds(range(12), 4))
def test_nothing_is_better_than_the_plan(seed: int) -> None:
    roster = random_roster(seed, workers=3, shifts=5, days=4)
    plan = plan_roster(roster, gap=0.0)
    assert plan.status == "optimal"
    assert not violations(roster, plan.pairs)
    assert plan.cost == pytest.approx(cost(roster, plan.pairs)) == pytest.approx(best_of_all(roster))


@pytest.mark.parametrize("seed", rounds(range(100, 130), 5))
def test_the_judge_finds_no_fault(seed: int) -> None:
    roster = random_roster(seed, workers=8, shifts=20)
    plan = plan_roster(roster, gap=0.0)
    assert not violations(roster, plan.pairs)
    assert plan.cost == pytest.approx(cost(roster, plan.pairs))
    assert plan.bound <= plan.cost + 1e-6 <= plan.start_cost + 2e-6
    at_once = plan_roster(roster, seconds=0)
    assert not violations(roster, at_once.pairs)
    assert at_once.cost == pytest.approx(cost(roster, at_once.pairs)) == pytest.approx(plan.start_cost)


@pytest.mark.parametrize("seed", rounds(range(200, 206), 2))
def test_neighbourhoods_break_no_rule(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "COLUMNS_AT_ONCE", 0)
    roster = random_roster(seed, workers=8, shifts=20)
    plan = plan_roster(roster)
    assert not violations(roster, plan.pairs)
    assert plan.bound <= plan.cost + 1e-6
    assert plan.cost == pytest.approx(cost(roster, plan.pairs))
    assert plan.pairs == plan_roster(roster).pairs, "twice the same"


def test_dives_find_what_the_bound_allows_and_groups_come_near(monkeypatch: pytest.MonkeyPatch) -> None:
    roster = random_site(16, 80, 1, 14)
    proven = plan_roster(roster, seconds=600)
    assert (proven.status, proven.parts[0].method) == ("optimal", "dives")
    assert not violations(roster, proven.pairs)
    monkeypatch.setattr(search, "COLUMNS_AT_ONCE", 0)
    monkeypatch.setattr(search, "LARGEST", 300)
    searched = plan_roster(roster, seconds=600)
    assert not violations(roster, searched.pairs)
    assert proven.cost - 1e-6 <= searched.cost <= (proven.cost + proven.start_cost) / 2 < proven.start_cost


@pytest.mark.parametrize(
    ("seed", "workers", "shifts"),
    rounds([(400, 4, 8), (401, 4, 8), *((n, 8, 20) for n in range(402, 410))], 2),
)
def test_nothing_is_better_than_the_plan_of_more(seed: int, workers: int, shifts: int) -> None:
    roster = random_roster(seed, workers=workers, shifts=shifts)
    plan = plan_roster(roster, gap=0.0)
    assert plan.status == "optimal"
    assert not is_any_cheaper(roster, plan.cost - 1e-3)
    assert is_any_cheaper(roster, plan.cost + 1e-3)


@pytest.mark.slow
def test_the_judge_finds_no_fault_in_a_thousand() -> None:
    for seed in range(1000, 2000):
        roster = random_roster(seed, workers=8, shifts=20)
        plan = plan_roster(roster)
        assert not violations(roster, plan.pairs), seed
        assert plan.cost == pytest.approx(cost(roster, plan.pairs)), seed


def worker(number: int = 0, **changes: object) -> Worker:
    usual = Worker(
        identifier(2, number), f"W{number}", identifier(1, 0), PARIS, (Contract(dt.date(2020, 1, 1)),),
        places=frozenset({identifier(1, 0)}), employed=(EVER,),
    )  # fmt: skip
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]


def shift(number: int, start: str, end: str, required: int = 1, **changes: object) -> Shift:
    first, last = (dt.datetime.fromisoformat(text).astimezone(dt.UTC) for text in (start, end))
    usual = Shift(
        identifier(3, number), identifier(1, 0), f"S{number}", first, last, required, timezone=PARIS
    )
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]


def test_rest_is_hours_as_they_pass() -> None:
    """20:00 to 07:00 is 11 hours by the clock: 10 if it goes forward in between, 12 if it goes back."""
    for before, after, possible in (
        ("2026-03-28T12:00+01:00", "2026-03-29T07:00+02:00", False),
        ("2026-10-24T12:00+02:00", "2026-10-25T07:00+01:00", True),
        ("2026-06-06T12:00+02:00", "2026-06-07T07:00+02:00", True),
    ):
        first = shift(0, before, before.replace("T12", "T20"))
        second = shift(1, after, after.replace("T07", "T15"))
        roster = Roster((first, second), (worker(),))
        plan = plan_roster(roster)
        assert len(plan.pairs) == 1 + possible
        both = {(s.shift_id, identifier(2, 0)) for s in roster.shifts}
        assert bool(violations(roster, both)) is not possible


def test_a_shift_over_sunday_belongs_to_two_weeks() -> None:
    """Of a night shift from Sunday to Monday, two hours count in the first week and six in the second."""
    night_shift = shift(0, "2026-06-07T22:00+02:00", "2026-06-08T06:00+02:00")
    days = [shift(n, f"2026-06-{n:02d}T08:00+02:00", f"2026-06-{n:02d}T16:00+02:00") for n in (1, 2, 3, 4, 5)]
    able = worker(contracts=(Contract(dt.date(2020, 1, 1), 40, 42.0),))
    assert len(plan_roster(Roster((*days, night_shift), (able,))).pairs) == 6
    less = worker(contracts=(Contract(dt.date(2020, 1, 1), 40, 41.5),))
    assert len(plan_roster(Roster((*days, night_shift), (less,))).pairs) == 5


def test_a_day_and_a_night_of_24_hours() -> None:
    duties = tuple(
        shift(n, f"2026-06-{n:02d}T08:00+02:00", f"2026-06-{n + 1:02d}T08:00+02:00") for n in range(1, 5)
    )
    plan = plan_roster(Roster(duties, (worker(0), worker(1))))
    assert plan.status == "optimal"
    assert len(plan.pairs) == 4, "two each, a day between them"
    alone = plan_roster(Roster(duties, (worker(0),)))
    assert len(alone.pairs) == 2


def test_what_is_pinned_and_broken_is_held_and_told() -> None:
    late = shift(0, "2026-06-01T14:00+02:00", "2026-06-01T22:00+02:00")
    early = shift(1, "2026-06-02T06:00+02:00", "2026-06-02T14:00+02:00")
    third = shift(2, "2026-06-02T20:00+02:00", "2026-06-03T04:00+02:00")
    me = worker()
    held = tuple(
        Standing(s.shift_id, me.employee_id, "confirmed", s.starts_at, s.ends_at) for s in (late, early)
    )
    roster = Roster((late, early, third), (me,), held)
    plan = plan_roster(roster)
    assert plan.pairs == {(late.shift_id, me.employee_id), (early.shift_id, me.employee_id)}
    assert not violations(roster, plan.pairs)
    assert [v.rule for v in already_broken(roster)] == ["rest"]
    (gap,) = explain(roster, plan.pairs)
    assert gap["reasons"] == {"too little rest": 1}


def test_a_sick_person_is_replaced_and_nobody_else_moves() -> None:
    spans = tuple(
        shift(n, f"2026-06-{n:02d}T06:00+02:00", f"2026-06-{n:02d}T14:00+02:00", 2) for n in range(1, 6)
    )
    people = [worker(n) for n in range(4)]
    stands = tuple(
        Standing(s.shift_id, p.employee_id, "confirmed", s.starts_at, s.ends_at)
        for s in spans
        for p in people[:2]
    )
    people[0] = dataclasses.replace(people[0], away=((*EVER, "sick"),))
    roster = Roster(spans, tuple(people), stands)
    plan = plan_roster(roster)
    assert plan.status == "optimal"
    assert not gaps(roster, plan.pairs)
    assert len(roster.present() - plan.pairs) == len(plan.pairs - roster.present()) == 5


def test_empty_inputs() -> None:
    one, me = shift(0, "2026-06-01T06:00+02:00", "2026-06-01T14:00+02:00"), worker()
    assert plan_roster(Roster((), ())).status == "optimal"
    assert plan_roster(Roster((), (me,))).pairs == set()
    nobody = plan_roster(Roster((one,), ()))
    assert nobody.status == "optimal"
    assert nobody.cost == cost(Roster((one,), ()), set()) == Weights().missing


@pytest.mark.thorough
def test_reasons_add_up_to_everybody() -> None:
    for seed in range(300, 312):
        roster = random_roster(seed, workers=8, shifts=20)
        plan = plan_roster(roster)
        short = gaps(roster, plan.pairs)
        told = explain(roster, plan.pairs)
        assert [g["missing"] for g in short] == [t["missing"] for t in told]
        assert all(sum(t["reasons"].values()) == len(roster.workers) for t in told)


def test_nights() -> None:
    assert night(shift(0, "2026-06-01T22:00+02:00", "2026-06-02T06:00+02:00"))
    assert night(shift(0, "2026-06-01T03:00+02:00", "2026-06-01T11:00+02:00"))
    assert not night(shift(0, "2026-06-01T04:00+02:00", "2026-06-01T12:00+02:00"))
    assert not night(shift(0, "2026-06-01T14:00+02:00", "2026-06-01T22:00+02:00"))


def test_a_wrong_roster_is_seen() -> None:
    """The checker detects violations: each rule is broken once."""
    day = shift(0, "2026-06-01T06:00+02:00", "2026-06-01T14:00+02:00")
    over = shift(1, "2026-06-01T10:00+02:00", "2026-06-01T18:00+02:00")
    elsewhere = shift(2, "2026-06-03T06:00+02:00", "2026-06-03T14:00+02:00", location_id=identifier(1, 9))
    me, other = worker(), worker(1, employed=((EVER[0], dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),))
    ill = worker(2, away=((*EVER, "sick"),))
    roster = Roster((day, over, elsewhere), (me, other, ill))

    def rules(*pairs: tuple[Shift, Worker]) -> set[str]:
        return {v.rule for v in violations(roster, {(s.shift_id, w.employee_id) for s, w in pairs})}

    assert rules((day, me)) == set()
    assert rules((day, me), (over, me)) == {"overlap"}
    assert rules((elsewhere, me)) == {"place"}
    assert rules((day, other)) == {"employed"}
    assert rules((day, ill)) == {"away"}
    assert rules((day, me), (day, ill)) == {"away", "places"}
