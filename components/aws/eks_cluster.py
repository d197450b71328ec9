"""The Kubernetes cluster of a stack on AWS: EKS, its key, its logs, and who may enter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws.cloudwatch.log_group import LogGroup
from pulumi_aws.ec2.security_group import SecurityGroup
from pulumi_aws.eks._inputs import ClusterVpcConfigArgs
from pulumi_aws.eks.access_entry import AccessEntry
from pulumi_aws.eks.access_policy_association import AccessPolicyAssociation
from pulumi_aws.eks.cluster import Cluster
from pulumi_aws.iam.role import Role
from pulumi_aws.iam.role_policy import RolePolicy
from pulumi_aws.iam.role_policy_attachment import RolePolicyAttachment
from pulumi_aws.kms.alias import Alias
from pulumi_aws.kms.key import Key
from pulumi_aws.vpc.security_group_ingress_rule import SecurityGroupIngressRule

from settings.aws.cluster import EksCluster as Configuration

from . import arns, documents
from .naming import bounded
from .options import child

# https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
_POLICIES = {"admin": "AmazonEKSClusterAdminPolicy", "viewer": "AmazonEKSViewPolicy"}


@dataclass(frozen=True)
class EksClusterArgs:
    """What the cluster is, and where.

    settings: the configuration. name: of the cluster, fixed. region, account: where, and whose.
    vpc: the network's id. subnets: private ones, where the API server's addresses are.
    service_cidr: of Services. peers: networks outside that reach the private endpoint.
    """

    settings: Configuration
    name: str
    region: str
    account: str
    vpc: pulumi.Input[str]
    subnets: Sequence[pulumi.Input[str]]
    service_cidr: str
    peers: Sequence[str] = ()


class EksCluster(pulumi.ComponentResource):
    """A cluster without nodes and without add-ons.

    Its endpoint is private, and public for the networks that are listed, none by default. Secrets
    are encrypted by a key of the stack's own. Who may enter stands in access entries alone: the
    identity that made the cluster has no right of its own, so it is one of `admins`.

    Outputs: plain `name` and `version`; `cluster_name`, the name once it is made; `arn`;
    `endpoint`; `certificate_authority`, as base64; `security_group_id`, of the control plane and
    all nodes; `kubeconfig`, without a secret, known as soon as one can enter; `entered`: what must
    be there before anyone can, and leave after all that is inside.
    """

    name: str
    version: str
    arn: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    certificate_authority: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    kubeconfig: pulumi.Output[str]
    cluster_name: pulumi.Output[str]
    entered: Sequence[pulumi.CustomResource]

    def __init__(
        self, name: str, args: EksClusterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("slipway:aws:EksCluster", name, None, opts)
        settings = args.settings
        self.name, self.version = args.name, settings.version
        # EKS would make it itself, and keep it for ever.
        logs = LogGroup(
            f"{name}-logs",
            name=f"/aws/eks/{args.name}/cluster",
            retention_in_days=settings.log_days,
            opts=child(self, fixed_name=True),
        )
        key = self._key(name, args)
        role, rights = self._role(name, args, key)
        # Of the API server's addresses alone. Nodes and pods are in the group that EKS makes.
        group = SecurityGroup(
            f"{name}-api",
            description="The API server, for peered networks",
            vpc_id=args.vpc,
            opts=child(self),
        )
        cluster = Cluster(
            f"{name}-cluster",
            name=args.name,
            version=self.version,
            role_arn=role.arn,
            # The CNI, kube-proxy and CoreDNS come as add-ons, with versions of ours.
            bootstrap_self_managed_addons=False,
            access_config={
                "authentication_mode": "API",
                "bootstrap_cluster_creator_admin_permissions": False,
            },
            vpc_config=ClusterVpcConfigArgs(
                subnet_ids=list(args.subnets),
                security_group_ids=[group.id],
                endpoint_private_access=True,
                endpoint_public_access=bool(settings.allow_from),
                public_access_cidrs=list(settings.allow_from) or None,
            ),
            kubernetes_network_config={
                "ip_family": "ipv4",
                "service_ipv4_cidr": args.service_cidr,
            },
            encryption_config={"resources": ["secrets"], "provider": {"key_arn": key.arn}},
            enabled_cluster_log_types=[str(log) for log in sorted(settings.logs)],
            upgrade_policy={"support_type": settings.support.upper()},
            deletion_protection=settings.deletion_protection,
            # EKS would refuse a replacement only once Pulumi has deleted the nodes and add-ons.
            opts=child(
                self,
                [logs, *rights],
                protect=settings.deletion_protection,
                fixed_name=True,
                timeout="60m",
            ),
        )
        self.cluster_name, self.arn, self.endpoint = cluster.name, cluster.arn, cluster.endpoint
        self.certificate_authority = cluster.certificate_authority.apply(
            lambda found: str(found.data)
        )
        self.security_group_id = cluster.vpc_config.apply(
            lambda found: str(found.cluster_security_group_id)
        )
        self.entered = [*self._doors(name, args, group), *self._entries(name, args, cluster)]
        self.kubeconfig = pulumi.Output.all(
            self.endpoint, self.certificate_authority, *(each.id for each in self.entered)
        ).apply(lambda known: kubeconfig(args.name, args.region, str(known[0]), str(known[1])))
        self.register_outputs({"arn": self.arn, "endpoint": self.endpoint})

    def _key(self, name: str, args: EksClusterArgs) -> Key:
        root = f"arn:{arns.partition(args.region)}:iam::{args.account}:root"
        owner = documents.allow("Account", ["kms:*"], ["*"])
        key = Key(
            f"{name}-key",
            description=f"Secrets of the cluster {args.name}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            policy=documents.text([{**owner, "Principal": {"AWS": root}}]),
            # Without it the Secrets of every copy of the cluster's store are gone.
            opts=child(self, keep=True),
        )
        Alias(
            f"{name}-alias",
            name=f"alias/{args.name}/cluster",
            target_key_id=key.key_id,
            opts=child(self, fixed_name=True),
        )
        return key

    def _role(
        self, name: str, args: EksClusterArgs, key: Key
    ) -> tuple[Role, Sequence[pulumi.Resource]]:
        arn = arns.cluster(args.region, args.account, args.name)
        trust = documents.trust_service(
            "eks.amazonaws.com",
            {
                "StringEquals": {"aws:SourceAccount": args.account},
                "ArnEquals": {"aws:SourceArn": arn},
            },
        )
        role = Role(f"{name}-role", assume_role_policy=documents.text([trust]), opts=child(self))
        return role, [
            RolePolicyAttachment(
                f"{name}-cluster-policy",
                role=role.name,
                policy_arn=arns.managed_policy(args.region, "AmazonEKSClusterPolicy"),
                opts=child(self),
            ),
            RolePolicy(
                f"{name}-key-policy",
                role=role.name,
                policy=documents.text(
                    [
                        documents.allow(
                            "Secrets",
                            ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:ListGrants"],
                            [key.arn],
                        )
                    ]
                ),
                opts=child(self),
            ),
        ]

    def _doors(
        self, name: str, args: EksClusterArgs, group: SecurityGroup
    ) -> Sequence[pulumi.CustomResource]:
        return [
            SecurityGroupIngressRule(
                f"{name}-from-{cidr.replace('/', '-')}",
                security_group_id=group.id,
                description="The API server, from a peered network",
                cidr_ipv4=cidr,
                ip_protocol="tcp",
                from_port=443,
                to_port=443,
                opts=child(self),
            )
            for cidr in args.peers
        ]

    def _entries(
        self, name: str, args: EksClusterArgs, cluster: Cluster
    ) -> Sequence[pulumi.CustomResource]:
        made = []
        for kind, principals in (
            ("admin", args.settings.admins),
            ("viewer", args.settings.viewers),
        ):
            for principal in principals:
                called = f"{name}-{kind}-{bounded(principal, 60)}"
                entry = AccessEntry(
                    f"{called}-entry",
                    cluster_name=cluster.name,
                    principal_arn=principal,
                    type="STANDARD",
                    opts=child(self, fixed_name=True),
                )
                made.append(
                    AccessPolicyAssociation(
                        f"{called}-policy",
                        cluster_name=cluster.name,
                        principal_arn=principal,
                        policy_arn=arns.access_policy(args.region, _POLICIES[kind]),
                        access_scope={"type": "cluster"},
                        opts=child(self, [entry], fixed_name=True),
                    )
                )
        return made


def kubeconfig(name: str, region: str, endpoint: str, certificate_authority: str) -> str:
    """A kubeconfig as JSON. It holds no credentials: `aws eks get-token` makes them from those of
    whoever uses it.
    """
    command = ["--region", region, "eks", "get-token", "--cluster-name", name, "--output", "json"]
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "aws",
            "args": command,
            "interactiveMode": "Never",
        }
    }
    cluster = {"server": endpoint, "certificate-authority-data": certificate_authority}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(document, sort_keys=True)
