"""The entrance on AWS: both kinds of balancer, the certificate, and the order of their deletion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest
from pulumi_aws.provider import Provider

from components.aws import naming
from components.aws.entrance import ADDED, MAX_NAME, Entrance, EntranceArgs
from settings.aws.entrance import Entrance as Settings
from tests import conftest
from tests.conftest import Program, Recorded
from tests.policy import stacks

ZONE = "Z0123456789ABC"
CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/12ab-34cd"
DOMAIN = {"domain": "models.example.com", "zone": ZONE}
WAF: dict[str, Any] = {"waf": {"rate_limit": 2000}}
TAGS = {"owner": "risk", "cost-center": "4711"}
LOGS = {"bucket": "logs", "prefix": "entrance"}


@dataclass(frozen=True)
class Place:
    """A network as the entrance needs it."""

    vpc_id: pulumi.Output[str]
    public_subnet_ids: list[pulumi.Output[str]]
    private_subnet_ids: list[pulumi.Output[str]]
    cidr: str = "10.20.0.0/16"


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS adds: ARNs, the balancer's address, and what proves each name of a certificate."""
    plain = conftest._Echo.new_resource

    def new_resource(self: Any, args: Any) -> tuple[str | None, dict[str, Any]]:
        identity, outputs = plain(self, args)
        inputs = args.inputs
        if args.typ == "aws:acm/certificate:Certificate":
            names = [inputs.get("domainName"), *inputs.get("subjectAlternativeNames", [])]
            # In an order of AWS' own.
            outputs["domainValidationOptions"] = [
                {
                    "domainName": name,
                    "resourceRecordName": f"_proof.{name}.",
                    "resourceRecordType": "CNAME",
                    "resourceRecordValue": f"_of-{name}.acm-validations.aws.",
                }
                for name in reversed(names)
            ]
        if args.typ.startswith("aws:"):
            outputs.setdefault("arn", f"arn-of-{args.name}")
        if args.typ.endswith(":LoadBalancer"):
            outputs |= {"dnsName": "balancer.elb.test", "zoneId": "ZBALANCER"}
        if args.typ == "aws:route53/record:Record":
            outputs["fqdn"] = inputs["name"].rstrip(".")
        return identity, outputs

    monkeypatch.setattr(conftest._Echo, "new_resource", new_resource)


def make(name: str = "entrance", groups: Mapping[str, str] | None = None, **keys: Any) -> Program:
    """What an entrance with these keys, beside DOMAIN, registers."""
    made: list[Entrance] = []
    out = pulumi.Output.from_input

    def program() -> None:
        aws = Provider(
            "aws",
            region="eu-central-1",
            default_tags={"tags": TAGS},
        )
        place = Place(
            out("vpc-1"),
            [out("public-1"), out("public-2")],
            [out("private-1"), out("private-2")],
        )
        args = EntranceArgs(
            Settings.model_validate(DOMAIN | keys),
            place,
            naming.prefix("prod"),
            30443,
            {key: out(value) for key, value in (groups or {"cpu": "eks-cpu"}).items()},
            out("sg-nodes"),
        )
        made.append(Entrance(name, args, pulumi.ResourceOptions(providers=[aws])))
        pulumi.export("url", made[0].url)
        pulumi.export("mlflow_url", made[0].mlflow_url)
        pulumi.export("address", made[0].address)

    return conftest.run(program)


def kinds(program: Program) -> set[tuple[str, str]]:
    return {(each.kind, each.name) for each in program.custom() if each.type.startswith("aws:")}


COMMON = {
    ("SecurityGroup", "entrance-group"),
    ("SecurityGroupIngressRule", "entrance-from-0.0.0.0-0-443"),
    ("SecurityGroupEgressRule", "entrance-to-nodes"),
    ("SecurityGroupIngressRule", "entrance-at-nodes"),
    ("LoadBalancer", "entrance-balancer"),
    ("TargetGroup", "entrance-target"),
    ("Attachment", "entrance-cpu"),
    ("Listener", "entrance-https"),
}
MADE = {
    ("Certificate", "entrance-certificate-request"),
    ("Record", "entrance-certificate-proof-0"),
    ("Record", "entrance-certificate-proof-1"),
    ("CertificateValidation", "entrance-certificate-issued"),
}
RECORDS = {("Record", "entrance-models"), ("Record", "entrance-mlflow")}
FIREWALL = {
    ("SecurityGroupIngressRule", "entrance-from-0.0.0.0-0-80"),
    ("Listener", "entrance-http"),
    ("WebAcl", "entrance-firewall-acl"),
    ("LogGroup", "entrance-firewall-log"),
    ("WebAclLoggingConfiguration", "entrance-firewall-logging"),
    ("WebAclAssociation", "entrance-firewall-association"),
}


def arn(program: Program, kind: str, name: str) -> str:
    """The ARN that AWS gave a resource."""
    return str(program.one(kind, name).outputs["arn"])


def test_a_network_balancer_a_certificate_and_records() -> None:
    program = make()
    assert kinds(program) == COMMON | MADE | RECORDS
    balancer = program.one("LoadBalancer", "entrance-balancer").inputs
    assert balancer == {
        "loadBalancerType": "network",
        "internal": False,
        "ipAddressType": "ipv4",
        "subnets": ["public-1", "public-2"],
        "securityGroups": ["entrance-group-id"],
        "enableCrossZoneLoadBalancing": True,
        "enableDeletionProtection": False,
    }
    listener = program.one("Listener", "entrance-https").inputs
    assert listener == {
        "loadBalancerArn": arn(program, "LoadBalancer", "entrance-balancer"),
        "port": 443,
        "protocol": "TLS",
        "alpnPolicy": "HTTP2Preferred",
        "sslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
        "certificateArn": arn(program, "Certificate", "entrance-certificate-request"),
        "defaultActions": [
            {"type": "forward", "targetGroupArn": arn(program, "TargetGroup", "entrance-target")}
        ],
    }
    assert program.outputs == {
        "url": "https://models.example.com",
        "mlflow_url": "https://mlflow.models.example.com",
        "address": "balancer.elb.test",
    }


def test_the_target_is_the_gateways_port_on_the_nodes() -> None:
    program = make(groups={"cpu": "eks-cpu", "more": "eks-more"})
    target = program.one("TargetGroup", "entrance-target").inputs
    assert (target["protocol"], target["port"], target["targetType"]) == ("TLS", 30443, "instance")
    assert target["healthCheck"]["protocol"] == "HTTPS"
    assert target["healthCheck"]["port"] == "traffic-port"
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html
    assert 2 <= target["healthCheck"]["timeout"] < target["healthCheck"]["interval"]
    attached = {
        each.name: (each.inputs["autoscalingGroupName"], each.inputs["lbTargetGroupArn"])
        for each in program.of("Attachment")
    }
    leads_to = arn(program, "TargetGroup", "entrance-target")
    assert attached == {
        "entrance-cpu": ("eks-cpu", leads_to),
        "entrance-more": ("eks-more", leads_to),
    }


@pytest.mark.parametrize("keys", [{}, WAF])
def test_only_the_balancer_reaches_the_nodes_and_only_at_one_port(keys: dict[str, Any]) -> None:
    program = make(**keys)
    inward = program.one("SecurityGroupIngressRule", "entrance-at-nodes").inputs
    outward = program.one("SecurityGroupEgressRule", "entrance-to-nodes").inputs
    for rule, here, there in (
        (inward, "sg-nodes", "entrance-group-id"),
        (outward, "entrance-group-id", "sg-nodes"),
    ):
        assert rule["securityGroupId"] == here
        assert rule["referencedSecurityGroupId"] == there
        assert (rule["ipProtocol"], rule["fromPort"], rule["toPort"]) == ("tcp", 30443, 30443)
    assert "ingress" not in program.one("SecurityGroup", "entrance-group").inputs


def test_the_listed_networks_alone_come_in() -> None:
    program = make(allow_from=["192.0.2.0/24", "198.51.100.0/24"])
    found = {
        (each.inputs["cidrIpv4"], each.inputs["fromPort"])
        for each in program.of("SecurityGroupIngressRule")
        if "cidrIpv4" in each.inputs
    }
    assert found == {("192.0.2.0/24", 443), ("198.51.100.0/24", 443)}


@pytest.mark.parametrize("keys", [{}, WAF])
def test_an_internal_one_stands_in_private_subnets_for_the_vpc(keys: dict[str, Any]) -> None:
    program = make(internal=True, **keys)
    balancer = program.one("LoadBalancer", "entrance-balancer").inputs
    assert balancer["internal"] is True
    assert balancer["subnets"] == ["private-1", "private-2"]
    networks = {each.inputs.get("cidrIpv4") for each in program.of("SecurityGroupIngressRule")}
    assert networks == {"10.20.0.0/16", None}


def test_a_firewall_makes_it_an_application_balancer_under_the_same_names() -> None:
    plain, program = make(), make(**WAF)
    assert kinds(program) == COMMON | MADE | RECORDS | FIREWALL
    balancer = program.one("LoadBalancer", "entrance-balancer").inputs
    assert balancer["loadBalancerType"] == "application"
    assert balancer["dropInvalidHeaderFields"] is True
    https = program.one("Listener", "entrance-https").inputs
    assert (https["protocol"], https["port"]) == ("HTTPS", 443)
    assert "alpnPolicy" not in https
    assert program.one("TargetGroup", "entrance-target").inputs["protocol"] == "HTTPS"
    association = program.one("WebAclAssociation", "entrance-firewall-association").inputs
    assert association == {
        "resourceArn": arn(program, "LoadBalancer", "entrance-balancer"),
        "webAclArn": arn(program, "WebAcl", "entrance-firewall-acl"),
    }
    for kind, name in MADE | RECORDS:
        assert program.one(kind, name).inputs == plain.one(kind, name).inputs
    assert (
        https["certificateArn"] == plain.one("Listener", "entrance-https").inputs["certificateArn"]
    )
    assert program.outputs == plain.outputs


def test_port_80_only_redirects_and_only_where_it_is_wanted() -> None:
    redirect = make(**WAF).one("Listener", "entrance-http").inputs
    assert redirect["defaultActions"] == [
        {
            "type": "redirect",
            "redirect": {"protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301"},
        }
    ]
    without = kinds(make(**WAF, redirect_http=False))
    assert without == COMMON | MADE | RECORDS | FIREWALL - {
        ("SecurityGroupIngressRule", "entrance-from-0.0.0.0-0-80"),
        ("Listener", "entrance-http"),
    }


def test_the_rules_of_a_firewall() -> None:
    waf = {"managed": ["AWSManagedRulesCommonRuleSet"], "counted": ["NoUserAgent_HEADER"]}
    acl = make(waf=waf | {"rate_limit": 300}).one("WebAcl", "entrance-firewall-acl").inputs
    assert (acl["scope"], acl["defaultAction"]) == ("REGIONAL", {"allow": {}})
    limit, managed = acl["rules"]
    assert [limit["priority"], managed["priority"]] == [0, 1]
    assert limit["statement"]["rateBasedStatement"] == {
        "limit": 300,
        "aggregateKeyType": "IP",
        "evaluationWindowSec": 300,
    }
    assert limit["action"] == {"block": {"customResponse": {"responseCode": 429}}}
    assert managed["overrideAction"] == {"none": {}}
    assert managed["statement"]["managedRuleGroupStatement"] == {
        "name": "AWSManagedRulesCommonRuleSet",
        "vendorName": "AWS",
        "ruleActionOverrides": [{"name": "NoUserAgent_HEADER", "actionToUse": {"count": {}}}],
    }


def test_a_large_batch_is_counted_and_not_blocked() -> None:
    acl = make(waf={}).one("WebAcl", "entrance-firewall-acl").inputs
    for rule in acl["rules"]:
        overrides = rule["statement"]["managedRuleGroupStatement"]["ruleActionOverrides"]
        assert {"name": "SizeRestrictions_BODY", "actionToUse": {"count": {}}} in overrides


def test_the_firewalls_log_has_a_name_that_aws_takes_and_no_credentials() -> None:
    program = make(**WAF)
    log = program.one("LogGroup", "entrance-firewall-log")
    assert log.inputs == {"name": "aws-waf-logs-slipway-prod", "retentionInDays": 30}
    assert log.delete_before_replace
    logging = program.one("WebAclLoggingConfiguration", "entrance-firewall-logging").inputs
    assert logging["logDestinationConfigs"] == [arn(program, "LogGroup", "entrance-firewall-log")]
    redacted = [each["singleHeader"]["name"] for each in logging["redactedFields"]]
    assert redacted == ["authorization", "cookie"]
    acl = program.one("WebAcl", "entrance-firewall-acl").inputs
    configs = [acl["visibilityConfig"], *(rule["visibilityConfig"] for rule in acl["rules"])]
    assert [each["sampledRequestsEnabled"] for each in configs] == [False] * len(configs)


def test_each_name_is_proven_by_its_own_record() -> None:
    program = make(mlflow_host="registry.example.com")
    request = program.one("Certificate", "entrance-certificate-request").inputs
    assert request == {
        "domainName": "models.example.com",
        "subjectAlternativeNames": ["registry.example.com"],
        "validationMethod": "DNS",
    }
    for number, name in enumerate(("models.example.com", "registry.example.com")):
        record = program.one("Record", f"entrance-certificate-proof-{number}").inputs
        assert record["name"] == f"_proof.{name}."
        assert record["records"] == [f"_of-{name}.acm-validations.aws."]
        assert (record["type"], record["zoneId"]) == ("CNAME", ZONE)
    issued = program.one("CertificateValidation", "entrance-certificate-issued")
    assert issued.inputs["validationRecordFqdns"] == [
        "_proof.models.example.com",
        "_proof.registry.example.com",
    ]
    assert issued.timeouts[0] == "30m"


def test_the_records_lead_to_the_balancer() -> None:
    program = make()
    for name, host in (
        ("entrance-models", "models.example.com"),
        ("entrance-mlflow", "mlflow.models.example.com"),
    ):
        record = program.one("Record", name).inputs
        assert (record["name"], record["type"], record["zoneId"]) == (host, "A", ZONE)
        assert record["aliases"] == [
            {"name": "balancer.elb.test", "zoneId": "ZBALANCER", "evaluateTargetHealth": True}
        ]


def test_a_certificate_that_exists_is_taken_as_it_is() -> None:
    program = make(certificate=CERTIFICATE)
    assert kinds(program) == COMMON | RECORDS
    assert program.one("Listener", "entrance-https").inputs["certificateArn"] == CERTIFICATE
    assert kinds(make(certificate=CERTIFICATE, zone=None)) == COMMON


def test_logs_and_protection_by_configuration() -> None:
    program = make(access_logs={"bucket": "logs"}, deletion_protection=True)
    balancer = program.one("LoadBalancer", "entrance-balancer").inputs
    assert balancer["accessLogs"] == {"enabled": True, **LOGS}
    assert balancer["enableDeletionProtection"] is True


def before(program: Program, kind: str, name: str) -> set[str]:
    """All that stands under a resource: what Pulumi deletes after it."""
    by_name = {each.name: each for each in program.resources.values()}
    seen: set[str] = set()
    waiting: list[Recorded] = [program.one(kind, name)]
    while waiting:
        for below in waiting.pop().depends_on:
            if below not in seen:
                seen.add(below)
                waiting.append(by_name[below])
    return seen


@pytest.mark.parametrize("keys", [{}, WAF])
def test_a_name_goes_before_the_balancer_and_a_listener_before_its_target(
    keys: dict[str, Any],
) -> None:
    program = make(**keys)
    for record in ("entrance-models", "entrance-mlflow"):
        assert {"entrance-https", "entrance-balancer"} <= before(program, "Record", record)
    assert {
        "entrance-balancer",
        "entrance-target",
        "entrance-certificate-issued",
    } <= before(program, "Listener", "entrance-https")
    assert "entrance-group" in before(program, "LoadBalancer", "entrance-balancer")
    assert "entrance-target" in before(program, "Attachment", "entrance-cpu")
    assert {
        "entrance-certificate-proof-0",
        "entrance-certificate-proof-1",
        "entrance-certificate-request",
    } <= before(program, "CertificateValidation", "entrance-certificate-issued")
    if keys:
        assert {"entrance-balancer", "entrance-firewall-acl"} <= before(
            program, "WebAclAssociation", "entrance-firewall-association"
        )


@pytest.mark.parametrize("keys", [{}, WAF])
def test_names_are_short_enough_and_none_is_fixed_that_need_not_be(keys: dict[str, Any]) -> None:
    program = make(**keys)
    for kind in ("LoadBalancer", "TargetGroup"):
        for each in program.of(kind):
            assert "name" not in each.inputs
            assert len(each.name) + ADDED <= MAX_NAME
    with pytest.raises(ValueError, match="the-entrance-of-models: is too long"):
        make("the-entrance-of-models", **keys)


@pytest.mark.parametrize("keys", [{}, WAF, {"internal": True}, {"certificate": CERTIFICATE}])
def test_everything_is_of_the_one_provider_and_under_the_entrance(keys: dict[str, Any]) -> None:
    program = make(**keys)
    for each in program.custom():
        if each.type.startswith("aws:"):
            assert each.provider == "aws"
            assert each.parent.startswith("entrance")


@pytest.mark.parametrize("keys", [{}, WAF])
def test_the_policies_of_production_object_to_nothing(keys: dict[str, Any]) -> None:
    made = [each for each in stacks.of_program(make(**keys)) if each.type.startswith("aws:")]
    tagged = [
        type(each)(each.urn, each.type, each.name, each.props | {"tags": TAGS}) for each in made
    ]
    verdict = stacks.judge(tagged, stacks.configuration("prod"))
    assert verdict.violations == frozenset()
    assert verdict.undecided == frozenset()


def test_plain_http_that_does_not_redirect_would_be_objected_to() -> None:
    made = [each for each in stacks.of_program(make(**WAF)) if each.kind == "Listener"]
    plain = [
        type(each)(each.urn, each.type, each.name, each.props | {"protocol": "HTTP"})
        for each in made
        if each.name == "entrance-https"
    ]
    (found,) = stacks.judge(plain, stacks.configuration("prod")).violations
    assert found[0] == "public-tls"
