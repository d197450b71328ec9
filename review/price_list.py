"""A region's file of prices, as AWS itself tells them: the Price List Query API.

https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
GetProducts filters by a product's attributes and answers with texts of JSON: {product: {sku,
attributes}, terms: {OnDemand: {code: {priceDimensions: {code: {unit, beginRange, pricePerUnit:
{USD}}}}}}}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import yaml

from review.price_questions import QUESTIONS, Question
from review.prices import DIRECTORY, PricesError, parse

# One of the few regions that answer for all.
_ENDPOINT: Final = "us-east-1"
_PAGES: Final = 20


class PriceListError(ValueError):
    """AWS can't be asked, or the file can't be written; the message is one line."""


@dataclass(frozen=True)
class Found:
    """A price: US dollars for a Question's unit, and what an instance type has."""

    usd: Decimal
    vcpu: int = 0
    gpu: int = 0


def write(region: str, directory: Path = DIRECTORY, client: Any = None) -> tuple[list[str], Path]:
    """Ask for every price, and write `<region>.yaml`. What has no answer is left out: its keys
    come back, each with the reason, and the file.

    The instance types and database classes are those that the file has already, or else that of
    us-east-1. `kubernetes` stays as it is: the API does not know it.

    Raises:
        PriceListError: no login, no such region, or a file that is none of prices.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    if not re.fullmatch(r"[a-z]{2,3}(-[a-z]+)+-\d", region):
        raise PriceListError(f"REGION: {region} is no region of AWS, as in eu-central-1")
    file, model = directory / f"{region}.yaml", directory / "us-east-1.yaml"
    had = _read(file if file.exists() else model)
    try:
        answers = ask(region, questions(had["prices"]), client or _client())
    except (BotoCoreError, ClientError) as error:
        said = " ".join(str(error).split())
        raise PriceListError(
            f"AWS was not asked: {said}; log in, as by `aws sso login`, with a role that may "
            "pricing:GetProducts"
        ) from None
    prices = {key: found for key, found in answers.items() if isinstance(found, Found)}
    if not prices:
        raise PriceListError(f"REGION: {region} has no prices; is there such a region?")
    text = render(region, prices, had.get("kubernetes") or {}, datetime.now(UTC).date())
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
    return [f"{key}: {why}" for key, why in answers.items() if isinstance(why, str)], file


def questions(prices: Mapping[str, Any]) -> dict[str, Question]:
    """What is asked: QUESTIONS, and one for each instance type and database class in `prices`."""
    found = dict(QUESTIONS)
    for key in prices:
        if key.startswith("ec2."):
            found[key] = Question.instance(key.removeprefix("ec2."))
        elif key.startswith("rds.db."):
            kind, _, mode = key.removeprefix("rds.").rpartition(".")
            found[key] = Question.database(kind, mode)
    return found


def ask(region: str, asked: Mapping[str, Question], client: Any) -> dict[str, Found | str]:
    """A price for each key, or why there is none."""
    return {key: _answer(question, region, client) for key, question in asked.items()}


def render(
    region: str, prices: Mapping[str, Found], kubernetes: Mapping[str, Any], day: date
) -> str:
    """The text of the file."""
    head = (
        "# Prices of AWS on demand, in US dollars, without tax and without a free tier, as AWS'\n"
        f"# Price List told them: make prices REGION={region}\n"
        "# Spot has no price here, for it changes by the hour.\n"
    )
    source = {
        "url": "https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/"
        "API_pricing_GetProducts.html",
        "dated": day,
        "read": day,
    }
    asked = questions(dict.fromkeys(prices))
    listed: dict[str, Any] = {}
    for key, found in prices.items():
        one: dict[str, Any] = {"usd": _text(found.usd), "per": asked[key].per, "from": "aws"}
        listed[key] = one | {
            name: count for name, count in (("vcpu", found.vcpu), ("gpu", found.gpu)) if count
        }
    whole = {"region": region, "day": day, "sources": {"aws": source}}
    whole |= {"kubernetes": dict(kubernetes)} if kubernetes else {}
    whole["prices"] = listed
    text = head + yaml.safe_dump(whole, sort_keys=False, width=100, default_flow_style=None)
    parse(text)
    return text


def _client() -> Any:
    import boto3  # type: ignore[import-untyped]

    return boto3.client("pricing", region_name=_ENDPOINT)


def _answer(question: Question, region: str, client: Any) -> Found | str:
    prices = {found for one in _products(question, region, client) if (found := _first(one))}
    amounts = {Found(found.usd * question.units, found.vcpu, found.gpu) for found in prices}
    if not amounts:
        return "AWS has none"
    if len({one.usd for one in amounts}) > 1:
        return f"AWS has {len(amounts)}, and which is meant is unclear"
    return max(amounts, key=lambda one: one.vcpu)


def _products(question: Question, region: str, client: Any) -> Iterator[Mapping[str, Any]]:
    """The products that answer, of all pages."""
    terms = dict(question.filters)
    if question.regional:
        terms[question.region_field] = region
    filters = [{"Type": "TERM_MATCH", "Field": key, "Value": terms[key]} for key in terms]
    given: dict[str, Any] = {"ServiceCode": question.service, "Filters": filters}
    for _ in range(_PAGES):
        page = client.get_products(**given, FormatVersion="aws_v1", MaxResults=100)
        for text in page.get("PriceList", ()):
            product = json.loads(text)
            usage = str(product["product"]["attributes"].get("usagetype", ""))
            if re.search(rf"(^|-)({question.usage})$", usage):
                yield product
        if not page.get("NextToken"):
            return
        given["NextToken"] = page["NextToken"]
    raise PriceListError(f"{question.service}: AWS answers without an end")


def _first(product: Mapping[str, Any]) -> Found | None:
    """The price on demand of the first unit above what is free."""
    bands: list[tuple[Decimal, Decimal]] = []
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for band in term["priceDimensions"].values():
            try:
                usd = Decimal(band["pricePerUnit"]["USD"])
                start = Decimal(band.get("beginRange") or 0)
            except (KeyError, InvalidOperation):
                continue
            if usd:
                bands.append((start, usd))
    if not bands:
        return None
    attributes = product["product"]["attributes"]
    return Found(min(bands)[1], *(_count(attributes.get(name)) for name in ("vcpu", "gpu")))


def _count(value: Any) -> int:
    return int(value) if isinstance(value, str) and value.isdecimal() else 0


def _text(usd: Decimal) -> str:
    """`0.0225`, of what AWS writes as 0.0225000000."""
    return f"{usd.normalize():f}"


def _read(file: Path) -> Mapping[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        parse(text, file.name)
    except (OSError, PricesError) as error:
        raise PriceListError(str(error)) from None
    found: Mapping[str, Any] = yaml.safe_load(text)
    return found
