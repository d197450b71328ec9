"""Network policies: nothing gets in that no rule lets in.

A node always reaches its own pods (probes), whatever the policies say. What comes from elsewhere by
way of a NodePort still counts as coming from there: `allow_from` lets it in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .common import Manifest, Text

# Networks that are not the internet: private, shared (pods of EKS may have such addresses), the
# node itself. https://www.iana.org/assignments/iana-ipv4-special-registry/
PRIVATE = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
)

# Where EKS' agent of Pod Identity answers pods, on every node and in the clear.
# https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html
POD_IDENTITY = "169.254.170.23/32"


def default_deny() -> Manifest:
    """The spec of a policy that shuts every pod of a namespace to ingress."""
    return {"podSelector": {}, "policyTypes": ["Ingress"]}


def pods(selects: Mapping[str, str], namespace: Text) -> Manifest:
    """The peer that is these pods of that namespace."""
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": dict(selects)},
    }


def everywhere(namespace: Text) -> Manifest:
    """The peer that is every pod of that namespace."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


def networks(cidrs: Sequence[str]) -> list[Manifest]:
    """The peers that are these networks."""
    return [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]


def off_the_machine() -> Manifest:
    """The peer that is every IPv4 address but those of the machine itself, where a cloud gives its
    nodes their credentials.
    """
    return {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}


def pod_identity() -> Manifest:
    """The rule that lets pods ask the agent of Pod Identity for their credentials."""
    return {"to": networks([POD_IDENTITY]), "ports": [tcp(80)]}


def internet(port: int) -> Manifest:
    """The rule that lets pods out to every public address at `port`, and to no private one."""
    return {
        "to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": list(PRIVATE)}}],
        "ports": [tcp(port)],
    }


def ingress(selects: Mapping[str, str], port: int, peers: Sequence[Manifest]) -> Manifest:
    """The spec of a policy that lets `peers`, and nobody else, reach these pods at `port`."""
    rules = [{"from": list(peers), "ports": [tcp(port)]}] if peers else []
    return {
        "podSelector": {"matchLabels": dict(selects)},
        "policyTypes": ["Ingress"],
        "ingress": rules,
    }


def egress(rules: Sequence[Manifest]) -> Manifest:
    """The part of a policy's spec that lets pods out by these rules, and to a name server
    wherever it runs.
    """
    name_server = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
    return {"policyTypes": ["Ingress", "Egress"], "egress": [name_server, *rules]}


def nowhere() -> Manifest:
    """The part of a policy's spec that lets pods out to nothing at all, not even a name server."""
    return {"policyTypes": ["Ingress", "Egress"], "egress": []}


def tcp(port: Text) -> Manifest:
    """A TCP port in a rule."""
    return {"protocol": "TCP", "port": port}
