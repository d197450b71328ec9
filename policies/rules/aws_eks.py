"""Clusters of EKS: who reaches the API server, what it keeps, what it tells."""

from __future__ import annotations

from collections.abc import Iterator

from engine.resource import Resource
from engine.rule import Given, Rule, of_parts
from engine.values import get, texts

_GUIDE = "https://docs.aws.amazon.com/eks/latest/userguide/"
_WORLD = {"0.0.0.0/0", "::/0"}


def _clusters(resource: Resource) -> list[Resource]:
    return [resource] if resource.type == "aws:eks/cluster:Cluster" else []


def _open(cluster: Resource, given: Given) -> Iterator[str]:
    # Both are AWS' defaults: public, and for all the world.
    if get(cluster.props, "vpcConfig", "endpointPublicAccess") is False:
        return
    networks = texts(cluster.props, "vpcConfig", "publicAccessCidrs")
    if not networks or _WORLD & set(networks):
        yield "vpcConfig: the endpoint is public and open to the world"


def _in_the_clear(cluster: Resource, given: Given) -> Iterator[str]:
    if "secrets" not in texts(cluster.props, "encryptionConfig", "resources"):
        yield "encryptionConfig.resources does not hold secrets"
    elif not get(cluster.props, "encryptionConfig", "provider", "keyArn"):
        yield "encryptionConfig.provider.keyArn is not set"


def _silent(cluster: Resource, given: Given) -> Iterator[str]:
    told = texts(cluster.props, "enabledClusterLogTypes")
    for kind in given["types"]:
        if kind not in told:
            yield f"enabledClusterLogTypes does not hold {kind}"


ENDPOINT = Rule(
    name="eks-endpoint",
    title="API server not open to the world",
    description="The endpoint of a cluster is private, or for named networks.",
    severity="critical",
    remediation="Set vpcConfig.endpointPublicAccess: false, or name the networks in "
    "publicAccessCidrs.",
    references=(_GUIDE + "cluster-endpoint.html",),
    check=of_parts(_clusters, _open),
)
SECRETS = Rule(
    name="eks-secrets-encryption",
    title="Secrets encrypted",
    description="Clusters encrypt Secrets with a key of KMS.",
    severity="high",
    remediation="Set encryptionConfig: {resources: [secrets], provider: {keyArn: …}}.",
    references=(_GUIDE + "enable-kms.html",),
    check=of_parts(_clusters, _in_the_clear),
)
LOGS = Rule(
    name="eks-logs",
    title="Control plane's logs on",
    description="Clusters write the logs of their control plane.",
    severity="medium",
    remediation="Name the types in enabledClusterLogTypes.",
    references=(_GUIDE + "control-plane-logs.html",),
    check=of_parts(_clusters, _silent),
    knobs={
        "types": {
            "type": "array",
            "items": {"type": "string"},
            "default": ["api", "audit", "authenticator"],
            "description": "types of logs that must be on",
        }
    },
)
RULES = (ENDPOINT, SECRETS, LOGS)
