"""Pods cannot have their node's credentials."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.resource import Resource
from engine.rule import Given, Rule, of_parts
from engine.values import get

_MACHINE = re.compile(
    r"aws:(ec2/(instance:Instance|launchTemplate:LaunchTemplate|"
    r"launchConfiguration:LaunchConfiguration)|eks/nodeGroup:NodeGroup)$"
)


def _machines(resource: Resource) -> list[Resource]:
    return [resource] if _MACHINE.match(resource.type) else []


def _messages(machine: Resource, given: Given) -> Iterator[str]:
    if machine.kind == "NodeGroup":
        # The template that EKS makes by itself lets a pod through: its hop limit is 2.
        if get(machine.props, "launchTemplate") is None:
            yield "launchTemplate is not set, so its nodes have a hop limit of 2"
        return
    if get(machine.props, "metadataOptions", "httpTokens") != "required":
        yield "metadataOptions.httpTokens is not required, so IMDSv1 answers"
    if get(machine.props, "metadataOptions", "httpPutResponseHopLimit") != 1:
        yield "metadataOptions.httpPutResponseHopLimit is not 1, so pods reach it"


IMDS = Rule(
    name="ec2-imds",
    title="IMDSv2 for the node alone",
    description="Machines answer IMDSv2 alone, with a hop limit of 1.",
    severity="high",
    remediation="Set metadataOptions: {httpTokens: required, httpPutResponseHopLimit: 1}, and give "
    "node groups a launch template.",
    references=(
        "https://docs.aws.amazon.com/eks/latest/best-practices/identity-and-access-management.html",
    ),
    check=of_parts(_machines, _messages),
)
RULES = (IMDS,)
