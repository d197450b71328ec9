"""A sample of rows that are offered one request after the other."""

import math
import random
from collections.abc import Callable, Sequence

Cells = Sequence[int]
"""What is kept of one row: the bins that it falls in (see `drift`)."""


class Reservoir:
    """A sample of fixed size of rows whose number nobody knows before, all with the same chance.

    Source: K.-H. Li, "Reservoir-Sampling Algorithms of Time Complexity O(n(1 + log(N/n)))", ACM
    TOMS 20 (1994), Algorithm L: it knows ahead how many rows to let pass.

    Args:
        size: the most rows kept, at least 1.
        draw: gives random numbers of [0, 1), by default unseeded.

    Attributes:
        kept: the sample so far.
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

    def take(self, count: int, read: Callable[[int], Cells]) -> None:
        """Keeps of the next rows those that are to be kept.

        Args:
            count: how many rows.
            read: returns what to keep of the row at a place below ``count``.
        """
        start, end = self._seen, self._seen + count
        self._seen = end
        while self._next < end:
            cells = read(self._next - start)
            if len(self.kept) < self._size:
                self.kept.append(cells)
            else:
                self.kept[int(self._draw() * self._size)] = cells
            self._next += 1
            if len(self.kept) == self._size:
                self._weight *= self._uniform() ** (1 / self._size)
                self._next += self._gap()

    def _gap(self) -> int:
        """Returns how many rows to let pass before the next that is kept."""
        step = math.log1p(-self._weight) if self._weight < 1 else -math.inf
        # Of a weight next to 0 it is 0: then nothing is kept any more.
        return int(math.log(self._uniform()) / step) if step else 2**62

    def _uniform(self) -> float:
        # Of (0, 1], whose logarithm is a number.
        return 1.0 - self._draw()
