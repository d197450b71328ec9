"""A sample of rows that are offered one request after the other."""

import math
import random
from collections.abc import Callable

Cells = list[int]
"""What is kept of one row: the bins that it falls in (see `drift`)."""


class Reservoir:
    """A sample of fixed size of rows whose number nobody knows before, all with the same chance.

    Source: K.-H. Li, "Reservoir-Sampling Algorithms of Time Complexity O(n(1 + log(N/n)))", ACM
    TOMS 20 (1994), Algorithm L: it knows ahead how many rows to let pass.

    Args:
        size: the most rows kept, at least 1.
        draw: gives random numbers of [0, 1), by default unseeded.

    Attributes:
        kept: the sample so far; of a row that is being read, nothing yet.
    """

    def __init__(self, size: int, draw: Callable[[], float] = random.random) -> None:
        self._size = size
        self._draw = draw
        self.kept: list[Cells] = []
        self._seen, self._next, self._weight = 0, 0, 1.0

    def clear(self) -> list[Cells]:
        """Begins anew; returns the sample."""
        kept, self.kept = self.kept, []
        self._seen, self._next, self._weight = 0, 0, 1.0
        return kept

    def passes(self, count: int) -> bool:
        """Tells whether none of the next rows is to be kept; they are over then."""
        if self._seen + count > self._next:
            return False
        self._seen += count
        return True

    def take(self, count: int) -> list[tuple[int, Cells]]:
        """Makes place for those of the next rows that are to be kept.

        So that reading them may take its time, in whatever thread, after the sample is let go.

        Args:
            count: how many rows.

        Returns:
            Of each row kept its place below ``count`` and its cells, empty: put them in.
        """
        start, end = self._seen, self._seen + count
        self._seen = end
        places: dict[int, tuple[int, Cells]] = {}
        while self._next < end:
            cells: Cells = []
            if len(self.kept) < self._size:
                at = len(self.kept)
                self.kept.append(cells)
            else:
                at = int(self._draw() * self._size)
                self.kept[at] = cells
            places[at] = (self._next - start, cells)
            self._next += 1
            if len(self.kept) == self._size:
                self._weight *= self._uniform() ** (1 / self._size)
                self._next += self._gap()
        return list(places.values())

    def _gap(self) -> int:
        """Returns how many rows to let pass before the next that is kept."""
        step = math.log1p(-self._weight) if self._weight < 1 else -math.inf
        # Of a weight next to 0 it is 0: then nothing is kept any more.
        return int(math.log(self._uniform()) / step) if step else 2**62

    def _uniform(self) -> float:
        # Of (0, 1], whose logarithm is a number.
        return 1.0 - self._draw()
