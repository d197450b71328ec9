"""The files of prices, how AWS is asked for them, and what a stack costs without an account."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.stub import Stubber
from click.testing import CliRunner

from review import offline, price_list, prices
from review.__main__ import main
from review.bill import Resource, Stack
from review.cost import Costs, Table, table
from review.markdown import rows
from review.price_list import Found, PriceListError
from review.price_questions import QUESTIONS, Question
from review.prices import HOURS, PricesError, load, parse
from tests.conftest import ROOT
from tests.previews import on_aws

FILES = sorted(prices.DIRECTORY.glob("*.yaml"))
GOOD = (ROOT / "tests/previews/prices.yaml").read_text()
DOCS = ROOT / "docs/aws-cost.md"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_of_prices_says_where_each_is_from(file: Path) -> None:
    found = load(file.stem)
    raw = yaml.safe_load(file.read_text())
    assert found is not None
    assert found.region == file.stem
    # Each has all that a stack can need, or says "no price"; of these it must have some.
    assert {"eks.cluster", "nat.hour", "ec2.m7i.large", "ebs.gp3"} <= set(found.prices)
    units = {key: price.per for key, price in found.prices.items()}
    asked = price_list.questions(found.prices)
    assert units == {key: asked[key].per for key in units}
    dated = [
        source["dated"] for source in raw["sources"].values()
        if source.get("url") and isinstance(source["dated"], date)
    ]  # fmt: skip
    assert found.day == min(dated)
    assert all(source["read"] <= date.today() for source in raw["sources"].values() if source)
    assert {one["from"] for one in raw["prices"].values()} == set(raw["sources"])
    # What is unverified is said to be.
    remembered = {key for key, one in raw["prices"].items() if one["from"] == "memory"}
    assert remembered == {key for key, price in found.prices.items() if not price.verified}
    for kind, price in found.instances.items():
        assert price.vcpu, kind
        assert bool(price.gpu) == kind.startswith(("g", "p")), kind


def test_both_regions_of_the_docs_are_there_and_another_is_not() -> None:
    assert {"us-east-1", "eu-central-1"} <= {file.stem for file in FILES}
    assert load("mars-north-1") is None
    assert load("../settings") is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('usd: "0.10", per: hour', 'usd: "0", per: hour', "prices.eks.cluster.usd: 0 is no amount"),
        ('usd: "0.10", per: hour', "usd: 0.1, per: hour", "prices.eks.cluster.usd: 0.1 is no"),
        ('usd: "0.10", per: hour', 'usd: "-1", per: hour', "prices.eks.cluster.usd: -1 is no"),
        ("from: memory", "from: hearsay", "prices.ec2.g9.xlarge.from: hearsay is not among"),
        ("day: 2026-01-31", "day: soon", "day: soon is no day"),
        ("2026-02-27", "soon", "has what is no day"),
        ("prices:", "costs:", "has no region, day, sources and prices"),
        ("region:", "region: {", "is no YAML"),
        (", per: hour, from: list}", ", from: list}", "has no region, day, sources and prices"),
    ],
)
def test_a_file_that_is_none_of_prices_is_one_line(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(PricesError) as raised:
        parse(GOOD.replace(old, new))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_month_has_730_hours() -> None:
    assert parse(GOOD).prices["nat.hour"].monthly == Decimal("0.05") * HOURS == Decimal("36.5")
    assert parse(GOOD).prices["kms.key"].monthly == 1


# The Price List Query API: its answers are of the shape that its documentation shows. They were
# never AWS' own, for there was no account.


def product(usage: str, *bands: tuple[str, str, str], **attributes: str) -> str:
    """A product, its price in bands of (begin, end, US dollars)."""
    dimensions = {
        f"SKU.JRTCKXETXF.{number}": {
            "unit": "Hrs",
            "beginRange": begin,
            "endRange": end,
            "description": usage,
            "appliesTo": [],
            "rateCode": f"SKU.JRTCKXETXF.{number}",
            "pricePerUnit": {"USD": usd},
        }
        for number, (begin, end, usd) in enumerate(bands)
    }
    return json.dumps(
        {
            "product": {
                "productFamily": "Compute Instance",
                "attributes": {"usagetype": usage, **attributes},
                "sku": "SKU",
            },
            "serviceCode": "AmazonEC2",
            "terms": {
                "OnDemand": {
                    "SKU.JRTCKXETXF": {
                        "priceDimensions": dimensions,
                        "sku": "SKU",
                        "effectiveDate": "2026-09-01T00:00:00Z",
                        "offerTermCode": "JRTCKXETXF",
                        "termAttributes": {},
                    }
                },
                "Reserved": {"x": {"priceDimensions": {"y": {"pricePerUnit": {"USD": "9"}}}}},
            },
            "version": "20260901000000",
            "publicationDate": "2026-09-01T00:00:00Z",
        }
    )


def flat(usage: str, usd: str, **attributes: str) -> str:
    return product(usage, ("0", "Inf", usd), **attributes)


def stubbed(*pages: tuple[dict[str, Any], dict[str, Any]]) -> Any:
    """A client that answers these questions alone, in this order."""
    client = boto3.client(
        "pricing", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    stubber = Stubber(client)
    for asked, answer in pages:
        stubber.add_response("get_products", answer, asked)
    stubber.activate()
    return client


def test_aws_is_asked_page_by_page_and_by_its_own_names() -> None:
    filters = [
        {"Type": "TERM_MATCH", "Field": field, "Value": value}
        for field, value in {
            "instanceType": "m7i.large",
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
            "regionCode": "eu-central-1",
        }.items()
    ]
    first = {"ServiceCode": "AmazonEC2", "Filters": filters, "FormatVersion": "aws_v1",
             "MaxResults": 100}  # fmt: skip
    client = stubbed(
        (first, {"PriceList": [flat("EUC1-DedicatedUsage:m7i.large", "9")], "NextToken": "more"}),
        (
            first | {"NextToken": "more"},
            {"PriceList": [flat("EUC1-BoxUsage:m7i.large", "0.1207500000", vcpu="2", gpu="")]},
        ),
    )
    asked = {"ec2.m7i.large": Question.instance("m7i.large")}
    assert price_list.ask("eu-central-1", asked, client) == {
        "ec2.m7i.large": Found(Decimal("0.12075"), 2, 0)
    }


class Answers:
    """A client that answers every question with the same products."""

    def __init__(self, *products: str) -> None:
        self.products, self.asked = list(products), []

    def get_products(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return {"FormatVersion": "aws_v1", "PriceList": self.products}


@pytest.mark.parametrize(
    ("key", "products", "wanted"),
    [
        # What is free comes first, and what is much is cheaper.
        ("transfer.out",
         [product("EUC1-DataTransfer-Out-Bytes", ("0", "1", "0"), ("10240", "51200", "0.085"),
                  ("1", "10240", "0.09"))], Found(Decimal("0.09"))),
        ("s3.put", [flat("Requests-Tier1", "0.0000050000")], Found(Decimal("0.005"))),
        ("kms.requests", [flat("eu-central-1-KMS-Requests", "0.0000030000"),
                          flat("eu-central-1-KMS-Requests-Asymmetric", "0.000015")],
         Found(Decimal("0.03"))),
        ("waf.rule", [flat("EUC1-RuleV2", "1"), flat("EUC1-ShieldProtected-RuleV2", "0.5")],
         Found(Decimal("1"))),
        ("logs.data", [flat("EUC1-DataProcessing-Bytes", "0.63"),
                       flat("EUC1-IA-DataProcessing-Bytes", "0.315")], Found(Decimal("0.63"))),
        ("nat.hour", [flat("EUC1-NatGateway-Bytes", "0.052")], "AWS has none"),
        ("nat.hour", [flat("NatGateway-Hours", "0")], "AWS has none"),
        ("nat.hour", [], "AWS has none"),
        ("nat.hour", [flat("EUC1-NatGateway-Hours", "0.05"), flat("NatGateway-Hours", "0.06")],
         "AWS has 2, and which is meant is unclear"),
        # One price of several products is one price.
        ("nat.hour", [flat("EUC1-NatGateway-Hours", "0.05"), flat("NatGateway-Hours", "0.050")],
         Found(Decimal("0.05"))),
    ],
)  # fmt: skip
def test_an_answer_is_a_price_or_the_reason_why_there_is_none(
    key: str, products: list[str], wanted: Found | str
) -> None:
    found = price_list.ask("eu-central-1", {key: QUESTIONS[key]}, Answers(*products))
    assert found == {key: wanted}


def test_a_database_is_asked_for_by_its_zones() -> None:
    client = Answers(
        flat("EUC1-Multi-AZUsage:db.r6g.xl", "0.899"), flat("EUC1-InstanceUsage:db.r6g.xl", "0.45")
    )
    asked = price_list.questions({"rds.db.r6g.xlarge.single": 0, "rds.db.r6g.xlarge.multi": 0})
    some = {key: asked[key] for key in asked if key.startswith("rds.db.")}
    found = price_list.ask("eu-central-1", some, client)
    assert found == {
        "rds.db.r6g.xlarge.single": Found(Decimal("0.45")),
        "rds.db.r6g.xlarge.multi": Found(Decimal("0.899")),
    }
    options = [
        one["Value"] for call in client.asked for one in call["Filters"]
        if one["Field"] == "deploymentOption"
    ]  # fmt: skip
    assert options == ["Single-AZ", "Multi-AZ"]


def test_the_file_is_written_anew_and_what_has_no_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "us-east-1.yaml").write_text(GOOD)
    client = Answers(flat("NatGateway-Hours", "0.0520000000"), flat("BoxUsage:m9.large", "0.12"))
    missing, file = price_list.write("eu-west-9", tmp_path, client)
    found = parse(file.read_text())
    assert file == tmp_path / "eu-west-9.yaml"
    assert {key: price.usd for key, price in found.prices.items()} == {
        "nat.hour": Decimal("0.052"), "ec2.m9.large": Decimal("0.12"),
    }  # fmt: skip
    assert found.until == parse(GOOD).until
    assert all(price.verified for price in found.prices.values())
    assert "ec2.m9.xlarge: AWS has none" in missing
    assert len(missing) == len(price_list.questions(parse(GOOD).prices)) - 2
    assert [one.name for one in tmp_path.iterdir() if one.suffix == ".part"] == []


class Refusing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_products(self, **_: Any) -> Any:
        raise self.error


DENIED = ClientError(
    {"Error": {"Code": "AccessDeniedException", "Message": "not\nauthorized"}}, "GetProducts"
)


@pytest.mark.parametrize(
    ("region", "client", "said"),
    [
        ("us-east-1", Refusing(NoCredentialsError()), "Unable to locate credentials; log in"),
        ("us-east-1", Refusing(DENIED), "not authorized; log in"),
        ("Frankfurt", Answers(), "REGION: Frankfurt is no region of AWS, as in eu-central-1"),
        ("eu-nowhere-1", Answers(), "REGION: eu-nowhere-1 has no prices; is there such a region?"),
    ],
)
def test_what_keeps_aws_from_answering_is_one_line(
    tmp_path: Path, region: str, client: Any, said: str
) -> None:
    (tmp_path / "us-east-1.yaml").write_text(GOOD)
    with pytest.raises(PriceListError) as raised:
        price_list.write(region, tmp_path, client)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [one.name for one in tmp_path.iterdir()] == ["us-east-1.yaml"]


# Without an account.

CONFIG = """
config:
  pulumi:disable-default-providers: ["*"]
  aws:region: nowhere
  slipway:registry: registry.test:5000
  slipway:context: test
  slipway:bucketAccessKey: {secure: v1:abc}
  slipway:alerts: {receivers: {hook: {kind: webhook}}, default: hook}
  slipway:alertSecrets: {hook: {secure: v1:def}}
"""


def test_a_stack_is_read_from_its_file_with_something_for_each_secret(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.some.yaml").write_text(CONFIG)
    values = offline.configuration("organization/slipway/some", tmp_path)
    assert sorted(values) == ["alertSecrets", "alerts", "bucketAccessKey", "context", "registry"]
    assert "v1:" not in str(values)
    found = offline.stack("some", tmp_path)
    assert "models-namespace" in {one.name for one in found.of("kubernetes:core/v1:Namespace")}
    assert not found.on_aws
    assert offline.costs("some", tmp_path) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "some: there is no Pulumi.some.yaml"),
        ("{", "Pulumi.some.yaml: is no stack's configuration"),
        ("[]", "Pulumi.some.yaml: is no stack's configuration"),
        ("config:", "Pulumi.some.yaml: is no stack's configuration"),
        ("config: {slipway:nodels: {}}", "slipway:nodels"),
    ],
)
def test_a_stack_that_cannot_be_read_is_one_line(
    tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "Pulumi.some.yaml").write_text(text)
    with pytest.raises(offline.OfflineError) as raised:
        offline.stack("some", tmp_path)
    assert said in str(raised.value)


def test_the_command_says_it_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    resources = tuple(Resource(kind, name, inputs, frozenset(depends))
                      for (kind, name), (inputs, depends) in on_aws.STACK.items())  # fmt: skip
    monkeypatch.setattr(offline, "stack", lambda *_: Stack(resources))
    monkeypatch.setattr(prices, "load", on_aws.lookup)
    shown = CliRunner().invoke(main, ["cost", "--stack", "prod"])
    assert shown.exit_code == 0, shown.output
    assert "Cost by month (prices of xx-test-1 as of 2026-01-31)" in shown.output
    assert "nodes of nodes, m9.large" in shown.output
    assert "345.55" in shown.output
    made = CliRunner().invoke(main, ["cost", "--stack", "prod", "--markdown"])
    whole = Costs("xx-test-1", on_aws.PRICES, Table(), table(Stack(resources), on_aws.PRICES))
    assert made.output == f"{offline.page(whole)}\n"
    assert "\n".join(rows(whole.after)) in made.output
    monkeypatch.setattr(prices, "load", lambda _: None)
    refused = CliRunner().invoke(main, ["cost", "--stack", "prod"])
    assert refused.exit_code == 2
    assert refused.stderr == (
        "slipway: there are no prices of xx-test-1; make its file, logged in to AWS: "
        "make prices REGION=xx-test-1; there are those of eu-central-1, us-east-1\n"
    )


def test_a_table_is_put_between_the_marks_of_a_page_and_nowhere_else() -> None:
    page = f"# A\n\n{offline.BEGIN}\nold\n{offline.END}\n\nrest\n"
    once = offline.put(page, "new")
    assert once == f"# A\n\n{offline.BEGIN}\nnew\n{offline.END}\n\nrest\n"
    assert offline.put(once, "new") == once
    for bad in ("", offline.BEGIN, f"{offline.END}{offline.BEGIN}"):
        with pytest.raises(offline.OfflineError, match="^the page has no "):
            offline.put(bad, "new")


def test_the_page_has_the_table_that_the_command_makes() -> None:
    page = DOCS.read_text()
    stack = ROOT / "Pulumi.prod.yaml"
    # Before there is such a stack the page says so, and has no table that nobody made.
    costs = offline.costs("prod", ROOT) if stack.exists() else None
    made = offline.page(costs) if costs else "**No table yet: there is no stack `prod`.**"
    assert offline.put(page, made) == page, (
        "the page is old: make cost STACK=prod INTO=docs/aws-cost.md"
    )
