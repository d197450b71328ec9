"""Whatever costs money says whose it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from engine.pods import makes_pods
from engine.resource import Resource
from engine.rule import Given, Rule, of_parts, patterns
from engine.values import MalformedError, get, mapping

_BILLED = re.compile(
    r"aws:(autoscaling/group:Group|cloudwatch/logGroup:LogGroup|dynamodb/table:Table|"
    r"ebs/volume:Volume|ec2/eip:Eip|"
    r"ec2/instance:Instance|ec2/launchTemplate:LaunchTemplate|ec2/natGateway:NatGateway|"
    r"ec2/vpcEndpoint:VpcEndpoint|ecr/repository:Repository|efs/fileSystem:FileSystem|"
    r"eks/cluster:Cluster|eks/nodeGroup:NodeGroup|kms/key:Key|lb/loadBalancer:LoadBalancer|"
    r"rds/(instance:Instance|cluster:Cluster|clusterInstance:ClusterInstance)|"
    r"s3/(bucket:Bucket|bucketV2:BucketV2)|secretsmanager/secret:Secret)$"
)


def _billable(resource: Resource) -> list[Resource]:
    balancer = resource.kubernetes("Service", group="") and (
        get(resource.props, "spec", "type") == "LoadBalancer"
    )
    volume = resource.kubernetes("PersistentVolumeClaim", group="")
    billed = _BILLED.match(resource.type) or makes_pods(resource) or volume or balancer
    return [resource] if billed else []


def _object(value: Any) -> Any:
    """A provider's objects are texts of JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise MalformedError("the provider's defaultTags is no JSON") from None


def _messages(resource: Resource, given: Given) -> Iterator[str]:
    if resource.type.startswith("aws:"):
        wanted, kind = given["tags"], "tag"
        whole = mapping(_object(resource.provider.get("defaultTags")), "tags")
        own = mapping(resource.props, "tags")
    else:
        wanted, kind = given["labels"], "label"
        whole, own = {}, mapping(resource.props, "metadata", "labels")
    for name in wanted:
        if not (get(own, name) or get(whole, name)):
            yield f"{kind} {name} is not set"


RULE = Rule(
    name="cost-labels",
    title="Owner and cost on what is billed",
    description="What is billed says who owns it and who pays for it.",
    severity="low",
    level="advisory",
    remediation="Set the labels on the object, the tags on the resource or on its provider "
    "(defaultTags).",
    references=(
        "https://www.finops.org/framework/capabilities/allocation/",
        "https://docs.aws.amazon.com/whitepapers/latest/tagging-best-practices/",
    ),
    check=of_parts(_billable, _messages),
    knobs={
        "labels": patterns(
            "labels of Kubernetes' objects", ["slipway.dev/owner", "slipway.dev/cost-center"]
        ),
        "tags": patterns("tags of AWS' resources", ["owner", "cost-center"]),
    },
)
