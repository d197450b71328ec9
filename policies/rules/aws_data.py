"""What holds data is not deleted by an update."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.resource import Resource
from engine.rule import Given, Rule, of_parts, patterns

_DATA = re.compile(
    r"aws:(dynamodb/table:Table|ebs/volume:Volume|ecr/repository:Repository|"
    r"efs/fileSystem:FileSystem|kms/key:Key|rds/(cluster:Cluster|instance:Instance)|"
    r"s3/(bucket:Bucket|bucketV2:BucketV2))$"
)


def _holders(resource: Resource) -> list[Resource]:
    return [resource] if _DATA.match(resource.type) else []


def _messages(holder: Resource, given: Given) -> Iterator[str]:
    if not holder.protect and not given.listed("exempt", holder.name):
        yield f"{holder.name} holds data, and its option protect is not set"


PROTECT = Rule(
    name="data-protection",
    title="Data protected from deletion",
    description="Resources of AWS that hold data have Pulumi's option protect.",
    severity="high",
    remediation="Set protect=True in the resource's options.",
    references=("https://www.pulumi.com/docs/iac/concepts/resources/options/protect/",),
    check=of_parts(_holders, _messages),
    knobs={"exempt": patterns("resources, as patterns of their names, that may go")},
)
RULES = (PROTECT,)
