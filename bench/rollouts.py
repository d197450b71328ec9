"""How often the gate is wrong, beside Flagger's rule on the same traffic, and a picture of it.

    .venv/bin/python -m bench.rollouts            # 10,000 rollouts a case, about ten minutes
    .venv/bin/python -m bench.rollouts --rollouts 500 --out /tmp/rollouts

Needs no cluster. Writes rollouts.json, the tables, and rollouts.png, one good and one bad rollout,
into bench/results; with fewer rollouts into the folder that --out names.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rollout.judge.evidence import METRICS
from rollout.judge.gate import Gate
from rollout.judge.rules import Rules
from rollout.simulation.simulate import BLOCK_SECONDS, main_table, render, table
from rollout.simulation.world import Incident, Stretch, World
from settings.rollout import Rollout

RESULTS = Path(__file__).parent / "results"
ROLLOUTS = 10_000
STORY = 4
GOOD, BAD, WEIGHT = "#2b7bba", "#c23b3b", "#777777"


def cases(rules: Rules) -> list[tuple[str, World]]:
    """What can go wrong besides, at 10 requests a second."""
    more = rules.regression
    return [
        ("bad from step 3 on", World(more_errors=more, from_step=2)),
        ("bad from step 4 on", World(more_errors=more, from_step=3)),
        ("every request fails", World(more_errors=0.99)),
        ("3 points more slow", World(more_slow=more)),
        ("1 point more errors", World(more_errors=0.01)),
        ("good, rates drift", World(errors=0.02, drift=0.9)),
        ("bad, rates drift", World(errors=0.02, drift=0.9, more_errors=more)),
        ("good, incident", World(incidents=(Incident(120, 300, 0.1),))),
        ("bad, incident", World(incidents=(Incident(120, 300, 0.1),), more_errors=more)),
        ("good, 2 min silence", World(gaps=(Stretch(100, 120),))),
        ("bad, 2 min silence", World(gaps=(Stretch(100, 120),), more_errors=more)),
        ("good, 10 % resets", World(resets=0.1)),
        ("good, 10 min no traffic", World(stops=(Stretch(90, 600),))),
        ("traffic ends", World(stops=(Stretch(90, 1e9),))),
    ]


def story(rules: Rules, more: float, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """One rollout at 10 requests a second as the picture shows it: minutes, weight, and of errors
    the difference with its bounds and what the upper must reach, in points.
    """
    dice, gate = np.random.default_rng(seed), Gate(rules)
    errors, step, began, now = METRICS.index("errors"), 0, 0.0, 0.0
    rows = []
    while step < len(rules.steps):
        requests = dice.poisson(10 * BLOCK_SECONDS)
        canary = dice.binomial(requests, rules.steps[step] / 100)
        wrong = dice.binomial(canary, 0.01 + more), dice.binomial(requests - canary, 0.01)
        late = dice.binomial(canary, 0.01), dice.binomial(requests - canary, 0.01)
        gate.observe(
            [wrong[0], wrong[0], late[0]], canary, [wrong[1], wrong[1], late[1]],
            requests - canary, step,
        )  # fmt: skip
        now += BLOCK_SECONDS
        verdict = gate.judge(step, now - began)
        of = verdict.estimates[errors]
        difference = (of.canary_share or 0) - (of.stable_share or 0)
        needed = np.nan if of.needed is None else of.needed
        rows.append(
            (now / 60, rules.steps[step], *(100 * x for x in (difference, of.lower, of.upper,
                                                              needed)))
        )  # fmt: skip
        if verdict.kind == "roll back":
            rows.append((now / 60, 0, *(100 * x for x in (difference, of.lower, of.upper, needed))))
            break
        if verdict.kind == "advance":
            step, began = step + 1, now
    names = ("minutes", "weight", "difference", "lower", "upper", "needed")
    return dict(zip(names, np.array(rows, float).T, strict=True))


def draw(rules: Rules, seed: int) -> Figure:
    """The picture: above, canary minus stable with its band; below, the weight."""
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=[3, 1])
    titles = ("A version like stable: promoted", "3 points more errors: rolled back")
    for column, (more, colour, title) in enumerate(
        zip((0.0, rules.regression), (GOOD, BAD), titles, strict=True)
    ):
        told = story(rules, more, seed)
        _difference(axes[0, column], told, colour, rules)
        axes[0, column].set_title(title, loc="left", fontweight="bold")
        below = axes[1, column]
        minutes = np.concatenate([[0], told["minutes"]])
        weight = np.concatenate([told["weight"][:1], told["weight"]])
        below.fill_between(minutes, weight, step="pre", color=colour, alpha=0.25, linewidth=0)
        below.plot(minutes, weight, drawstyle="steps-pre", color=colour)
        below.set(ylim=(0, 105), xlabel="minutes", yticks=[0, 25, 50, 100])
    axes[0, 0].legend(frameon=False, fontsize=8, loc="lower right")
    axes[0, 0].set_ylabel("errors: canary - stable, in points")
    axes[1, 0].set_ylabel("weight, %")
    return figure


def _difference(
    axes: Axes, told: dict[str, np.ndarray[Any, Any]], colour: str, rules: Rules
) -> None:
    minutes = told["minutes"]
    # At 100 % nothing is compared any more.
    shown = np.isfinite(told["needed"])
    low, high = np.maximum(told["lower"], -40), np.minimum(told["upper"], 60)
    axes.fill_between(minutes[shown], low[shown], high[shown], color=colour, alpha=0.2, linewidth=0,
                      label="proven to lie within")  # fmt: skip
    axes.plot(minutes[shown], told["difference"][shown], color=colour, label="estimate")
    axes.plot(minutes, told["needed"], color="black", linestyle="--", linewidth=1,
              drawstyle="steps-pre", label="the band must be below to go on")  # fmt: skip
    axes.axhline(100 * rules.tolerance, color=WEIGHT, linewidth=0.8,
                 label="rolled back: the band is above")  # fmt: skip
    axes.set_yscale("symlog", linthresh=3)
    axes.set_ylim(-60, 60)
    ticks = [-30, -10, -3, 0, 3, 10, 30]
    axes.set_yticks(ticks, labels=[f"{tick:+d}" if tick else "0" for tick in ticks])
    axes.minorticks_off()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--picture-only", action="store_true")
    options = parser.parse_args()
    if options.rollouts != ROLLOUTS and options.out == RESULTS:
        parser.error(f"fewer than {ROLLOUTS} rollouts are no result: name a folder with --out")
    options.out.mkdir(parents=True, exist_ok=True)
    rules = Rules.of(Rollout())
    draw(rules, STORY).savefig(options.out / "rollouts.png", dpi=110)
    if options.picture_only:
        return
    start = time.monotonic()

    def tell(line: str, share: float) -> None:
        print(f"{time.monotonic() - start:6.0f} s  {share:4.0%}  {line}", flush=True)

    tables: dict[str, Any] = {}
    for errors in (0.01, 0.001, 0.03):
        found = main_table(options.rollouts, seed=options.seed, rules=rules, progress=tell,
                           world=World(errors=errors))  # fmt: skip
        tables[f"{100 * errors:g} % errors"] = found["rows"]
        print(render(found["rows"]))
    faults = table(cases(rules), rules, options.rollouts, options.seed, tell)
    tables["faults, at 10 requests/s"] = [asdict(each) for each in faults]
    print(render(tables["faults, at 10 requests/s"]))
    result = {"rules": asdict(rules), "seed": options.seed, "block_seconds": BLOCK_SECONDS,
              "seconds": round(time.monotonic() - start), "tables": tables}  # fmt: skip
    (options.out / "rollouts.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
