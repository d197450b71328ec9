"""How long a preview and an update of the running stack take: no-op and weight-only.

Run it by `make bench-updates` while `make up` stands. The canary's weight goes up by one and back
again; the stack file ends as it was. Prints the minimum, median and maximum of each, in seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time

import yaml

from local import instance, node, stack
from local.console import UserError, run_cli
from local.instance import PROJECT

WEIGHT = "slipway:models.churn.canary.weight"


def _timed(target: stack.Target, *arguments: str) -> float:
    start = time.monotonic()
    done = subprocess.run(
        ["pulumi", *arguments, "--stack", target.stack, "--non-interactive"],
        cwd=PROJECT,
        env={**os.environ, **target.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"pulumi {arguments[0]}: {(done.stdout + done.stderr).strip()[-800:]}")
    return time.monotonic() - start


def _set_weight(target: stack.Target, weight: int) -> None:
    _timed(target, "config", "set", "--path", WEIGHT, str(weight))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.updates", description=__doc__)
    parser.add_argument("-n", type=int, default=5, help="runs of each, 1 to 50 (default 5)")
    runs = min(50, max(1, parser.parse_args().n))
    chosen = instance.load()
    if not node.is_running(chosen):
        raise UserError(f"cluster {chosen.name}: not running; run `make up` first")
    target = stack.on_one_machine(chosen)
    config = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text())["config"]
    weight = int(config["slipway:models"]["churn"]["canary"]["weight"])
    up = ("up", "--yes", "--skip-preview")
    seconds: dict[str, list[float]] = {}

    def measure(name: str, *arguments: str) -> None:
        seconds.setdefault(name, []).append(_timed(target, *arguments))

    _timed(target, *up)
    try:
        for run in range(runs):
            measure("no-op preview", "preview")
            measure("no-op update", *up)
            _set_weight(target, weight + 1 if run % 2 == 0 else weight)
            measure("weight-only preview", "preview")
            measure("weight-only update", *up)
    finally:
        _set_weight(target, weight)
        _timed(target, *up)
    print(f"{'':<22}{'min':>8}{'median':>8}{'max':>8}   seconds, {runs} runs")
    for name, values in seconds.items():
        shown = (min(values), statistics.median(values), max(values))
        print(f"{name:<22}" + "".join(f"{value:>8.2f}" for value in shown))


if __name__ == "__main__":
    run_cli(main)
