"""What pods may do on AWS: a role, bound to service accounts of one namespace of one cluster.

EKS Pod Identity hands the role's credentials to the pods of the accounts: no key lies anywhere.
https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws.eks.pod_identity_association import PodIdentityAssociation
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy

from . import documents
from .options import child

SERVICE = "pods.eks.amazonaws.com"


def trust(cluster_arn: pulumi.Input[str], account: str) -> documents.Statement:
    """A statement of a trust policy: Pod Identity may hand the role out, in this cluster alone."""
    statement = documents.trust_service(
        SERVICE,
        {
            "StringEquals": {"aws:SourceAccount": account},
            "ArnEquals": {"aws:SourceArn": cluster_arn},
        },
    )
    return {**statement, "Action": ["sts:AssumeRole", "sts:TagSession"]}


@dataclass(frozen=True)
class PodIdentityArgs:
    """Who may do what.

    cluster_name, cluster_arn: of the cluster. account: the number of the AWS account.
    namespace: of the pods. service_accounts: names of theirs. statements: what they may do.
    """

    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    account: str
    namespace: str
    service_accounts: Sequence[str]
    statements: Sequence[documents.Statement]


class PodIdentity(pulumi.ComponentResource):
    """A role with one inline policy, and an association for each of the service accounts.

    The trust names the cluster and the account, so that no other cluster hands it out.

    Outputs: `role_arn`; `associations`, service account -> the association, for what must not
    start before it.
    """

    role_arn: pulumi.Output[str]
    associations: Mapping[str, PodIdentityAssociation]

    def __init__(
        self, name: str, args: PodIdentityArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:PodIdentity", name, None, opts)
        role = Role(
            f"{name}-role",
            assume_role_policy=documents.text([trust(args.cluster_arn, args.account)]),
            opts=child(self),
        )
        policy = RolePolicy(
            f"{name}-policy",
            role=role.name,
            policy=documents.text(args.statements),
            opts=child(self),
        )
        self.role_arn = role.arn
        self.associations = {
            account: PodIdentityAssociation(
                f"{name}-{account}",
                cluster_name=args.cluster_name,
                namespace=args.namespace,
                service_account=account,
                role_arn=role.arn,
                opts=child(self, [policy]),
            )
            for account in args.service_accounts
        }
        self.register_outputs({"role_arn": self.role_arn})
