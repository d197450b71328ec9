"""Slipway's runtime beside MLflow, MLServer, BentoML and the limit, in one run on loopback.

Starts each server for real, one at a time, with the same model and one worker; prints one table
with ratios, writes all figures to serving.json and draws serving.png. Nothing fails for being slow.
"""

from __future__ import annotations

import datetime
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.serving import environments, machine, measure, picture, report, servers, wrk
from bench.serving.cases import MANY, ONE
from bench.serving.measure import Run
from bench.serving.plan import Plan, arguments
from bench.serving.servers import Peer
from local.console import UserError, format_seconds, run_cli, say, step
from local.instance import cache_dir
from local.toolkit import exclusive
from local.toolkit import run as run_command

# More than the services of an idle machine take, less than any work worth the name.
_QUIET_CORES: Final = 0.2
_HERE: Final = Path(__file__).resolve().parent


def train(plan: Plan, folder: Path) -> None:
    """Trains every model in the environment of each server that gets it."""
    wanted: dict[tuple[str, str], tuple[Peer, list[str]]] = {}
    for case, peer, _ in plan.runs():
        names = wanted.setdefault((peer.environment.name, peer.form), (peer, []))[1]
        if case.key not in names:
            names.append(case.key)
    for (environment, form), (peer, names) in wanted.items():
        scratch = folder / environment
        scratch.mkdir()
        env = servers.environment_of(peer, scratch, {})
        script = [str(peer.environment.python), str(_HERE / "train.py")]
        run_command([*script, form, str(scratch), *names], cwd=scratch, env=env)


def measure_all(plan: Plan, program: str, folder: Path) -> list[Run]:
    """Does every run of the plan, a line of progress each."""
    results: list[Run] = []
    todo = plan.runs()
    for index, (case, peer, number) in enumerate(todo):
        model = folder / peer.environment.name / case.key
        scratch = folder / f"run-{index}"
        done = measure.run(peer, case, number, model, scratch, plan.options(case, program))
        results.append(done)
        say(f"  bench: [{index + 1}/{len(todo)}] {case.key}, {peer.title}: {_short(done)}")
    return results


def _short(run: Run) -> str:
    if run.faults:
        return run.faults[0]
    one, many = run.loads[ONE.key], run.loads[MANY.key]
    note = ", not compiled" if run.server == "slipway" and run.compiled_seconds is None else ""
    return f"{one.p50_ms:.2f} ms at c=1, {many.per_second:,.0f} req/s at c=32{note}"


def bench(plan: Plan, out: Path) -> bool:
    """Measures, prints and writes; whether every answer was right."""
    program = wrk.find()
    started = time.monotonic()
    for environment in dict.fromkeys(peer.environment for peer in plan.peers):
        environments.ensure(environment)
        environments.read_once(environment)
    described = machine.describe()
    if described["load_average_before"] > described["cores"] / 2:
        say(
            f"  bench: the machine is busy (load {described['load_average_before']}): "
            "the figures will be worse than they could be"
        )
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        with step("bench: the models"):
            train(plan, Path(name))
            if servers.SLIPWAY in plan.peers:
                environments.compile_runtime()
        runs = measure_all(plan, program, Path(name))
    found = report.goals(plan.cases, runs)
    titles = {peer.key: _title(peer) for peer in plan.peers}
    content: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": described,
        "settings": {"rounds": plan.rounds, "seconds": plan.seconds, "workers": 1},
        "servers": titles,
        "cases": {case.key: case.title for case in plan.cases},
        "goals": [asdict(goal) for goal in found],
        "medians": _nested(runs),
        "runs": [run.as_dict() for run in runs],
        "versions": machine.versions(program),
    }
    say("\n" + report.table(plan.cases, runs, titles))
    if found:
        say("\n" + report.goal_table(plan.cases, found))
    out.mkdir(parents=True, exist_ok=True)
    (out / "serving.json").write_text(json.dumps(content, indent=1) + "\n")
    picture.draw(content, out / "serving.png")
    elsewhere = max((share for run in runs for share in run.elsewhere.values()), default=0.0)
    if elsewhere > _QUIET_CORES:
        say(
            f"\nother programs kept up to {elsewhere:.1f} cores busy meanwhile: not a quiet machine"
        )
    say(
        f"\n{described['cpu']}, {described['cores']} cores; {_rounds(plan)}; "
        f"{format_seconds(time.monotonic() - started)}; {_shown(out)}/serving.json, serving.png"
    )
    return not any(run.faults for run in runs)


def _title(peer: Peer) -> str:
    version = peer.environment.versions().get(peer.package, "")
    return peer.title if peer is servers.LIMIT else f"{peer.title} {version}".strip()


def _nested(runs: Sequence[Run]) -> dict[str, dict[str, dict[str, float]]]:
    nested: dict[str, dict[str, dict[str, float]]] = {}
    for (case, server), values in report.figures(runs).items():
        rounded = {name: round(value, 3) for name, value in values.items()}
        nested.setdefault(case, {})[server] = rounded
    return nested


def _rounds(plan: Plan) -> str:
    return "one round" if plan.rounds == 1 else f"medians of {plan.rounds} rounds"


def _shown(path: Path) -> str:
    path = path.resolve()
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def main() -> None:
    plan, out = arguments(__doc__ or "")
    # Two at once would measure each other.
    with exclusive(cache_dir() / "bench-serving.lock", "bench"):
        right = bench(plan, out)
    if not right:
        raise UserError("bench: some answers were wrong or missing; see the lines marked ! above")


if __name__ == "__main__":
    run_cli(main)
