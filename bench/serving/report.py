"""From raw runs to medians, ratios, goals and the table that is printed. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.serving.cases import MANY, ONE, ROWS_MANY, ROWS_ONE, Case
from bench.serving.measure import Run

Figures = Mapping[str, float]
"""Measure → median over the rounds: `ready_s`, `rss_mib`, `pss_mib`, `c1.p50_ms`, …"""


@dataclass(frozen=True)
class Goal:
    """One goal for one case: `value` is what was found, `wanted` what is asked of it, in words."""

    case: str
    name: str
    value: float
    wanted: str
    met: bool


def figures(runs: Sequence[Run]) -> dict[tuple[str, str], dict[str, float]]:
    """(case, server) → the median of each measure over its rounds; lone values stand as they are.

    Where a round lacks a measure, the others' median is taken; where all do, it is left out.
    """
    collected: dict[tuple[str, str], dict[str, list[float]]] = {}
    for run in runs:
        values = collected.setdefault((run.case, run.server), {})
        for name, value in _flat(run).items():
            values.setdefault(name, []).append(value)
    return {
        key: {name: statistics.median(seen) for name, seen in values.items()}
        for key, values in collected.items()
    }


def _flat(run: Run) -> dict[str, float]:
    flat: dict[str, float] = {}
    if run.ready_seconds is not None:
        flat["ready_s"] = run.ready_seconds
    if run.memory is not None:
        flat["rss_mib"] = run.memory.worker_rss
        flat["pss_mib"] = run.memory.tree_pss
    for key, load in run.loads.items():
        flat[f"{key}.per_second"] = load.per_second
        flat[f"{key}.p50_ms"] = load.p50_ms
        flat[f"{key}.p99_ms"] = load.p99_ms
    return flat


def ratio(values: Figures, other: Figures, name: str) -> float | None:
    """`values` over `other` in the measure `name`; None where either lacks it or it is 0."""
    mine, base = values.get(name), other.get(name)
    return None if mine is None or not base else mine / base


_Rule = tuple[str, str, str, str, float]
# Name, measure, compared with, at least or at most or below, how many times.
_RATIOS: Final[tuple[_Rule, ...]] = (
    ("req/s at c=32, of the limit", f"{MANY.key}.per_second", "limit", ">=", 0.6),
    ("p50 at c=1, of the limit", f"{ONE.key}.p50_ms", "limit", "<=", 1.5),
    ("100 rows at c=1, of MLflow", f"{ROWS_ONE.key}.per_second", "mlflow", ">=", 10),
    ("100 rows at c=8, of MLflow", f"{ROWS_MANY.key}.per_second", "mlflow", ">=", 10),
    ("RSS of a worker, of MLflow", "rss_mib", "mlflow", "<", 1),
    ("memory in all, of MLflow", "pss_mib", "mlflow", "<", 1),
)
_READY_SECONDS: Final = 2.0


def goals(cases: Sequence[Case], runs: Sequence[Run], server: str = "slipway") -> list[Goal]:
    """Each goal that the runs can tell of, case by case; none is met by wrong answers."""
    table = figures(runs)
    found: list[Goal] = []
    for case in cases:
        mine = table.get((case.key, server), {})
        sound = not any(r.faults for r in runs if (r.case, r.server) == (case.key, server))
        for name, measure, other, relation, factor in _RATIOS:
            value = ratio(mine, table.get((case.key, other), {}), measure)
            if value is not None:
                met = sound and _holds(value, relation, factor)
                found.append(Goal(case.key, name, value, f"{relation} {factor:g}", met))
        if "ready_s" in mine:
            met = sound and mine["ready_s"] <= _READY_SECONDS
            wanted = f"<= {_READY_SECONDS:g}"
            found.append(Goal(case.key, "ready, seconds", mine["ready_s"], wanted, met))
    return found


def _holds(value: float, relation: str, factor: float) -> bool:
    if relation == ">=":
        return value >= factor
    return value <= factor if relation == "<=" else value < factor


_HEAD: Final = (
    f"{'':<18}{'c=1':<26}{'c=32':<34}{'100 rows, req/s':<22}{'MiB':<13}{'':<5}\n"
    f"{'':<18}{'p50 ms':>7}{'p99':>7}{'req/s':>8}    "
    f"{'req/s':>7}{'p99 ms':>8}{'x limit':>8}{'x MLflow':>9}  "
    f"{'c=1':>6}{'c=8':>7}{'x MLflow':>9}"
    f"{'RSS':>6}{'all':>7}{'ready s':>9}"
)


def table(cases: Sequence[Case], runs: Sequence[Run], titles: Mapping[str, str]) -> str:
    """The table: a block for each case, a line for each server, faults below their server.

    `titles` maps the servers, in the order in which they are shown, to their names.
    """
    values = figures(runs)
    lines: list[str] = [_HEAD]
    for case in cases:
        lines.append(f"\n{case.title}")
        limit, mlflow = (values.get((case.key, key), {}) for key in ("limit", "mlflow"))
        for server, title in titles.items():
            if (case.key, server) not in values:
                continue
            lines.append(_line(title, values[(case.key, server)], limit, mlflow))
            faults = [f for r in runs if (r.case, r.server) == (case.key, server) for f in r.faults]
            lines += [f"    ! {fault}" for fault in dict.fromkeys(faults)]
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines())


def _line(title: str, mine: Figures, limit: Figures, mlflow: Figures) -> str:
    many = f"{MANY.key}.per_second"
    rows = f"{ROWS_ONE.key}.per_second"
    return (
        f"  {title:<16}"
        + _cell(mine.get(f"{ONE.key}.p50_ms"), 7, 2)
        + _cell(mine.get(f"{ONE.key}.p99_ms"), 7, 2)
        + _cell(mine.get(f"{ONE.key}.per_second"), 8)
        + "    "
        + _cell(mine.get(many), 7)
        + _cell(mine.get(f"{MANY.key}.p99_ms"), 8, 2)
        + _cell(ratio(mine, limit, many), 8, 2)
        + _cell(ratio(mine, mlflow, many), 9, 1)
        + "  "
        + _cell(mine.get(rows), 6)
        + _cell(mine.get(f"{ROWS_MANY.key}.per_second"), 7)
        + _cell(ratio(mine, mlflow, rows), 9, 1)
        + _cell(mine.get("rss_mib"), 6)
        + _cell(mine.get("pss_mib"), 7)
        + _cell(mine.get("ready_s"), 9, 2)
    )


def _cell(value: float | None, width: int, digits: int = 0) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width},.{digits}f}"


def goal_table(cases: Sequence[Case], found: Sequence[Goal]) -> str:
    """The goals, a line each with what was found in every case, marked where it was missed."""
    shown = [case for case in cases if any(goal.case == case.key for goal in found)]
    names = list(dict.fromkeys((goal.name, goal.wanted) for goal in found))
    lines = [f"{'goal':<30}{'wanted':>8}" + "".join(f"{case.key:>14}" for case in shown)]
    for name, wanted in names:
        cells = {g.case: g for g in found if g.name == name}
        line = f"{name:<30}{wanted:>8}"
        for case in shown:
            goal = cells.get(case.key)
            text = "-" if goal is None else f"{goal.value:.2f} {'met' if goal.met else 'MISSED'}"
            line += f"{text:>14}"
        lines.append(line)
    met = sum(goal.met for goal in found)
    lines.append(f"{met} of {len(found)} goals met")
    return "\n".join(lines)
