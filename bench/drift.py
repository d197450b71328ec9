"""What counting drift costs: the same server with and without a profile, side by side in one run.

Run it by `python -m bench.drift` (no cluster; the environment of the serving image's packages is
made in the cache). Three servers with one model run for the whole of a round, each with one worker:
one without a profile, one with, and another one without, which tells how much two equal servers
differ here. Load is put on one at a time, for a second or two, in turns, so that whatever else the
machine does falls on all of them alike; each round starts them anew.

It prints, for each load, the ratio of requests a second with to without, and of CPU seconds a
request, which other programs disturb less: medians over all turns, with the quartiles beside them.
Nothing fails for being slow.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Final

from bench.serving import measure, processes, wrk
from bench.serving.cases import CASES, Case
from bench.serving.measure import Answers
from bench.serving.processes import Server
from bench.serving.servers import SLIPWAY
from bench.turns import Load, Turns, bodies, prepare, ratio, run_trained, started, take, train
from local.console import UserError, run_cli, say, step
from local.instance import cache_dir
from local.toolkit import exclusive

# Run by the environment's Python: rows as the model was trained on, and its answers to them.
_PROFILE: Final = """
import json, sys
import numpy as np
from slipway_runtime.training_profile import make_profile
folder, columns = sys.argv[1], int(sys.argv[2])
rows = np.random.default_rng(0).normal(size=(2000, columns))
table = {f"c{at}": rows[:, at] for at in range(columns)}
answers = json.load(open(folder + "/answers.json"))["all"]
open(folder + "/model/slipway_profile.json", "w").write(make_profile(table, answers))
"""
_WITHOUT, _WITH, _CONTROL = "without", "with", "again without"
_ARMS: Final = (_WITHOUT, _WITH, _CONTROL)


_LOADS: Final = (
    Load("1 row, 1 connection", 1, 1),
    Load("1 row, 32 connections", 32, 1),
    Load("100 rows, 8 connections", 8, 100),
    Load("1 row by MLflow, 8 connections", 8, 1, native=True),
)


def models(case: Case, folder: Path) -> dict[str, Path]:
    """Trains the model; returns its folder for each arm."""
    with_profile = folder / "with" / case.key
    plain = train(case, folder)
    shutil.copytree(plain, with_profile)
    run_trained(folder, ["-c", _PROFILE, str(with_profile), str(case.columns)])
    return {_WITHOUT: plain, _WITH: with_profile, _CONTROL: plain}


def round_of(
    arms: dict[str, Path], folder: Path, program: str, turns: int, seconds: int
) -> dict[str, Turns]:
    """One round: every load, so many turns each; by the load's title."""
    found: dict[str, Turns] = {}
    with contextlib.ExitStack() as stack:
        running = {
            arm: stack.enter_context(started(model, folder / arm.replace(" ", "-")))
            for arm, model in arms.items()
        }
        _check_drift(running)
        answers = Answers.read(arms[_WITHOUT])
        lua = folder / "load.lua"
        for load in _LOADS:
            body, expected = bodies(load, answers)
            lua.write_text(wrk.script(body))
            for _, port in running.values():
                if fault := measure.check(SLIPWAY, port, body, expected):
                    raise UserError(f"bench: {load.title}: {fault}")
                processes.warm_up(port, SLIPWAY.path, body, 1.0)
            found[load.title] = take(running, load, lambda _: lua, program, turns, seconds)
    return found


def _check_drift(running: dict[str, tuple[Server, int]]) -> None:
    """Raises UserError unless exactly the one with a profile tells of drift."""
    for arm, (_, port) in running.items():
        text = processes.request(port, "GET", "/metrics")[1].decode()
        if not measure.is_compiled(text):
            say(f"  bench: {arm}: the model is not compiled")
        if ("model_drift_observations_total" in text) != (arm == _WITH):
            raise UserError(f"bench: the server {arm} a profile is not what it should be")


def table(found: dict[str, Turns]) -> str:
    """The result, a line a load and arm."""
    lines = [f"{'load':32} {'':14} {'req/s':>8}  {'req/s ratio':22} CPU a request, ratio"]
    for title, turns in found.items():
        for arm in _ARMS:
            rate = statistics.median(each.per_second for each in turns[arm])
            line = f"{title if arm == _WITHOUT else '':32} {arm:14} {rate:8,.0f}"
            if arm != _WITHOUT:
                rates, costs = (
                    ratio(turns, arm, _WITHOUT, each, spread=True)
                    for each in ("per_second", "cpu_seconds")
                )
                line += f"  {rates:22} {costs}"
            lines.append(line)
    return "\n".join(lines)


def bench(case: Case, rounds: int, turns: int, seconds: int) -> None:
    """Measures and prints."""
    program = prepare()
    found: dict[str, Turns] = {load.title: {arm: [] for arm in _ARMS} for load in _LOADS}
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        folder = Path(name)
        with step("bench: the model"):
            arms = models(case, folder)
        for number in range(rounds):
            with step(f"bench: round {number + 1} of {rounds}"):
                scratch = folder / f"round-{number}"
                for title, taken in round_of(arms, scratch, program, turns, seconds).items():
                    for arm, values in taken.items():
                        found[title][arm] += values
    say(f"\n{case.title}; {rounds} rounds of {turns} turns of {seconds} s\n\n{table(found)}")


def main() -> None:
    cases = {case.key: case for case in CASES}
    parser = argparse.ArgumentParser(
        prog="python -m bench.drift",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", choices=list(cases), default="logistic-10")
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=3, metavar="1-20")
    parser.add_argument("--turns", type=int, choices=range(1, 101), default=6, metavar="1-100")
    parser.add_argument("--seconds", type=int, choices=range(1, 31), default=2, metavar="1-30")
    chosen = parser.parse_args()
    # Two at once would measure each other.
    with exclusive(cache_dir() / "bench-serving.lock", "bench"):
        bench(cases[chosen.case], chosen.rounds, chosen.turns, chosen.seconds)


if __name__ == "__main__":
    run_cli(main)
