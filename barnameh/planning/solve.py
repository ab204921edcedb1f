"""HiGHS: solves mixed-integer models given as arrays, with bounds. The only module that uses the solver."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray

SOLVER = "highs"
SOLVER_VERSION = ".".join(
    str(part)
    for part in (highspy.HIGHS_VERSION_MAJOR, highspy.HIGHS_VERSION_MINOR, highspy.HIGHS_VERSION_PATCH)
)
SEED = 7
DIVE_FAILURES, DIVE_SHARE, DIVE_NOISE = 10, 0.2, 0.1
"""Failed steps that end a dive; share of the fractions that a step fixes, largest first; random number added to each."""
_is_greeted = False

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Model:
    """Minimize cost·x subject to `row_lower` <= A x <= `row_upper`; A by rows."""

    cost: Floats
    lower: Floats
    upper: Floats
    is_integer: NDArray[np.bool_]
    row_lower: Floats
    row_upper: Floats
    row_start: Ints
    """Start of each row in `columns` and `values`; one more than rows."""
    columns: Ints
    values: Floats

    def holds(self, x: Floats) -> bool:
        """Return whether all rows hold, and all bounds of columns."""
        rows = np.repeat(np.arange(self.row_upper.size), np.diff(self.row_start))
        sums = np.bincount(rows, self.values * x[self.columns], self.row_upper.size)
        in_rows = (sums <= self.row_upper + 1e-6) & (sums >= self.row_lower - 1e-6)
        return bool(in_rows.all() and (x >= self.lower - 1e-6).all() and (x <= self.upper + 1e-6).all())


@dataclass(frozen=True)
class Answer:
    """A solution. `x` is None if none was found; `bound` is a lower bound of the cost."""

    x: Floats | None
    objective: float
    bound: float
    is_optimal: bool
    hit_limit: bool
    seconds: float
    iterations: int = 0
    """Of the simplex method: the same whenever the input is the same."""


@dataclass
class Rows:
    """The rows of a model under construction."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    start: list[int] = field(default_factory=lambda: [0])
    columns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, columns: list[int], values: list[float], lower: float, upper: float) -> None:
        """One row."""
        self.columns += columns
        self.values += values
        self.start.append(len(self.columns))
        self.lower.append(lower)
        self.upper.append(upper)


def model_of(
    cost: list[float], lower: list[float], upper: list[float], integer: list[bool], rows: Rows
) -> Model:
    """Build a model from lists."""
    return Model(
        np.array(cost, dtype=np.float64),
        np.array(lower, dtype=np.float64),
        np.array(upper, dtype=np.float64),
        np.array(integer, dtype=np.bool_),
        np.array(rows.lower, dtype=np.float64),
        np.array(rows.upper, dtype=np.float64),
        np.array(rows.start, dtype=np.int64),
        np.array(rows.columns, dtype=np.int64),
        np.array(rows.values, dtype=np.float64),
    )


def solve(
    model: Model,
    *,
    seconds: float = math.inf,
    start: Floats | None = None,
    gap: float = 0.0,
    step: float = 1e-6,
    nodes: int | None = None,
    checks: float = math.inf,
    relaxed: bool = False,
    corner: bool = False,
    effort: float = 0.05,
    is_first_enough: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Answer:
    """Solve within `seconds` and `nodes`, one thread, fixed seed; the result is never worse than `start`.

    `gap` is relative; `step` is a difference in cost too small to search for: just below 1 if all costs are
    whole. `relaxed` drops integrality; with `corner` the solution is a corner, with few fractions. `effort` is
    the share of work on heuristics rather than the proof; `is_first_enough` ends with the first solution. `checks` is
    how often the solver may ask whether to go on: it does so after each round of cuts and each node, so unlike
    a time limit, this ends it at the same place each time. The same input gives the same answer unless time runs out.
    """
    began = time.perf_counter()
    if model.cost.size == 0:
        return Answer(np.zeros(0), 0.0, 0.0, True, False, 0.0)
    options: dict[str, object] = {
        "mip_rel_gap": gap,
        "mip_abs_gap": step,
        "mip_heuristic_effort": effort,
        "mip_feasibility_tolerance": 1e-7,
    }
    if nodes is not None:
        options["mip_max_nodes"] = nodes
    if is_first_enough:
        options["mip_max_improving_sols"] = 1
    if relaxed:
        options |= {"solver": "simplex" if corner else "ipm", "run_crossover": "off"}
    highs = _loaded(model, relaxed, seconds, options)
    if start is not None and not relaxed:
        given = highspy.HighsSolution()
        given.col_value = start.tolist()
        highs.setSolution(given)

    checked = 0

    def interrupt(event: Any) -> None:
        nonlocal checked
        checked += 1
        if checked > checks or stop():
            event.interrupt()

    if not relaxed:
        highs.cbMipInterrupt += interrupt
    highs.run()
    status, info = highs.getModelStatus(), highs.getInfo()
    optimal = status == highspy.HighsModelStatus.kOptimal
    x = None
    objective = math.inf
    if info.primal_solution_status == 2:
        x = np.array(highs.getSolution().col_value)
        if not relaxed:
            x = np.where(model.is_integer, np.round(x), x)
        objective = float(model.cost @ x)
    elif start is not None:
        x, objective = start, float(model.cost @ start)
    bound = objective if optimal and relaxed else -math.inf if relaxed else float(info.mip_dual_bound)
    if not relaxed and not model.is_integer.any() and optimal:
        bound = objective
    iterations = max(int(info.simplex_iteration_count), 0)
    return Answer(x, objective, bound, optimal, not optimal, time.perf_counter() - began, iterations)


class Relaxation:
    """A model without integrality, solved to a corner, from which dives look for whole solutions."""

    def __init__(self, model: Model, *, seconds: float = math.inf) -> None:
        self.model = model
        self._highs = _loaded(model, True, seconds, {"solver": "simplex"})
        self._run()

    def add(self, rows: Rows, *, seconds: float = math.inf) -> None:
        """Add rows to the model, and solve it again from the last corner."""
        more = model_of([], [], [], [], rows)
        self._highs.addRows(
            more.row_upper.size,
            more.row_lower,
            more.row_upper,
            more.values.size,
            more.row_start[:-1].astype(np.int32),
            more.columns.astype(np.int32),
            more.values,
        )
        self.model = dataclasses.replace(
            self.model,
            row_lower=np.concatenate([self.model.row_lower, more.row_lower]),
            row_upper=np.concatenate([self.model.row_upper, more.row_upper]),
            row_start=np.concatenate([self.model.row_start, self.model.row_start[-1] + more.row_start[1:]]),
            columns=np.concatenate([self.model.columns, more.columns]),
            values=np.concatenate([self.model.values, more.values]),
        )
        if math.isfinite(seconds):
            self._highs.setOptionValue("time_limit", self._highs.getRunTime() + max(seconds, 0.0))
        self._run()

    def _run(self) -> None:
        model = self.model
        self._highs.run()
        self.is_optimal = self._highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
        if not self.is_optimal:
            return
        solution = self._highs.getSolution()
        self.x = np.array(solution.col_value)
        self.bound = float(model.cost @ self.x)
        self.reduced = np.array(solution.col_dual)
        """The minimum rise of the objective per unit of each column."""
        self._basis = self._highs.getBasis()
        self.iterations_left = 0
        """Simplex iterations that dives may still take."""
        order = np.argsort(self.model.columns, kind="stable")
        self._rows = np.repeat(np.arange(model.row_upper.size), np.diff(model.row_start))[order]
        self._values = model.values[order]
        self._starts = np.searchsorted(model.columns[order], np.arange(model.cost.size + 1))
        self._highs.setOptionValue("presolve", "off")

    def dive(
        self,
        most: float,
        chance: np.random.Generator,
        left: Callable[[], float] = lambda: math.inf,
        stop: Callable[[], bool] = lambda: False,
        *,
        is_patient: bool = False,
    ) -> Floats | None:
        """Look for a whole solution that costs at most `most`: fix the largest fractions at 1, solve, repeat.

        Only fractions are fixed, some at a time; whatever the relaxation made whole may still change, which
        keeps the cost near the bound. Fewer are fixed where they would cost too much. Different random numbers
        give different dives; one ends after a few failures unless it is patient, or when `iterations_left` is used up.
        """
        self._highs.setOptionValue("time_limit", self._highs.getRunTime() + max(left(), 0.0))
        useful = self.reduced <= most - self.bound + 1e-6
        lower = self.model.lower.copy()
        upper = np.where(useful | ~self.model.is_integer, self.model.upper, lower)
        self._bound(np.arange(lower.size), lower, upper)
        self._highs.setBasis(self._basis)
        if not self._solved(most):
            return None
        failures = 0
        while True:
            x = np.array(self._highs.getSolution().col_value)
            fractions = np.flatnonzero(
                self.model.is_integer & (lower < upper) & (np.abs(x - np.round(x)) > 1e-6)
            )
            if not fractions.size:
                return np.where(self.model.is_integer, np.round(x), x)
            order = np.argsort(-x[fractions] - DIVE_NOISE * chance.random(fractions.size), kind="stable")
            count = max(1, int(fractions.size * DIVE_SHARE))
            taken = self._together(fractions[order], count, lower, upper)
            while True:
                if stop() or self.iterations_left <= 0 or (failures > DIVE_FAILURES and not is_patient):
                    return None
                lower[taken] = 1.0
                self._bound(taken, lower, upper)
                if self._solved(most):
                    break
                failures += 1
                lower[taken] = 0.0
                if taken.size == 1:
                    upper[taken] = 0.0
                self._bound(taken, lower, upper)
                if taken.size > 1:
                    taken = taken[: max(1, taken.size // 4)]
                elif self._solved(most):
                    break
                else:
                    return None

    def _together(self, columns: Ints, count: int, lower: Floats, upper: Floats) -> Ints:
        """The first columns that no row keeps from being 1 together, given the others' bounds; one at least."""
        model, at = self.model, self.model.columns
        low = np.minimum(model.values * lower[at], model.values * upper[at])
        room = model.row_upper - np.add.reduceat(low, model.row_start[:-1])
        found: list[int] = []
        for j in columns.tolist():
            rows, values = self._rows_of(j)
            if (values <= room[rows] + 1e-9).all():
                room[rows] -= np.maximum(values, 0.0)
                found.append(j)
                if len(found) == count:
                    break
        return np.array(found or columns[:1].tolist(), dtype=np.int64)

    def _rows_of(self, column: int) -> tuple[Ints, Floats]:
        where = slice(self._starts[column], self._starts[column + 1])
        return self._rows[where], self._values[where]

    def _bound(self, columns: Ints, lower: Floats, upper: Floats) -> None:
        self._highs.changeColsBounds(columns.size, columns.astype(np.int32), lower[columns], upper[columns])

    def _solved(self, most: float) -> bool:
        self._highs.setOptionValue("objective_bound", most + 1e-6)
        self._highs.setOptionValue("simplex_iteration_limit", max(self.iterations_left, 0))
        self._highs.run()
        info = self._highs.getInfo()
        self.iterations_left -= max(info.simplex_iteration_count, 0)
        return bool(
            self._highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
            and info.objective_function_value <= most + 1e-6
        )


def restricted(model: Model, x: Floats, free: NDArray[np.bool_]) -> Model:
    """Return the model with all but the free columns fixed as in x, without their cost and rows that cannot be broken."""
    row_of = np.repeat(np.arange(model.row_lower.size), np.diff(model.row_start))
    inside = free[model.columns]
    at, values = row_of[inside], model.values[inside]
    ends = values * model.lower[model.columns[inside]], values * model.upper[model.columns[inside]]
    size = model.row_lower.size
    used = np.bincount(row_of[~inside], model.values[~inside] * x[model.columns[~inside]], size)
    least, most = (np.bincount(at, choose(*ends), size) for choose in (np.minimum, np.maximum))
    counts = np.bincount(at, minlength=size)
    lower, upper = model.row_lower - used, model.row_upper - used
    rows = (counts > 0) & ((most > upper + 1e-9) | (least < lower - 1e-9))
    inside[inside] = rows[at]
    place = np.cumsum(free) - 1
    return Model(
        model.cost[free],
        model.lower[free],
        model.upper[free],
        model.is_integer[free],
        lower[rows],
        upper[rows],
        np.concatenate([[0], np.cumsum(counts[rows])]).astype(np.int64),
        place[model.columns[inside]].astype(np.int64),
        model.values[inside],
    )


def _silent() -> Any:
    """Create a silent solver. The first one of a process prints a banner before it can be silenced."""
    global _is_greeted
    if _is_greeted:
        highs = highspy.Highs()  # type: ignore[no-untyped-call]
    else:
        sys.stdout.flush()
        kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 1)
            highs = highspy.Highs()  # type: ignore[no-untyped-call]
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            os.close(nowhere)
        _is_greeted = True
    highs.silent()
    return highs


def _loaded(model: Model, relaxed: bool, seconds: float, options: dict[str, object]) -> Any:
    """Return a solver of this model with these options and those of all: one thread, the fixed seed."""
    highs = _silent()
    options = {"threads": 1, "parallel": "off", "random_seed": SEED, **options}
    if math.isfinite(seconds):
        options["time_limit"] = max(seconds, 0.0)
    for name, value in options.items():
        highs.setOptionValue(name, value)
    highs.passModel(_lp(model, relaxed))
    return highs


def _lp(model: Model, relaxed: bool) -> Any:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = model.cost.size, model.row_lower.size
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = model.cost, model.lower, model.upper
    lp.row_lower_, lp.row_upper_ = model.row_lower, model.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = model.row_start
    lp.a_matrix_.index_ = model.columns
    lp.a_matrix_.value_ = model.values
    if not relaxed:
        kinds = highspy.HighsVarType
        lp.integrality_ = [kinds.kInteger if i else kinds.kContinuous for i in model.is_integer]
    return lp
