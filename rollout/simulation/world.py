"""A made-up world for simulated rollouts: traffic, shares of errors, and faults of the scraping."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rollout.judge.evidence import Block
from rollout.judge.sequential import Array


@dataclass(frozen=True)
class Stretch:
    """From `start`, for `length`, both in seconds since the rollout began."""

    start: float
    length: float

    def covers(self, second: float) -> bool:
        return self.start <= second < self.start + self.length


@dataclass(frozen=True)
class Incident(Stretch):
    """`more` errors, a share, of both versions alike."""

    more: float = 0.1


@dataclass(frozen=True, eq=False)
class Series:
    """Recorded traffic, one entry for each `seconds`: requests a second, shares of errors and of
    slow requests. Rollouts begin anywhere in it, and go on at its start after its end.
    """

    seconds: float
    rate: Array
    errors: Array
    slow: Array

    @classmethod
    def of(cls, seconds: float, requests: Array, errors: Array, slow: Array) -> Series:
        """From numbers of requests; shares are means over stretches of some 500 requests.

        Raises ValueError if there is no request at all.
        """
        if not requests.sum() > 0:
            raise ValueError("the recorded series holds no requests: record a longer one")
        width = min(len(requests), ceil(500 / requests.mean()))
        window = np.ones(width)

        def smooth(values: Array) -> Array:
            wrapped = np.concatenate([values, values[: width - 1]])
            return np.convolve(wrapped, window, "valid")

        trials = np.maximum(smooth(requests), 1)
        return cls(seconds, requests / seconds, smooth(errors) / trials, smooth(slow) / trials)

    @classmethod
    def of_blocks(cls, blocks: Sequence[Block], objective: float) -> Series:
        """From a journal's blocks: all traffic, the shares of stable. objective: seconds."""
        if not blocks:
            raise ValueError("the journal holds no blocks to replay")
        seconds = float(np.median([block.end - block.start for block in blocks]))
        every = [(block.stable + block.canary).requests for block in blocks]
        shares = []
        for metric in ("errors", "slow"):
            tallies = [block.stable.tally(metric, objective) for block in blocks]
            whole = sum(tally.hits for tally in tallies), sum(tally.trials for tally in tallies)
            mean = whole[0] / max(whole[1], 1)
            shares.append([t.hits / t.trials if t.trials else mean for t in tallies])
        requests = np.array(every, float)
        return cls.of(seconds, requests, *(requests * np.array(share) for share in shares))

    @classmethod
    def read(cls, path: Path) -> Series:
        """From a CSV file with a header `seconds,requests,errors,slow`: the start of a stretch, in
        seconds, and the numbers of requests in it. Stretches are equally long.

        Raises ValueError with a line that names the file and what is wrong.
        """
        columns = ("seconds", "requests", "errors", "slow")
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != columns:
                raise ValueError(f"{path}: the first line is not {','.join(columns)}")
            try:
                rows = np.array([[float(row[name]) for name in columns] for row in reader])
            except (TypeError, ValueError):
                raise ValueError(f"{path}:{reader.line_num}: is not four numbers") from None
        if len(rows) < 2 or not np.isfinite(rows).all() or (rows[:, 1:] < 0).any():
            raise ValueError(f"{path}: holds fewer than two lines, or numbers below 0")
        if (rows[:, 2:] > rows[:, 1:2]).any():
            raise ValueError(f"{path}: holds a line with more errors or slow ones than requests")
        lengths = np.diff(rows[:, 0])
        if lengths[0] <= 0 or not np.allclose(lengths, lengths[0]):
            raise ValueError(f"{path}: its stretches are not equally long")
        return cls.of(float(lengths[0]), rows[:, 1], rows[:, 2], rows[:, 3])


@dataclass(frozen=True, eq=False)
class World:
    """What happens to the rollouts. Shares from 0 to 1, times in seconds since the rollout began.

    rate: requests a second to both versions. errors, slow: shares of stable's. failing: the share
    of errors that the gateway answers with 500 or more. more_errors, more_slow: what the canary has
    more, from the step `from_step` on (0 is the first). drift: shares rise and fall by so much of
    themselves within an hour. incidents: errors of both. gaps: Prometheus is silent, and what was
    served is never known. resets: the share of blocks lost to a counter's reset. stops: no traffic.
    series: recorded traffic instead of `rate`, `errors` and `slow`.
    """

    rate: float = 10.0
    errors: float = 0.01
    slow: float = 0.01
    failing: float = 1.0
    more_errors: float = 0.0
    more_slow: float = 0.0
    from_step: int = 0
    drift: float = 0.0
    incidents: tuple[Incident, ...] = ()
    gaps: tuple[Stretch, ...] = ()
    resets: float = 0.0
    stops: tuple[Stretch, ...] = ()
    series: Series | None = field(default=None)

    def traffic(self, second: float, length: float, phase: Array) -> tuple[Array, Array, Array]:
        """Expected requests within `length` seconds from `second`, and stable's shares of errors
        and slow ones, each (rollouts,). phase, (rollouts,) from 0 to 1: where in the hour, or in
        the recorded series, each rollout began.
        """
        if self.series is None:
            rate, errors, slow = (
                np.full(phase.shape, value) for value in (self.rate, self.errors, self.slow)
            )
        else:
            series = self.series
            index: NDArray[np.int_] = (second / series.seconds + phase * len(series.rate)).astype(
                int
            ) % len(series.rate)
            rate, errors, slow = series.rate[index], series.errors[index], series.slow[index]
        if _covered(self.stops, second):
            rate = np.zeros_like(rate)
        swing = 1 + self.drift * np.sin(2 * np.pi * (second / 3600 + phase))
        more = sum(incident.more for incident in self.incidents if incident.covers(second))
        return rate * length, np.clip(errors * swing + more, 0, 1), np.clip(slow * swing, 0, 1)

    def silent(self, second: float) -> bool:
        """Whether Prometheus has nothing of the block that begins at `second`."""
        return _covered(self.gaps, second)


def _covered(stretches: Iterable[Stretch], second: float) -> bool:
    return any(stretch.covers(second) for stretch in stretches)
