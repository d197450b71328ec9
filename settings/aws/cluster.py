"""The Kubernetes cluster of a stack on AWS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from settings.aws.values import NOWHERE, LogDays
from settings.faults import fault
from settings.types import Cidr, Section, matching

KubernetesVersion = Annotated[
    str, matching(r"1\.\d{2}", "is not a version of Kubernetes as text, as in '1.34'")
]
AddOn = Literal[
    "aws-ebs-csi-driver",
    "coredns",
    "eks-pod-identity-agent",
    "kube-proxy",
    "metrics-server",
    "vpc-cni",
]
AddOnVersion = Annotated[
    str, matching(r"v\d+\.\d+\.\d+-eksbuild\.\d+", "is not an add-on's version: v1.2.3-eksbuild.4")
]
Principal = Annotated[
    str,
    matching(
        r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]{1,576}",
        "is not the ARN of a role or user of IAM, as in arn:aws:iam::123456789012:role/name",
    ),
]
Log = Literal["api", "audit", "authenticator", "controllerManager", "scheduler"]

# As AWS lists them for each version of Kubernetes; `aws eks describe-addon-versions` tells the
# newest: https://docs.aws.amazon.com/eks/latest/userguide/eks-add-ons.html
ADD_ONS: Mapping[str, Mapping[AddOn, str]] = {
    "1.34": {
        "aws-ebs-csi-driver": "v1.63.1-eksbuild.1",
        "coredns": "v1.13.2-eksbuild.11",
        "eks-pod-identity-agent": "v1.3.10-eksbuild.3",
        "kube-proxy": "v1.34.6-eksbuild.18",
        "metrics-server": "v0.9.0-eksbuild.5",
        "vpc-cni": "v1.22.4-eksbuild.3",
    },
    "1.35": {
        "aws-ebs-csi-driver": "v1.63.1-eksbuild.1",
        "coredns": "v1.14.3-eksbuild.3",
        "eks-pod-identity-agent": "v1.3.10-eksbuild.3",
        "kube-proxy": "v1.35.3-eksbuild.18",
        "metrics-server": "v0.9.0-eksbuild.5",
        "vpc-cni": "v1.22.4-eksbuild.3",
    },
}
# From which nobody comes to a public endpoint; EKS refuses them.
_INSIDE = [
    ip_network(cidr) for cidr in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
]


class EksCluster(Section):
    """A cluster of EKS. `admins` has no default: the identity that runs the program is one of them,
    for it makes the objects inside, and nobody else can enter unless named here.
    """

    version: KubernetesVersion = Field(default="1.35", description="of Kubernetes, as text")
    allow_from: list[Cidr] = Field(
        default_factory=list,
        description="public networks that reach the API server; none: it has no public address",
    )
    admins: list[Principal] = Field(
        description="a list of ARNs of roles and users that may do all, this program's own too"
    )
    viewers: list[Principal] = Field(
        default_factory=list, description="ARNs of those who may see all but Secrets"
    )
    logs: list[Log] = Field(
        default=["api", "audit", "authenticator"], description="of the control plane"
    )
    log_days: LogDays = Field(default=90, description="how long the control plane's logs are kept")
    add_ons: dict[AddOn, AddOnVersion] = Field(
        default_factory=dict, description="versions of EKS' add-ons; absent: those known to work"
    )
    support: Literal["standard", "extended"] = Field(
        default="standard",
        description="once standard support ends: AWS upgrades the cluster, or bills more",
    )
    deletion_protection: bool = Field(default=True, description="no one can delete the cluster")

    @property
    def add_on_versions(self) -> Mapping[AddOn, str]:
        """The version of each add-on: what is configured, else what is known for `version`."""
        return {**ADD_ONS.get(self.version, {}), **self.add_ons}

    @model_validator(mode="after")
    def _can_be_entered(self) -> EksCluster:
        for found in _faults(self):
            raise found
        return self


def admins_fault(admins: Sequence[str], account: str) -> PydanticCustomError | None:
    """The fault of admins who are all of other accounts. EKS takes some of them, but this program's
    own identity is of the account.
    """
    if any(principal.split(":")[4] == account for principal in admins):
        return None
    return fault(
        "admins", list(admins), f"names nobody of account {account}, where this program's role is"
    )


def _faults(it: EksCluster) -> Iterator[PydanticCustomError]:
    if not it.admins:
        yield fault("admins", [], "names nobody: not even this program could enter the cluster")
    for key, them in (("admins", it.admins), ("viewers", it.viewers)):
        for number, principal in enumerate(them):
            if principal in them[:number]:
                yield fault(f"{key}[{number}]", principal, "stands there twice")
            if ":role/AWSReservedSSO_" in principal:
                yield fault(
                    f"{key}[{number}]",
                    principal,
                    "is a role of IAM Identity Center without its path, and EKS knows it by the "
                    "whole: role/aws-reserved/sso.amazonaws.com/<region>/AWSReservedSSO_…",
                )
    for number, principal in enumerate(it.viewers):
        if principal in it.admins:
            yield fault(
                f"viewers[{number}]", principal, "is one of admins, too; keep one of the two"
            )
    for number, cidr in enumerate(it.allow_from):
        network = ip_network(cidr)
        if network.prefixlen == 0:
            yield fault(
                f"allow_from[{number}]", cidr, "is all the world; name the networks you use"
            )
        if network.version != 4:
            yield fault(f"allow_from[{number}]", cidr, "is not a network of IPv4")
        elif any(network.overlaps(one) for one in NOWHERE):
            yield fault(f"allow_from[{number}]", cidr, "is a network that nobody comes from")
        elif any(network.overlaps(inside) for inside in _INSIDE):
            yield fault(
                f"allow_from[{number}]",
                cidr,
                "is a private network, and a public endpoint sees public addresses; name the one "
                "that it goes out by, or reach the private endpoint",
            )
        if cidr in it.allow_from[:number]:
            yield fault(f"allow_from[{number}]", cidr, "stands there twice")
    missing = sorted(set(AddOn.__args__) - set(it.add_on_versions))  # type: ignore[attr-defined]
    if missing:
        known = " and ".join(ADD_ONS)
        yield fault(
            "add_ons",
            dict(it.add_ons),
            f"lacks {', '.join(missing)}; versions are known here for {known} alone, and for "
            f"{it.version} you name them all",
        )
    if not it.logs:
        yield fault("logs", [], "is empty; keep api, audit and authenticator at least")
