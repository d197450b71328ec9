"""What is served and how it is loaded: models, widths, and the loads put on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Case:
    """One model to serve: `model` is a name that `train.py` knows, `columns` its width.

    The goals are set for the main cases. The others show that nothing is tuned to those: fewer
    servers, one round.
    """

    model: str
    columns: int
    main: bool = False

    @property
    def key(self) -> str:
        """Its name on the command line, in files and in the JSON: `forest-10`."""
        return f"{self.model}-{self.columns}"

    @property
    def title(self) -> str:
        """Its name in tables and pictures: `random forest of 100, 10 columns`."""
        return f"{TITLES[self.model]}, {self.columns} columns"


TITLES: Final = {
    "logistic": "logistic regression",
    "forest": "random forest of 100",
    "linear": "linear regression",
    "scaled": "scaled logistic regression",
    "boosting": "gradient boosting of 100",
    "extra": "extra trees of 100",
}

CASES: Final = (
    Case("logistic", 10, main=True),
    Case("forest", 10, main=True),
    Case("logistic", 3),
    Case("logistic", 50),
    Case("linear", 10),
    Case("scaled", 10),
    Case("boosting", 10),
    Case("extra", 50),
)


@dataclass(frozen=True)
class Load:
    """One measure: `connections` that each send the next request of `rows` once answered."""

    connections: int
    rows: int

    @property
    def key(self) -> str:
        """Its name in the JSON: `c32` for one-row requests, `rows100_c8` for larger ones."""
        prefix = "" if self.rows == 1 else f"rows{self.rows}_"
        return f"{prefix}c{self.connections}"


ONE: Final = Load(1, 1)
MANY: Final = Load(32, 1)
ROWS_ONE: Final = Load(1, 100)
ROWS_MANY: Final = Load(8, 100)
LOADS: Final = (ONE, MANY, ROWS_ONE, ROWS_MANY)
