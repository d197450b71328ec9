"""The entrance in the configuration: what may be left out, and each fault by its exact line."""

from __future__ import annotations

from typing import Any

import pytest

from settings import SettingsError, parse
from settings.aws.derived import GATEWAY
from settings.aws.entrance import Entrance

KEY = "slipway:aws.entrance"
DOMAIN = {"domain": "models.example.com", "zone": "Z0123456789ABC"}
CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/12ab-34cd"


def entrance(**keys: Any) -> Entrance:
    admins = ["arn:aws:iam::123456789012:role/deployer"]
    place = {"account": "123456789012", "region": "eu-central-1", "cluster": {"admins": admins}}
    beside = {"mlflow": {"database": {"ca": "ca.pem"}}, "gateway": GATEWAY}
    aws = parse({"aws": place | {"entrance": keys}, **beside}).aws
    assert aws
    return aws.entrance


def faults(**keys: Any) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        entrance(**keys)
    return raised.value.faults


def test_a_domain_and_its_zone_are_enough() -> None:
    found = entrance(**DOMAIN)
    assert found.hosts == ("models.example.com", "mlflow.models.example.com")
    assert (found.internal, found.allow_from, found.waf, found.redirects) == (
        False,
        None,
        None,
        False,
    )
    assert found.tls_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06"


def test_a_certificate_of_ones_own_needs_no_zone() -> None:
    found = entrance(domain="models.example.com", certificate=CERTIFICATE, mlflow_host="ml.test")
    assert found.zone is None
    assert found.hosts == ("models.example.com", "ml.test")


@pytest.mark.parametrize(("said", "redirects"), [({}, True), ({"redirect_http": False}, False)])
def test_a_firewall_brings_the_redirect(said: dict[str, Any], redirects: bool) -> None:
    assert entrance(**DOMAIN, waf={}, **said).redirects is redirects


def test_a_network_is_named_once() -> None:
    networks = ["192.0.2.0/24", "10.0.0.0/8", "192.0.2.0/24"]
    assert entrance(**DOMAIN, allow_from=networks).allow_from == ["192.0.2.0/24", "10.0.0.0/8"]


@pytest.mark.parametrize(
    "policy",
    [
        "ELBSecurityPolicy-TLS13-1-3-2021-06",
        "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
        "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04",
        "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
    ],
)
def test_strong_policies_of_tls_are_taken(policy: str) -> None:
    assert entrance(**DOMAIN, tls_policy=policy).tls_policy == policy


NO_TLS = (
    "is not a policy of TLS 1.2 or newer with forward secrecy, as in "
    "ELBSecurityPolicy-TLS13-1-2-2021-06"
)
NO_DOMAIN = "is not a DNS name such as models.example.com, of at most 64 characters"
NO_ARN = (
    "is not the ARN of a certificate of ACM, as in "
    "arn:aws:acm:eu-central-1:123456789012:certificate/…"
)
ELSEWHERE = "a balancer takes only a certificate of its own region and account"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {},
            f"{KEY}.domain: is not set; it takes the DNS name of the models, "
            "as in models.example.com",
        ),
        (
            {"domain": "models.example.com"},
            f'{KEY}.domain: "models.example.com" is a domain without a zone; give zone, the id of '
            "its Route 53 zone, or a certificate of your own, and make the records yourself",
        ),
        (
            DOMAIN | {"domain": "Models.example.com"},
            f'{KEY}.domain: "Models.example.com" {NO_DOMAIN}',
        ),
        (DOMAIN | {"domain": "localhost"}, f'{KEY}.domain: "localhost" {NO_DOMAIN}'),
        (DOMAIN | {"domain": "*.example.com"}, f'{KEY}.domain: "*.example.com" {NO_DOMAIN}'),
        (
            DOMAIN | {"domain": f"{'a' * 57}.test.de"},
            f'{KEY}.domain: "{"a" * 57}.test.de" {NO_DOMAIN}',
        ),
        (
            DOMAIN | {"zone": "example.com"},
            f'{KEY}.zone: "example.com" is not the id of a Route 53 zone, '
            "as in Z0123456789ABCDEFGHIJ",
        ),
        (
            DOMAIN | {"certificate": CERTIFICATE.replace("eu-central-1", "us-east-1")},
            f'{KEY}.certificate: "{CERTIFICATE.replace("eu-central-1", "us-east-1")}" is in region '
            f"us-east-1, and the stack is in eu-central-1; {ELSEWHERE}",
        ),
        (
            DOMAIN | {"certificate": CERTIFICATE.replace("123456789012", "999999999999")},
            f'{KEY}.certificate: "{CERTIFICATE.replace("123456789012", "999999999999")}" is of '
            f"account 999999999999, and the stack is of 123456789012; {ELSEWHERE}",
        ),
        (
            DOMAIN | {"certificate": "arn:aws:iam::123456789012:server-certificate/mine"},
            f'{KEY}.certificate: "arn:aws:iam::123456789012:server-certificate/mine" {NO_ARN}',
        ),
        (
            DOMAIN | {"mlflow_host": "models.example.com"},
            f'{KEY}.mlflow_host: "models.example.com" is the name of the models too; '
            "MLflow has one of its own",
        ),
        (
            DOMAIN | {"allow_from": []},
            f"{KEY}.allow_from: [] lets nobody in; name networks, or leave it out",
        ),
        (
            DOMAIN | {"allow_from": ["10.0.0.0/8", "::/0"]},
            f'{KEY}.allow_from[1]: "::/0" is a network of IPv6, '
            "and the balancer has addresses of IPv4",
        ),
        (
            DOMAIN | {"allow_from": ["office"]},
            f'{KEY}.allow_from[0]: "office" is not a network such as 10.0.0.0/8',
        ),
        (
            DOMAIN | {"tls_policy": "ELBSecurityPolicy-2016-08"},
            f'{KEY}.tls_policy: "ELBSecurityPolicy-2016-08" {NO_TLS}',
        ),
        (
            DOMAIN | {"tls_policy": "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06"},
            f'{KEY}.tls_policy: "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06" {NO_TLS}',
        ),
        (
            DOMAIN | {"redirect_http": True},
            f"{KEY}.redirect_http: true needs waf beside it: "
            "a Network Load Balancer cannot redirect",
        ),
        (
            DOMAIN | {"waf": {"managed": []}},
            f'{KEY}.waf: {{"managed": []}} has no rule; give managed or rate_limit, '
            "or leave waf out",
        ),
        (
            DOMAIN | {"waf": {"managed": ["AWSManagedRulesLinuxRuleSet"] * 2}},
            f'{KEY}.waf.managed: ["AWSManagedRulesLinuxRuleSet", "AWSManagedRulesLinuxRuleSet"] '
            "names AWSManagedRulesLinuxRuleSet more than once",
        ),
        (
            DOMAIN | {"waf": {"managed": ["CommonRuleSet"]}},
            f'{KEY}.waf.managed[0]: "CommonRuleSet" is not a rule group that AWS manages, '
            "as in AWSManagedRulesCommonRuleSet",
        ),
        (
            DOMAIN | {"waf": {"rate_limit": 9}},
            f"{KEY}.waf.rate_limit: 9 is not a whole number of requests in 5 minutes "
            "from 10 to 2000000000",
        ),
        (
            DOMAIN | {"access_logs": {}},
            f"{KEY}.access_logs.bucket: is not set; it takes a bucket's name",
        ),
        (
            DOMAIN | {"dualstack": True},
            f"{KEY}.dualstack: is not a known key "
            f"(known: {', '.join(sorted(Entrance.model_fields))})",
        ),
    ],
)
def test_a_fault_is_one_line(keys: dict[str, Any], line: str) -> None:
    assert faults(**keys) == [line]


def test_days_that_cloudwatch_does_not_know() -> None:
    (line,) = faults(**DOMAIN, waf={"log_days": 2})
    assert line.startswith(
        f"{KEY}.waf.log_days: 2 is not a number of days that logs are kept: 1, 3, 5, 7, 14, 30,"
    )


def test_without_an_account_the_place_alone_is_at_fault() -> None:
    with pytest.raises(SettingsError) as raised:
        parse(
            {"aws": {"region": "eu-central-1", "entrance": DOMAIN | {"certificate": CERTIFICATE}}}
        )
    assert [line.split(":")[1] for line in raised.value.faults] == ["aws.account", "aws.cluster"]
