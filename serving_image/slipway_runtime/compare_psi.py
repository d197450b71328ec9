"""The population stability index of the shadow's predicted values against stable's. Pure.

With p the share of the shadow's values in a category and q that of stable's, it is the sum of
(p - q) ln(p / q) over the categories; shares are held to be FLOOR at least, so that an empty
category counts much and not without end. Customary reading: below 0.1 alike, above 0.2 changed.
Source: N. Siddiqi, Credit Risk Scorecards, Wiley 2006; it is the symmetrised Kullback-Leibler
divergence of the two.
"""

import bisect
import math
import statistics
from collections.abc import Hashable
from typing import Any, Final

from slipway_runtime.compare_answers import Leaves, Path

LEAST: Final = 200
"""Requests compared, and values that the bins are made from, before there is an index."""
CATEGORIES: Final = 50
BINS: Final = 10
FLOOR: Final = 1e-4
COLUMNS: Final = 32
"""Values of one prediction that are followed, the first seen."""

_LONGEST_TEXT: Final = 100
_OTHER: Final = ("other",)
_WAITING: Final = 4 * LEAST


class Column:
    """The values at one place of the predictions, counted.

    Up to CATEGORIES different values count as they are. Numbers of more kinds are counted in BINS
    between the quantiles of stable's first LEAST numbers; other texts of more kinds, together.
    """

    def __init__(self) -> None:
        self._counts: dict[Hashable, list[int]] = {}
        self._first: list[float] = []
        self._edges: list[float] | None = None

    def add(self, stable: Any, shadow: Any) -> None:
        """Counts one value of each."""
        if len(self._first) < LEAST and _is_finite(stable):
            self._first.append(float(stable))
        for side, value in enumerate((stable, shadow)):
            key = self._key(value)
            self._counts.setdefault(key, [0, 0])[side] += 1
        if self._edges is None and len(self._counts) > CATEGORIES and len(self._first) == LEAST:
            self._bin()

    def index(self) -> float:
        """Returns the index, or NaN where it has no value of one side."""
        totals = [sum(pair[side] for pair in self._counts.values()) for side in (0, 1)]
        if not all(totals):
            return math.nan
        found = 0.0
        for pair in self._counts.values():
            q, p = (max(count / total, FLOOR) for count, total in zip(pair, totals, strict=True))
            found += (p - q) * math.log(p / q)
        return found

    def _key(self, value: Any) -> Hashable:
        if _is_finite(value) and self._edges is not None:
            return ("bin", bisect.bisect_left(self._edges, float(value)))
        # Numbers may wait for bins to be made, but not without end.
        key: Hashable = float(value) if _is_finite(value) else _named(value)
        most = _WAITING if _is_finite(value) else CATEGORIES
        return key if key in self._counts or len(self._counts) < most else _OTHER

    def _bin(self) -> None:
        self._edges = sorted(set(statistics.quantiles(self._first, n=BINS, method="inclusive")))
        counts, self._counts = self._counts, {}
        for key, pair in counts.items():
            merged = self._counts.setdefault(
                self._key(key) if isinstance(key, float) else key, [0, 0]
            )
            merged[0] += pair[0]
            merged[1] += pair[1]


class Stability:
    """The index over all predictions: of one with several values, the largest of theirs."""

    def __init__(self) -> None:
        self._columns: dict[Path, Column] = {}
        self.requests = 0
        """How many requests the rows came from: the caller's to count."""

    def add(self, stable: Leaves, shadow: Leaves) -> None:
        """Counts one row of each."""
        for path in stable.keys() & shadow.keys():
            column = self._columns.get(path)
            if column is None:
                if len(self._columns) == COLUMNS:
                    continue
                column = self._columns[path] = Column()
            column.add(stable[path], shadow[path])

    def index(self) -> float:
        """Returns the index, NaN before LEAST requests."""
        if self.requests < LEAST:
            return math.nan
        found = [column.index() for column in self._columns.values()]
        return max((index for index in found if not math.isnan(index)), default=math.nan)


def _named(value: Any) -> Hashable:
    return (type(value).__name__, str(value)[:_LONGEST_TEXT])


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
