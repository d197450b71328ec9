"""What `simulate` is asked for on the command line, as a simulated world."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from rollout.journal import Rollout
from rollout.judge.rules import Rules
from rollout.release import RefusedError
from rollout.simulation.simulate import main_table, render
from rollout.simulation.world import Series, Stretch, World
from settings import rollout as configured

DEFAULT_RATES = (1.0, 10.0, 100.0)


def stretch(option: str, text: str) -> Stretch:
    """`5-8`, in minutes. Raises RefusedError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", text)
    if not found or not float(found[1]) < float(found[2]):
        raise RefusedError(f"--{option}: {text} is not a stretch of minutes such as 5-8")
    start, end = (60 * float(part) for part in found.groups())
    return Stretch(start, end - start)


def recorded(replay: str, rollouts: Sequence[Rollout], objective: float) -> Series:
    """The traffic of a CSV file, or of the rollouts in a model's journal. Raises RefusedError."""
    try:
        if Path(replay).is_file():
            return Series.read(Path(replay))
        blocks = [block for rollout in rollouts for block in rollout.blocks]
        return Series.of_blocks(blocks, objective)
    except (ValueError, OSError) as error:
        raise RefusedError(f"--replay: {replay}: {error}") from None


def run(
    rules: configured.Rollout | None,
    series: Series | None,
    seed: int,
    as_json: bool,
    tell: Callable[[str], None],
    *,
    rollouts: int,
    rates: Sequence[float],
    errors: float,
    gaps: Sequence[str],
    stops: Sequence[str],
    resets: float,
    drift: float,
) -> str:
    """The table, as text or JSON; `tell` is given a line for each thing that is begun."""
    world = World(
        errors=errors,
        gaps=tuple(stretch("gap", text) for text in gaps),
        stops=tuple(stretch("stop", text) for text in stops),
        resets=resets,
        drift=drift,
        series=series,
    )
    found = main_table(
        rollouts,
        rates or (DEFAULT_RATES if series is None else (float(series.rate.mean()),)),
        seed,
        Rules.of(rules) if rules else None,
        lambda line, share: tell(f"{100 * share:3.0f} %  {line}"),
        world,
    )
    return json.dumps(found, indent=2) if as_json else render(found["rows"])
