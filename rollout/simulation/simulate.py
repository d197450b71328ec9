"""Thousands of rollouts with no cluster: how often would a good version have been rolled back, and
a bad one promoted? The rule is the one that ships; Flagger's is run beside it on the same traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from rollout.judge.codes import Code
from rollout.judge.evidence import METRICS
from rollout.judge.gate import Gate
from rollout.judge.rules import Rules
from rollout.judge.sequential import Array, Bools
from rollout.simulation.flagger import Flagger
from rollout.simulation.world import World

BLOCK_SECONDS: Final = 10.0
"""How long a block is, and how often the gate looks."""

Progress = Callable[[str, float], None]
"""Called with a line that says what runs, and the share done, from 0 to 1."""


class Decider(Protocol):
    """A rule for a batch of rollouts in lockstep: `gate.Gate`, or `flagger.Flagger`."""

    def observe(
        self, a: Array, b: Array, c: Array, d: Array, step: NDArray[np.int_], /
    ) -> None: ...
    def codes(self, step: Any, seconds_in_step: Any, /, *, silent: Bools) -> NDArray[np.int_]: ...
    def keep(self, rows: Bools, /) -> None: ...


@dataclass(frozen=True, eq=False)
class Ends:
    """How simulated rollouts ended, one entry for each.

    code: Code.ADVANCE (promoted), ROLL_BACK or WANT_OF_EVIDENCE. seconds: from the first canary
    request. lost: errors that the canary's regression alone made. step_seconds, (rollouts, steps):
    how long each step lasted, NaN for those that did not end in an advance.
    """

    code: NDArray[np.int_]
    seconds: Array
    lost: Array
    step_seconds: Array

    def share(self, code: Code) -> float:
        return float((self.code == code).mean())


def simulate(
    world: World, decider: Decider, steps: Sequence[int], rollouts: int, seed: int,
    longest: float = 30 * 86400.0, block_seconds: float = BLOCK_SECONDS,
) -> Ends:  # fmt: skip
    """Runs rollouts to their ends. longest: seconds after which those left count as rolled back for
    want of evidence. block_seconds: between two looks.

    The traffic that arrives depends on the seed alone, so two rules are given the same.
    """
    arriving, dice = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    phase = arriving.random(rollouts)
    ends = Ends(
        np.full(rollouts, Code.WANT_OF_EVIDENCE), np.full(rollouts, longest), np.zeros(rollouts),
        np.full((rollouts, len(steps)), np.nan),
    )  # fmt: skip
    weights = np.array(steps)
    left: NDArray[np.int_] = np.arange(rollouts)
    step: NDArray[np.int_] = np.zeros(rollouts, int)
    began = np.zeros(rollouts)
    now = 0.0
    while len(left) and now < longest:
        expected, errors, slow = world.traffic(now, block_seconds, phase)
        requests = arriving.poisson(expected)[left]
        lost = arriving.random(rollouts)[left] < world.resets
        bad = step >= world.from_step
        canary = dice.binomial(requests, weights[step] / 100)
        counts = _serve(dice, world, canary, np.where(bad, 1.0, 0.0), errors[left], slow[left])
        counts += _serve(dice, world, requests - canary, np.zeros(len(left)), errors[left],
                         slow[left])  # fmt: skip
        ends.lost[left] += np.where(bad, canary * world.more_errors, 0)
        silent = world.silent(now)
        seen = np.stack(counts) * ~(lost | silent)[:, None]
        decider.observe(seen[0], seen[1], seen[2], seen[3], step)
        now += block_seconds
        code = decider.codes(step, now - began, silent=np.full(len(left), silent))
        moved = code == Code.ADVANCE
        ends.step_seconds[left[moved], step[moved]] = (now - began)[moved]
        step = step + moved
        began = np.where(moved, now, began)
        ended = (step == len(steps)) | (code == Code.ROLL_BACK) | (code == Code.WANT_OF_EVIDENCE)
        if ended.any():
            ends.code[left[ended]], ends.seconds[left[ended]] = code[ended], now
            left, step, began = left[~ended], step[~ended], began[~ended]
            decider.keep(~ended)
    return ends


def _serve(
    dice: np.random.Generator,
    world: World,
    requests: NDArray[np.int_],
    bad: Array,
    errors: Array,
    slow: Array,
) -> list[Array]:
    """Hits and trials of one version in one block, each (rollouts, metrics)."""
    wrong = dice.binomial(requests, np.minimum(errors + bad * world.more_errors, 1))
    failed = wrong if world.failing == 1 else dice.binomial(wrong, world.failing)
    late = dice.binomial(requests, np.minimum(slow + bad * world.more_slow, 1))
    by_metric = {"errors": wrong, "failures": failed, "slow": late}
    hits = np.stack([by_metric[metric] for metric in METRICS], axis=-1).astype(float)
    trials = np.repeat(requests[:, None].astype(float), len(METRICS), axis=1)
    return [hits, trials]


@dataclass(frozen=True)
class Row:
    """One line of the table: a rule, a world, and how its rollouts ended.

    Shares from 0 to 1; minutes to the end, whatever it was; lost: errors that the regression made,
    a rollout.
    """

    rule: str
    version: str
    rate: float
    errors: float
    rollouts: int
    promoted: float
    rolled_back: float
    want_of_evidence: float
    minutes_median: float
    minutes_90: float
    lost: float


def row(rule: str, version: str, world: World, ends: Ends) -> Row:
    """Sums up the ends of the rollouts of `version`, a name for the table."""
    middle, late = np.quantile(ends.seconds / 60, [0.5, 0.9])
    return Row(
        rule, version, world.rate, world.errors, len(ends.code), ends.share(Code.ADVANCE),
        ends.share(Code.ROLL_BACK), ends.share(Code.WANT_OF_EVIDENCE), float(middle), float(late),
        float(ends.lost.mean()),
    )  # fmt: skip


def deciders(rules: Rules, rollouts: int) -> dict[str, Callable[[], Decider]]:
    """The rules that a table compares, by name: this project's, and Flagger's with its own usual
    threshold and with the one that is this configuration's absolute limit.
    """
    same = 100 * (1 - rules.max_failures)

    def flagger(success: float) -> Callable[[], Decider]:
        return lambda: Flagger(rollouts, success, 5, rules.interval, BLOCK_SECONDS)

    return {
        "slipway": lambda: Gate(rules, rollouts, bounds=False),
        "flagger, success ≥ 99 %": flagger(99.0),
        f"flagger, success ≥ {same:g} %": flagger(same),
    }


def table(
    worlds: Sequence[tuple[str, World]],
    rules: Rules,
    rollouts: int,
    seed: int,
    progress: Progress | None = None,
) -> list[Row]:
    """Every rule in every world, each world with a name for what its version is like."""
    rows = []
    for number, (version, world) in enumerate(worlds):
        if progress:
            progress(f"{version} at {world.rate:g} requests/s", number / len(worlds))
        for name, decider in deciders(rules, rollouts).items():
            ends = simulate(world, decider(), rules.steps, rollouts, seed + number)
            rows.append(row(name, version, world, ends))
    return rows


def main_table(
    rollouts: int = 10_000,
    rates: Sequence[float] = (1.0, 10.0, 100.0),
    seed: int = 1,
    rules: Rules | None = None,
    progress: Progress | None = None,
    world: World | None = None,
) -> dict[str, Any]:
    """The table of the goals: a good version and one with the guarded regression, at each rate.

    world: what the traffic is like beside its rate; by default 1 % errors and no faults. Returns
    plain data: `rules`, `seed`, and `rows` (each as Row).
    """
    rules, world = rules or Rules(), world or World()
    worlds = [
        (version, replace(world, rate=rate, more_errors=more))
        for rate in rates
        for version, more in (
            ("good", 0.0),
            (f"+{100 * rules.regression:g} points of errors", rules.regression),
        )
    ]
    rows = table(worlds, rules, rollouts, seed, progress)
    return {"rules": asdict(rules), "seed": seed, "rows": [asdict(each) for each in rows]}


def render(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of `main_table` as text, a line each."""
    lines = [_cells("version", "req/s", "errors", "rule", "promoted", "rolled back", "no evidence",
                    "minutes", "90 %", "lost")]  # fmt: skip
    for each in rows:
        shares = (f"{100 * each[key]:.2f} %" for key in ("promoted", "rolled_back",
                                                        "want_of_evidence"))  # fmt: skip
        numbers = (f"{each[key]:.1f}" for key in ("minutes_median", "minutes_90", "lost"))
        lines.append(
            _cells(each["version"], f"{each['rate']:g}", f"{100 * each['errors']:g} %",
                   each["rule"], *shares, *numbers)
        )  # fmt: skip
    return "\n".join(lines)


def _cells(*cells: str) -> str:
    widths = (-22, 6, 7, -25, 9, 12, 12, 8, 8, 8)
    return "  ".join(
        cell.ljust(-width) if width < 0 else cell.rjust(width)
        for cell, width in zip(cells, widths, strict=True)
    ).rstrip()
