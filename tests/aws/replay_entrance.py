"""The calls of load balancers, certificates, DNS, the firewall and autoscaling groups."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.aws.replay import Api, Entry, Made, Table, Wanted, text

TAGS: dict[str, str | None] = {"tagsAll": None}
ELB = "elbv2"


def load_balancer(api: Api, one: Wanted) -> Made:
    scheme = "internal" if one.inputs.get("internal") else "internet-facing"
    told = {key: one.inputs.get(key) for key in ("subnets", "securityGroups", "ipAddressType")}
    told |= {"Type": one.inputs.get("loadBalancerType"), "Scheme": scheme}
    told["Tags"] = one.inputs.get("tags")
    answer = api.call(ELB, "CreateLoadBalancer", Name=one.called, **told)["LoadBalancers"][0]
    attributes = _attributes(one.inputs)
    asked = {"LoadBalancerArn": answer["LoadBalancerArn"], "Attributes": attributes}
    if attributes:
        api.call(ELB, "ModifyLoadBalancerAttributes", **asked)
    told = {"arn": answer["LoadBalancerArn"], "dnsName": answer["DNSName"]}
    return told | {"id": told["arn"], "zoneId": answer["CanonicalHostedZoneId"]}


def _attributes(inputs: dict[str, Any]) -> list[dict[str, str]]:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html"""
    flags = {
        "enableDeletionProtection": "deletion_protection.enabled",
        "enableCrossZoneLoadBalancing": "load_balancing.cross_zone.enabled",
        "idleTimeout": "idle_timeout.timeout_seconds",
        "dropInvalidHeaderFields": "routing.http.drop_invalid_header_fields.enabled",
    }
    told = {name: inputs[key] for key, name in flags.items() if inputs.get(key) is not None}
    if inputs.get("loadBalancerType") == "application":
        told.pop("load_balancing.cross_zone.enabled", None)  # always on
    logs = inputs.get("accessLogs") or {}
    told |= {f"access_logs.s3.{key}": item for key, item in logs.items() if item is not None}
    return [{"Key": key, "Value": text(item)} for key, item in told.items()]


def target_group(api: Api, one: Wanted) -> Made:
    check = dict(one.inputs.get("healthCheck") or {})
    renamed = {
        "enabled": "HealthCheckEnabled",
        "protocol": "HealthCheckProtocol",
        "port": "HealthCheckPort",
        "path": "HealthCheckPath",
        "interval": "HealthCheckIntervalSeconds",
        "timeout": "HealthCheckTimeoutSeconds",
        "healthyThreshold": "HealthyThresholdCount",
        "unhealthyThreshold": "UnhealthyThresholdCount",
    }
    told: dict[str, Any] = {name: check.pop(key) for key, name in renamed.items() if key in check}
    if "matcher" in check:
        told["Matcher"] = {"HttpCode": check.pop("matcher")}
    kept = ("port", "protocol", "protocolVersion", "vpcId", "targetType", "ipAddressType", "tags")
    told |= {key: one.inputs.get(key) for key in kept}
    flags = {"preserveClientIp": "preserve_client_ip.enabled"}
    flags["deregistrationDelay"] = "deregistration_delay.timeout_seconds"
    answer = api.call(ELB, "CreateTargetGroup", Name=one.called, **told)["TargetGroups"][0]
    attributes = [
        {"Key": name, "Value": text(one.inputs[key])}
        for key, name in flags.items()
        if key in one.inputs
    ]
    asked = {"TargetGroupArn": answer["TargetGroupArn"], "Attributes": attributes}
    if attributes:
        api.call(ELB, "ModifyTargetGroupAttributes", **asked)
    known = {*kept, *flags, "healthCheck", "name", "namePrefix"}
    api.left_out |= {key for key in one.inputs if key not in known}
    return {"id": answer["TargetGroupArn"], "arn": answer["TargetGroupArn"]}


def listener(api: Api, one: Wanted) -> Made:
    told = copy.deepcopy(one.inputs)
    certificate = told.pop("certificateArn", None)
    if certificate:
        told["certificates"] = [{"CertificateArn": certificate}]
    for action in told.get("defaultActions", []):
        if "redirect" in action:
            action["redirectConfig"] = action.pop("redirect")
        if "fixedResponse" in action:
            action["fixedResponseConfig"] = action.pop("fixedResponse")
    told.pop("tagsAll", None)
    answer = api.call(ELB, "CreateListener", **told)["Listeners"][0]
    return {"id": answer["ListenerArn"], "arn": answer["ListenerArn"]}


def record(api: Api, one: Wanted) -> Made:
    told: dict[str, Any] = {"Name": one.inputs["name"], "Type": one.inputs["type"]}
    if one.inputs.get("aliases"):
        alias = dict(one.inputs["aliases"][0])
        told["AliasTarget"] = {
            "HostedZoneId": alias["zoneId"],
            "DNSName": alias["name"],
            "EvaluateTargetHealth": alias["evaluateTargetHealth"],
        }
    else:
        told["TTL"] = one.inputs.get("ttl")
        told["ResourceRecords"] = [{"Value": item} for item in one.inputs.get("records", [])]
    change = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": told}]}
    zone = one.inputs["zoneId"]
    api.call("route53", "ChangeResourceRecordSets", HostedZoneId=zone, ChangeBatch=change)
    return {}


def zone(api: Api, one: Wanted) -> Made:
    told = {"Name": one.inputs.get("name"), "CallerReference": one.name}
    answer = api.call("route53", "CreateHostedZone", **told)["HostedZone"]
    made = answer["Id"].rsplit("/", 1)[-1]
    return {"id": made, "zoneId": made}


def tag(api: Api, one: Wanted) -> Made:
    told = one.inputs["tag"] | {"ResourceId": one.inputs["autoscalingGroupName"]}
    told["ResourceType"] = "auto-scaling-group"
    api.call("autoscaling", "CreateOrUpdateTags", Tags=[told])
    return {}


def attachment(api: Api, one: Wanted) -> Made:
    told = {"AutoScalingGroupName": one.inputs["autoscalingGroupName"]}
    told["TargetGroupARNs"] = [one.inputs["lbTargetGroupArn"]]
    api.call("autoscaling", "AttachLoadBalancerTargetGroups", **told)
    return {}


def firewall_logging(api: Api, one: Wanted) -> Made:
    api.call("wafv2", "PutLoggingConfiguration", LoggingConfiguration=one.inputs)
    return {}


def validation(api: Api, one: Wanted) -> Made:
    """Nothing is made: the provider waits until AWS has seen the proof."""
    arn = one.inputs["certificateArn"]
    api.call("acm", "DescribeCertificate", CertificateArn=arn)
    return {}


def zone_at(identity: str, domain: str) -> Callable[[Api], dict[str, str]]:
    """A zone that the account has, for `existing` of a replay."""

    def made(api: Api) -> dict[str, str]:
        told = {"Name": domain, "CallerReference": identity}
        found = api.call("route53", "CreateHostedZone", **told)["HostedZone"]["Id"]
        return {identity: str(found).rsplit("/", 1)[-1]}

    return made


TABLE: Table = {
    "lb/loadBalancer:LoadBalancer": load_balancer,
    "lb/targetGroup:TargetGroup": target_group,
    "lb/listener:Listener": listener,
    "acm/certificate:Certificate": Entry(
        "acm",
        "RequestCertificate",
        TAGS,
        {"id": "CertificateArn", "arn": "CertificateArn"},
    ),
    "acm/certificateValidation:CertificateValidation": validation,
    "route53/zone:Zone": zone,
    "route53/record:Record": record,
    "wafv2/webAcl:WebAcl": Entry(
        "wafv2",
        "CreateWebACL",
        {"name": "Name", **TAGS},
        {"id": "Summary.Id", "arn": "Summary.ARN"},
    ),
    "wafv2/webAclAssociation:WebAclAssociation": Entry("wafv2", "AssociateWebACL"),
    "wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": firewall_logging,
    "autoscaling/tag:Tag": tag,
    "autoscaling/attachment:Attachment": attachment,
}
