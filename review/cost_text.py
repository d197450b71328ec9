"""What a stack costs, in words and as a table. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from review.cost import Costs, Row, Sum, Table
from review.prices import Prices
from review.values import amount
from review.words import Data, Line, Strong, count, joined, plain

HEADS: Final = ("what", "how many", "unit price", "idle, a month", "at most, a month")
_MOST: Final = 5
_UNKNOWN: Final = "unknown until the update"
# Of these there are gigabytes, of all else pieces.
_STORAGE: Final = ("ebs.", "rds.gp", "rds.io")

Cells = tuple[Line, Line, Line, Line, Line]


def title(costs: Costs) -> str:
    """The title of what `lines` says."""
    return f"Cost by month{_of(costs.prices)}"


def lines(costs: Costs) -> list[Line]:
    """The sums of now and of then, what changes them most, and what they leave out."""
    if costs.region is None:
        return [("the region is known during the update, and with it the prices",)]
    if costs.prices is None:
        how = f"make prices REGION={costs.region}"
        said = "; make its file, logged in to AWS: "
        return [("there are no prices of ", Data(costs.region), said, Data(how))]
    old, new = costs.before, costs.after
    if not costs.changed:
        usd = f"{_total(new.idle)} USD while nobody asks, {_total(new.most)} at most"
        return [(f"as before: {usd}",)]
    found: list[Line] = [
        (f"while nobody asks {_change(old.idle, new.idle)}",),
        (f"with all the nodes and storage that there may be {_change(old.most, new.most)}",),
    ]
    found += _changed(old, new) if old.rows else []
    return found + _left_out(new)


def cells(table: Table) -> list[Cells]:
    """The table's lines below HEADS, the sums between what is counted and what costs by use."""
    found: list[Cells] = [
        (
            _called(row),
            (_count(row),),
            (_price(row),),
            (_money(row, row.idle, row.item.low),),
            (_money(row, row.most, row.item.high),),
        )
        for row in table.counted
    ]
    sums = (_total(table.idle),), (_total(table.most),)
    found.append(((Strong("all of these"),), ("",), ("",), *sums))
    found += [(_called(row), ("by use",), (_price(row),), ("",), ("",)) for row in table.used]
    return found


def footnotes(costs: Costs) -> list[Line]:
    """What is to be known of the table's prices."""
    return [("US dollars, on demand, without tax, of 730 hours a month",), *_left_out(costs.after)]


def _of(prices: Prices | None) -> str:
    return f" (prices of {prices.region} as of {prices.day})" if prices else ""


def money(usd: Decimal) -> str:
    """`1,234.50`."""
    return f"{usd.quantize(Decimal('0.01'), ROUND_HALF_UP):,}"


def _change(old: Sum, new: Sum) -> str:
    if old.usd == new.usd or not old.usd:
        return f"{_total(new)} USD{', as before' if old.usd else ''}"
    sign = "+" if new.usd > old.usd else "-"
    return f"{_total(new)} USD instead of {money(old.usd)} ({sign}{money(abs(new.usd - old.usd))})"


def _total(of: Sum) -> str:
    return money(of.usd) if of.whole else f"at least {money(of.usd)}"


def _changed(old: Table, new: Table) -> list[Line]:
    """The rows that change the sums, those that change them most first."""
    olds, news = ({plain(row.item.what): row for row in them.counted} for them in (old, new))
    found: list[tuple[Decimal, Line]] = []
    for name in {**olds, **news}:
        was, will = olds.get(name), news.get(name)
        if was and will:
            then, now = (_count(will), _price(will)), (_count(was), _price(was))
            told = [f"{a} instead of {b}" for a, b in zip(then, now, strict=True) if a != b]
            if told:
                found.append((_by(was, will), (*_called(will), f": {', '.join(told)}")))
        elif shown := will or was:
            word = "new: " if will else "gone: "
            found.append((_by(was, will), (word, *_called(shown), f": {_count(shown)}")))
    found.sort(key=lambda one: (-one[0], plain(one[1])))
    more = len(found) - _MOST
    return [line for _, line in found[:_MOST]] + ([(f"{more} more",)] if more > 0 else [])


def _by(was: Row | None, will: Row | None) -> Decimal:
    """How much the sums change by a row, as far as that is known."""
    none = Decimal(0)
    idle = abs(((will and will.idle) or none) - ((was and was.idle) or none))
    return max(idle, abs(((will and will.most) or none) - ((was and was.most) or none)))


def _left_out(table: Table) -> list[Line]:
    """What the sums can't say."""
    found: list[Line] = []
    unknown = [row for row in table.counted if row.price and row.item.low is None]
    endless = [row for row in table.counted if not row.item.bounded]
    for word, rows in (
        ("without a price: ", table.priceless),
        (f"{_UNKNOWN}: ", unknown),
        ("without a limit: ", endless),
    ):
        if rows:
            found.append((word, *_several(rows)))
    if table.unverified:
        prices = count(table.unverified, "price is", "prices are")
        found.append((Strong(f"{prices} from memory and unverified"),))
    if any(row.item.key == "eks.extended" for row in table.counted):
        found.append((Strong("extended support makes the cluster six times as dear"),))
    return found


def _several(rows: Iterable[Row]) -> Line:
    return joined((_called(row) for row in rows), ", ")


def _called(row: Row) -> Line:
    return (*row.item.what, f" ({row.item.note})") if row.item.note else row.item.what


def _count(row: Row) -> str:
    low, high = row.item.low, row.item.high
    if low is None and high is None:
        return "" if row.item.note else _UNKNOWN
    unit = " GB" if row.item.key.startswith(_STORAGE) else ""
    if low is None or high is None or low == high:
        first = _UNKNOWN if low is None else f"{amount(low)}{unit}"
        return first if row.item.bounded else f"{first} or more"
    return f"{amount(low)} to {amount(high)}{unit}"


def _price(row: Row) -> str:
    if row.price is None:
        return "no price"
    # As written: AWS' prices have as many decimals as they take.
    mark = "" if row.price.verified else " (unverified)"
    return f"{row.price.usd} per {row.price.per}{mark}"


def _money(row: Row, usd: Decimal | None, count: Decimal | None) -> str:
    if usd is not None:
        return money(usd)
    if row.price is None:
        return "no price"
    return "no limit" if count is None and not row.item.bounded else _UNKNOWN
