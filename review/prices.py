"""What AWS asks for one unit of a thing in one region, out of a file that is dated. Pure.

A file says of each price where it comes from. What no file has, has no price: it is never 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import yaml

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "prices"
# As AWS and its calculator count: 365 days of 24 hours, by 12.
HOURS: Final = Decimal(730)
HOUR: Final = "hour"


class PricesError(ValueError):
    """There is no such file, or it is none; the message is one line."""


@dataclass(frozen=True)
class Price:
    """What one unit costs.

    usd: US dollars. per: the unit, as in `hour`, `GB-month` or `million requests`. vcpu, gpu: of
    an instance type. verified: somebody has read it somewhere, and the file says where.
    """

    usd: Decimal
    per: str
    vcpu: int = 0
    gpu: int = 0
    verified: bool = True

    @property
    def monthly(self) -> Decimal:
        """What having one all month costs."""
        return self.usd * HOURS if self.per == HOUR else self.usd


@dataclass(frozen=True)
class Prices:
    """A region's prices by key, such as `nat.hour` or `ec2.m7i.large`.

    day: no price that was read is older. read: the day on which the last was read. until: version
    of Kubernetes -> the last day of its standard support on EKS.
    """

    region: str
    day: date
    read: date
    prices: Mapping[str, Price]
    until: Mapping[str, date] = field(default_factory=dict)

    def get(self, key: str) -> Price | None:
        """None where there is no price."""
        return self.prices.get(key)

    @property
    def instances(self) -> dict[str, Price]:
        """Instance type -> its price."""
        return {
            key.removeprefix("ec2."): price
            for key, price in self.prices.items()
            if key.startswith("ec2.")
        }


def regions(directory: Path = DIRECTORY) -> list[str]:
    """The regions whose prices somebody has written down."""
    return sorted(file.stem for file in directory.glob("*.yaml"))


def load(region: str, directory: Path = DIRECTORY) -> Prices | None:
    """The region's prices; None where there is no file of it.

    Raises:
        PricesError: the file is none of prices.
    """
    if not re.fullmatch(r"[a-z0-9-]+", region):
        return None
    try:
        text = (directory / f"{region}.yaml").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return parse(text, f"prices/{region}.yaml")


def parse(text: str, name: str = "the file of prices") -> Prices:
    """The prices in the text of a file: {region, day, sources: name -> {url, dated, read},
    kubernetes: {until: version -> day}, prices: key -> {usd, per, from, vcpu, gpu}}.

    `from` names a source. One without a url is nobody's but memory, and so unverified.

    Raises:
        PricesError: it is not of that form.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError:
        raise PricesError(f"{name}: is no YAML") from None
    try:
        sources = {key: bool(of.get("url")) for key, of in raw["sources"].items()}
        read = [of["read"] for of in raw["sources"].values() if of.get("url")]
        prices = {key: _price(key, one, sources) for key, one in raw["prices"].items()}
        until = (raw.get("kubernetes") or {}).get("until") or {}
        region, day = raw["region"], raw["day"]
    except PricesError as error:
        raise PricesError(f"{name}: {error}") from None
    except (KeyError, TypeError, AttributeError):
        raise PricesError(f"{name}: has no region, day, sources and prices") from None
    if not isinstance(region, str) or type(day) is not date:
        raise PricesError(f"{name}: day: {day} is no day such as 2026-08-21")
    if any(type(one) is not date for one in (*until.values(), *read)):
        raise PricesError(f"{name}: has what is no day such as 2026-12-02")
    days = {str(key): one for key, one in until.items()}
    return Prices(region, day, max(read, default=day), prices, days)


def _price(key: str, raw: Mapping[str, Any], sources: Mapping[str, bool]) -> Price:
    usd, source = raw.get("usd"), raw.get("from")
    # Text, for YAML's own numbers are binary fractions; and what is free is no price to list.
    if not isinstance(usd, str) or not re.fullmatch(r"\d+(\.\d+)?", usd) or not Decimal(usd):
        raise PricesError(f'prices.{key}.usd: {usd} is no amount above 0, in quotes, as in "0.10"')
    if source not in sources:
        raise PricesError(f"prices.{key}.from: {source} is not among sources")
    return Price(
        Decimal(usd),
        str(raw["per"]),
        int(raw.get("vcpu", 0)),
        int(raw.get("gpu", 0)),
        sources[str(source)],
    )
