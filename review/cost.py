"""What a stack on AWS costs by month: while nobody asks, and at most. Pure.

What has no price, or no known number, is left out of a sum, and the sum then says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import groupby

from review import bill, bill_aws
from review.bill import Item, Stack
from review.preview import Step
from review.prices import Price, Prices
from review.words import plain

# A region -> its prices, None where nobody has written them down.
Lookup = Callable[[str], Prices | None]


@dataclass(frozen=True)
class Row:
    """A line of the table; price: None where there is none."""

    item: Item
    price: Price | None

    @property
    def idle(self) -> Decimal | None:
        """US dollars a month while nobody asks; None where that can't be told."""
        return self._of(self.item.low)

    @property
    def most(self) -> Decimal | None:
        """US dollars a month at most; None where that can't be told, or nothing limits it."""
        return self._of(self.item.high) if self.item.bounded else None

    def _of(self, count: Decimal | None) -> Decimal | None:
        # Of nothing any number costs nothing, whatever one does.
        if count == 0:
            return Decimal(0)
        return None if self.price is None or count is None else self.price.monthly * count


@dataclass(frozen=True)
class Sum:
    """US dollars a month; whole: nothing is left out."""

    usd: Decimal
    whole: bool


@dataclass(frozen=True)
class Table:
    """What a stack costs: what is there by count, then what costs by use."""

    rows: tuple[Row, ...] = ()

    @property
    def counted(self) -> list[Row]:
        """What is paid for being there."""
        return [row for row in self.rows if not row.item.by_use]

    @property
    def used(self) -> list[Row]:
        """What is paid for by use."""
        return [row for row in self.rows if row.item.by_use]

    @property
    def idle(self) -> Sum:
        """While nobody asks, but for what costs by use."""
        return _sum(row.idle for row in self.counted)

    @property
    def most(self) -> Sum:
        """At most, but for what costs by use."""
        return _sum(row.most for row in self.counted)

    @property
    def priceless(self) -> list[Row]:
        """What ought to have a price and has none."""
        return [row for row in self.rows if row.price is None and row.item.low != 0]

    @property
    def unverified(self) -> int:
        """How many rows have a price that nobody has verified."""
        return sum(row.price is not None and not row.price.verified for row in self.rows)


@dataclass(frozen=True)
class Costs:
    """What a stack costs before and after an update; prices: None where the region has no file."""

    region: str | None
    prices: Prices | None
    before: Table
    after: Table

    @property
    def changed(self) -> bool:
        """Whether the update changes anything that is billed."""
        return self.before != self.after


def table(stack: Stack, prices: Prices | None) -> Table:
    """The table of a stack: what is alike is one row."""
    rows = [_merged(list(them)) for _, them in groupby(_sorted(stack, prices), key=_alike)]
    return Table(tuple(Row(item, prices.get(item.key) if prices else None) for item in rows))


def of_preview(steps: Iterable[Step], lookup: Lookup) -> Costs | None:
    """What the steps of a preview mean for the bill; None for a stack that is not on AWS."""
    steps = tuple(steps)
    old, new = bill.of_steps(steps, before=True), bill.of_steps(steps, before=False)
    if not old.on_aws and not new.on_aws:
        return None
    region = new.region or old.region
    prices = lookup(region) if region else None
    return Costs(region, prices, table(old, prices), table(new, prices))


def _sorted(stack: Stack, prices: Prices | None) -> list[Item]:
    if not stack.on_aws:
        return []
    found = list(bill_aws.items(stack, prices))
    # In the order of their first, those alike together, and what costs by use last.
    order: dict[tuple[str, str, str], int] = {}
    for item in found:
        order.setdefault(_alike(item), len(order))
    return sorted(found, key=lambda item: (item.by_use, order[_alike(item)]))


def _alike(item: Item) -> tuple[str, str, str]:
    return plain(item.what), item.key, item.note


def _merged(items: list[Item]) -> Item:
    first = items[0]
    if first.by_use:
        return first
    return replace(
        first,
        low=_all(item.low for item in items),
        high=_all(item.high for item in items),
        bounded=all(item.bounded for item in items),
    )


def _all(counts: Iterable[Decimal | None]) -> Decimal | None:
    total = Decimal(0)
    for count in counts:
        if count is None:
            return None
        total += count
    return total


def _sum(amounts: Iterable[Decimal | None]) -> Sum:
    known, whole = Decimal(0), True
    for amount in amounts:
        known, whole = known + (amount or 0), whole and amount is not None
    return Sum(known, whole)
